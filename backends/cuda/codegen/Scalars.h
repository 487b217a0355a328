// The elements of a kernel's tensors, computed where they are needed: what other kernels made is loaded, what
// the kernel's own operations make is evaluated.
#pragma once

#include "backends/cuda/codegen/Emit.h"
#include "backends/cuda/codegen/Storage.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/SetVector.h"

#include <functional>
#include <map>

namespace npuc::cuda {

/// Values of consecutive lanes.
using Lanes = llvm::SmallVector<mlir::Value>;

class Scalars {
public:
  /// `pointerOf`: the kernel's pointer to a root's memory.
  Scalars(Emit emit, std::function<mlir::Value(mlir::Value root)> pointerOf)
      : e(emit), pointerOf(std::move(pointerOf)) {}

  /// The operations whose results are not in memory; their elements are computed.
  llvm::SetVector<mlir::Operation *> inlined;
  /// Elements that the kernel holds otherwise, as those of sums in registers.
  using Source = std::function<Lanes(llvm::ArrayRef<Position> indices, unsigned lanes)>;
  llvm::DenseMap<mlir::Value, Source> sources;

  /// The elements of `tensor` at `indices`, for each lane. They have the tensor's element type.
  Lanes at(mlir::Value tensor, llvm::ArrayRef<Position> indices, unsigned lanes);
  /// What `op` leaves at `loops` of the results: a reduction goes over its own loops, one step after another.
  llvm::SmallVector<Lanes> compute(mlir::linalg::LinalgOp op, llvm::ArrayRef<Position> loops, unsigned lanes);
  /// What `op` yields at `loops`, given what its operands hold there. `outs`: of the results so far.
  llvm::SmallVector<Lanes> evaluate(mlir::linalg::LinalgOp op, llvm::ArrayRef<Position> loops, unsigned lanes,
                                    llvm::ArrayRef<Lanes> outs = {});
  /// Stores what `op` yields at `loops` to the memory of its results.
  void store(mlir::linalg::LinalgOp op, llvm::ArrayRef<Position> loops, llvm::ArrayRef<Lanes> results);

  /// The positions of a tensor's dimensions where the loops are at `loops`.
  llvm::SmallVector<Position> through(mlir::AffineMap map, llvm::ArrayRef<Position> loops) const;

  /// Runs `body` with what is known now, and forgets what it adds, which does not dominate what follows.
  void scoped(llvm::function_ref<void()> body) {
    auto before = known;
    body();
    known = std::move(before);
  }

  Emit e;

private:
  struct Access;
  Lanes reduce(mlir::linalg::LinalgOp op, llvm::ArrayRef<unsigned> over,
               llvm::MutableArrayRef<Position> loops, const Lanes &sums);
  void store(mlir::Value tensor, llvm::ArrayRef<Position> indices, llvm::ArrayRef<mlir::Value> values);
  Access accessTo(mlir::Value tensor, llvm::ArrayRef<Position> indices, unsigned lanes);
  Position apply(mlir::AffineExpr expr, llvm::ArrayRef<Position> dims) const;
  mlir::Value scalarOf(mlir::Operation &op, llvm::function_ref<mlir::Value(mlir::Value)> operand,
                       llvm::ArrayRef<Position> loops, unsigned lane);
  mlir::Value loadNibble(mlir::Value tensor, llvm::ArrayRef<Position> indices, unsigned lane);
  mlir::Value constant(mlir::Value value) const;
  mlir::Value laneOf(const Position &position, unsigned lane) const;

  std::function<mlir::Value(mlir::Value)> pointerOf;
  using Key = std::pair<void *, std::vector<std::pair<void *, int64_t>>>;
  std::map<std::pair<Key, unsigned>, Lanes> known;
};

} // namespace npuc::cuda
