// How each kind of nn operation is lowered: one table, which is also what is known of what compiles.
#pragma once

#include "compiler/lower/LinalgBuilder.h"
#include "dialects/nn/IR/NN.h"

#include <functional>
#include <vector>

namespace npuc::lower {

/// What must hold of an operation for its handler to take it. The sentence completes "only where …"; it is
/// the check, the error and the documentation.
struct Condition {
  llvm::StringRef sentence;
  std::function<bool(mlir::Operation *)> holds;
};

using Results = llvm::SmallVector<mlir::Value>;

/// Lowers one kind of operation. `lower` returns what replaces the operation's results, and never fails where
/// the conditions hold.
struct Handler {
  llvm::StringRef operation; ///< "nn.gather"
  std::function<Results(mlir::Operation *, LinalgBuilder &)> lower;
  std::vector<Condition> conditions = {};

  /// Adds a condition on the operation, which is an OpTy.
  template <typename OpTy>
  Handler &&where(llvm::StringRef sentence, bool (*holds)(OpTy)) && {
    conditions.push_back({sentence, [holds](mlir::Operation *op) { return holds(mlir::cast<OpTy>(op)); }});
    return std::move(*this);
  }
};

template <typename OpTy>
Handler handler(mlir::Value (*lower)(OpTy, LinalgBuilder &)) {
  return {OpTy::getOperationName(),
          [lower](mlir::Operation *op, LinalgBuilder &b) { return Results{lower(mlir::cast<OpTy>(op), b)}; }};
}

/// Every handler, by the operation's name.
const std::vector<Handler> &handlers();
/// Null if the operation has none.
const Handler *findHandler(llvm::StringRef operation);

// Families.

/// Operations whose result has one formula per element.
std::vector<Handler> pointwiseHandlers();
/// Contractions, softmax, norms, attention.
std::vector<Handler> computeHandlers();
/// Floats to integers and back.
std::vector<Handler> quantizationHandlers();
/// Reshapes, transposes, concatenations, pads.
std::vector<Handler> movementHandlers();
/// Gathers and scatters by index, and slices.
std::vector<Handler> indexHandlers();
/// Reductions, running sums, greatest elements and their positions.
std::vector<Handler> reduceHandlers();
/// Rotary position embedding.
std::vector<Handler> ropeHandlers();

/// Convolutions and pooling.
std::vector<Handler> windowHandlers();

} // namespace npuc::lower
