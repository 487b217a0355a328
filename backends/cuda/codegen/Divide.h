// Long sums of few elements.
#pragma once

#include "backends/cuda/codegen/Kernel.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// Sums of products with constants whose blocks are fewer than the cores, in parts: partial sums of some
/// steps of k each, as a tensor, and their sum, in the order of the parts.
void divideSums(mlir::func::FuncOp function, const Machine &machine);

} // namespace npuc::cuda
