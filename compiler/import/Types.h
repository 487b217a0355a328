// ONNX element types and tensors as MLIR's.
#pragma once

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"

#include <onnx/onnx_pb.h>
#include <string>
#include <string_view>

namespace npuc::importer {

/// The element type of ONNX's TensorProto.DataType `type`; null if nn has none (strings, complex numbers, …).
mlir::Type elementType(int32_t type, mlir::MLIRContext *context);
/// The inverse; UNDEFINED for a type that ONNX lacks.
int32_t onnxType(mlir::Type element);
/// "FLOAT", "STRING", …
std::string onnxTypeName(int32_t type);

/// `type` as ONNX states types, for function bodies that depend on them.
onnx::TypeProto typeProto(mlir::RankedTensorType type);

/// Elements packed as files store them (4-bit integers two to a byte, a bool per byte); null if `bytes` has
/// not the size that `type` needs.
mlir::DenseElementsAttr denseFromBytes(mlir::RankedTensorType type, std::string_view bytes);

/// The elements of `tensor`, which holds them itself in any of its fields; null if they are not as many as
/// `type` has.
mlir::DenseElementsAttr denseFromTensor(mlir::RankedTensorType type, const onnx::TensorProto &tensor);

} // namespace npuc::importer
