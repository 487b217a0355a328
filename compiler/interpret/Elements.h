// Between MLIR's types and constants and the interpreter's tensors.
#pragma once

#include "compiler/interpret/HostTensor.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

#include <optional>

namespace npuc::interpret {

/// Nothing for a type that nn has not.
std::optional<ElementType> elementTypeOf(mlir::Type type);
mlir::Type mlirTypeOf(ElementType type, mlir::MLIRContext &context);

/// The element type of a tensor type; the verifiers of nn let only ones through that have one.
ElementType elementTypeOf(mlir::RankedTensorType type);
Shape shapeOf(mlir::RankedTensorType type);
mlir::RankedTensorType tensorTypeOf(const HostTensor &tensor, mlir::MLIRContext &context);

/// A copy of the elements of a `dense` or `dense_resource` constant; no tensor if `value` is neither, or a
/// resource without data.
HostTensor fromElements(mlir::ElementsAttr value);
/// A splat if all elements have the same bits.
mlir::DenseElementsAttr toElements(const HostTensor &tensor, mlir::MLIRContext &context);

} // namespace npuc::interpret
