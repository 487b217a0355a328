// What becomes of a tile of sums: it goes through shared memory, so that formulas of it run over whole rows
// and global memory is written in 128 bits, or warps reduce whole rows.
#pragma once

#include "backends/cuda/codegen/Tensor.h"
#include "compiler/tile/Loops.h"

namespace npuc::cuda {

/// Positions of the loops of a group's root, set by those of its members that run along them.
class RootLoops {
public:
  RootLoops(const tile::Group &group, Emit emit);
  /// `op`'s loops in `dims` stand at linear index `at`.
  void place(mlir::linalg::LinalgOp op, const Dims &dims, mlir::Value at, int64_t lanes = 1);
  llvm::ArrayRef<Position> positions() const { return root; }
  /// Where the loops of a member stand; those that run along no loop of the root at 0.
  llvm::SmallVector<Position> of(mlir::linalg::LinalgOp op) const;
  /// Every loop in `dims` runs along one of the root's.
  bool has(mlir::linalg::LinalgOp op, const Dims &dims) const;

private:
  Emit e;
  tile::LoopsAlong along;
  llvm::SmallVector<Position> root;
};

struct TileOfSums {
  int64_t rows = 0, columns = 0;
  bool interleaved = false; ///< See Product::interleavesColumns.
  int64_t parts = 1;        ///< Tiles one behind the other, whose sums are added.

  /// In shared memory.
  int64_t bytes() const { return parts * bytesOfPart(); }
  int64_t bytesOfPart() const { return rows * pitch() * 4; }
  /// Each warp leaves its sums of a part, which is at `memory`: `tilesM` times 16 rows from `row` on and
  /// columns from `column` on: four for each mma.
  void leave(Emit e, mlir::Value memory, llvm::ArrayRef<mlir::Value> sums, mlir::Value row, int64_t tilesM,
             mlir::Value column, mlir::Value lane) const;
  /// All threads compute the group's root of the sums, which are `product`'s of `contraction`, and store it.
  /// The tile's first row and column are `firstM` and `firstN` of the product's; `rowAt` sets the loops where
  /// m stands. `more`: what else the kernel holds of a row of the tile.
  using RowAt = llvm::function_ref<void(mlir::Value m, RootLoops &loops)>;
  using More = llvm::function_ref<void(mlir::Value row, Scalars &scalars)>;
  void finish(
      Kernel &kernel, const tile::Group &group, mlir::linalg::LinalgOp contraction, const Product &product,
      mlir::Value memory, mlir::Value firstM, mlir::Value firstN, RootLoops loops, RowAt rowAt,
      More more = [](mlir::Value, Scalars &) {}) const;
  /// Each warp computes some of the tile's rows, as RowWriter does, and stores the group's outputs. The tile
  /// has all columns of the product. `loops`: where its batch stands.
  void finishRows(Kernel &kernel, const tile::Group &group, mlir::linalg::LinalgOp contraction,
                  const Product &product, mlir::Value memory, mlir::Value firstM,
                  const RootLoops &loops) const;

private:
  /// Words of a row: so many more than there are columns that the rows which are written at once, by a half
  /// or a quarter of a warp, lie in different banks.
  int64_t pitch() const { return columns + (interleaved ? 16 : 8); }
  /// The word of a sum. Threads read runs of four words, which are two or four runs apart from one thread to
  /// the next: runs of every second row and of every 32 columns are in another order, so that those which
  /// eight threads read at once lie in different banks.
  mlir::Value placeOf(Emit e, mlir::Value row, mlir::Value column) const;
  /// The sums of `type` at consecutive columns, parts added.
  Lanes load(Emit e, mlir::Type type, mlir::Value memory, mlir::Value row, mlir::Value column,
             int64_t lanes) const;
};

} // namespace npuc::cuda
