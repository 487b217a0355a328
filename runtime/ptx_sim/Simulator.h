// Runs kernels of PTX on the host: what a grid of blocks computes, what it does on the way, and what is wrong
// with it.
#pragma once

#include "runtime/ptx_sim/Memory.h"
#include "runtime/ptx_sim/Report.h"

#include <atomic>

namespace npuc::ptx {

struct Launch {
  std::string kernel;
  Dim3 grid, block;
  uint32_t sharedBytes = 0;          ///< Dynamic.
  std::vector<std::byte> parameters; ///< As Kernel::parameters says where.
  unsigned threads = 0;              ///< Of the host; 0: one for each processor.
  uint64_t mostInstructions = 0;     ///< Of one warp, beyond which it counts as endless; 0: no limit.
  const std::atomic<bool> *cancelled = nullptr; ///< When it becomes true, run() returns soon.
};

/// Whether the launch can run at all. Errors, all of those: a kernel that is not there, a grid or block
/// beyond what CUDA allows or another than the kernel asks for (.reqntid, .maxntid), too much shared memory,
/// parameters of another size.
bool check(const Program &program, const Launch &launch, Diagnostics &diagnostics);

/// Runs all blocks and returns when they have ended. Errors are check()'s. What the simulator's checks find
/// is no error: the report has it. Where blocks write the same memory without atomics, and where atomics add
/// floats, the result depends on their order; with one thread they run in the order of their index.
std::optional<Report> run(const Program &program, Memory &memory, const Launch &launch,
                          Diagnostics &diagnostics);

} // namespace npuc::ptx
