// Which ONNX node an operation came from, at every level: its location's name.
#pragma once

#include "mlir/IR/Location.h"

namespace npuc::nn {

/// The innermost name in a location: the ONNX node (or input) that an operation or value came from. Empty if
/// it says nothing.
inline llvm::StringRef nodeName(mlir::Location location) {
  auto named = location->findInstanceOf<mlir::NameLoc>();
  return named ? named.getName().getValue() : llvm::StringRef();
}

} // namespace npuc::nn
