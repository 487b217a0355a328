// Reads artifacts. The file is hostile until it has been checked, all of it that is used.
#pragma once

#include "backends/npu/isa/Program.h"
#include "runtime/artifact/artifact.pb.h"
#include "support/Diagnostic.h"
#include "support/File.h"

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npuc::artifact {

/// An artifact that was checked: header, checksums, manifest, target description, and that every entry
/// point's program passes isa::verifyProgram, or its launches checkLaunches. Only the constants' checksums
/// are left to checkConstants(), because to read them takes time that a simulation without data does not
/// need. Immutable; may be used by any number of threads.
class Artifact {
public:
  /// Maps the file. Errors: what stands in the file against what should; of another version, both versions
  /// and what to do.
  static std::shared_ptr<const Artifact> open(const std::string &path, Diagnostics &diagnostics);
  /// The bytes stay the caller's and are not copied; `name` is what errors call them.
  static std::shared_ptr<const Artifact> fromMemory(std::span<const std::byte> bytes, std::string name,
                                                    Diagnostics &diagnostics);

  const std::string &name() const { return name_; }
  const Manifest &manifest() const { return manifest_; }
  const target::TargetDescription &target() const { return manifest_.target(); }
  bool hasConstants() const { return !manifest_.without_constants(); }

  size_t entryPointCount() const { return programs_.size(); }
  const EntryPoint &entryPoint(size_t index) const { return manifest_.entry_points(static_cast<int>(index)); }
  /// With a GPU for a target it has buffers and no streams: the entry point has launches.
  const isa::Program &program(size_t entryPoint) const { return programs_[entryPoint]; }
  /// The entry point of that name, or the only one if `name` is empty. An error lists those that there are.
  std::optional<size_t> findEntryPoint(const std::string &name, Diagnostics &diagnostics) const;

  const Buffer &buffer(size_t index) const { return manifest_.buffers(static_cast<int>(index)); }
  /// The bytes of a constant buffer (Buffer.bytes of them); only if hasConstants().
  std::span<const std::byte> constant(size_t buffer) const;
  std::span<const std::byte> section(size_t index) const;
  /// The first section of a kind.
  std::optional<std::span<const std::byte>> section(SectionKind kind) const;

  /// Reads all constants once and compares their checksums; later calls return the same. An error names the
  /// section.
  bool checkConstants(Diagnostics &diagnostics) const;

private:
  Artifact() = default;
  static std::shared_ptr<const Artifact> load(std::unique_ptr<Artifact> artifact, Diagnostics &diagnostics);
  bool readHeader(Diagnostics &diagnostics);
  bool readManifest(std::span<const std::byte> bytes, Diagnostics &diagnostics);
  bool readPrograms(Diagnostics &diagnostics);

  std::string name_;
  std::optional<MappedFile> file_;
  std::span<const std::byte> bytes_;
  Manifest manifest_;
  std::vector<isa::Program> programs_;
  mutable std::once_flag constantsChecked_;
  mutable std::vector<Diagnostic> constantFaults_;
};

/// The buffer as a program has it.
isa::Buffer toProgram(const Buffer &buffer);
Buffer fromProgram(const isa::Buffer &buffer);

} // namespace npuc::artifact
