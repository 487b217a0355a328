#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"

#include "mlir/IR/Matchers.h"

#include <cmath>
#include <limits>
#include <numbers>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

Value gelu(const Formula &f, Value x, bool tanh) {
  Value half = f.mul(x, f.number(0.5));
  Value inner = tanh ? f.call<math::TanhOp>(f.mul(f.number(std::sqrt(2 / std::numbers::pi)),
                                                  f.add(x, f.mul(f.number(0.044715), f.mul(x, f.mul(x, x))))))
                     : f.call<math::ErfOp>(f.mul(x, f.number(1 / std::numbers::sqrt2)));
  return f.mul(half, f.add(f.number(1), inner));
}

/// x to a power that is a whole number of 0 or more.
Value wholePower(const Formula &f, Value x, int64_t exponent) {
  Value result = exponent % 2 ? x : f.number(1, x.getType());
  for (exponent /= 2; exponent > 0; exponent /= 2) {
    x = f.mul(x, x);
    result = exponent % 2 ? f.mul(result, x) : result;
  }
  return result;
}

/// Exponents up to this are products.
constexpr double greatestWholePower = 64;

bool isWholePower(std::optional<double> exponent) {
  return exponent && *exponent >= 0 && *exponent <= greatestWholePower && *exponent == std::floor(*exponent);
}

/// x to a power that is the same for all elements, if that is short and exact for negative x too.
Value knownPower(const Formula &f, Value x, std::optional<double> exponent) {
  if (isWholePower(exponent))
    return wholePower(f, x, int64_t(*exponent));
  if (exponent == 0.5)
    return f.call<math::SqrtOp>(x);
  if (exponent == -0.5)
    return f.call<math::RsqrtOp>(x);
  if (exponent == -1)
    return f.div(f.number(1), x);
  return {};
}

/// |x|^y = e^(y ln |x|), with the sign of x for odd y and NaN, as ln x is, for negative x and y that is no
/// whole number.
Value power(const Formula &f, Value x, Value y) {
  Value zero = f.number(0), one = f.number(1);
  y = f.real(y);
  Value magnitude = f.exp(f.mul(y, f.call<math::LogOp>(f.call<math::AbsFOp>(x))));
  Value isWhole = f.equal(y, f.call<math::FloorOp>(y)), half = f.mul(y, f.number(0.5));
  Value isOdd = f.complement(f.equal(half, f.call<math::FloorOp>(half)));
  Value below = f.select(isWhole, f.select(isOdd, f.negate(magnitude), magnitude), f.call<math::LogOp>(x));
  Value result = f.select(f.less(x, zero), below, magnitude);
  // 0 · ln 0 and y · ln 1 of infinite y are no numbers, but the powers are 1.
  return f.select(f.any(f.equal(y, zero), f.equal(x, one)), one, result);
}

/// a − b · ⌊a / b⌋, with the sign of b; truncated, with the sign of a.
Value remainder(const Formula &f, Value a, Value b, bool truncated) {
  if (isa<FloatType>(a.getType())) {
    Value quotient = f.div(a, b), down = f.call<math::FloorOp>(quotient);
    if (truncated)
      down = f.select(f.less(quotient, f.number(0)), f.call<math::CeilOp>(quotient), down);
    return f.sub(a, f.mul(b, down));
  }
  Value rest = f.sub(a, f.mul(b, f.div(a, b))), zero = f.number(0, a.getType());
  if (truncated)
    return rest;
  Value isOther = f.both(f.complement(f.equal(rest, zero)), f.differs(f.less(rest, zero), f.less(b, zero)));
  return f.select(isOther, f.add(rest, b), rest);
}

Value sign(const Formula &f, Value x) {
  Value zero = f.number(0, x.getType());
  return f.select(f.less(zero, x), f.number(1, x.getType()),
                  f.select(f.less(x, zero), f.number(-1, x.getType()), x));
}

Value isInfinite(const Formula &f, Value x, bool positive, bool negative) {
  double infinity = std::numeric_limits<double>::infinity();
  Value high = f.equal(x, f.number(infinity)), low = f.equal(x, f.number(-infinity));
  if (positive && negative)
    return f.any(high, low);
  return positive ? high : negative ? low : f.number(0, f.b.getI1Type());
}

/// The engine shifts by b modulo 32.
Value shiftLeft(const Formula &f, Value a, Value b) {
  Value shifted = arith::ShLIOp::create(f.b, f.loc, a, b);
  return f.select(f.less(b, f.number(32, b.getType())), shifted, f.number(0, a.getType()));
}

Value shiftRight(const Formula &f, Value a, Value b) {
  return arith::ShRSIOp::create(f.b, f.loc, a, f.min(b, f.number(31, b.getType())));
}

/// A conversion as nn.cast states it, from what the body holds (floats in f32) to the result's type.
Value cast(const Formula &f, Value x, Type from, Type to) {
  if (to.isInteger(1)) {
    if (from.isInteger(1))
      return x;
    return f.compare(nn::ComparePredicate::Ne, x, f.number(0, x.getType()));
  }
  bool toFloat = isa<FloatType>(to);
  if (isa<FloatType>(from)) {
    if (toFloat)
      return x;
    // Toward zero: the engine's conversion rounds to nearest, so the value is an integer before it.
    Value magnitude = f.call<math::FloorOp>(f.call<math::AbsFOp>(x));
    Value truncated = f.select(f.less(x, f.number(0)), f.negate(magnitude), magnitude);
    unsigned bits = to.getIntOrFloatBitWidth();
    if (bits < 32) { // To the nearest value in range; that of 32 bits the engine takes itself.
      double values = std::ldexp(1.0, int(bits)), least = to.isUnsignedInteger() ? 0 : -values / 2;
      truncated = f.min(f.max(truncated, f.number(least)), f.number(least + values - 1));
      truncated = f.select(f.isNan(x), f.number(0), truncated);
    }
    Value integer = arith::FPToSIOp::create(f.b, f.loc, f.b.getI32Type(), truncated);
    return narrowInteger(f.b, f.loc, integer, to);
  }
  if (from.isInteger(1))
    return f.select(x, f.number(1, toFloat ? Type() : to), f.number(0, toFloat ? Type() : to));
  if (toFloat)
    return f.real(x);
  // Positions are the only ones of 64 bits.
  return from.isInteger(64) ? arith::TruncIOp::create(f.b, f.loc, to, x).getResult() : x;
}

/// The value of an operand that is the same number everywhere.
std::optional<double> splat(Value value) {
  auto constant = value.getDefiningOp<nn::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!elements || !elements.isSplat())
    return std::nullopt;
  if (isa<FloatType>(elements.getElementType()))
    return elements.getSplatValue<APFloat>().convertToDouble();
  auto integer = elements.getSplatValue<APInt>();
  return elements.getElementType().isUnsignedInteger() ? double(integer.getZExtValue())
                                                       : double(integer.getSExtValue());
}

/// A position of arg_reduce or top_k, which is lowered as i32 and widened after.
bool isPosition(Value value) {
  auto top = value.getDefiningOp<nn::TopKOp>();
  return value.getDefiningOp<nn::ArgReduceOp>() || (top && value == top.getIndices());
}

using F = const Formula &;

bool hasFloats(Operation *op) {
  return isa<FloatType>(cast<RankedTensorType>(op->getOperand(0).getType()).getElementType());
}

template <typename OpTy>
bool computes(OpTy op) {
  auto fits = [](Type type) { return isComputable(cast<RankedTensorType>(type).getElementType()); };
  return llvm::all_of(op->getOperandTypes(), fits) && llvm::all_of(op->getResultTypes(), fits);
}

/// The handler of an operation with a formula: what its elements are, of its operands' elements. Of an
/// integer the low bits are stored, which are all if it `fits`.
template <typename OpTy>
Handler formula(Value (*compute)(OpTy, F, Scalars), bool fits = false) {
  return {OpTy::getOperationName(), [compute, fits](Operation *op, LinalgBuilder &b) {
            auto type = cast<RankedTensorType>(op->getResult(0).getType());
            // A number that is the same everywhere is part of the body, not an operand.
            SmallVector<Operand> inputs;
            SmallVector<int> place;
            for (Value operand : op->getOperands()) {
              if (splat(operand)) {
                place.push_back(-1);
                continue;
              }
              place.push_back(inputs.size());
              inputs.push_back(b.broadcast(operand, type.getShape()));
            }
            return Results{b.map(inputs, type, [&](OpBuilder &inner, Location loc, Scalars scalars) {
              Formula f{inner, loc};
              SmallVector<Value> all;
              for (auto [operand, at] : llvm::zip_equal(op->getOperands(), place)) {
                Type element = cast<RankedTensorType>(operand.getType()).getElementType();
                all.push_back(at >= 0
                                  ? widenInteger(inner, loc, scalars[at])
                                  : f.number(*splat(operand), isa<FloatType>(element) ? Type() : element));
              }
              Value result = compute(cast<OpTy>(op), f, all);
              return fits ? narrowInteger(inner, loc, result, type.getElementType()) : result;
            })};
          }};
}

/// A formula whose result is one of its operands, or a bool: it cannot leave the range of integers of few
/// bits.
template <typename OpTy>
Handler choice(Value (*compute)(OpTy, F, Scalars)) {
  return formula<OpTy>(compute, true).template where<OpTy>(computableIntegers, computes);
}

/// A formula that the vector engine computes with integers too, modulo 2^bits.
template <typename OpTy>
Handler arithmetic(Value (*compute)(OpTy, F, Scalars)) {
  return formula<OpTy>(compute).template where<OpTy>(computableIntegers, computes);
}

/// start + i · step.
Value range(nn::RangeOp op, LinalgBuilder &b) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  return b.map({}, type, [&](OpBuilder &inner, Location loc, Scalars) -> Value {
    Formula f{inner, loc};
    auto number = [&](TypedAttr value) {
      return f.number(isa<FloatAttr>(value) ? cast<FloatAttr>(value).getValueAsDouble()
                                            : double(cast<IntegerAttr>(value).getInt()),
                      type.getElementType());
    };
    Value at = f.index(0);
    if (isa<FloatType>(type.getElementType()))
      at = arith::SIToFPOp::create(inner, loc, inner.getF32Type(), at);
    return f.add(number(op.getStart()), f.mul(at, number(op.getStep())));
  });
}

/// Keeps j ≤ i + diagonal, or j ≥ i + diagonal.
Value trilu(nn::TriluOp op, LinalgBuilder &b) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  return b.map({b.identity(op.getInput())}, type, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    Formula f{inner, loc};
    Value limit = f.add(f.index(type.getRank() - 2), f.number(op.getDiagonal(), inner.getI32Type()));
    Value keeps = f.compare(op.getUpper() ? nn::ComparePredicate::Ge : nn::ComparePredicate::Le,
                            f.index(type.getRank() - 1), limit);
    Value x = widenInteger(inner, loc, s[0]);
    return narrowInteger(inner, loc, f.select(keeps, x, f.number(0, x.getType())), type.getElementType());
  });
}

} // namespace

std::vector<Handler> npuc::lower::pointwiseHandlers() {
  return {
      arithmetic<nn::AddOp>([](nn::AddOp, F f, Scalars s) -> Value { return f.add(s[0], s[1]); }),
      arithmetic<nn::SubOp>([](nn::SubOp, F f, Scalars s) -> Value { return f.sub(s[0], s[1]); }),
      arithmetic<nn::MulOp>([](nn::MulOp, F f, Scalars s) -> Value { return f.mul(s[0], s[1]); }),
      arithmetic<nn::DivOp>([](nn::DivOp, F f, Scalars s) -> Value { return f.div(s[0], s[1]); }),
      arithmetic<nn::ModOp>(
          [](nn::ModOp m, F f, Scalars s) -> Value { return remainder(f, s[0], s[1], m.getTruncated()); }),
      choice<nn::MaxOp>([](nn::MaxOp, F f, Scalars s) -> Value { return f.max(s[0], s[1]); }),
      choice<nn::MinOp>([](nn::MinOp, F f, Scalars s) -> Value { return f.min(s[0], s[1]); }),
      arithmetic<nn::PowOp>([](nn::PowOp p, F f, Scalars s) -> Value {
        Value known = knownPower(f, s[0], splat(p.getRhs()));
        return known ? known : power(f, s[0], s[1]);
      })
          .where<nn::PowOp>(
              "its elements are floats, or its exponent is a whole number of 0 to 64 for all of them",
              [](nn::PowOp o) { return hasFloats(o) || isWholePower(splat(o.getRhs())); }),
      arithmetic<nn::AndOp>([](nn::AndOp, F f, Scalars s) -> Value { return f.both(s[0], s[1]); }),
      arithmetic<nn::OrOp>([](nn::OrOp, F f, Scalars s) -> Value { return f.any(s[0], s[1]); }),
      arithmetic<nn::XorOp>([](nn::XorOp, F f, Scalars s) -> Value { return f.differs(s[0], s[1]); }),
      arithmetic<nn::ShiftLeftOp>(
          [](nn::ShiftLeftOp, F f, Scalars s) -> Value { return shiftLeft(f, s[0], s[1]); }),
      arithmetic<nn::ShiftRightOp>(
          [](nn::ShiftRightOp, F f, Scalars s) -> Value { return shiftRight(f, s[0], s[1]); }),
      choice<nn::CompareOp>(
          [](nn::CompareOp c, F f, Scalars s) -> Value { return f.compare(c.getPredicate(), s[0], s[1]); }),
      choice<nn::SelectOp>([](nn::SelectOp, F f, Scalars s) -> Value { return f.select(s[0], s[1], s[2]); }),
      arithmetic<nn::NegOp>([](nn::NegOp, F f, Scalars s) -> Value { return f.negate(s[0]); }),
      arithmetic<nn::AbsOp>([](nn::AbsOp, F f, Scalars s) -> Value {
        return isa<FloatType>(s[0].getType()) ? f.call<math::AbsFOp>(s[0]) : f.call<math::AbsIOp>(s[0]);
      }),
      choice<nn::ReluOp>(
          [](nn::ReluOp, F f, Scalars s) -> Value { return f.max(s[0], f.number(0, s[0].getType())); }),
      arithmetic<nn::SignOp>([](nn::SignOp, F f, Scalars s) -> Value { return sign(f, s[0]); }),
      arithmetic<nn::NotOp>([](nn::NotOp, F f, Scalars s) -> Value { return f.complement(s[0]); }),
      formula<nn::ExpOp>([](nn::ExpOp, F f, Scalars s) -> Value { return f.exp(s[0]); }),
      formula<nn::LogOp>([](nn::LogOp, F f, Scalars s) -> Value { return f.call<math::LogOp>(s[0]); }),
      formula<nn::SqrtOp>([](nn::SqrtOp, F f, Scalars s) -> Value { return f.call<math::SqrtOp>(s[0]); }),
      formula<nn::RsqrtOp>([](nn::RsqrtOp, F f, Scalars s) -> Value { return f.call<math::RsqrtOp>(s[0]); }),
      formula<nn::ReciprocalOp>(
          [](nn::ReciprocalOp, F f, Scalars s) -> Value { return f.div(f.number(1), s[0]); }),
      formula<nn::SinOp>([](nn::SinOp, F f, Scalars s) -> Value { return f.call<math::SinOp>(s[0]); }),
      formula<nn::CosOp>([](nn::CosOp, F f, Scalars s) -> Value { return f.call<math::CosOp>(s[0]); }),
      formula<nn::TanhOp>([](nn::TanhOp, F f, Scalars s) -> Value { return f.call<math::TanhOp>(s[0]); }),
      formula<nn::ErfOp>([](nn::ErfOp, F f, Scalars s) -> Value { return f.call<math::ErfOp>(s[0]); }),
      formula<nn::SigmoidOp>([](nn::SigmoidOp, F f, Scalars s) -> Value { return f.sigmoid(s[0]); }),
      formula<nn::SiluOp>([](nn::SiluOp, F f, Scalars s) -> Value { return f.mul(s[0], f.sigmoid(s[0])); }),
      formula<nn::SoftplusOp>([](nn::SoftplusOp, F f, Scalars s) -> Value {
        Value tail = f.call<math::LogOp>(f.add(f.number(1), f.exp(f.negate(f.call<math::AbsFOp>(s[0])))));
        return f.add(f.max(s[0], f.number(0)), tail);
      }),
      formula<nn::FloorOp>([](nn::FloorOp, F f, Scalars s) -> Value { return f.call<math::FloorOp>(s[0]); }),
      formula<nn::CeilOp>([](nn::CeilOp, F f, Scalars s) -> Value { return f.call<math::CeilOp>(s[0]); }),
      formula<nn::RoundOp>(
          [](nn::RoundOp, F f, Scalars s) -> Value { return f.call<math::RoundEvenOp>(s[0]); }),
      formula<nn::GeluOp>([](nn::GeluOp g, F f, Scalars s) -> Value { return gelu(f, s[0], g.getTanh()); }),
      formula<nn::EluOp>([](nn::EluOp e, F f, Scalars s) -> Value {
        Value below = f.mul(f.number(e.getAlpha().convertToFloat()), f.sub(f.exp(s[0]), f.number(1)));
        return f.select(f.compare(nn::ComparePredicate::Lt, s[0], f.number(0)), below, s[0]);
      }),
      formula<nn::IsNanOp>([](nn::IsNanOp, F f, Scalars s) -> Value { return f.isNan(s[0]); }),
      formula<nn::IsInfOp>([](nn::IsInfOp i, F f, Scalars s) -> Value {
        return isInfinite(f, s[0], i.getPositive(), i.getNegative());
      }),
      handler<nn::RangeOp>(range).where<nn::RangeOp>(computableIntegers, computes),
      handler<nn::TriluOp>(trilu).where<nn::TriluOp>(computableIntegers, computes),
      formula<nn::CastOp>([](nn::CastOp c, F f, Scalars s) -> Value {
        return cast(f, s[0], c.getInput().getType().getElementType(),
                    c.getResult().getType().getElementType());
      })
          .where<nn::CastOp>(computableIntegers,
                             [](nn::CastOp c) {
                               return isComputable(c.getResult().getType().getElementType()) &&
                                      (isComputable(c.getInput().getType().getElementType()) ||
                                       isPosition(c.getInput()));
                             })
          .where<nn::CastOp>("it saturates if it gives floats of 8 bits",
                             [](nn::CastOp c) {
                               auto type = dyn_cast<FloatType>(c.getResult().getType().getElementType());
                               return !type || type.getWidth() > 8 || c.getSaturate();
                             }),
  };
}
