// Files: read by mapping, written so that either the whole file appears under its name or nothing does.
#pragma once

#include "support/Diagnostic.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace npuc {

/// A file mapped read-only. Movable; the bytes stay at their address for as long as some MappedFile holds
/// them.
class MappedFile {
public:
  /// An error (the path and the system's reason) if `path` is missing, unreadable or not a regular file.
  static std::optional<MappedFile> open(const std::string &path, Diagnostics &diagnostics);

  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  const std::string &path() const { return path_; }
  size_t size() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const { return bytes_; }

private:
  MappedFile(std::string path, std::span<const std::byte> bytes) : path_(std::move(path)), bytes_(bytes) {}

  std::string path_;
  std::span<const std::byte> bytes_;
};

/// A file being written in the folder of `path`, which `commit` gives its name. Without commit nothing is
/// left, however the process ends: the file has no name until then (O_TMPFILE). Where the file system lacks
/// that, it has a temporary name, which goes with the object, or when the process is ended by SIGINT, SIGTERM
/// or SIGHUP (unless the program handles or ignores that signal itself). What is not a regular file
/// (/dev/null, a pipe) is written directly.
class AtomicFile {
public:
  /// An error (the path and the system's reason) if nothing can be written at `path`.
  static std::optional<AtomicFile> create(const std::string &path, Diagnostics &diagnostics);

  AtomicFile(AtomicFile &&) noexcept;
  AtomicFile &operator=(AtomicFile &&) noexcept;
  ~AtomicFile();

  /// Appends at the current end. False with an error if the system refuses, for example because the disk is
  /// full.
  bool write(std::span<const std::byte> bytes, Diagnostics &diagnostics);
  /// Writes at `offset`, which may lie beyond the end; may be called from several threads at once, each with
  /// its own diagnostics. Does not move the end that `write` appends at. Not for pipes.
  bool writeAt(uint64_t offset, std::span<const std::byte> bytes, Diagnostics &diagnostics);

  /// Gives the file its name. `durable` also waits until its bytes are on the disk. False with an error if
  /// that fails.
  bool commit(Diagnostics &diagnostics, bool durable = false);

private:
  struct State;
  explicit AtomicFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Writes `bytes` to `path` atomically.
bool writeFile(const std::string &path, std::span<const std::byte> bytes, Diagnostics &diagnostics);

} // namespace npuc
