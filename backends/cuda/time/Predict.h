// The time of a program: that of its launches, at the clock that they leave the board.
#pragma once

#include "backends/cuda/codegen/Generate.h"
#include "backends/cuda/ptxas/Ptxas.h"

namespace npuc::cuda {

/// Of each launch. `assembled`: what ptxas says of the kernels; empty: it was not asked.
std::vector<Prediction> predict(const Program &program, const std::vector<AssembledKernel> &assembled,
                                const target::TargetDescription &target);

/// The clock that the program leaves the board, in GHz, where ptxas was not asked.
double clockOf(const Program &program, const target::TargetDescription &target);

} // namespace npuc::cuda
