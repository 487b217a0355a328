// What attention computes between its two products, and in which pass over the keys.
#pragma once

#include "backends/cuda/codegen/Kernel.h"

namespace npuc::cuda {

/// A value that each row of scores has of all its keys, such as the greatest or a sum.
struct OfRow {
  mlir::linalg::LinalgOp op;
  Combiner combiner;
  unsigned pass = 0; ///< In which it is found.
  /// A sum of exponentials, which is found in the same pass as the greatest score.
  bool isRelative = false;
  bool isKept = false; ///< Formulas of the weighted sums read it.
};

/// Two products, the second with weights that are formulas of the first one's sums and of values of rows of
/// them. What needs such a value is computed in a later pass over the keys than that.
struct Between {
  mlir::linalg::LinalgOp scores, weighted;
  llvm::SmallVector<OfRow> ofRows; ///< In program order.
  unsigned lastPass = 0;           ///< That which multiplies with the second product's operand.

  /// Of softmax, if there is one: `exponentials` are exp(masked − base), and `base` is `greatest`, of
  /// `masked`, or a formula of it. So a greater one found later is a factor, for their sums too.
  mlir::linalg::LinalgOp greatest, exponentials;
  mlir::Value masked, base;
  unsigned passOfGreatest = 0;
  bool isRelative = false; ///< Weights are exponentials, and multiplied in the pass that finds the greatest.
};

/// Nothing if the group is no such thing.
std::optional<Between> betweenProducts(const tile::Group &group);

} // namespace npuc::cuda
