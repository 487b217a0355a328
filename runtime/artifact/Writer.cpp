#include "runtime/artifact/Writer.h"

#include "runtime/artifact/Format.h"
#include "support/File.h"

#include <cassert>
#include <cstring>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <optional>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace npuc::artifact {
namespace {

uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// A section being written: how far it is, and the checksum up to there.
struct Progress {
  explicit Progress() { XXH3_64bits_reset(&hash); }
  XXH3_state_t hash;
  uint64_t written = 0;
};

std::string serialized(const Manifest &manifest) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  manifest.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

} // namespace

struct Writer::State {
  std::optional<AtomicFile> file; // else memory
  std::string memory;
  std::vector<Section> sections;
  std::vector<std::unique_ptr<Progress>> progress;
  uint64_t end = headerBytes;

  bool writeAt(uint64_t offset, std::span<const std::byte> bytes, Diagnostics &diagnostics) {
    if (file)
      return file->writeAt(offset, bytes, diagnostics);
    std::memcpy(memory.data() + offset, bytes.data(), bytes.size());
    return true;
  }

  // Memory grows while sections are reserved, never while threads write.
  void growTo(uint64_t bytes) {
    end = bytes;
    if (!file)
      memory.resize(bytes);
  }
};

Writer::Writer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Writer::Writer(Writer &&) noexcept = default;
Writer &Writer::operator=(Writer &&) noexcept = default;
Writer::~Writer() = default;

std::optional<Writer> Writer::toFile(const std::string &path, Diagnostics &diagnostics) {
  auto file = AtomicFile::create(path, diagnostics);
  if (!file)
    return std::nullopt;
  auto state = std::make_unique<State>();
  state->file = std::move(file);
  return Writer(std::move(state));
}

Writer Writer::toMemory() {
  return Writer(std::make_unique<State>());
}

uint32_t Writer::reserve(SectionKind kind, std::string name, uint64_t bytes) {
  Section &section = state_->sections.emplace_back();
  section.set_kind(kind);
  section.set_name(std::move(name));
  section.set_offset(alignUp(state_->end, sectionAlignment));
  section.set_bytes(bytes);
  state_->progress.push_back(std::make_unique<Progress>());
  state_->growTo(section.offset() + bytes);
  return static_cast<uint32_t>(state_->sections.size() - 1);
}

bool Writer::write(uint32_t section, std::span<const std::byte> bytes, Diagnostics &diagnostics) {
  const Section &known = state_->sections[section];
  Progress &progress = *state_->progress[section];
  assert(bytes.size() <= known.bytes() - progress.written && "more than was reserved");
  if (!state_->writeAt(known.offset() + progress.written, bytes, diagnostics))
    return false;
  XXH3_64bits_update(&progress.hash, bytes.data(), bytes.size());
  progress.written += bytes.size();
  return true;
}

std::optional<uint32_t> Writer::add(SectionKind kind, std::string name, std::span<const std::byte> bytes,
                                    Diagnostics &diagnostics) {
  uint32_t section = reserve(kind, std::move(name), bytes.size());
  return write(section, bytes, diagnostics) ? std::optional(section) : std::nullopt;
}

bool Writer::finish(Manifest manifest, Diagnostics &diagnostics) {
  manifest.set_compiler("npuc " + std::string(version));
  manifest.clear_sections();
  for (size_t i = 0; i < state_->sections.size(); ++i) {
    assert(state_->progress[i]->written == state_->sections[i].bytes() && "less than was reserved");
    state_->sections[i].set_checksum(XXH3_64bits_digest(&state_->progress[i]->hash));
    *manifest.add_sections() = state_->sections[i];
  }
  std::string text = serialized(manifest);
  if (text.size() > greatestManifest) {
    diagnostics.error("artifact", "the manifest is too large",
                      std::to_string(text.size()) + " bytes, at most " + std::to_string(greatestManifest));
    return false;
  }
  Header header;
  header.schemaHash = schemaHash;
  version.copy(header.writer.data(), header.writer.size());
  header.manifestOffset = alignUp(state_->end, manifestAlignment);
  header.manifestBytes = text.size();
  header.manifestChecksum = checksum(std::as_bytes(std::span(text)));
  header.fileBytes = header.manifestOffset + text.size();
  state_->growTo(header.fileBytes);
  auto bytes = encode(header);
  return state_->writeAt(header.manifestOffset, std::as_bytes(std::span(text)), diagnostics) &&
         state_->writeAt(0, std::as_bytes(std::span(bytes)), diagnostics) &&
         (!state_->file || state_->file->commit(diagnostics));
}

const std::string &Writer::bytes() const {
  return state_->memory;
}

} // namespace npuc::artifact
