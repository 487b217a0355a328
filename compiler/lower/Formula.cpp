#include "compiler/lower/Formula.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <cmath>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

/// Integers toward zero, by an engine that divides floats only. The quotient of the numbers as floats is off
/// by at most 2^-22 of itself, so what remains is at most |y|/2 + 2^9, and dividing that leaves the nearest
/// integer to the quotient; the remainder, at most |y|/2, then has the sign of x or tells that the quotient
/// is one too far from zero.
Value divideIntegers(const Formula &f, Value x, Value y) {
  auto quotient = [&](Value n) -> Value {
    Type f32 = f.b.getF32Type();
    Value q = arith::DivFOp::create(f.b, f.loc, arith::SIToFPOp::create(f.b, f.loc, f32, n),
                                    arith::SIToFPOp::create(f.b, f.loc, f32, y));
    return arith::FPToSIOp::create(f.b, f.loc, n.getType(), f.call<math::RoundEvenOp>(q));
  };
  Value zero = f.number(0, x.getType()), one = f.number(1, x.getType());
  Value rough = quotient(x);
  Value rest = f.sub(x, f.mul(rough, y));
  Value more = quotient(rest);
  rest = f.sub(rest, f.mul(more, y));
  Value isNegative = f.less(x, zero);
  Value isTooFar = f.both(f.complement(f.equal(rest, zero)), f.differs(f.less(rest, zero), isNegative));
  Value back = f.select(f.differs(isNegative, f.less(y, zero)), one, f.negate(one));
  return f.add(f.add(rough, more), f.select(isTooFar, back, zero));
}

} // namespace

bool npuc::lower::isComputable(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  return !integer || integer.getWidth() <= (integer.isUnsigned() ? 16 : 32);
}

Value npuc::lower::widenInteger(OpBuilder &b, Location loc, Value x) {
  auto type = dyn_cast<IntegerType>(x.getType());
  if (!type || type.getWidth() == 1 || type.getWidth() >= 32)
    return x;
  if (!type.isUnsigned())
    return arith::ExtSIOp::create(b, loc, b.getI32Type(), x);
  // Arithmetic is on integers without a sign of their own.
  Value bits = UnrealizedConversionCastOp::create(b, loc, b.getIntegerType(type.getWidth()), x).getResult(0);
  return arith::ExtUIOp::create(b, loc, b.getI32Type(), bits);
}

Value npuc::lower::narrowInteger(OpBuilder &b, Location loc, Value x, Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer || integer.getWidth() == 1 || integer.getWidth() >= 32 || !x.getType().isInteger(32))
    return x;
  Value bits = arith::TruncIOp::create(b, loc, b.getIntegerType(integer.getWidth()), x);
  return integer.isUnsigned() ? UnrealizedConversionCastOp::create(b, loc, type, bits).getResult(0) : bits;
}

Value Formula::number(double v, Type type) const {
  if (type && !isa<FloatType>(type)) {
    bool isOwn = type.isSignlessInteger(1) || type.isSignlessInteger(64);
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(isOwn ? type : b.getI32Type(), int64_t(v)));
  }
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
}

Value Formula::index(int64_t loop) const {
  return arith::IndexCastOp::create(b, loc, b.getI32Type(), linalg::IndexOp::create(b, loc, loop));
}

Value Formula::div(Value x, Value y) const {
  if (isa<FloatType>(x.getType()))
    return arith::DivFOp::create(b, loc, x, y);
  return divideIntegers(*this, x, y);
}

Value Formula::wrap(Value x, Type type) const {
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer || integer.getWidth() == 1 || integer.getWidth() >= 32 || !x.getType().isInteger(32))
    return x;
  double values = std::ldexp(1.0, int(integer.getWidth()));
  Value low = both(x, number(values - 1, x.getType()));
  if (!integer.isUnsigned()) {
    Value sign = number(values / 2, x.getType());
    low = sub(differs(low, sign), sign);
  }
  return narrowInteger(b, loc, low, type);
}

Value Formula::real(Value x) const {
  return isa<FloatType>(x.getType()) ? x : arith::SIToFPOp::create(b, loc, b.getF32Type(), x).getResult();
}

Value Formula::negate(Value x) const {
  if (isa<FloatType>(x.getType()))
    return arith::NegFOp::create(b, loc, x);
  return sub(number(0, x.getType()), x);
}

Value Formula::complement(Value x) const {
  return differs(x, number(x.getType().isInteger(1) ? 1 : -1, x.getType()));
}

Value Formula::compare(nn::ComparePredicate p, Value x, Value y) const {
  using P = nn::ComparePredicate;
  if (x.getType().isInteger(1)) // Only asked whether they are equal.
    return p == P::Ne ? differs(x, y) : complement(differs(x, y));
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
