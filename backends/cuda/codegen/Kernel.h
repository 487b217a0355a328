// One kernel while it is written, and what forms of kernels there are.
#pragma once

#include "backends/cuda/codegen/Scalars.h"
#include "backends/npu/target/target.pb.h"
#include "compiler/tile/Plan.h"

#include <array>

namespace npuc::cuda {

/// What forms of kernels need to know of a GPU.
struct Machine {
  explicit Machine(const target::TargetDescription &target);
  unsigned capability;
  int64_t sharedBytesPerBlock, cores;
  /// What each of two blocks can have that a core holds at once.
  int64_t sharedBytesOfTwo;
  /// The matrix engine multiplies them.
  bool multiplies(mlir::Type element) const;

private:
  const target::TargetDescription &target;
};

/// A function of pointers to global memory, which grows an argument for each root that it touches.
class Kernel {
public:
  /// Begins a kernel in `module`; code is written at `builder()`.
  Kernel(mlir::ModuleOp module, mlir::Location loc);
  /// Nothing can be written any more.
  void finish();
  /// Takes the kernel out of its module.
  void erase() { function.erase(); }

  mlir::OpBuilder &builder() { return b; }
  Emit emit() { return {b, loc}; }
  mlir::Value pointerTo(mlir::Value root);
  /// The block's dynamic shared memory.
  mlir::Value shared();

  std::array<unsigned, 3> grid = {1, 1, 1};
  unsigned threads = 32;
  unsigned sharedBytes = 0;
  mlir::LLVM::LLVMFuncOp function;
  llvm::SmallVector<mlir::Value> roots; ///< Of the arguments.

private:
  mlir::Location loc;
  mlir::OpBuilder b;
};

/// How a reduction combines, and what changes nothing.
struct Combiner {
  mlir::Operation *op = nullptr; ///< Of the reduction's body.
  mlir::TypedAttr neutral;

  mlir::Value combine(Emit e, mlir::Value x, mlir::Value y) const;
};

/// Nothing if kernels do not reduce so: sums and extremes of 32 bits are.
std::optional<Combiner> combinerOf(mlir::linalg::LinalgOp reduction);

/// The operations of a group whose results are stored: what something outside of it reads, and its root. In
/// program order.
llvm::SmallVector<mlir::linalg::LinalgOp> outputsOf(const tile::Group &group);

/// How many elements a thread has at once of a dimension of `extent`, which they divide: 128 bits of the
/// widest that the group's formulas and reductions read or write in memory, so that a warp's accesses are of
/// whole sectors.
int64_t lanesOf(const tile::Group &group, int64_t extent);

/// Writes the kernel of a group, or fails if it is not of the form. What a form has written when it fails is
/// erased by the caller.
using Form =
    std::function<mlir::LogicalResult(const tile::Group &group, const Machine &machine, Kernel &kernel)>;

/// One thread for some elements of the result: groups without reductions, or with such that a thread does for
/// its elements alone.
mlir::LogicalResult writePointwise(const tile::Group &group, const Machine &machine, Kernel &kernel);
/// Some warps for each row: groups whose reductions are over whole rows. It may have several outputs.
mlir::LogicalResult writeRows(const tile::Group &group, const Machine &machine, Kernel &kernel);
/// Tiles of a product by tensor cores, with what is computed of its sums.
mlir::LogicalResult writeContraction(const tile::Group &group, const Machine &machine, Kernel &kernel);
/// Tiles of a product that are `rows` whole rows, with what is reduced over these. It may have several
/// outputs.
mlir::LogicalResult writeContractionOfRows(const tile::Group &group, int64_t rows, const Machine &machine,
                                           Kernel &kernel);
/// How many rows such a tile has, where that may be best: no more than leave half of the cores a tile, and
/// few only where more leave some without. None if the group is not of the form, or no whole row fits the
/// shared memory and the registers of a block.
llvm::SmallVector<int64_t> rowsOfTiles(const tile::Group &group, const Machine &machine);

/// In how many parts along k the sums of a contraction are computed best, each by blocks of its own: 1 if it
/// has blocks enough, its sums are short, or it is none that tensor cores compute.
int64_t partsOfSums(mlir::linalg::LinalgOp contraction, const Machine &machine);

/// Attention as one kernel with online softmax: groups of two products with a softmax between them.
mlir::LogicalResult writeAttention(const tile::Group &group, const Machine &machine, Kernel &kernel);

} // namespace npuc::cuda
