// A group's loops, and what a cut of them takes of a core.
#pragma once

#include "compiler/tile/Loops.h"
#include "compiler/tile/Plan.h"
#include "compiler/tile/Prices.h"

#include <algorithm>
#include <vector>

namespace npuc::tile {

/// A cut of a group's root loops; 0 where a loop is not cut.
struct Cut {
  llvm::SmallVector<int64_t> cores, blocks;
};

/// A tensor that lives between groups, as its producer leaves it.
struct Produced {
  /// Elements of the run, in row-major order, that each core computes; 0 if cores do not compute runs.
  int64_t chunk = 0;
  /// Cycles for a core to write its part to where all cores reach it.
  double writeOut = 0;
  /// Elements of its first dimension that all cores together finish at a time, in order, so that what reads
  /// it in this way can begin with the first of them; 0 if nothing is finished before all is.
  int64_t rows = 0;
  /// If so: cycles from the last work of the busiest engine until the last rows can be read.
  double lag = 0;
};
using ProducedTensors = llvm::DenseMap<mlir::Value, Produced>;

class GroupModel {
public:
  /// `step`: extent of the root's first loop in one of the steps that the group is done in; 0: in one.
  GroupModel(const Group &group, const Prices &prices, int64_t step = 0);

  /// From now on only of cuts by rows alone: those of columns are none of blocks.
  void cutByRows() { byRows = true; }

  const llvm::SmallBitVector &cuttableRootLoops() const { return cuttable; }
  const llvm::SmallVector<int64_t> &extents() const { return rootExtents; }
  /// Extents of the root's loops in one core's part.
  llvm::SmallVector<int64_t> perCore(llvm::ArrayRef<int64_t> cores) const;

  /// Extents of the root's loops in one block.
  llvm::SmallVector<int64_t> blockExtents(const Cut &cut) const;

  /// Bytes that one core's block takes. Everything counts twice if there are several blocks, so that the next
  /// one can be worked on meanwhile; what comes from outside always does.
  int64_t workingSet(const Cut &cut) const;
  /// The working set takes at most half of a scratchpad; the rest is for tensors that stay.
  bool fits(const Cut &cut) const { return workingSet(cut) <= prices.scratchpadBytes / 2; }

  /// Cycles of the whole group: blocks overlap, so its time is that of the busiest resource, and what a block
  /// needs of the others once. `produced` says where what it reads is. DRAM's time counts by `dramShare` even
  /// in the shadow of other work, as other groups' constants wait for it.
  double cycles(const Cut &cut, const ProducedTensors &produced, double dramShare) const;

  /// The result goes to DRAM, though the function does not return it: no memory is shared, and cores do not
  /// compute runs of it that they could keep.
  bool leavesChip(const Cut &cut) const;

  /// The root's first loop runs over the first dimension of its result and can be cut: rows.
  bool hasRows() const;

  /// Of what the group reads along its rows, how that of most rows at a time was left.
  Produced readByRows(const ProducedTensors &produced) const;

  /// How the root's result is left by a cut.
  Produced leaves(const Cut &cut) const;

  /// Blocks of a contraction of which the group needs more than a cut of the root gives: its n loops, then
  /// its k loops, until the second operand's block takes at most an eighth of a scratchpad. 0: not cut.
  llvm::SmallVector<int64_t> contractionBlocks(mlir::linalg::LinalgOp op,
                                               llvm::ArrayRef<int64_t> blocks) const;

  /// The loops of a member where the root's have `rootExtents`.
  llvm::SmallVector<int64_t> extentsOf(mlir::linalg::LinalgOp op, llvm::ArrayRef<int64_t> rootExtents) const;

private:
  struct Load;
  struct BlockWork {
    double matrix = 0, vector = 0;
    /// What the busier engine does not hide.
    double alone() const { return std::min(matrix, vector); }
  };
  BlockWork blockWork(const Cut &cut) const;
  bool isOutside(mlir::Value value) const;
  std::vector<Load> loads(const Cut &cut) const;
  int64_t elements(mlir::linalg::LinalgOp op, mlir::OpOperand &operand,
                   llvm::ArrayRef<int64_t> extents) const;
  int64_t runOf(mlir::linalg::LinalgOp op, mlir::OpOperand &operand, llvm::ArrayRef<int64_t> cores) const;

  const Group &group;
  const Prices &prices;
  llvm::SetVector<mlir::Operation *> members;
  LoopsAlong along;
  llvm::SmallBitVector cuttable;
  llvm::SmallVector<int64_t> rootExtents;
  bool isStep, multipliesByConstants, byRows = false;
};

} // namespace npuc::tile
