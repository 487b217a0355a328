#include "compiler/quantize/Constants.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/kernels/Cast.h"

#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;

namespace npuc::quantize {

TypedAttr constantOf(Value value) {
  auto constant = value ? value.getDefiningOp<nn::ConstantOp>() : nn::ConstantOp();
  return constant ? constant.getValue() : TypedAttr();
}

std::optional<std::vector<double>> numbersOf(Value value) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(constantOf(value));
  if (!dense)
    return std::nullopt;
  std::vector<double> numbers;
  if (isa<FloatType>(dense.getElementType())) {
    for (const APFloat &number : dense.getValues<APFloat>())
      numbers.push_back(number.convertToDouble());
    return numbers;
  }
  bool isUnsigned = dense.getElementType().isUnsignedInteger();
  for (const APInt &number : dense.getValues<APInt>())
    numbers.push_back(isUnsigned ? static_cast<double>(number.getZExtValue())
                                 : static_cast<double>(number.getSExtValue()));
  return numbers;
}

Value Constants::scale(float value) {
  auto type = RankedTensorType::get({}, b.getF32Type());
  return nn::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef(value)));
}

Value Constants::scale(const std::vector<float> &values) {
  if (values.size() == 1)
    return scale(values.front());
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getF32Type());
  return nn::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef(values)));
}

Value Constants::zeroPoint(int64_t value, Type type) {
  if (value == 0)
    return {};
  auto integer = cast<IntegerType>(type);
  APInt bits(integer.getWidth(), static_cast<uint64_t>(value), !integer.isUnsigned());
  return nn::ConstantOp::create(b, loc, DenseElementsAttr::get(RankedTensorType::get({}, type), bits));
}

Value Constants::integers(const std::vector<int32_t> &values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getI32Type());
  return nn::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef(values)));
}

Value Constants::materialize(TypedAttr value) {
  // A step on elements in memory is done at once.
  auto isInMemory = [](TypedAttr source) { return isa<ElementsAttr>(source); };
  TypedAttr source = value;
  while (nn::isHandle(source)) {
    if (auto scaled = dyn_cast<nn::ScaledAttr>(source))
      source = scaled.getSource();
    else if (auto quantized = dyn_cast<nn::QuantizedAttr>(source))
      source = quantized.getSource();
    else if (auto converted = dyn_cast<nn::ConvertedAttr>(source))
      source = converted.getSource();
    else
      break;
  }
  if (source == value || !isInMemory(source))
    return nn::ConstantOp::create(b, loc, value);
  Diagnostics none; // elements in memory can be read
  return inMemory(reader.read(value, "", none));
}

Value Constants::inMemory(const interpret::HostTensor &elements) {
  RankedTensorType type = interpret::tensorTypeOf(elements, *b.getContext());
  if (nn::byteSize(type) < nn::NNDialect::handleBytes)
    return nn::ConstantOp::create(b, loc, interpret::toElements(elements, *b.getContext()));
  ArrayRef<char> bytes(elements.data<char>(), elements.bytes());
  auto blob = HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64, /*dataIsMutable=*/false);
  return nn::ConstantOp::create(b, loc, DenseResourceElementsAttr::get(type, "computed", std::move(blob)));
}

interpret::HostTensor Constants::read(TypedAttr value, ElementType type) {
  Diagnostics diagnostics;
  interpret::HostTensor tensor = reader.read(value, "", diagnostics);
  if (!tensor) {
    for (const Diagnostic &d : diagnostics.all())
      mlir::emitError(loc) << d.what << ": " << d.why;
    return {};
  }
  return interpret::cast(reader.threads(), tensor, type);
}

interpret::HostTensor Constants::floats(TypedAttr value) {
  return read(value, ElementType::F32);
}
interpret::HostTensor Constants::ints(TypedAttr value) {
  return read(value, ElementType::I32);
}

} // namespace npuc::quantize
