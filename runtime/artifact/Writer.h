// Writes artifacts, section by section, without ever holding the whole.
#pragma once

#include "runtime/artifact/artifact.pb.h"
#include "support/Diagnostic.h"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace npuc::artifact {

/// First reserve every section, then write their bytes, in any order, then finish. Equal calls give equal
/// bytes, whatever the order in which sections are written.
class Writer {
public:
  /// Writes to a file, which appears under its name only when finish() succeeds (support/File.h).
  static std::optional<Writer> toFile(const std::string &path, Diagnostics &diagnostics);
  /// Writes to memory; bytes() has them after finish().
  static Writer toMemory();

  Writer(Writer &&) noexcept;
  Writer &operator=(Writer &&) noexcept;
  ~Writer();

  /// A new section of that many bytes; returns its index in Manifest.sections. Not while
  /// another thread writes.
  uint32_t reserve(SectionKind kind, std::string name, uint64_t bytes);
  /// Appends to a section. Sections may be written by several threads at once, each section by one, each
  /// thread with its own diagnostics. False with an error if the system refuses.
  bool write(uint32_t section, std::span<const std::byte> bytes, Diagnostics &diagnostics);
  /// reserve() and write() of bytes that are at hand.
  std::optional<uint32_t> add(SectionKind kind, std::string name, std::span<const std::byte> bytes,
                              Diagnostics &diagnostics);

  /// Writes manifest and header. The writer sets the manifest's sections and compiler. Every reserved byte
  /// has been written.
  bool finish(Manifest manifest, Diagnostics &diagnostics);

  const std::string &bytes() const;

private:
  struct State;
  explicit Writer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace npuc::artifact
