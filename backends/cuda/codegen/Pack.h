// Operands as tensor cores read them.
#pragma once

#include "backends/cuda/codegen/Kernel.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// The first operand of a product has its elements of k one after another, and the second has k as one run in
/// the same order: a convolution's weights have their channels last. Of bytes k is last there too, unless
/// they can be transposed on their way to registers, and where rows of other elements would not begin at a
/// chunk. A constant is stored so, an activation is transposed before. Of products with constants both have
/// rows of k that begin at a chunk, behind which are zeros: an activation whose rows or windows are not so is
/// copied.
void packOperands(mlir::func::FuncOp function, const Machine &machine);

/// The argument that a tensor is all the elements of, in another shape, if that is a constant.
mlir::BlockArgument constantOf(mlir::Value tensor);
/// The value of a constant in another shape.
mlir::TypedAttr valueOf(mlir::BlockArgument constant, mlir::RankedTensorType viewed);
/// A tensor's value with zeros behind it in dimension `dim`, up to `size`.
mlir::TypedAttr filledUp(mlir::TypedAttr value, int64_t dim, int64_t size);
/// A constant like `constant`, but for its value.
mlir::Value constantLike(mlir::BlockArgument constant, mlir::RankedTensorType type, mlir::TypedAttr value);
/// Takes constants that nothing reads from the function, but for those of `read`, and views of them.
void eraseUnread(mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> read = {});

} // namespace npuc::cuda
