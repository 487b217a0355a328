// Where lowered values are computed into: the function's output arguments, and the slices of assembled
// tensors.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace npuc::lower {

/// Gives operations of one block the destinations that their results belong to. Made after fusion, which
/// gives operations new destinations.
class Destinations {
public:
  /// Finds the assembled tensors of `block`: see LinalgBuilder::assemble.
  explicit Destinations(mlir::Block &block);

  /// Computes `value`, of which `use` is the use that counts, into `destination`, and returns what then
  /// stands for it: the operation that makes it, alone or under reshapes, gets the destination if nothing
  /// else uses it; a tensor of parts is put together there; anything else is copied right before the use's
  /// owner.
  mlir::Value computeInto(mlir::OpOperand &use, mlir::Value destination);

  /// Computes the parts of every assembled tensor into their slices of it: first those that are made for it
  /// alone, each where it is made, then copies of the others.
  void placeParts();

private:
  using Inserts = llvm::SmallVector<mlir::tensor::InsertSliceOp>;

  mlir::Operation *writerOf(mlir::Value value, bool contiguous);
  mlir::Value redirect(mlir::Value value, mlir::Value destination);
  mlir::Value copy(mlir::OpBuilder &builder, mlir::Value value, mlir::Value destination);
  void place(Inserts &inserts);

  mlir::Block &block;
  /// The insertions that make up each assembled tensor, in the order of their chain.
  llvm::SmallVector<Inserts> assembled;
};

} // namespace npuc::lower
