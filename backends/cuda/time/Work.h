// What a launch does, counted by the compiler, and how long that takes on a target: the model of
// docs/cuda.md, "Predicted time".
#pragma once

#include "backends/npu/target/target.pb.h"
#include "support/ElementType.h"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace npuc::cuda {

/// Of one tensor that a launch reads or writes, which is an argument of the kernel.
struct Traffic {
  double read = 0, written = 0; ///< Bytes of the sectors that warps ask for.
  /// Bit i: blocks at other places along axis i of the grid touch other bytes.
  unsigned axes = 0;
};

/// Of all blocks of a launch.
struct Work {
  std::array<uint64_t, elementTypeCount> multiplyAdds{}; ///< Of tensor cores, by operand type, with padding.
  double instructions = 0;                               ///< Of warps.
  /// Of them, those on the lanes of floats and of integers; a division counts as often as it takes.
  double floats = 0, integers = 0;
  double sharedBytes = 0; ///< Read and written.
  std::vector<Traffic> arguments;
  double dramBytes = 0;   ///< Read and written.
  double blockCycles = 0; ///< Of one block, were it alone.
  unsigned registers = 0; ///< Of a thread, estimated.

  uint64_t tensorMultiplyAdds() const;
  double l2Bytes() const;
};

/// How a kernel is launched.
struct Geometry {
  std::array<unsigned, 3> grid = {1, 1, 1};
  unsigned threads = 32;    ///< Of a block.
  uint64_t sharedBytes = 0; ///< Of a block, static and dynamic.

  uint64_t blocks() const { return uint64_t{grid[0]} * grid[1] * grid[2]; }
  unsigned warps() const { return (threads + 31) / 32; }
};

enum class Bound : uint8_t { Launch, Tensor, Issue, Dram, L2, Shared, Latency };
std::string_view name(Bound bound);

struct Prediction {
  double microseconds = 0;
  Bound bound = Bound::Launch;
  unsigned registers = 0, blocksPerCore = 0;
};

/// Blocks that a multiprocessor holds at once: by threads, registers and shared memory; at least 1.
unsigned blocksPerCore(const Geometry &geometry, unsigned registers, const target::TargetDescription &target);

/// `registers`: of a thread, as ptxas says, or 0 for the estimate; `clock`: of multiprocessors and L2, in
/// GHz.
Prediction predict(const Work &work, const Geometry &geometry, unsigned registers, double clock,
                   const target::TargetDescription &target);

/// How long all multiprocessors would be busy, if the work were spread evenly and nothing waited.
double busyMicroseconds(const Work &work, double clock, const target::TargetDescription &target);

} // namespace npuc::cuda
