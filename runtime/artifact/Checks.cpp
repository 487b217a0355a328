#include "runtime/artifact/Checks.h"

#include "runtime/artifact/Format.h"
#include "support/ElementType.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace npuc::artifact {
namespace {

class Checker {
public:
  Checker(const Manifest &manifest, const std::string &name, Diagnostics &diagnostics)
      : manifest_(manifest), name_(name), diagnostics_(diagnostics), before_(diagnostics.errorCount()) {}

  bool good() const { return diagnostics_.errorCount() == before_; }

  void error(std::string why) {
    if (diagnostics_.errorCount() < before_ + 100)
      diagnostics_.error(name_, "the artifact is corrupt", std::move(why),
                         "the file is damaged or was not written by npuc; copy or compile it again");
  }

  void checkSections(std::span<const std::byte> file) {
    uint64_t end = headerBytes;
    for (const Section &section : manifest_.sections()) {
      if (!SectionKind_IsValid(section.kind()) || section.kind() == SECTION_KIND_UNSPECIFIED)
        error(fmt::format("section '{}' is of an unknown kind", section.name()));
      if (section.offset() % sectionAlignment != 0 || section.offset() < end ||
          section.offset() > file.size() || section.bytes() > file.size() - section.offset())
        return error(fmt::format("section '{}' is not where a section can be: {} bytes at {}", section.name(),
                                 section.bytes(), section.offset()));
      checkZeros(file.subspan(end, section.offset() - end));
      end = section.offset() + section.bytes();
    }
    checkZeros(file.subspan(end));
    if (file.size() - end >= manifestAlignment)
      error("bytes that belong to no section stand before the manifest");
  }

  void checkBuffers() {
    for (const Buffer &buffer : manifest_.buffers()) {
      const std::string label = fmt::format("buffer '{}'", buffer.name());
      auto type = elementTypeFromName(buffer.type());
      if (!type)
        error(fmt::format("{} has the unknown type '{}'", label, buffer.type()));
      if (!Role_IsValid(buffer.role()) || buffer.role() == ROLE_UNSPECIFIED)
        error(label + " has no role");
      auto elements = elementsOf(buffer.shape());
      if (!elements || buffer.bytes() < 0)
        error(label + " has an impossible shape or size");
      if (buffer.role() == CONSTANT && !manifest_.without_constants())
        checkConstant(buffer, label);
      if (type && elements)
        checkHostSide(buffer, *type, *elements, label);
    }
  }

  void checkEntryPoints() {
    if (manifest_.entry_points_size() == 0)
      error("it has no entry point");
    std::set<std::string> names;
    for (const EntryPoint &entry : manifest_.entry_points()) {
      const std::string label = fmt::format("entry point '{}'", entry.name());
      if (entry.name().empty() || !names.insert(entry.name()).second)
        error(label + " has no name of its own");
      checkCode(entry, label);
      checkEntryBuffers(entry, label);
      std::set<std::string> registers;
      for (const Register &r : entry.registers())
        if (r.name().empty() || !registers.insert(r.name()).second)
          error(fmt::format("{}: register '{}' has no name of its own", label, r.name()));
    }
  }

private:
  void checkZeros(std::span<const std::byte> gap) {
    if (std::ranges::any_of(gap, [](std::byte b) { return b != std::byte{0}; }))
      error("a byte between its sections is not zero");
  }

  template <typename Shape>
  static std::optional<int64_t> elementsOf(const Shape &shape) {
    int64_t product = 1;
    for (int64_t size : shape)
      if (size < 0 || __builtin_mul_overflow(product, size, &product))
        return std::nullopt;
    return product;
  }

  void checkConstant(const Buffer &buffer, const std::string &label) {
    const bool exists = buffer.section() < uint32_t(manifest_.sections_size()) &&
                        manifest_.sections(static_cast<int>(buffer.section())).kind() == CONSTANTS;
    if (!exists)
      return error(label + " names no section of constants");
    const uint64_t bytes = manifest_.sections(static_cast<int>(buffer.section())).bytes();
    if (buffer.offset() > bytes || uint64_t(buffer.bytes()) > bytes - buffer.offset())
      error(fmt::format("{} leaves its section: {} bytes at {} of {}", label, buffer.bytes(), buffer.offset(),
                        bytes));
    if (buffer.alignment() == 0 || buffer.offset() % buffer.alignment() != 0)
      error(label + " is not aligned in its section");
  }

  void checkHostSide(const Buffer &buffer, ElementType type, int64_t elements, const std::string &label) {
    const bool isHosts = buffer.role() == INPUT || buffer.role() == OUTPUT;
    if (!isHosts && (!buffer.host_type().empty() || buffer.has_host_shape() || buffer.has_range()))
      return error(label + " is no input or output, but has a type, shape or range of one");
    if (!buffer.host_type().empty()) {
      auto host = elementTypeFromName(buffer.host_type());
      const bool narrows =
          host && (((*host == ElementType::I64 || *host == ElementType::U64 || *host == ElementType::U32) &&
                    type == ElementType::I32) ||
                   (*host == ElementType::F64 && type == ElementType::F32));
      if (!narrows)
        error(fmt::format("{} converts {} to {}, which the boundary does not", label, buffer.host_type(),
                          buffer.type()));
    }
    if (buffer.has_host_shape() && elementsOf(buffer.host_shape()) != elements)
      error(label + " has another number of elements for the host than for the device");
    if (buffer.has_range() && (isFloat(type) || bitWidth(type) < 8 || buffer.least() > buffer.greatest()))
      error(label + " has an impossible range of values");
  }

  // A target with a GPU has launches, another streams.
  void checkCode(const EntryPoint &entry, const std::string &label) {
    const bool isGpu = manifest_.target().has_gpu();
    const uint32_t section = isGpu ? entry.ptx() : entry.streams();
    if (section >= uint32_t(manifest_.sections_size()) ||
        manifest_.sections(static_cast<int>(section)).kind() != (isGpu ? PTX : STREAMS))
      error(label + (isGpu ? " has no PTX" : " has no streams"));
    if (isGpu && (entry.streams() || entry.registers_size()))
      error(label + " has streams or registers, but its target is a GPU");
    if (!isGpu && (entry.ptx() || entry.launches_size() || entry.kernels_size()))
      error(label + " has PTX, launches or kernels, but its target is no GPU");
  }

  void checkEntryBuffers(const EntryPoint &entry, const std::string &label) {
    std::set<uint32_t> seen;
    std::set<std::pair<int, std::string>> names;
    for (uint32_t index : entry.buffers()) {
      if (index >= uint32_t(manifest_.buffers_size()) || !seen.insert(index).second) {
        error(fmt::format("{} names a buffer that does not exist, or twice: {}", label, index));
        continue;
      }
      const Buffer &buffer = manifest_.buffers(static_cast<int>(index));
      const bool isNamed = buffer.role() == INPUT || buffer.role() == OUTPUT || buffer.role() == STATE;
      if (isNamed && (buffer.name().empty() || !names.insert({buffer.role(), buffer.name()}).second))
        error(fmt::format("{}: buffer '{}' has no name of its own among those of its role", label,
                          buffer.name()));
    }
  }

  const Manifest &manifest_;
  const std::string &name_;
  Diagnostics &diagnostics_;
  size_t before_;
};

} // namespace

bool checkSections(const Manifest &manifest, std::span<const std::byte> file, const std::string &name,
                   Diagnostics &diagnostics) {
  Checker checker(manifest, name, diagnostics);
  checker.checkSections(file);
  return checker.good();
}

bool checkManifest(const Manifest &manifest, const std::string &name, Diagnostics &diagnostics) {
  Checker checker(manifest, name, diagnostics);
  checker.checkBuffers();
  checker.checkEntryPoints();
  return checker.good();
}

} // namespace npuc::artifact
