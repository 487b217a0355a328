// What contractions and attention have in common: operands of tensor cores, their tiles in shared memory, and
// the instructions on them.
#pragma once

#include "backends/cuda/codegen/Kernel.h"

namespace npuc::cuda {

/// So many elements, each as far from the one before it.
struct Run {
  int64_t extent, stride;
};

/// Some loops as one index in row-major order.
struct Dims {
  llvm::SmallVector<unsigned> loops;
  llvm::SmallVector<int64_t> extents;

  int64_t size() const;
  /// Sets the positions of the loops at linear index `at`; the last takes `lanes` steps, which divide its
  /// extent.
  void place(Emit e, mlir::Value at, int64_t lanes, llvm::MutableArrayRef<Position> positions) const;
  /// Where an operand of `strides` has its elements: loops that lie one behind the other are one.
  llvm::SmallVector<Run> runs(llvm::ArrayRef<int64_t> strides) const;
};

/// An operand of a contraction in global memory: element offsets along the contraction's loops.
struct OperandView {
  mlir::Value tensor;
  Storage storage;
  llvm::SmallVector<int64_t> strides; ///< Of each loop.
  int64_t elementBytes = 2;
  /// Runs lie along the other dimension: rows of the tile are steps of k.
  bool rowsAreK = false;
  /// Steps of k lie in the tile so that `loadTransposedColumns` gives bytes in the order of A's. Without,
  /// a register's four are two neighbours of one eight of steps and two of the next: as sums hold them.
  bool ordersBytes = false;
};

/// Nothing if the operand has no memory, or if its elements are not apart by a stride along each loop.
/// Windows are: along the positions of a convolution and within its window.
std::optional<OperandView> viewOf(mlir::linalg::LinalgOp op, unsigned input);

/// C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n]. k is one run of B; of A one or more, of which the
/// last is of neighbours.
struct Product {
  Dims batch, m, n, k;
  OperandView a, b;
  mlir::Type elementA, elementB;

  bool isFloat() const { return mlir::isa<mlir::FloatType>(elementA); }
  /// f32, or of integers i32.
  mlir::Type sumType() const;
  /// Of 16 columns that tensor cores get, the first eight are those of even number: bytes come transposed to
  /// registers only as pairs of columns.
  bool interleavesColumns() const { return b.rowsAreK && b.elementBytes == 1; }
  /// Elements of k in a row of a tile.
  int64_t elementsOfRow() const;
};

/// What `op` sums up begins with a fill of zeros.
bool startsAtZero(mlir::linalg::LinalgOp op);

/// A contraction that tensor cores compute: of types that they multiply, from zero, of operands whose runs
/// are aligned to 128 bits. Nothing if it is none. `inRegisters`: A is computed where it is needed, and B's
/// rows are steps of k.
std::optional<Product> productOf(mlir::linalg::LinalgOp contraction, const Machine &machine,
                                 bool inRegisters = false);

/// The same where B is computed on the way to registers, from memory that other operations describe: its
/// loops are `columns`, and `group` and `k`, which are one run of A. B is not set.
std::optional<Product> productOfGroups(mlir::linalg::LinalgOp contraction, llvm::ArrayRef<unsigned> columns,
                                       unsigned group, unsigned k, const Machine &machine);

/// Bytes of k in a row of a tile, and in one mma; of a copy.
inline constexpr int64_t rowBytes = 64, stepBytes = 32, chunkBytes = 16;

/// Bytes from one of `parts` tiles of as many rows to the next. Every second one begins in the other half of
/// the banks, so that a row's copies to two of them do not meet.
inline int64_t tilePitch(int64_t rows, int64_t parts) {
  return rows * rowBytes + (parts > 1 ? rowBytes : 0);
}

/// Copies tiles of an operand to shared memory, `rows` of m or n from `first` on: all threads, a chunk each
/// at a time. A step is `parts` tiles, one behind the other in k and in shared memory. Chunks are swizzled so
/// that ldmatrix has no bank conflicts; what is outside of the operand becomes zero.
class TileLoader {
public:
  TileLoader(Kernel &kernel, const OperandView &operand, const Dims &rows, const Dims &k, const Dims &batch,
             int64_t tile, mlir::Value first, mlir::Value batchAt, mlir::Value thread, int64_t parts = 1);
  /// The tiles at step `step` of k, to `memory`.
  void load(mlir::Value step, mlir::Value memory);

private:
  Kernel &kernel;
  Emit e;
  const OperandView &operand;
  int64_t kSize;
  llvm::SmallVector<Run> kRuns;
  int64_t elementsOfStep;
  mlir::Value pointer;
  /// Of each chunk of a thread: offset in global memory at step 0, in elements (without that of k, if k is
  /// several runs); bytes in shared memory; whether its row or column is inside (null: certainly); the
  /// element of k at step 0.
  struct Chunk {
    mlir::Value offset, shared, inside, k, exists;
  };
  llvm::SmallVector<Chunk> own;
};

/// Fragments of one mma: of 16 rows of A from `first` on, four registers.
llvm::SmallVector<mlir::Value> loadRows(Kernel &kernel, mlir::Value tile, mlir::Value first, int64_t step,
                                        mlir::Value lane);
/// Of 16 columns of B, two registers for each eight of them.
llvm::SmallVector<mlir::Value> loadColumns(Kernel &kernel, mlir::Value tile, mlir::Value first, int64_t step,
                                           mlir::Value lane);
/// The same of a tile of B whose rows are steps of k with `columns` columns; of bytes, those of even number
/// and those of odd.
llvm::SmallVector<mlir::Value> loadTransposedColumns(Kernel &kernel, const Product &product, mlir::Value tile,
                                                     int64_t columns, mlir::Value first, int64_t step,
                                                     mlir::Value lane);
/// sums += rows · columns, by one mma of 16 × 8.
void multiplyAdd(Kernel &kernel, const Product &product, llvm::ArrayRef<mlir::Value> rows,
                 llvm::ArrayRef<mlir::Value> columns, llvm::MutableArrayRef<mlir::Value> sums);

} // namespace npuc::cuda
