// What a device is to the runtime. Each device is a library of its own, loaded when it is asked for
// (Registry.h), or linked into a program that wants it built in.
#pragma once

#include "runtime/artifact/Artifact.h"
#include "support/Diagnostic.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace npuc::device {

/// What the program around the runtime may want to do itself. All members are set; the defaults do what one
/// expects.
struct Hooks {
  Hooks();
  std::function<void(bool isWarning, const std::string &message)> log;
  std::function<void *(size_t bytes, size_t alignment)> allocate; ///< Null if there is no memory.
  std::function<void(void *memory, size_t bytes, size_t alignment)> deallocate;
  std::function<void(std::function<void()> task)>
      start; ///< Runs the task once, on any thread, without waiting for it.
};

struct Options {
  Hooks hooks;
  unsigned threads = 0;      ///< Of one launch; 0: one for each processor.
  bool checks = false;       ///< Simulators: report reads of what was never written, and sums that leave the
                             ///< accumulators. `cuda`: wait for each kernel, so that one that fails is known.
  unsigned ordinal = 0;      ///< Which of several: the device "NAME:1" is the second.
  std::string libraryFolder; ///< Where device libraries are; empty: beside the runtime's own.
};

/// Zeroed memory from the hooks.
class Memory {
public:
  static std::optional<Memory> allocate(const Hooks &hooks, size_t bytes, size_t alignment,
                                        const std::string &what, Diagnostics &diagnostics);
  Memory(Memory &&other) noexcept;
  Memory &operator=(Memory &&other) noexcept;
  ~Memory();
  std::span<std::byte> bytes() const { return {static_cast<std::byte *>(memory_), bytes_}; }

private:
  Memory(const Hooks &hooks, void *memory, size_t bytes, size_t alignment)
      : hooks_(&hooks), memory_(memory), bytes_(bytes), alignment_(alignment) {}
  const Hooks *hooks_;
  void *memory_;
  size_t bytes_, alignment_;
};

/// How a run's time was spent. Immutable.
class Profile {
public:
  virtual ~Profile() = default;
  virtual double cycles() const = 0;
  virtual double milliseconds() const = 0;
  virtual std::string text() const = 0;
  virtual std::string json() const = 0; ///< One object; keys as DESIGN's `npurun --json`.
  virtual bool writeTrace(const std::string &path, Diagnostics &diagnostics) const = 0;
  virtual bool writeReport(const std::string &path, Diagnostics &diagnostics) const = 0;
};

/// One launch. `buffers` has an entry for each of Program::buffers: inputs and outputs are host memory of
/// Buffer::bytes; the others are the device's own and empty here. `registers` are within their bounds.
struct Launch {
  std::span<const std::span<std::byte>> buffers;
  std::span<const int64_t> registers;
  const std::atomic<bool> *cancelled = nullptr; ///< When it becomes true, run() returns false soon.
};

/// One user of a program: owns its states and workspace. Used by one thread at a time.
class Session {
public:
  virtual ~Session() = default;
  /// False with an error, or if it was cancelled. Outputs and states are then undefined.
  virtual bool run(const Launch &launch, Diagnostics &diagnostics) = 0;
  /// Null with an error.
  virtual std::unique_ptr<Profile> time(std::span<const int64_t> registers, Diagnostics &diagnostics) = 0;
  /// A state's memory, as the host may read and write it between runs. `buffer`: index in Program::buffers.
  /// Valid until the next run. Nothing, with an error, if there is no memory for it.
  virtual std::optional<std::span<std::byte>> state(uint32_t buffer, Diagnostics &diagnostics) = 0;
};

/// Used by any number of threads.
class Device {
public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  /// Null with an error, for example because the artifact is for another kind of device. Needs no constants
  /// until the first run().
  virtual std::unique_ptr<Session> createSession(std::shared_ptr<const artifact::Artifact> artifact,
                                                 size_t entryPoint, Diagnostics &diagnostics) = 0;
};

/// Makes a device with those options, null with an error.
using Factory = std::shared_ptr<Device> (*)(const Options &options, Diagnostics &diagnostics);

} // namespace npuc::device
