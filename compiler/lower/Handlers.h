// The handlers of the families of nn operations. Each returns the lowered result, or nothing with `why` set.
#pragma once

#include "compiler/lower/LinalgBuilder.h"
#include "dialects/nn/IR/NN.h"

namespace npuc::lower {

using Lowered = mlir::FailureOr<mlir::Value>;

/// Every operation whose result has one formula per element.
bool isPointwise(mlir::Operation *op);
Lowered lowerPointwise(mlir::Operation *op, LinalgBuilder &b, std::string &why);

/// Contractions, reductions, softmax, norms, attention, rope.
Lowered lowerCompute(mlir::Operation *op, LinalgBuilder &b, std::string &why);

/// Reshapes, transposes, slices, concatenations, gathers.
Lowered lowerMovement(mlir::Operation *op, LinalgBuilder &b, std::string &why);

} // namespace npuc::lower
