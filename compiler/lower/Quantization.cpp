// Quantization as formulas: floats to integers and back, and sums to integers of few bits.
#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"
#include "compiler/lower/Lower.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

DenseElementsAttr denseOf(Value value) {
  auto constant = value ? value.getDefiningOp<nn::ConstantOp>() : nn::ConstantOp();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
}

Value literal(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value)));
}
Value literal(OpBuilder &b, Location loc, int64_t value, Type type) {
  return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
}

/// The loops over what is quantized: its dimensions, of which one is cut into blocks where each has
/// parameters of its own.
struct Loops {
  SmallVector<int64_t> shape;
  int64_t axis = 0;
  bool cut = false; ///< Loop `axis` runs over blocks, the next one within a block.

  template <typename OpTy>
  static Loops of(OpTy op) {
    ArrayRef<int64_t> shape = op.getType().getShape();
    Loops loops{SmallVector<int64_t>(shape), int64_t(op.getAxis()), false};
    if (op.getBlockSize() == 0 || shapeOf(op.getScale())[loops.axis] == 1)
      return loops;
    loops.cut = true;
    loops.shape[loops.axis] = shapeOf(op.getScale())[loops.axis];
    loops.shape.insert(loops.shape.begin() + loops.axis + 1, int64_t(op.getBlockSize()));
    return loops;
  }

  Operand parameter(LinalgBuilder &b, Value value) const {
    if (typeOf(value).getNumElements() == 1 || (!cut && typeOf(value).getRank() > 1))
      return b.broadcast(value, shape);
    if (!cut)
      return {value, b.dims(shape.size(), {unsigned(axis)})};
    SmallVector<unsigned> own = upTo(shape.size());
    own.erase(own.begin() + axis + 1);
    return {value, b.dims(shape.size(), own)};
  }
};

/// A parameter of all elements, or of some: a number in the body where it is one constant, else an operand of
/// the loops.
class Parameter {
public:
  Parameter(LinalgBuilder &b, Value value, const Loops &loops, SmallVectorImpl<Operand> &inputs) {
    if (!value) {
      number = 0.0;
      return;
    }
    DenseElementsAttr dense = denseOf(value);
    if (dense && dense.isSplat()) {
      number = isa<FloatType>(dense.getElementType()) ? dense.getSplatValue<APFloat>().convertToDouble()
               : dense.getElementType().isUnsignedInteger()
                   ? double(dense.getSplatValue<APInt>().getZExtValue())
                   : double(dense.getSplatValue<APInt>().getSExtValue());
      return;
    }
    at = inputs.size();
    inputs.push_back(loops.parameter(b, value));
  }

  std::optional<double> number;
  size_t at = 0;
};

template <typename T>
Value parameters(LinalgBuilder &b, ArrayRef<T> values, RankedTensorType type) {
  return nn::ConstantOp::create(b.b, b.loc, DenseElementsAttr::get(type, values));
}

/// One for each index of an axis, or for all.
template <typename T>
Value parameters(LinalgBuilder &b, ArrayRef<T> values, Type element) {
  return parameters(b, values, RankedTensorType::get({int64_t(values.size())}, element));
}

/// x / scale: a product with the reciprocal where the scale is known and has one.
Value quantize(nn::QuantizeOp op, LinalgBuilder &b) {
  RankedTensorType type = op.getType();
  Value factor = op.getScale();
  bool inverted = false;
  auto isInvertible = [](const APFloat &scale) {
    double reciprocal = std::abs(1 / scale.convertToDouble());
    return reciprocal == 0 || (reciprocal >= std::numeric_limits<float>::min() &&
                               reciprocal <= std::numeric_limits<float>::max());
  };
  if (DenseElementsAttr dense = denseOf(factor);
      dense && llvm::all_of(dense.getValues<APFloat>(), isInvertible)) {
    SmallVector<float> inverse;
    for (const APFloat &scale : dense.getValues<APFloat>())
      inverse.push_back(float(1 / scale.convertToDouble()));
    factor = parameters<float>(b, inverse, typeOf(factor).clone(b.b.getF32Type()));
    inverted = true;
  }
  Loops loops = Loops::of(op);
  SmallVector<Operand> inputs = {b.identity(b.reshape(op.getInput(), loops.shape))};
  Parameter scale(b, factor, loops, inputs);
  Parameter zero(b, op.getZeroPoint(), loops, inputs);
  Value result =
      b.map(inputs, type.clone(loops.shape), [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
        Value by = scale.number ? literal(inner, loc, *scale.number) : s[scale.at];
        Value quotient = inverted ? arith::MulFOp::create(inner, loc, s[0], by).getResult()
                                  : arith::DivFOp::create(inner, loc, s[0], by).getResult();
        if (isa<FloatType>(type.getElementType()))
          return quotient; // The store rounds and saturates.
        if (op->hasAttr(mayBeNaNAttr)) {
          Formula f{inner, loc};
          quotient =
              f.select(f.isNan(quotient), f.number(-std::numeric_limits<double>::infinity()), quotient);
        }
        Value offset;
        if (!zero.number)
          offset = Formula{inner, loc}.real(widenInteger(inner, loc, s[zero.at]));
        else if (*zero.number != 0)
          offset = literal(inner, loc, *zero.number);
        return b.toInteger(inner, quotient, offset, type.getElementType());
      });
  return b.reshape(result, type.getShape());
}

/// A constant of 4 bits as one of 8: so few numbers need not share bytes.
Value asBytes(LinalgBuilder &b, Value value) {
  auto constant = value ? value.getDefiningOp<nn::ConstantOp>() : nn::ConstantOp();
  if (!constant || !typeOf(value).getElementType().isInteger(4))
    return value;
  RankedTensorType type = typeOf(value).clone(b.b.getI8Type());
  TypedAttr bytes = nn::ConvertedAttr::get(b.b.getContext(), constant.getValue(), type);
  bool isUnsigned = typeOf(value).getElementType().isUnsignedInteger();
  if (auto dense = dyn_cast<DenseIntElementsAttr>(constant.getValue()))
    bytes =
        dense.mapValues(b.b.getI8Type(), [&](const APInt &x) { return isUnsigned ? x.zext(8) : x.sext(8); });
  return nn::ConstantOp::create(b.b, b.loc, bytes);
}

Value dequantize(nn::DequantizeOp op, LinalgBuilder &b) {
  RankedTensorType type = op.getType();
  Loops loops = Loops::of(op);
  SmallVector<Operand> inputs = {b.identity(b.reshape(op.getInput(), loops.shape))};
  Parameter scale(b, op.getScale(), loops, inputs);
  Parameter zero(b, asBytes(b, op.getZeroPoint()), loops, inputs);
  Value result =
      b.map(inputs, type.clone(loops.shape), [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
        // Integers of up to 24 bits are exact in f32, and so are differences of 8 bits.
        auto wide = [&](Value v) { return Formula{inner, loc}.real(widenInteger(inner, loc, v)); };
        Value x = wide(s[0]);
        if (!zero.number)
          x = arith::SubFOp::create(inner, loc, x, wide(s[zero.at]));
        else if (*zero.number != 0)
          x = arith::SubFOp::create(inner, loc, x, literal(inner, loc, *zero.number));
        Value by = scale.number ? literal(inner, loc, *scale.number) : s[scale.at];
        return arith::MulFOp::create(inner, loc, x, by);
      });
  return b.reshape(result, type.getShape());
}

/// (x · multiplier + half) >> shift in 64 bits, half a step only where ties go up. The vector engine's
/// instruction for it is recognized by this form.
Value shifted(OpBuilder &b, Location loc, Value x, Value multiplier, Value shift, bool halfUp) {
  Type i64 = b.getI64Type();
  auto wide = [&](Value v) -> Value {
    return v.getType() == i64 ? v : arith::ExtSIOp::create(b, loc, i64, v).getResult();
  };
  Value product = arith::MulIOp::create(b, loc, wide(x), wide(multiplier)), by = wide(shift);
  if (halfUp) {
    Value one = literal(b, loc, 1, i64);
    Value half = arith::ShLIOp::create(b, loc, one, arith::SubIOp::create(b, loc, by, one));
    product = arith::AddIOp::create(b, loc, product, half);
  }
  return arith::ShRSIOp::create(b, loc, product, by);
}

Value requantize(nn::RequantizeOp op, LinalgBuilder &b) {
  RankedTensorType type = op.getType();
  SmallVector<Operand> inputs = {b.identity(op.getInput())};
  Loops loops{SmallVector<int64_t>(type.getShape()), int64_t(op.getAxis()), false};
  int64_t zeroPoint = op.getZeroPoint();
  if (op.getKind() == nn::RequantizeKind::Float) {
    Parameter scale(b, parameters<float>(b, op.getScales(), b.b.getF32Type()), loops, inputs);
    return b.map(inputs, type, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
      Value x = arith::SIToFPOp::create(inner, loc, inner.getF32Type(), s[0]);
      Value by = scale.number ? literal(inner, loc, *scale.number) : s[scale.at];
      Value offset = zeroPoint ? literal(inner, loc, double(zeroPoint)) : Value();
      return b.toInteger(inner, arith::MulFOp::create(inner, loc, x, by), offset, type.getElementType());
    });
  }
  SmallVector<int32_t> shifts = llvm::map_to_vector(op.getShifts(), [](int32_t shift) { return 31 + shift; });
  Type i32 = b.b.getI32Type(), i64 = b.b.getI64Type();
  Parameter multiplier(b, parameters<int32_t>(b, op.getMultipliers(), i32), loops, inputs);
  Parameter shift(b, parameters<int32_t>(b, shifts, i32), loops, inputs);
  return b.map(inputs, type, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    auto value = [&](const Parameter &p) {
      return p.number ? literal(inner, loc, int64_t(*p.number), i64) : s[p.at];
    };
    Value x =
        shifted(inner, loc, s[0], value(multiplier), value(shift), op.getRounding() == nn::Rounding::HalfUp);
    // Before the zero point is added, so that no sum wraps.
    int64_t most = APInt::getSignedMaxValue(type.getElementTypeBitWidth()).getSExtValue(), least = -most - 1;
    x = arith::MaxSIOp::create(inner, loc, x, literal(inner, loc, least - zeroPoint, i64));
    x = arith::MinSIOp::create(inner, loc, x, literal(inner, loc, most - zeroPoint, i64));
    if (zeroPoint)
      x = arith::AddIOp::create(inner, loc, x, literal(inner, loc, zeroPoint, i64));
    return arith::TruncIOp::create(inner, loc, type.getElementType(), x);
  });
}

bool isFloat8(Type element) {
  return isa<Float8E4M3FNType, Float8E5M2Type>(element);
}

bool isSmall(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  return integer && integer.getWidth() <= 16;
}

bool isSigned(Type element) {
  return isSmall(element) && element.isSignlessInteger();
}

/// Blocks are no views of the axis if the last one is smaller.
template <typename OpTy>
bool hasEqualBlocks(OpTy op) {
  int64_t block = op.getBlockSize();
  return block == 0 || shapeOf(op.getScale())[op.getAxis()] == 1 ||
         op.getType().getDimSize(op.getAxis()) % block == 0;
}
constexpr StringRef blocks = "its blocks, if it has scales for blocks, are of one size";

} // namespace

std::vector<Handler> npuc::lower::quantizationHandlers() {
  return {
      handler<nn::QuantizeOp>(quantize)
          .where<nn::QuantizeOp>("its integers have 4, 8 or 16 bits, or its floats 8, and saturate",
                                 [](nn::QuantizeOp o) {
                                   Type element = o.getType().getElementType();
                                   return isSmall(element) || (isFloat8(element) && o.getSaturate());
                                 })
          .where<nn::QuantizeOp>(blocks, hasEqualBlocks),
      handler<nn::DequantizeOp>(dequantize)
          .where<nn::DequantizeOp>(
              "its operand has floats of 8 bits, or integers of 8 or 16, or of 32 with a sign",
              [](nn::DequantizeOp o) {
                Type element = o.getInput().getType().getElementType();
                return isa<FloatType>(element) || isSmall(element) || element.isSignlessInteger(32);
              })
          .where<nn::DequantizeOp>(blocks, hasEqualBlocks),
      handler<nn::RequantizeOp>(requantize)
          .where<nn::RequantizeOp>("it goes from 32 bits to signed integers of 8 or 16",
                                   [](nn::RequantizeOp o) {
                                     return o.getInput().getType().getElementType().isInteger(32) &&
                                            isSigned(o.getType().getElementType());
                                   })
          .where<nn::RequantizeOp>("floats round to the nearest even integer, and shifts up or not at all",
                                   [](nn::RequantizeOp o) {
                                     nn::Rounding r = o.getRounding();
                                     return o.getKind() == nn::RequantizeKind::Float
                                                ? r == nn::Rounding::HalfEven
                                                : r == nn::Rounding::HalfUp || r == nn::Rounding::Down;
                                   })
          .where<nn::RequantizeOp>("its shifts are 0 to 31",
                                   [](nn::RequantizeOp o) {
                                     return llvm::all_of(o.getShifts(),
                                                         [](int32_t shift) { return shift >= 0; });
                                   }),
  };
}
