#include "compiler/interpret/Elements.h"

#include "compiler/interpret/kernels/Loops.h"

#include "mlir/IR/DialectResourceBlobManager.h"

#include <cassert>
#include <cstring>

namespace npuc::interpret {
namespace {

/// Repeats one element over the whole tensor.
void fill(HostTensor &tensor, const void *element) {
  size_t size = itemSize(tensor.type());
  auto *out = tensor.mutableData<std::byte>();
  for (size_t i = 0, count = static_cast<size_t>(tensor.count()); i < count; ++i)
    std::memcpy(out + i * size, element, size);
}

/// MLIR keeps a 4-bit integer in a byte whose upper half means nothing.
void extend(HostTensor &tensor) {
  bool isInt = tensor.type() == ElementType::I4;
  if (!isInt && tensor.type() != ElementType::U4)
    return;
  auto *values = tensor.mutableData<uint8_t>();
  for (int64_t i = 0, count = tensor.count(); i < count; ++i) {
    values[i] &= 15;
    values[i] |= isInt && values[i] > 7 ? 0xf0 : 0;
  }
}

bool allSame(const HostTensor &tensor) {
  size_t size = itemSize(tensor.type());
  return tensor.bytes() > size && std::memcmp(tensor.raw(), tensor.raw() + size, tensor.bytes() - size) == 0;
}

} // namespace

std::optional<ElementType> elementTypeOf(mlir::Type type) {
  if (type.isInteger(1))
    return ElementType::Bool;
  if (auto integer = llvm::dyn_cast<mlir::IntegerType>(type)) {
    bool isUnsigned = integer.isUnsigned();
    switch (integer.getWidth()) {
    case 4:
      return isUnsigned ? ElementType::U4 : ElementType::I4;
    case 8:
      return isUnsigned ? ElementType::U8 : ElementType::I8;
    case 16:
      return isUnsigned ? ElementType::U16 : ElementType::I16;
    case 32:
      return isUnsigned ? ElementType::U32 : ElementType::I32;
    case 64:
      return isUnsigned ? ElementType::U64 : ElementType::I64;
    default:
      return std::nullopt;
    }
  }
  if (llvm::isa<mlir::Float8E4M3FNType>(type))
    return ElementType::F8E4M3;
  if (llvm::isa<mlir::Float8E5M2Type>(type))
    return ElementType::F8E5M2;
  if (type.isF16())
    return ElementType::F16;
  if (type.isBF16())
    return ElementType::BF16;
  if (type.isF32())
    return ElementType::F32;
  if (type.isF64())
    return ElementType::F64;
  return std::nullopt;
}

mlir::Type mlirTypeOf(ElementType type, mlir::MLIRContext &context) {
  switch (type) {
  case ElementType::Bool:
    return mlir::IntegerType::get(&context, 1);
  case ElementType::F8E4M3:
    return mlir::Float8E4M3FNType::get(&context);
  case ElementType::F8E5M2:
    return mlir::Float8E5M2Type::get(&context);
  case ElementType::F16:
    return mlir::Float16Type::get(&context);
  case ElementType::BF16:
    return mlir::BFloat16Type::get(&context);
  case ElementType::F32:
    return mlir::Float32Type::get(&context);
  case ElementType::F64:
    return mlir::Float64Type::get(&context);
  default:
    return mlir::IntegerType::get(&context, bitWidth(type),
                                  isSigned(type) ? mlir::IntegerType::Signless : mlir::IntegerType::Unsigned);
  }
}

ElementType elementTypeOf(mlir::RankedTensorType type) {
  std::optional<ElementType> element = elementTypeOf(type.getElementType());
  assert(element && "the verifiers of nn let no other type through");
  return *element;
}

Shape shapeOf(mlir::RankedTensorType type) {
  return Shape(type.getShape().begin(), type.getShape().end());
}

mlir::RankedTensorType tensorTypeOf(const HostTensor &tensor, mlir::MLIRContext &context) {
  return mlir::RankedTensorType::get(tensor.shape(), mlirTypeOf(tensor.type(), context));
}

HostTensor fromElements(mlir::ElementsAttr value) {
  auto type = llvm::dyn_cast<mlir::RankedTensorType>(value.getType());
  std::optional<ElementType> element = type ? elementTypeOf(type.getElementType()) : std::nullopt;
  if (!element)
    return {};
  HostTensor tensor(*element, shapeOf(type));
  if (auto dense = llvm::dyn_cast<mlir::DenseElementsAttr>(value)) {
    // MLIR packs bools in its own way; other elements lie as here.
    if (*element == ElementType::Bool) {
      auto *out = tensor.mutableData<uint8_t>();
      for (bool b : dense.getValues<bool>())
        *out++ = b;
    } else if (dense.isSplat()) {
      fill(tensor, dense.getRawData().data());
    } else {
      std::memcpy(tensor.mutableData<std::byte>(), dense.getRawData().data(), tensor.bytes());
    }
    extend(tensor);
    return tensor;
  }
  auto resource = llvm::dyn_cast<mlir::DenseResourceElementsAttr>(value);
  mlir::AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || blob->getData().size() != tensor.bytes())
    return {};
  std::memcpy(tensor.mutableData<std::byte>(), blob->getData().data(), tensor.bytes());
  extend(tensor);
  return tensor;
}

mlir::DenseElementsAttr toElements(const HostTensor &tensor, mlir::MLIRContext &context) {
  mlir::RankedTensorType type = tensorTypeOf(tensor, context);
  size_t bytes = allSame(tensor) ? itemSize(tensor.type()) : tensor.bytes();
  if (tensor.type() == ElementType::Bool)
    return mlir::DenseElementsAttr::get(type, llvm::ArrayRef(tensor.data<bool>(), bytes));
  return mlir::DenseElementsAttr::getFromRawBuffer(type, {tensor.data<char>(), bytes});
}

} // namespace npuc::interpret
