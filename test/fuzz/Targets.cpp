#include "test/fuzz/Targets.h"

#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/isa/Verify.h"
#include "backends/npu/target/Target.h"
#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Format.h"
#include "runtime/ptx_sim/Program.h"
#include "support/Npz.h"
#include "test/fuzz/Require.h"
#include "test/fuzz/ScratchFile.h"

#include <google/protobuf/util/message_differencer.h>

#include <cstring>

namespace npuc::fuzz {
namespace {

void load(const std::string &bytes) {
  Diagnostics diagnostics;
  auto loaded = artifact::Artifact::fromMemory(std::as_bytes(std::span(bytes)), "fuzz.npa", diagnostics);
  require((loaded == nullptr) == diagnostics.hasErrors());
  if (!loaded)
    return;
  loaded->checkConstants(diagnostics);
  for (int i = 0; i < loaded->manifest().buffers_size() && loaded->hasConstants(); ++i)
    if (loaded->buffer(static_cast<size_t>(i)).role() == artifact::CONSTANT)
      require(loaded->constant(static_cast<size_t>(i)).size() ==
              uint64_t(loaded->buffer(static_cast<size_t>(i)).bytes()));
}

const target::TargetDescription &toy() {
  static const target::TargetDescription description = [] {
    Diagnostics diagnostics;
    return target::load("toy", {}, diagnostics).value();
  }();
  return description;
}

// A NaN differs from itself, so programs are compared by their bytes.
bool isSame(const isa::Program &a, const isa::Program &b) {
  return a.name == b.name && a.buffers == b.buffers && a.registers == b.registers &&
         isa::encodeStreams(a) == isa::encodeStreams(b);
}

} // namespace

std::string resign(std::string bytes) {
  using namespace npuc::artifact;
  if (bytes.size() < headerBytes)
    return bytes;
  Header header = decode(reinterpret_cast<const unsigned char *>(bytes.data()));
  if (header.manifestOffset < headerBytes || header.manifestOffset > bytes.size())
    return bytes;
  Manifest manifest;
  if (manifest.ParseFromString(bytes.substr(header.manifestOffset))) {
    for (Section &section : *manifest.mutable_sections())
      if (section.offset() <= header.manifestOffset &&
          section.bytes() <= header.manifestOffset - section.offset())
        section.set_checksum(
            checksum(std::as_bytes(std::span(bytes)).subspan(section.offset(), section.bytes())));
    bytes.resize(header.manifestOffset);
    bytes += manifest.SerializeAsString();
  }
  header.version = formatVersion;
  header.schemaHash = schemaHash;
  header.manifestBytes = bytes.size() - header.manifestOffset;
  header.fileBytes = bytes.size();
  header.manifestChecksum = checksum(std::as_bytes(std::span(bytes)).subspan(header.manifestOffset));
  auto encoded = encode(header);
  std::copy(encoded.begin(), encoded.end(), bytes.begin());
  return bytes;
}

void artifact(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  load(bytes);
  load(resign(std::move(bytes)));
}

void assembler(const uint8_t *data, size_t size) {
  Diagnostics diagnostics;
  auto program = isa::parseProgram({reinterpret_cast<const char *>(data), size}, "fuzz.isa", diagnostics);
  require(program.has_value() == !diagnostics.hasErrors());
  if (!program)
    return;
  auto again = isa::parseProgram(isa::print(*program), "again.isa", diagnostics);
  require(again && isSame(*program, *again));
}

void streams(const uint8_t *data, size_t size) {
  Diagnostics diagnostics;
  isa::Program program;
  program.buffers.push_back({"x", isa::Role::Workspace, ElementType::I8, {4096}, 4096, 64});
  program.registers.push_back({"r", 0, 64});
  if (!isa::decodeStreams(std::as_bytes(std::span(data, size)), "fuzz", program, diagnostics)) {
    require(diagnostics.errorCount() == 1);
    return;
  }
  isa::verifyProgram(program, toy(), diagnostics);
  std::string encoded = isa::encodeStreams(program);
  isa::Program again = {};
  again.buffers = program.buffers;
  again.registers = program.registers;
  require(isa::decodeStreams(std::as_bytes(std::span(encoded)), "again", again, diagnostics) &&
          isSame(program, again));
}

void arrays(const uint8_t *data, size_t size) {
  static const ScratchFile file("arrays.npz");
  file.write(data, size);
  Diagnostics diagnostics;
  auto read = readArrays(file.path(), diagnostics);
  require(read.has_value() == !diagnostics.hasErrors());
  if (!read)
    return;
  for (const NamedArray &array : *read)
    require(array.array.data.size() == byteSize(array.array.type, static_cast<size_t>(array.array.count())));
}

void description(const uint8_t *data, size_t size) {
  Diagnostics diagnostics;
  auto target = target::parse({reinterpret_cast<const char *>(data), size}, "fuzz.json", {}, diagnostics);
  require(target.has_value() == !diagnostics.hasErrors());
  if (!target)
    return;
  auto again = target::parse(target::toJson(*target), "again.json", {}, diagnostics);
  require(again && google::protobuf::util::MessageDifferencer::Equals(*target, *again));
}

void ptx(const uint8_t *data, size_t size) {
  Diagnostics diagnostics;
  const auto program =
      ptx::Program::load({reinterpret_cast<const char *>(data), size}, "fuzz.ptx", diagnostics);
  require((program == nullptr) == diagnostics.hasErrors());
  if (!program)
    return;
  for (const ptx::Kernel &kernel : program->kernels)
    for (const ptx::Instruction &i : kernel.code) {
      for (ptx::Slot slot : {i.d, i.d2, i.a, i.b, i.c, i.e, i.guard})
        require(slot == ptx::noSlot ||
                (slot >= 0 ? static_cast<uint32_t>(slot) < kernel.registerBytes
                           : static_cast<size_t>(~slot) < kernel.constants.size() * sizeof(ptx::Line)));
      require(i.uses + i.useCount <= kernel.lists.size() && i.defines + i.defineCount <= kernel.lists.size());
      require(i.flow != ptx::Flow::Next || i.run);
      require(i.flow != ptx::Flow::Branch || i.target < kernel.code.size());
    }
}

} // namespace npuc::fuzz
