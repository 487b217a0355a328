// The order of dimensions in which a tensor between kernels lies.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// Formulas that transpose what they read, as a key is before it is multiplied, leave it in its order where
/// what reads them gains by it: second operands get their steps of k last, and other sums run along them.
void orderResults(mlir::func::FuncOp function);

} // namespace npuc::cuda
