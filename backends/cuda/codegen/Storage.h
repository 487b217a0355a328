// Where tensors lie in global memory: a view of a root, which is an argument of the function, or what an
// operation makes.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Value.h"

#include <optional>

namespace npuc::cuda {

/// Elements of `root`'s memory, which is dense; offset and strides in elements.
struct Storage {
  mlir::Value root;
  int64_t offset = 0;
  llvm::SmallVector<int64_t> shape, strides;
};

/// Through reshapes, slices and destinations. Nothing if the tensor has no memory (a fill), or if no strides
/// describe it: a slice whose dimensions are collapsed.
std::optional<Storage> storageOf(mlir::Value tensor);

} // namespace npuc::cuda
