#include "dialects/nn/Transforms/Match.h"

#include "mlir/IR/Matchers.h"

#include <cmath>

namespace npuc::nn {
namespace {

/// How many operations a matcher follows before it gives up: exporters' forms are shorter.
constexpr int maxDepth = 16;

double numberOf(DenseElementsAttr splat) {
  Type element = splat.getElementType();
  if (isa<FloatType>(element))
    return splat.getSplatValue<APFloat>().convertToDouble();
  bool isSigned = !element.isUnsignedInteger() && !element.isInteger(1);
  return splat.getSplatValue<APInt>().roundToDouble(isSigned);
}

/// r where `value` is 1/√r.
Value inverseRoot(Value value) {
  auto root = [](Value value) -> Value {
    if (auto sqrt = value.getDefiningOp<SqrtOp>())
      return sqrt.getInput();
    auto pow = value.getDefiningOp<PowOp>();
    return pow && isSplat(pow.getRhs(), 0.5) ? pow.getLhs() : Value();
  };
  if (auto rsqrt = value.getDefiningOp<RsqrtOp>())
    return rsqrt.getInput();
  if (auto reciprocal = value.getDefiningOp<ReciprocalOp>())
    return root(reciprocal.getInput());
  if (auto div = value.getDefiningOp<DivOp>(); div && isSplat(div.getLhs(), 1))
    return root(div.getRhs());
  auto pow = value.getDefiningOp<PowOp>();
  return pow && isSplat(pow.getRhs(), -0.5) ? pow.getLhs() : Value();
}

Polynomial plus(const Polynomial &a, const Polynomial &b, double sign) {
  Polynomial sum = a;
  for (auto &[exponents, factor] : b)
    sum[exponents] += sign * factor;
  return sum;
}

std::optional<Polynomial> times(const Polynomial &a, const Polynomial &b) {
  Polynomial product;
  for (auto &[p, f] : a)
    for (auto &[q, g] : b) {
      std::pair<int, int> exponents{p.first + q.first, p.second + q.second};
      if (exponents.first > 4 || exponents.second > 4)
        return std::nullopt;
      product[exponents] += f * g;
    }
  return product;
}

std::optional<Polynomial> polynomial(Value value, Value x, Value y, int depth) {
  if (value == x)
    return Polynomial{{{1, 0}, 1.0}};
  if (y && value == y)
    return Polynomial{{{0, 1}, 1.0}};
  if (std::optional<double> number = splatOf(value)) {
    auto shape = broadcastShapes(typeOf(value).getShape(), typeOf(x).getShape());
    if (!shape || ArrayRef(*shape) != typeOf(x).getShape())
      return std::nullopt;
    return Polynomial{{{0, 0}, *number}};
  }
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0 || value.getType() != x.getType())
    return std::nullopt;
  auto part = [&](unsigned operand) { return polynomial(op->getOperand(operand), x, y, depth - 1); };
  if (auto neg = dyn_cast<NegOp>(op)) {
    auto a = part(0);
    return a ? std::optional(plus({}, *a, -1)) : std::nullopt;
  }
  if (auto pow = dyn_cast<PowOp>(op)) {
    std::optional<double> exponent = splatOf(pow.getRhs());
    auto a = part(0), product = a;
    if (!exponent || *exponent < 1 || *exponent > 4 || *exponent != std::floor(*exponent))
      return std::nullopt;
    for (int i = 1; product && i < *exponent; ++i)
      product = times(*product, *a);
    return product;
  }
  if (!isa<AddOp, SubOp, MulOp, DivOp>(op))
    return std::nullopt;
  auto a = part(0), b = part(1);
  if (!a || !b)
    return std::nullopt;
  if (isa<AddOp, SubOp>(op))
    return plus(*a, *b, isa<AddOp>(op) ? 1 : -1);
  if (isa<MulOp>(op))
    return times(*a, *b);
  std::optional<double> divisor = splatOf(op->getOperand(1));
  return divisor ? times(*a, {{{0, 0}, 1 / *divisor}}) : std::nullopt;
}

} // namespace

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

DenseElementsAttr denseOf(Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
}

std::optional<double> splatOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<ReshapeOp, BroadcastOp, TransposeOp>(op))
      break;
    value = op->getOperand(0);
  }
  DenseElementsAttr dense = denseOf(value);
  if (!dense || !dense.isSplat())
    return std::nullopt;
  return numberOf(dense);
}

bool isAbout(double found, double wanted, Type element) {
  double tolerance = 1e-6;
  if (auto type = dyn_cast<FloatType>(element))
    tolerance = std::max(tolerance, std::ldexp(1.0, -int(type.getFPMantissaWidth())));
  // 0 needs an exact 0, and infinities only equal themselves.
  return found == wanted || std::abs(found - wanted) <= tolerance * std::abs(wanted);
}

bool isSplat(Value value, double wanted) {
  std::optional<double> number = splatOf(value);
  return number && isAbout(*number, wanted, typeOf(value).getElementType());
}

bool isWeight(Value value) {
  for (int depth = 0; depth < maxDepth; ++depth) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return false;
    if (isa<ConstantOp>(op))
      return true;
    if (!isa<TransposeOp, ReshapeOp, CastOp, DequantizeOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

Value withoutBroadcast(Value value) {
  while (auto broadcast = value.getDefiningOp<BroadcastOp>())
    value = broadcast.getInput();
  return value;
}

std::optional<Scaled> asScaled(Value value) {
  auto keepsType = [&](Value operand) { return operand.getType() == value.getType(); };
  if (auto mul = value.getDefiningOp<MulOp>()) {
    if (auto factor = splatOf(mul.getRhs()); factor && keepsType(mul.getLhs()))
      return Scaled{mul.getLhs(), *factor};
    if (auto factor = splatOf(mul.getLhs()); factor && keepsType(mul.getRhs()))
      return Scaled{mul.getRhs(), *factor};
  }
  if (auto div = value.getDefiningOp<DivOp>())
    if (auto divisor = splatOf(div.getRhs());
        divisor && *divisor != 0 && keepsType(div.getLhs()) && isa<FloatType>(typeOf(value).getElementType()))
      return Scaled{div.getLhs(), 1 / *divisor};
  if (auto neg = value.getDefiningOp<NegOp>())
    return Scaled{neg.getInput(), -1};
  return std::nullopt;
}

std::optional<Scaled> asShifted(Value value) {
  auto keepsType = [&](Value operand) { return operand.getType() == value.getType(); };
  if (auto add = value.getDefiningOp<AddOp>()) {
    if (auto term = splatOf(add.getRhs()); term && keepsType(add.getLhs()))
      return Scaled{add.getLhs(), *term};
    if (auto term = splatOf(add.getLhs()); term && keepsType(add.getRhs()))
      return Scaled{add.getRhs(), *term};
  }
  if (auto sub = value.getDefiningOp<SubOp>())
    if (auto term = splatOf(sub.getRhs()); term && keepsType(sub.getLhs()))
      return Scaled{sub.getLhs(), -*term};
  return std::nullopt;
}

Value squared(Value value) {
  if (auto mul = value.getDefiningOp<MulOp>())
    return mul.getLhs() == mul.getRhs() ? mul.getLhs() : Value();
  auto pow = value.getDefiningOp<PowOp>();
  return pow && isSplat(pow.getRhs(), 2) && pow.getLhs().getType() == pow.getType() ? pow.getLhs() : Value();
}

std::optional<OverRoot> asOverRoot(Value value) {
  if (auto div = value.getDefiningOp<DivOp>()) {
    if (auto sqrt = div.getRhs().getDefiningOp<SqrtOp>())
      return OverRoot{div.getLhs(), sqrt.getInput()};
    if (auto pow = div.getRhs().getDefiningOp<PowOp>(); pow && isSplat(pow.getRhs(), 0.5))
      return OverRoot{div.getLhs(), pow.getLhs()};
  }
  auto mul = value.getDefiningOp<MulOp>();
  if (!mul)
    return std::nullopt;
  if (Value radicand = inverseRoot(mul.getRhs()))
    return OverRoot{mul.getLhs(), radicand};
  if (Value radicand = inverseRoot(mul.getLhs()))
    return OverRoot{mul.getRhs(), radicand};
  return std::nullopt;
}

std::optional<Mean> asMean(Value value) {
  double factor = 1;
  if (std::optional<Scaled> scaled = asScaled(value)) {
    factor = scaled->factor;
    value = scaled->value;
  }
  RankedTensorType type = typeOf(value);
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getInput();
  auto reduce = value.getDefiningOp<ReduceOp>();
  if (!reduce)
    return std::nullopt;
  Mean mean{reduce.getInput(), SmallVector<int64_t>(reduce.getAxes())};
  llvm::sort(mean.axes);
  SmallVector<int64_t> kept(typeOf(mean.input).getShape());
  int64_t count = 1;
  for (int64_t axis : mean.axes) {
    count *= kept[axis];
    kept[axis] = 1;
  }
  if (type.getShape() != ArrayRef(kept))
    return std::nullopt;
  double wanted = reduce.getKind() == ReduceKind::Mean ? 1.0 : 1.0 / std::max<int64_t>(count, 1);
  bool isMean = reduce.getKind() == ReduceKind::Mean || reduce.getKind() == ReduceKind::Sum;
  return isMean && isAbout(factor, wanted, type.getElementType()) ? std::optional(mean) : std::nullopt;
}

std::optional<int64_t> trailingAxis(ArrayRef<int64_t> axes, int64_t rank) {
  int64_t first = rank - static_cast<int64_t>(axes.size());
  for (auto [position, axis] : llvm::enumerate(axes))
    if (axis != first + static_cast<int64_t>(position))
      return std::nullopt;
  return axes.empty() ? std::nullopt : std::optional(first);
}

std::optional<Polynomial> asPolynomial(Value value, Value x, Value y) {
  return polynomial(value, x, y, maxDepth);
}

bool isAbout(const Polynomial &found, const Polynomial &wanted, Type element) {
  auto factor = [](const Polynomial &polynomial, std::pair<int, int> exponents) {
    auto term = polynomial.find(exponents);
    return term == polynomial.end() ? 0.0 : term->second;
  };
  auto covers = [&](const Polynomial &a, const Polynomial &b, bool swap) {
    return llvm::all_of(a, [&](auto &term) {
      double other = factor(b, term.first);
      return swap ? isAbout(other, term.second, element) : isAbout(term.second, other, element);
    });
  };
  return covers(found, wanted, false) && covers(wanted, found, true);
}

} // namespace npuc::nn
