// Second operands of bytes as tensor cores read them.
#pragma once

#include "backends/cuda/codegen/Kernel.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// Tensor cores read the second operand of a product of bytes with its columns' elements of k one after
/// another: a constant is stored so, an activation that cannot be transposed on its way to registers before.
void packBytes(mlir::func::FuncOp function, const Machine &machine);

} // namespace npuc::cuda
