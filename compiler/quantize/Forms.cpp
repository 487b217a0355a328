#include "compiler/quantize/Forms.h"

using namespace mlir;

namespace npuc::quantize {
namespace {

Value number(OpBuilder &builder, Location loc, double value, Type element) {
  auto type = RankedTensorType::get({}, element);
  return nn::ConstantOp::create(builder, loc,
                                DenseElementsAttr::get(type, builder.getFloatAttr(element, value)));
}

} // namespace

Value rowScales(OpBuilder &builder, Location loc, Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  FloatType f32 = builder.getF32Type();
  if (!type.getElementType().isF32())
    x = nn::CastOp::create(builder, loc, type.clone(f32), x);
  Value magnitudes = nn::AbsOp::create(builder, loc, x);
  Value most = nn::ReduceOp::create(builder, loc, nn::ReduceKind::Max, magnitudes,
                                    ArrayRef<int64_t>{type.getRank() - 1}, true);
  Value scale = nn::MulOp::create(builder, loc, most, number(builder, loc, 1.0 / 127, f32));
  // A row of zeros is divided by something.
  return nn::MaxOp::create(builder, loc, scale, number(builder, loc, 1e-20, f32));
}

Value aroundRows(OpBuilder &builder, Location loc, Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  int64_t axis = type.getRank() - 1, size = type.getDimSize(axis);
  Value scale = rowScales(builder, loc, x);
  Value integers = nn::QuantizeOp::create(builder, loc, type.clone(builder.getI8Type()), x, scale, Value(),
                                          axis, size, true);
  return nn::DequantizeOp::create(builder, loc, type, integers, scale, Value(), axis, size);
}

Value aroundFp8(OpBuilder &builder, Location loc, Value x, float scale, FloatType element) {
  auto type = cast<RankedTensorType>(x.getType());
  Value by = number(builder, loc, scale, builder.getF32Type());
  Value small = nn::QuantizeOp::create(builder, loc, type.clone(element), x, by, Value(), 0, 0, true);
  return nn::DequantizeOp::create(builder, loc, type, small, by, Value(), 0, 0);
}

} // namespace npuc::quantize
