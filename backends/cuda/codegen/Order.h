// The order of dimensions in which a tensor between kernels lies.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// Formulas that store sums of a product transposed, as a key is before it is multiplied, store them in the
/// order of the sums where what reads them gains by it too: a second operand gets its steps of k last.
void orderResults(mlir::func::FuncOp function);

} // namespace npuc::cuda
