// The functional simulator: runs a program and computes its exact results, without regard to time.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"
#include "support/Diagnostic.h"
#include "support/Simd.h"

#include <atomic>
#include <memory>
#include <optional>
#include <span>

namespace npuc::npu_sim {

struct FunctionalOptions {
  /// Threads that run commands; results do not depend on it.
  unsigned threads = 1;
  /// Reports reads of what was never written (on-chip memories, workspace and outputs), which needs one bit
  /// for each byte, and integer sums that leave the target's accumulators. Without it, on-chip memories start
  /// as zeros and sums wrap at 32 (64) bits. Accesses outside a memory and gather indices out of range are
  /// always errors.
  bool checks = true;
  /// Vector instructions to use; results do not depend on it.
  SimdLevel simd = simdLevel();
};

/// A program ready to run, and the on-chip memories that it runs on, which launches use one after another.
/// One launch at a time; objects of the same program are independent.
class Functional {
public:
  /// `program` has passed the isa verifier for `target` and outlives the object. An error says who waits for
  /// whom if it cannot come to its end.
  static std::optional<Functional> create(const isa::Program &program,
                                          const target::TargetDescription &target,
                                          const FunctionalOptions &options, Diagnostics &diagnostics);
  Functional(Functional &&) noexcept;
  Functional &operator=(Functional &&) noexcept;
  ~Functional();

  /// One launch. `dram` holds the bytes of each of Program::buffers, at least Buffer::bytes of them; those of
  /// constants and inputs are only read. `registers` holds a value for each of Program::registers, within its
  /// bounds. False with an error if a check fails, which names core, command, operand and address, the first
  /// in the program's order; or if `cancelled` became true. Outputs and states are then undefined.
  bool run(std::span<const std::span<std::byte>> dram, std::span<const int64_t> registers,
           Diagnostics &diagnostics, const std::atomic<bool> *cancelled = nullptr);

private:
  struct Implementation;
  explicit Functional(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation;
};

} // namespace npuc::npu_sim
