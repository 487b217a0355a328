// Second operands of bytes as tensor cores read them.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// Matrices of bytes are not transposed on their way to registers, so the second operand of a product of
/// bytes has its columns' elements of k one after another: a constant is stored so, an activation is
/// transposed before.
void packBytes(mlir::func::FuncOp function);

} // namespace npuc::cuda
