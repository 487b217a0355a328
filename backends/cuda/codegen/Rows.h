// What becomes of a row: reductions over all of it, and formulas with them.
#pragma once

#include "backends/cuda/codegen/Kernel.h"
#include "compiler/tile/Loops.h"

namespace npuc::cuda {

/// The group reduces, and only over whole rows, by sums and extremes; but for `given`, an operation of it.
bool reducesRows(const tile::Group &group, mlir::linalg::LinalgOp given = {});

/// Writes what a group that does so computes of one row, for the threads of some warps together. They hold
/// the row's elements in registers from one reduction to the next if these are few enough, and compute them
/// anew if not.
class RowWriter {
public:
  /// `given`: `scalars` has a source of its results, set before `write`.
  RowWriter(const tile::Group &group, Kernel &kernel, mlir::linalg::LinalgOp given = {});

  /// Loops of the group's root along which its rows lie.
  const llvm::SmallBitVector &rows() const { return rowLoops; }
  int64_t reductions() const { return int64_t(reduced.size()); }
  /// Runs of lanes of the longest row.
  int64_t longest();

  /// Who computes a row.
  struct Team {
    int64_t warps = 1;
    mlir::Value lane;     ///< Of a row's threads.
    mlir::Value firstSum; ///< Of several warps: the place of the row's sums in shared memory.
    mlir::Value inside;   ///< Whether the row is to be stored; null: it is.
  };
  /// The row where the root's loops, those of rows, stand at `at`.
  void write(llvm::ArrayRef<Position> at, const Team &team);

  Scalars scalars;

private:
  /// The loops of an operation at a run of its inner loops.
  struct Run {
    mlir::Value inside; ///< Whether there is such a run; null: it is certain.
    llvm::SmallVector<Position> inner;
  };
  using Body = llvm::function_ref<llvm::SmallVector<mlir::Value>(const Run &, mlir::ValueRange)>;

  llvm::SmallVector<unsigned> innerLoops(mlir::linalg::LinalgOp op);
  llvm::SmallVector<int64_t> innerExtents(mlir::linalg::LinalgOp op);
  int64_t lanesOf(llvm::ArrayRef<int64_t> extents) const;
  int64_t runsOf(mlir::linalg::LinalgOp op);
  Run runAt(llvm::ArrayRef<int64_t> extents, mlir::Value run, int64_t runs, bool certain);
  Run unrolledRun(llvm::ArrayRef<int64_t> extents, int64_t i, int64_t runs);
  llvm::SmallVector<Position> loopsAt(mlir::linalg::LinalgOp op, const Run &run);
  llvm::SmallVector<mlir::Value> forEachRun(mlir::linalg::LinalgOp op, llvm::SmallVector<mlir::Value> carried,
                                            Body body);
  void reduce(mlir::linalg::LinalgOp op);
  mlir::Value acrossWarps(const Combiner &combiner, mlir::Value sum);
  void store(mlir::linalg::LinalgOp op);

  const tile::Group &group;
  Kernel &kernel;
  Emit e;
  tile::LoopsAlong along;
  llvm::SmallBitVector rowLoops;
  llvm::SmallVector<mlir::linalg::LinalgOp> reduced;
  Team team;
  int64_t reductionsDone = 0;
  llvm::DenseMap<unsigned, mlir::Value> rowAt; ///< By the root's loop.
  std::map<std::pair<std::vector<int64_t>, int64_t>, Run> unrolled;
};

} // namespace npuc::cuda
