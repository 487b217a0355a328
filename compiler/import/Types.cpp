#include "compiler/import/Types.h"

#include "dialects/nn/IR/NN.h"

#include <cstring>

namespace npuc::importer {
namespace {

using namespace mlir;
using onnx::TensorProto;

struct Mapping {
  int32_t onnx;
  Type (*type)(MLIRContext *);
};

template <unsigned width, IntegerType::SignednessSemantics sign>
Type integer(MLIRContext *context) {
  return IntegerType::get(context, width, sign);
}

template <typename FloatTy>
Type floating(MLIRContext *context) {
  return FloatTy::get(context);
}

constexpr auto plain = IntegerType::Signless, positive = IntegerType::Unsigned;

constexpr Mapping mappings[] = {
    {TensorProto::BOOL, integer<1, plain>},
    {TensorProto::INT4, integer<4, plain>},
    {TensorProto::UINT4, integer<4, positive>},
    {TensorProto::INT8, integer<8, plain>},
    {TensorProto::UINT8, integer<8, positive>},
    {TensorProto::INT16, integer<16, plain>},
    {TensorProto::UINT16, integer<16, positive>},
    {TensorProto::INT32, integer<32, plain>},
    {TensorProto::UINT32, integer<32, positive>},
    {TensorProto::INT64, integer<64, plain>},
    {TensorProto::UINT64, integer<64, positive>},
    {TensorProto::FLOAT16, floating<Float16Type>},
    {TensorProto::BFLOAT16, floating<BFloat16Type>},
    {TensorProto::FLOAT, floating<Float32Type>},
    {TensorProto::DOUBLE, floating<Float64Type>},
    {TensorProto::FLOAT8E4M3FN, floating<Float8E4M3FNType>},
    {TensorProto::FLOAT8E5M2, floating<Float8E5M2Type>},
};

/// One element per value: an integer's low bits, or a float's bit pattern in one of ONNX's integer fields.
template <typename Values>
DenseElementsAttr denseFromBits(RankedTensorType type, const Values &values) {
  if (values.size() != type.getNumElements())
    return {};
  SmallVector<APInt> bits;
  unsigned width = type.getElementTypeBitWidth();
  for (auto value : values)
    bits.push_back(APInt(64, static_cast<uint64_t>(value)).trunc(width));
  auto asInteger = type.clone(IntegerType::get(type.getContext(), width));
  auto dense = DenseElementsAttr::get(cast<ShapedType>(asInteger), bits);
  return isa<FloatType>(type.getElementType()) ? dense.bitcast(type.getElementType())
                                               : DenseElementsAttr::get(type, bits);
}

/// A field whose elements lie in memory as files store them.
template <typename Values>
DenseElementsAttr denseFromField(RankedTensorType type, const Values &values) {
  using Element = std::remove_cvref_t<decltype(values[0])>;
  return denseFromBytes(type, {reinterpret_cast<const char *>(values.data()),
                               static_cast<size_t>(values.size()) * sizeof(Element)});
}

DenseElementsAttr denseFromNibbles(RankedTensorType type, std::string_view bytes) {
  SmallVector<APInt> values;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    values.push_back(APInt(4, static_cast<uint8_t>(bytes[static_cast<size_t>(i / 2)]) >> (i % 2 * 4) & 0xf));
  return DenseElementsAttr::get(type, values);
}

DenseElementsAttr denseFromBools(RankedTensorType type, std::string_view bytes) {
  SmallVector<bool> values;
  for (char byte : bytes)
    values.push_back(byte != 0);
  return DenseElementsAttr::get(cast<ShapedType>(type), ArrayRef<bool>(values));
}

} // namespace

Type elementType(int32_t type, MLIRContext *context) {
  for (const Mapping &mapping : mappings)
    if (mapping.onnx == type)
      return mapping.type(context);
  return {};
}

int32_t onnxType(Type element) {
  for (const Mapping &mapping : mappings)
    if (mapping.type(element.getContext()) == element)
      return mapping.onnx;
  return TensorProto::UNDEFINED;
}

std::string onnxTypeName(int32_t type) {
  return TensorProto::DataType_IsValid(type)
             ? onnx::TensorProto_DataType_Name(static_cast<TensorProto::DataType>(type))
             : std::to_string(type);
}

onnx::TypeProto typeProto(RankedTensorType type) {
  onnx::TypeProto proto;
  onnx::TypeProto::Tensor *tensor = proto.mutable_tensor_type();
  tensor->set_elem_type(onnxType(type.getElementType()));
  tensor->mutable_shape();
  for (int64_t size : type.getShape())
    tensor->mutable_shape()->add_dim()->set_dim_value(size);
  return proto;
}

DenseElementsAttr denseFromBytes(RankedTensorType type, std::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) != nn::byteSize(type))
    return {};
  if (type.getElementType().isInteger(1))
    return denseFromBools(type, bytes);
  if (type.getElementTypeBitWidth() == 4)
    return denseFromNibbles(type, bytes);
  if (type.getNumElements() == 0)
    return DenseElementsAttr::get(type, ArrayRef<Attribute>());
  return DenseElementsAttr::getFromRawBuffer(type, ArrayRef<char>(bytes.data(), bytes.size()));
}

DenseElementsAttr denseFromTensor(RankedTensorType type, const TensorProto &tensor) {
  if (tensor.has_raw_data())
    return denseFromBytes(type, tensor.raw_data());
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    return denseFromField(type, tensor.float_data());
  case TensorProto::DOUBLE:
    return denseFromField(type, tensor.double_data());
  case TensorProto::INT64:
    return denseFromField(type, tensor.int64_data());
  case TensorProto::INT32:
    return denseFromField(type, tensor.int32_data());
  case TensorProto::UINT64:
    return denseFromField(type, tensor.uint64_data());
  case TensorProto::UINT32:
    return denseFromBits(type, tensor.uint64_data());
  case TensorProto::INT4:
  case TensorProto::UINT4: { // Each int32 holds a byte, that is two elements.
    std::string bytes(tensor.int32_data().begin(), tensor.int32_data().end());
    return denseFromBytes(type, bytes);
  }
  default: // Narrower types, one element in each int32.
    return denseFromBits(type, tensor.int32_data());
  }
}

} // namespace npuc::importer
