#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

/// Scalar arithmetic in f32 (or the integers' own type), written as formulas.
struct Formula {
  OpBuilder &b;
  Location loc;

  Value number(double v, Type type = {}) const {
    if (type && !isa<FloatType>(type))
      return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, int64_t(v)));
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
  }
  template <typename FloatOp, typename IntOp>
  Value either(Value x, Value y) const {
    if (isa<FloatType>(x.getType()))
      return FloatOp::create(b, loc, x, y);
    return IntOp::create(b, loc, x, y);
  }
  Value add(Value x, Value y) const { return either<arith::AddFOp, arith::AddIOp>(x, y); }
  Value sub(Value x, Value y) const { return either<arith::SubFOp, arith::SubIOp>(x, y); }
  Value mul(Value x, Value y) const { return either<arith::MulFOp, arith::MulIOp>(x, y); }
  Value max(Value x, Value y) const { return either<arith::MaximumFOp, arith::MaxSIOp>(x, y); }
  Value min(Value x, Value y) const { return either<arith::MinimumFOp, arith::MinSIOp>(x, y); }
  Value div(Value x, Value y) const { return arith::DivFOp::create(b, loc, x, y); }
  template <typename MathOp>
  Value call(Value x) const {
    return MathOp::create(b, loc, x);
  }
  Value exp(Value x) const { return call<math::ExpOp>(x); }
  Value negate(Value x) const {
    return isa<FloatType>(x.getType()) ? arith::NegFOp::create(b, loc, x).getResult()
                                       : sub(number(0, x.getType()), x);
  }
  Value sigmoid(Value x) const { return div(number(1), add(number(1), exp(negate(x)))); }
  Value select(Value c, Value x, Value y) const { return arith::SelectOp::create(b, loc, c, x, y); }
  Value compare(nn::ComparePredicate p, Value x, Value y) const {
    using P = nn::ComparePredicate;
    if (isa<FloatType>(x.getType())) {
      arith::CmpFPredicate f = p == P::Eq   ? arith::CmpFPredicate::OEQ
                               : p == P::Ne ? arith::CmpFPredicate::UNE
                               : p == P::Lt ? arith::CmpFPredicate::OLT
                               : p == P::Le ? arith::CmpFPredicate::OLE
                               : p == P::Gt ? arith::CmpFPredicate::OGT
                                            : arith::CmpFPredicate::OGE;
      return arith::CmpFOp::create(b, loc, f, x, y);
    }
    arith::CmpIPredicate i = p == P::Eq   ? arith::CmpIPredicate::eq
                             : p == P::Ne ? arith::CmpIPredicate::ne
                             : p == P::Lt ? arith::CmpIPredicate::slt
                             : p == P::Le ? arith::CmpIPredicate::sle
                             : p == P::Gt ? arith::CmpIPredicate::sgt
                                          : arith::CmpIPredicate::sge;
    return arith::CmpIOp::create(b, loc, i, x, y);
  }
};

Value gelu(const Formula &f, Value x, bool tanh) {
  Value half = f.mul(x, f.number(0.5));
  Value inner = tanh ? f.call<math::TanhOp>(f.mul(f.number(std::sqrt(2 / std::numbers::pi)),
                                                  f.add(x, f.mul(f.number(0.044715), f.mul(x, f.mul(x, x))))))
                     : f.call<math::ErfOp>(f.mul(x, f.number(1 / std::numbers::sqrt2)));
  return f.mul(half, f.add(f.number(1), inner));
}

/// Whether a short formula for a power is exact for negative x too.
bool isPower(std::optional<double> exponent) {
  constexpr double known[] = {-1, -0.5, 0.5, 1, 2, 3};
  return exponent && llvm::is_contained(known, *exponent);
}

/// x to a power that is the same for all elements.
Value power(const Formula &f, Value x, double exponent) {
  if (exponent == 2)
    return f.mul(x, x);
  if (exponent == 3)
    return f.mul(x, f.mul(x, x));
  if (exponent == 0.5)
    return f.call<math::SqrtOp>(x);
  if (exponent == -0.5)
    return f.call<math::RsqrtOp>(x);
  if (exponent == -1)
    return f.div(f.number(1), x);
  return x;
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
    Value truncated =
        f.select(f.compare(nn::ComparePredicate::Lt, x, f.number(0)), f.negate(magnitude), magnitude);
    return arith::FPToSIOp::create(f.b, f.loc, to, truncated);
  }
  if (from.isInteger(1))
    return f.select(x, f.number(1, toFloat ? Type() : to), f.number(0, toFloat ? Type() : to));
  if (toFloat)
    return arith::SIToFPOp::create(f.b, f.loc, f.b.getF32Type(), x);
  unsigned fromBits = from.getIntOrFloatBitWidth(), toBits = to.getIntOrFloatBitWidth();
  if (fromBits == toBits)
    return x;
  return fromBits < toBits ? arith::ExtSIOp::create(f.b, f.loc, to, x).getResult()
                           : arith::TruncIOp::create(f.b, f.loc, to, x).getResult();
}

/// The value of an operand that is the same number everywhere.
std::optional<double> splat(Value value) {
  auto constant = value.getDefiningOp<nn::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!elements || !elements.isSplat())
    return std::nullopt;
  if (isa<FloatType>(elements.getElementType()))
    return elements.getSplatValue<APFloat>().convertToDouble();
  return elements.getSplatValue<APInt>().getSExtValue();
}

using F = const Formula &;

bool hasFloats(Operation *op) {
  return isa<FloatType>(cast<RankedTensorType>(op->getOperand(0).getType()).getElementType());
}

/// The handler of an operation with a formula: what its elements are, of its operands' elements.
template <typename OpTy>
Handler formula(Value (*compute)(OpTy, F, Scalars)) {
  return {OpTy::getOperationName(), [compute](Operation *op, LinalgBuilder &b) {
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
            return b.map(inputs, type, [&](OpBuilder &inner, Location loc, Scalars scalars) {
              Formula f{inner, loc};
              SmallVector<Value> all;
              for (auto [operand, at] : llvm::zip_equal(op->getOperands(), place)) {
                Type element = cast<RankedTensorType>(operand.getType()).getElementType();
                all.push_back(at >= 0
                                  ? scalars[at]
                                  : f.number(*splat(operand), isa<FloatType>(element) ? Type() : element));
              }
              return compute(cast<OpTy>(op), f, all);
            });
          }};
}

} // namespace

std::vector<Handler> npuc::lower::pointwiseHandlers() {
  return {
      formula<nn::AddOp>([](nn::AddOp, F f, Scalars s) -> Value { return f.add(s[0], s[1]); }),
      formula<nn::SubOp>([](nn::SubOp, F f, Scalars s) -> Value { return f.sub(s[0], s[1]); }),
      formula<nn::MulOp>([](nn::MulOp, F f, Scalars s) -> Value { return f.mul(s[0], s[1]); }),
      formula<nn::DivOp>([](nn::DivOp, F f, Scalars s) -> Value {
        return f.div(s[0], s[1]);
      }).where<nn::DivOp>("its elements are floats", [](nn::DivOp o) { return hasFloats(o); }),
      formula<nn::MaxOp>([](nn::MaxOp, F f, Scalars s) -> Value { return f.max(s[0], s[1]); }),
      formula<nn::MinOp>([](nn::MinOp, F f, Scalars s) -> Value { return f.min(s[0], s[1]); }),
      formula<nn::PowOp>(
          [](nn::PowOp p, F f, Scalars s) -> Value { return power(f, s[0], *splat(p.getRhs())); })
          .where<nn::PowOp>(
              "its elements are floats and its exponent is -1, -0.5, 0.5, 1, 2 or 3 for all of them",
              [](nn::PowOp o) { return hasFloats(o) && isPower(splat(o.getRhs())); }),
      formula<nn::AndOp>(
          [](nn::AndOp, F f, Scalars s) -> Value { return arith::AndIOp::create(f.b, f.loc, s[0], s[1]); }),
      formula<nn::OrOp>(
          [](nn::OrOp, F f, Scalars s) -> Value { return arith::OrIOp::create(f.b, f.loc, s[0], s[1]); }),
      formula<nn::XorOp>(
          [](nn::XorOp, F f, Scalars s) -> Value { return arith::XOrIOp::create(f.b, f.loc, s[0], s[1]); }),
      formula<nn::CompareOp>(
          [](nn::CompareOp c, F f, Scalars s) -> Value { return f.compare(c.getPredicate(), s[0], s[1]); }),
      formula<nn::SelectOp>([](nn::SelectOp, F f, Scalars s) -> Value { return f.select(s[0], s[1], s[2]); }),
      formula<nn::NegOp>([](nn::NegOp, F f, Scalars s) -> Value { return f.negate(s[0]); }),
      formula<nn::AbsOp>([](nn::AbsOp, F f, Scalars s) -> Value {
        return isa<FloatType>(s[0].getType()) ? f.call<math::AbsFOp>(s[0]) : f.call<math::AbsIOp>(s[0]);
      }),
      formula<nn::ReluOp>(
          [](nn::ReluOp, F f, Scalars s) -> Value { return f.max(s[0], f.number(0, s[0].getType())); }),
      formula<nn::NotOp>([](nn::NotOp, F f, Scalars s) -> Value {
        return arith::XOrIOp::create(f.b, f.loc, s[0],
                                     f.number(s[0].getType().isInteger(1) ? 1 : -1, s[0].getType()));
      }),
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
      formula<nn::IsNanOp>([](nn::IsNanOp, F f, Scalars s) -> Value {
        return f.compare(nn::ComparePredicate::Ne, s[0], s[0]);
      }),
      formula<nn::CastOp>([](nn::CastOp c, F f, Scalars s) -> Value {
        return cast(f, s[0], c.getInput().getType().getElementType(),
                    c.getResult().getType().getElementType());
      }),
  };
}
