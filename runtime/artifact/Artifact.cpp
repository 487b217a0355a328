#include "runtime/artifact/Artifact.h"

#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Verify.h"
#include "backends/npu/target/Target.h"
#include "runtime/artifact/Checks.h"
#include "runtime/artifact/Format.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace npuc::artifact {
namespace {

const char *const damaged = "the file is damaged or was not written by npuc; copy or compile it again";

const unsigned char *raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char *>(bytes.data());
}

bool fail(const std::string &where, std::string what, std::string why, std::string hint,
          Diagnostics &diagnostics) {
  diagnostics.error(where, std::move(what), std::move(why), std::move(hint));
  return false;
}

std::string writerOf(const Header &header) {
  std::string text;
  for (char c : header.writer)
    if (c >= ' ' && c <= '~')
      text += c;
  return text;
}

} // namespace

std::shared_ptr<const Artifact> Artifact::open(const std::string &path, Diagnostics &diagnostics) {
  auto file = MappedFile::open(path, diagnostics);
  if (!file)
    return nullptr;
  auto artifact = std::unique_ptr<Artifact>(new Artifact);
  artifact->name_ = path;
  artifact->bytes_ = file->bytes();
  artifact->file_ = std::move(file);
  return load(std::move(artifact), diagnostics);
}

std::shared_ptr<const Artifact> Artifact::fromMemory(std::span<const std::byte> bytes, std::string name,
                                                     Diagnostics &diagnostics) {
  auto artifact = std::unique_ptr<Artifact>(new Artifact);
  artifact->name_ = std::move(name);
  artifact->bytes_ = bytes;
  return load(std::move(artifact), diagnostics);
}

std::shared_ptr<const Artifact> Artifact::load(std::unique_ptr<Artifact> artifact, Diagnostics &diagnostics) {
  if (!artifact->readHeader(diagnostics) || !artifact->readPrograms(diagnostics))
    return nullptr;
  return artifact;
}

// The order of questions: is it one of ours at all, of this version, whole, undamaged.
bool Artifact::readHeader(Diagnostics &diagnostics) {
  const size_t known = std::min(bytes_.size(), magic.size());
  if (bytes_.empty() || std::memcmp(bytes_.data(), magic.data(), known) != 0)
    return fail(name_, "this is no npuc artifact", "it does not begin as one",
                "npuc compile writes artifacts (.npa)", diagnostics);
  if (bytes_.size() < headerBytes)
    return fail(name_, "the artifact is truncated",
                fmt::format("it has {} bytes, the header alone takes {}", bytes_.size(), headerBytes),
                damaged, diagnostics);
  const Header header = decode(raw(bytes_));
  const bool isOurs = header.version == formatVersion && header.schemaHash == schemaHash;
  if (!isOurs && (header.version != formatVersion || checksumHolds(raw(bytes_))))
    return fail(
        name_, "the artifact is of another version",
        fmt::format("npuc {} wrote format {}, schema {:016x}; this is npuc {} with format {}, schema {:016x}",
                    writerOf(header), header.version, header.schemaHash, version, formatVersion, schemaHash),
        fmt::format("compile the model again with npuc {}, or run it with npuc {}", version,
                    writerOf(header)),
        diagnostics);
  if (!checksumHolds(raw(bytes_)))
    return fail(name_, "the artifact is corrupt", "its header does not match its checksum", damaged,
                diagnostics);
  if (header.fileBytes != bytes_.size())
    return fail(name_,
                bytes_.size() < header.fileBytes ? "the artifact is truncated" : "the artifact is corrupt",
                fmt::format("it has {} bytes, its header says {}", bytes_.size(), header.fileBytes), damaged,
                diagnostics);
  if (header.manifestOffset < headerBytes || header.manifestOffset > bytes_.size() ||
      header.manifestBytes != bytes_.size() - header.manifestOffset ||
      header.manifestBytes > greatestManifest)
    return fail(name_, "the artifact is corrupt", "its manifest is not at its end", damaged, diagnostics);
  auto manifest = bytes_.subspan(header.manifestOffset);
  if (checksum(manifest) != header.manifestChecksum)
    return fail(name_, "the artifact is corrupt", "its manifest does not match its checksum", damaged,
                diagnostics);
  return readManifest(manifest, diagnostics);
}

bool Artifact::readManifest(std::span<const std::byte> bytes, Diagnostics &diagnostics) {
  if (!manifest_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(name_, "the artifact is corrupt", "its manifest is no protobuf message of this schema",
                damaged, diagnostics);
  auto before = bytes_.first(bytes_.size() - bytes.size());
  if (!checkSections(manifest_, before, name_, diagnostics) || !checkManifest(manifest_, name_, diagnostics))
    return false;
  bool good = true;
  for (size_t i = 0; i < size_t(manifest_.sections_size()); ++i) {
    const Section &known = manifest_.sections(static_cast<int>(i));
    if (known.kind() != CONSTANTS && checksum(section(i)) != known.checksum())
      good =
          fail(name_, "the artifact is corrupt",
               fmt::format("section '{}' does not match its checksum", known.name()), damaged, diagnostics);
  }
  return good && target::verify(manifest_.target(), name_ + ": target", diagnostics);
}

bool Artifact::readPrograms(Diagnostics &diagnostics) {
  bool good = true;
  for (const EntryPoint &entry : manifest_.entry_points()) {
    isa::Program &program = programs_.emplace_back();
    program.name = entry.name();
    for (uint32_t buffer : entry.buffers())
      program.buffers.push_back(toProgram(manifest_.buffers(static_cast<int>(buffer))));
    for (const Register &r : entry.registers())
      program.registers.push_back({r.name(), r.least(), r.greatest()});
    const std::string where = fmt::format("{}: entry point '{}'", name_, entry.name());
    const bool isGood = manifest_.target().has_gpu()
                            ? isa::verifyBuffers(program, manifest_.target(), diagnostics) &&
                                  checkLaunches(manifest_, entry, section(entry.ptx()), where, diagnostics)
                            : isa::decodeStreams(section(entry.streams()), where, program, diagnostics) &&
                                  isa::verifyProgram(program, manifest_.target(), diagnostics);
    good = isGood && good;
  }
  return good;
}

std::optional<size_t> Artifact::findEntryPoint(const std::string &name, Diagnostics &diagnostics) const {
  if (name.empty() && entryPointCount() == 1)
    return 0;
  std::vector<std::string> names;
  for (const EntryPoint &entry : manifest_.entry_points()) {
    if (entry.name() == name)
      return names.size();
    names.push_back(entry.name());
  }
  diagnostics.error(name_,
                    name.empty() ? "the artifact has several entry points"
                                 : fmt::format("there is no entry point '{}'", name),
                    fmt::format("it has {}", fmt::join(names, ", ")), "name one of them");
  return std::nullopt;
}

std::span<const std::byte> Artifact::section(size_t index) const {
  const Section &section = manifest_.sections(static_cast<int>(index));
  return bytes_.subspan(section.offset(), section.bytes());
}

std::optional<std::span<const std::byte>> Artifact::section(SectionKind kind) const {
  for (int i = 0; i < manifest_.sections_size(); ++i)
    if (manifest_.sections(i).kind() == kind)
      return section(static_cast<size_t>(i));
  return std::nullopt;
}

std::span<const std::byte> Artifact::constant(size_t index) const {
  const Buffer &known = buffer(index);
  return section(known.section()).subspan(known.offset(), static_cast<size_t>(known.bytes()));
}

bool Artifact::checkConstants(Diagnostics &diagnostics) const {
  std::call_once(constantsChecked_, [&] {
    Diagnostics found;
    for (size_t i = 0; i < size_t(manifest_.sections_size()); ++i) {
      const Section &known = manifest_.sections(static_cast<int>(i));
      if (known.kind() == CONSTANTS && checksum(section(i)) != known.checksum())
        fail(name_, "the artifact is corrupt",
             fmt::format("section '{}' does not match its checksum", known.name()), damaged, found);
    }
    constantFaults_ = found.all();
  });
  for (const Diagnostic &fault : constantFaults_)
    diagnostics.add(fault);
  return constantFaults_.empty();
}

isa::Buffer toProgram(const Buffer &buffer) {
  isa::Buffer out;
  out.name = buffer.name();
  out.role = static_cast<isa::Role>(buffer.role() - 1);
  out.type = elementTypeFromName(buffer.type()).value_or(ElementType::I8);
  out.shape.assign(buffer.shape().begin(), buffer.shape().end());
  out.bytes = buffer.bytes();
  out.alignment = buffer.alignment();
  return out;
}

Buffer fromProgram(const isa::Buffer &buffer) {
  Buffer out;
  out.set_name(buffer.name);
  out.set_role(static_cast<Role>(static_cast<int>(buffer.role) + 1));
  out.set_type(std::string(npuc::name(buffer.type)));
  out.mutable_shape()->Add(buffer.shape.begin(), buffer.shape.end());
  out.set_bytes(buffer.bytes);
  out.set_alignment(buffer.alignment);
  return out;
}

} // namespace npuc::artifact
