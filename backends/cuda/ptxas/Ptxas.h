// What ptxas, NVIDIA's assembler, says of PTX: it is no part of the project, and is asked where there is one.
#pragma once

#include "support/Diagnostic.h"

#include <optional>
#include <string>
#include <vector>

namespace npuc::cuda {

/// Of one thread, but shared memory, which is the block's.
struct AssembledKernel {
  std::string name;
  unsigned registers = 0;
  unsigned spilledBytes = 0; ///< Stores and loads for want of registers.
  unsigned sharedBytes = 0;  ///< Static.
};

struct Assembled {
  std::string version; ///< Of ptxas: "13.0.88".
  std::vector<AssembledKernel> kernels;
  std::string cubin;
};

/// The ptxas of PATH, or else of CUDA_HOME's folder `bin`; empty if there is none.
std::string findPtxas();

/// Assembles `ptx` for compute capability `capability` (80) by the program `ptxas`. Its temporary files are
/// in a folder of their own, which goes. Errors: it cannot be run, rejects the PTX (with what it says), or
/// does not speak of a kernel.
std::optional<Assembled> assemble(const std::string &ptxas, const std::string &ptx, unsigned capability,
                                  Diagnostics &diagnostics);

} // namespace npuc::cuda
