// How a function of linalg operations is cut: which operations form a group, which cores and blocks a group
// is cut into.
//
// A plan is written as attributes on the operations, so that it can be printed, changed by hand and read
// back:
//   npu.group = 3 : i64          on every operation of a group
//   npu.steps                    on the group's root, if the group is done in steps, each on all cores:
//   extents of
//                                its loops in one; 0 where a loop is not cut
//   npu.cores, npu.blocks        on the group's root, its last operation: extents of its loops in a core's
//   part, and
//                                in a block of that; 0 where a loop is not cut
//   npu.cycles                   beside them: what the plan is expected to take
//   npu.contraction_blocks       on a contraction: extents of its loops in one command; 0 where a loop is not
//   cut
#pragma once

#include "compiler/tile/Prices.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/SetVector.h"

namespace npuc::tile {

inline constexpr llvm::StringLiteral groupAttr = "npu.group", stepsAttr = "npu.steps",
                                     coresAttr = "npu.cores", blocksAttr = "npu.blocks",
                                     contractionBlocksAttr = "npu.contraction_blocks",
                                     cyclesAttr = "npu.cycles";

/// A multiplication and addition over reduction loops: `sums += lhs * rhs`, operands widened.
bool isContraction(mlir::linalg::LinalgOp op);

/// Of an operation that stands for a constant, which a backend keeps in its place.
inline constexpr llvm::StringLiteral constantAttr = "npu.constant";

/// A tensor that is the same in every launch: an argument with a constant's role, or a view of one; or what
/// has `constantAttr`.
bool isConstantTensor(mlir::Value value);

/// Of a contraction, the loops that the second operand has and the first has not.
llvm::SmallBitVector columnLoops(mlir::linalg::LinalgOp op);

/// Only moves data, each element once: the body yields an input that all loops run over.
bool isMovement(mlir::linalg::LinalgOp op);

/// Operations of one group, in program order; the last is the root.
struct Group {
  llvm::SmallVector<mlir::linalg::LinalgOp> operations;
  mlir::linalg::LinalgOp root() const { return operations.back(); }
  /// In reverse program order, as Loops.h takes them.
  llvm::SetVector<mlir::Operation *> members() const { return {operations.rbegin(), operations.rend()}; }
};

/// Gives every operation of `group` one more loop, of one step, along which the group can be cut: a group
/// that has no other, as it reduces to one value, then has a loop that runs over (one of) the cores.
void addUnitLoop(Group &group);

/// Partitions the function's linalg operations (but fills, which go with what they initialize) into groups
/// that are tiled and fused together. A producer joins its consumers' group if all its users are there, each
/// tiled loop of the root cuts it too (so nothing is computed twice), and the group keeps to one
/// multiplication by constants. Small operations may join what reduces to one value: they all run on one
/// core, in a loop of one step that the group is given.
llvm::SmallVector<Group> formGroups(mlir::func::FuncOp function);

/// Sets the attributes of `groups`: for each the grid of cores and the blocks that take least cycles by
/// `prices` of those that fit a core's scratchpad. A group of a multiplication and of reductions over its
/// rows becomes two where that is cheaper.
void planTiles(llvm::ArrayRef<Group> groups, const Prices &prices);

/// Tiles and fuses each group as its attributes say: an scf.forall over cores, in it scf.for over blocks. The
/// attributes go.
mlir::LogicalResult applyTiles(mlir::func::FuncOp function);

} // namespace npuc::tile
