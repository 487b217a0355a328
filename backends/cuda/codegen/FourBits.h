// Products by weights of 4 bits in groups along k, each with a scale and maybe a zero point: which operations
// they are, and how weights are stored for them.
#pragma once

#include "backends/cuda/codegen/Tensor.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::cuda {

/// results[m, n] = Σ_g scale[n, g] · (offset[n, g] + Σ_{k of group g} A[m, k] · (weight[n, k] − zero[n, g])).
struct FourBits {
  mlir::linalg::LinalgOp contraction;
  /// What has the sums over groups: the contraction, or of integers a reduction of its result.
  mlir::linalg::LinalgOp sums;
  /// Loops of the contraction.
  llvm::SmallVector<unsigned> columns;
  unsigned group = 0, k = 0;
  /// The contraction's loops; groups are in k, and B is not set. `results`: m and n are those of `sums`.
  Product product, results;
  int64_t groups = 1, each = 0; ///< k is so many groups of so many.
  /// Of weights with a sign the highest bit is inverted, so that all are from 0 to 15; what each is more than
  /// it stands for is `zero` and, of each group, one of `zeroPoints`.
  bool isSigned = true;
  int64_t zero = 0;
  /// Constants. Weights as `Nibbles` reads them; the others, of which the last two may be none, [groups,
  /// columns]: f32, i32 and i8. Columns are filled up to whole blocks.
  mlir::Value weights, scales, offsets, zeroPoints;

  /// Sets the products by where A lies now. Fails if it lies otherwise than tensor cores read it.
  mlir::LogicalResult findOperand(const Machine &machine);
  /// Elements of k in a block of weights, which is a row of a tile, and in one mma.
  int64_t elementsOfBlock() const { return product.elementsOfRow(); }
  int64_t elementsOfStep() const { return elementsOfBlock() * stepBytes / rowBytes; }
  int64_t blocksOfK() const { return llvm::divideCeil(product.k.size(), elementsOfBlock()); }
  int64_t blocksOfN() const;
  /// Whether steps of a loop that are so many blocks are whole groups, or groups whole steps.
  bool dividesSteps(int64_t blocks) const;
};

/// Columns of a block of weights: those of a warp.
inline constexpr int64_t columnsOfBlock = 32;

/// Finds such products whose weights, scales and zero points are constants, stores these as kernels read
/// them, and takes from the function what unpacks weights. Groups are of a number of elements of which tensor
/// cores multiply as many, half as many or a multiple at once; weights of others are unpacked to memory.
std::vector<FourBits> packFourBits(mlir::func::FuncOp function, const Machine &machine);

/// Tiles of the product that are `weights.sums`, with what the group computes of them.
mlir::LogicalResult writeFourBits(const tile::Group &group, const FourBits &weights, const Machine &machine,
                                  Kernel &kernel);

} // namespace npuc::cuda
