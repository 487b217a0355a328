#include "compiler/quantize/FoldOperands.h"

#include <algorithm>

using namespace mlir;

namespace npuc::quantize {
namespace {

bool isByte(Type element) {
  return element.isInteger(8);
}
bool isFloat8(Type element) {
  return isa<Float8E4M3FNType, Float8E5M2Type>(element);
}

/// Whether a zero point is none.
bool isZero(Value zero) {
  std::optional<std::vector<double>> known = numbersOf(zero);
  return known && llvm::all_of(*known, [](double number) { return number == 0; });
}

/// The parameter of a quantization of `type`; nothing if it is one for each of several blocks.
std::optional<Parameter> parameterOf(Value value, RankedTensorType type, int64_t axis, int64_t block) {
  Parameter parameter{value, Shape(static_cast<size_t>(type.getRank()), 1)};
  RankedTensorType own = typeOf(value);
  if (own.getNumElements() == 1)
    return parameter;
  if (block > 0 && own.getDimSize(static_cast<unsigned>(axis)) > 1)
    return std::nullopt;
  if (block > 0)
    parameter.shape.assign(own.getShape().begin(), own.getShape().end());
  else
    parameter.shape[static_cast<size_t>(axis)] = own.getNumElements();
  return parameter;
}

std::optional<Integers> ofDequantize(nn::DequantizeOp op) {
  Integers found{op.getInput(), {}, op.getInput().getType(), {}, {}, {}};
  std::optional<std::vector<double>> known = numbersOf(op.getScale());
  bool isFloat = isFloat8(found.type.getElementType());
  if ((!isByte(found.type.getElementType()) && !isFloat) || (known && !areFinite(*known)))
    return std::nullopt;
  auto axis = static_cast<int64_t>(op.getAxis()), block = static_cast<int64_t>(op.getBlockSize());
  std::optional<Parameter> scale = parameterOf(op.getScale(), found.type, axis, block);
  if (!scale)
    return std::nullopt;
  found.scale = *scale;
  if (Value zero = op.getZeroPoint(); zero && !(isFloat && isZero(zero))) {
    if (isFloat)
      return std::nullopt;
    std::optional<Parameter> parameter = parameterOf(zero, found.type, axis, block);
    if (!parameter)
      return std::nullopt;
    found.zero = *parameter;
  }
  return found;
}

/// Numbers of i32 as integers of 8 bits, with a zero point for each index of `axis` (one, where it is
/// negative) if its numbers need both halves of 9 bits; nothing if they need more.
std::optional<Integers> asBytes(DenseIntElementsAttr dense, int64_t axis) {
  auto type = cast<RankedTensorType>(dense.getType());
  int64_t count = axis < 0 ? 1 : type.getDimSize(static_cast<unsigned>(axis)), inner = 1;
  for (int64_t d = axis + 1; d < type.getRank(); ++d)
    inner *= axis < 0 ? 1 : type.getDimSize(static_cast<unsigned>(d));
  std::vector<int64_t> least(static_cast<size_t>(count), INT32_MAX), greatest(least.size(), INT32_MIN);
  auto indexOf = [&](int64_t element) { return static_cast<size_t>(element / inner % count); };
  for (auto [i, value] : llvm::enumerate(dense.getValues<APInt>())) {
    size_t at = indexOf(static_cast<int64_t>(i));
    least[at] = std::min(least[at], value.getSExtValue());
    greatest[at] = std::max(greatest[at], value.getSExtValue());
  }
  Integers found;
  found.offset.shape.assign(static_cast<size_t>(type.getRank()), 1);
  if (axis >= 0)
    found.offset.shape[static_cast<size_t>(axis)] = count;
  for (size_t i = 0; i < least.size(); ++i) {
    if (greatest[i] - least[i] > 255)
      return std::nullopt;
    bool fits = least[i] >= -128 && greatest[i] <= 127;
    found.offset.values.push_back(fits ? 0 : static_cast<int32_t>(-128 - least[i]));
  }
  SmallVector<APInt> bytes;
  for (auto [i, value] : llvm::enumerate(dense.getValues<APInt>())) {
    int64_t byte = value.getSExtValue() + found.offset.values[indexOf(static_cast<int64_t>(i))];
    bytes.emplace_back(8, static_cast<uint64_t>(byte), true);
  }
  found.type = type.clone(IntegerType::get(type.getContext(), 8));
  found.constant = DenseElementsAttr::get(found.type, bytes);
  return found;
}

std::optional<Integers> ofConstant(TypedAttr constant) {
  if (auto converted = dyn_cast<nn::ConvertedAttr>(constant)) {
    auto source = cast<TypedAttr>(converted.getSource());
    auto from = cast<RankedTensorType>(source.getType());
    return isByte(from.getElementType()) ? std::optional(Integers{{}, source, from, {}, {}, {}})
                                         : std::nullopt;
  }
  auto dense = dyn_cast<DenseIntElementsAttr>(constant);
  if (!dense || dense.empty())
    return std::nullopt;
  for (int64_t axis : {int64_t{-1}, dense.getType().getRank() - 1, int64_t{0}})
    if (std::optional<Integers> found = asBytes(dense, axis))
      return found;
  return std::nullopt;
}

/// Integers of 32 bits that were of 8, less a zero point or not.
std::optional<Integers> ofCentred(Value value) {
  RankedTensorType type = typeOf(value);
  Parameter zero;
  if (auto difference = value.getDefiningOp<nn::SubOp>();
      difference && difference.getLhs().getType() == type) {
    zero.value = difference.getRhs();
    zero.shape.assign(static_cast<size_t>(type.getRank()), 1);
    ArrayRef<int64_t> own = typeOf(zero.value).getShape();
    std::copy(own.begin(), own.end(), zero.shape.end() - static_cast<ptrdiff_t>(own.size()));
    value = difference.getLhs();
  }
  std::optional<Integers> found;
  if (TypedAttr constant = constantOf(value))
    found = ofConstant(constant);
  else if (auto cast = value.getDefiningOp<nn::CastOp>();
           cast && isByte(typeOf(cast.getInput()).getElementType()))
    found = Integers{cast.getInput(), {}, typeOf(cast.getInput()), {}, {}, {}};
  if (found)
    found->zero = zero;
  return found;
}

} // namespace

std::optional<Integers> integersOf(Value value) {
  if (auto dequantize = value.getDefiningOp<nn::DequantizeOp>())
    return ofDequantize(dequantize);
  return typeOf(value).getElementType().isInteger(32) ? ofCentred(value) : std::nullopt;
}

Value Arithmetic::integers(Integers &operand) {
  if (!operand.value)
    operand.value = make.materialize(operand.constant);
  return operand.value;
}

Value Arithmetic::shaped(const Parameter &parameter, Type element, ArrayRef<int64_t> shape) {
  Value value = parameter.value;
  if (typeOf(value).getElementType() != element)
    value = b.createOrFold<nn::CastOp>(loc, typeOf(value).clone(element), value, true);
  return b.createOrFold<nn::ReshapeOp>(loc, RankedTensorType::get(shape, element), value);
}

Value Arithmetic::zero(const Integers &operand, llvm::function_ref<Shape(ArrayRef<int64_t>)> atResult) {
  Value offset, zero;
  if (operand.hasOffset())
    offset = b.createOrFold<nn::ReshapeOp>(
        loc, RankedTensorType::get(atResult(operand.offset.shape), b.getI32Type()),
        make.integers(operand.offset.values));
  if (operand.zero)
    zero = shaped(operand.zero, b.getI32Type(), atResult(operand.zero.shape));
  return offset && zero ? nn::AddOp::create(b, loc, zero, offset) : zero ? zero : offset;
}

Value Arithmetic::minus(Value sums, Value x, Value y) {
  return nn::SubOp::create(b, loc, sums, nn::MulOp::create(b, loc, x, y));
}

Value Arithmetic::finish(Value sums, const Parameter &lhs, const Parameter &rhs, int64_t column, Value bias) {
  if (!lhs)
    return bias ? nn::AddOp::create(b, loc, sums, bias) : sums;
  Type f32 = b.getF32Type();
  RankedTensorType wide = result.clone(f32);
  auto flat = [&](const Parameter &p) {
    return shaped(p, f32,
                  p.isSingle() ? ArrayRef<int64_t>() : ArrayRef(p.shape[static_cast<size_t>(column)]));
  };
  Value y;
  SmallVector<Parameter> rest;
  if (typeOf(sums).getElementType() == f32) {
    y = sums;
    rest = {lhs, rhs};
    if (lhs.isAlong(column) && rhs.isAlong(column))
      rest = {
          {precise(nn::MulOp::create(b, loc, flat(lhs), flat(rhs))), lhs.isSingle() ? rhs.shape : lhs.shape}};
  } else if (lhs.isAlong(column) && rhs.isAlong(column)) {
    y = scaled(sums, precise(nn::MulOp::create(b, loc, flat(lhs), flat(rhs))), wide, column);
  } else if (rhs.isAlong(column)) {
    y = scaled(sums, flat(rhs), wide, column);
    rest = {lhs};
  } else {
    y = precise(nn::CastOp::create(b, loc, wide, sums, true));
    rest = {lhs, rhs};
  }
  return finish(y, rest, bias);
}

Value Arithmetic::finish(Value y, ArrayRef<Parameter> scales, Value bias) {
  Type f32 = b.getF32Type();
  for (const Parameter &scale : scales)
    y = precise(nn::MulOp::create(b, loc, y, shaped(scale, f32, scale.shape)));
  if (bias) {
    if (typeOf(bias).getElementType() != f32)
      bias = b.createOrFold<nn::CastOp>(loc, typeOf(bias).clone(f32), bias, true);
    y = precise(nn::AddOp::create(b, loc, y, bias));
  }
  return y.getType() == result ? y : nn::CastOp::create(b, loc, result, y, true).getResult();
}

Value Arithmetic::scaled(Value sums, Value scale, RankedTensorType wide, int64_t column) {
  return precise(nn::DequantizeOp::create(b, loc, wide, sums, scale, Value(),
                                          typeOf(scale).getRank() == 0 ? 0 : column, 0));
}

} // namespace npuc::quantize
