// How loops of a group's operations follow from the loops of its root.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallBitVector.h"

namespace npuc::tile {

/// For each operation of a group, which root loop each of its loops runs along; -1 where none does.
using LoopsAlong = llvm::DenseMap<mlir::Operation *, llvm::SmallVector<int>>;
LoopsAlong loopsAlong(mlir::linalg::LinalgOp root, const llvm::SetVector<mlir::Operation *> &members);

/// The root's loops along which the whole group can be cut without computing anything twice: every member has
/// exactly one loop along it, which is parallel.
llvm::SmallBitVector cuttableLoops(mlir::linalg::LinalgOp root,
                                   const llvm::SetVector<mlir::Operation *> &members);

} // namespace npuc::tile
