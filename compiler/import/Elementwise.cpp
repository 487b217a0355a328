// Pointwise operators.
#include "compiler/import/Handlers.h"

#include "compiler/import/Types.h"

namespace npuc::importer::elementwise {
namespace {

using namespace mlir;

template <typename OpTy>
void unary(Node &node) {
  node.result(0, node.make<OpTy>(node.input(0)));
}

template <typename OpTy>
void binary(Node &node) {
  node.result(0, node.make<OpTy>({node.input(0), node.input(1)}));
}

/// An operator of any number of operands, from left to right.
template <typename OpTy>
Value variadic(Node &node) {
  Value value = node.input(0);
  for (size_t i = 1; i < node.inputCount(); ++i)
    value = node.make<OpTy>({value, node.input(i)});
  return value;
}

template <nn::ComparePredicate predicate>
void compare(Node &node) {
  auto kind = nn::ComparePredicateAttr::get(node.context(), predicate);
  node.result(0,
              node.make<nn::CompareOp>({node.input(0), node.input(1)}, node.enumerated("predicate", kind)));
}

Value greaterThan(Node &node, Value value, double bound) {
  auto kind = nn::ComparePredicateAttr::get(node.context(), nn::ComparePredicate::Gt);
  return node.make<nn::CompareOp>({value, node.scalar(bound, value)}, node.enumerated("predicate", kind));
}

Value times(Node &node, Value value, double factor) {
  return node.make<nn::MulOp>({value, node.scalar(factor, value)});
}

bool saturates(const Node &node) {
  return node.integer("saturate", 1) != 0;
}

} // namespace

void neg(Node &node) {
  unary<nn::NegOp>(node);
}
void abs(Node &node) {
  unary<nn::AbsOp>(node);
}
void sign(Node &node) {
  unary<nn::SignOp>(node);
}
void relu(Node &node) {
  unary<nn::ReluOp>(node);
}
void logicalNot(Node &node) {
  unary<nn::NotOp>(node);
}
void exp(Node &node) {
  unary<nn::ExpOp>(node);
}
void log(Node &node) {
  unary<nn::LogOp>(node);
}
void sqrt(Node &node) {
  unary<nn::SqrtOp>(node);
}
void reciprocal(Node &node) {
  unary<nn::ReciprocalOp>(node);
}
void sin(Node &node) {
  unary<nn::SinOp>(node);
}
void cos(Node &node) {
  unary<nn::CosOp>(node);
}
void tanh(Node &node) {
  unary<nn::TanhOp>(node);
}
void erf(Node &node) {
  unary<nn::ErfOp>(node);
}
void sigmoid(Node &node) {
  unary<nn::SigmoidOp>(node);
}
void softplus(Node &node) {
  unary<nn::SoftplusOp>(node);
}
void floor(Node &node) {
  unary<nn::FloorOp>(node);
}
void ceil(Node &node) {
  unary<nn::CeilOp>(node);
}
void round(Node &node) {
  unary<nn::RoundOp>(node);
}
void isNan(Node &node) {
  unary<nn::IsNanOp>(node);
}

void isInf(Node &node) {
  node.result(0, node.make<nn::IsInfOp>(node.input(0),
                                        {node.flag("positive", node.integer("detect_positive", 1) != 0),
                                         node.flag("negative", node.integer("detect_negative", 1) != 0)}));
}

void gelu(Node &node) {
  std::string approximate = node.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    node.fail("approximate must be none or tanh, found '" + approximate + "'");
  node.result(
      0, node.make<nn::GeluOp>(node.input(0), Node::present({{node.unit("tanh"), approximate == "tanh"}})));
}

void elu(Node &node) {
  node.result(0, node.make<nn::EluOp>(node.input(0), node.named("alpha", node.real("alpha", 1.0f))));
}

void swish(Node &node) {
  Value x = node.input(0);
  float alpha = node.real("alpha", 1.0f);
  if (alpha == 1.0f)
    return node.result(0, node.make<nn::SiluOp>(x));
  node.result(0, node.make<nn::MulOp>({x, node.make<nn::SigmoidOp>(times(node, x, alpha))}));
}

void leakyRelu(Node &node) {
  Value x = node.input(0);
  node.result(
      0, node.make<nn::SelectOp>({greaterThan(node, x, 0), x, times(node, x, node.real("alpha", 0.01f))}));
}

void prelu(Node &node) {
  Value x = node.input(0);
  Value scaled = node.make<nn::MulOp>({x, node.input(1)});
  node.result(0, node.make<nn::SelectOp>({greaterThan(node, x, 0), x, scaled}));
}

void selu(Node &node) {
  // gamma · (x where x > 0, else alpha · (e^x - 1)); ONNX's defaults.
  Value inner = node.make<nn::EluOp>(node.input(0),
                                     node.named("alpha", node.real("alpha", 1.67326319217681884765625f)));
  node.result(0, times(node, inner, node.real("gamma", 1.05070102214813232421875f)));
}

void hardSigmoid(Node &node) {
  Value x = node.input(0);
  Value line = times(node, x, node.real("alpha", 0.2f));
  line = node.make<nn::AddOp>({line, node.scalar(node.real("beta", 0.5f), x)});
  line = node.make<nn::MaxOp>({line, node.scalar(0, x)});
  node.result(0, node.make<nn::MinOp>({line, node.scalar(1, x)}));
}

void softsign(Node &node) {
  Value x = node.input(0);
  Value bottom = node.make<nn::AddOp>({node.make<nn::AbsOp>(x), node.scalar(1, x)});
  node.result(0, node.make<nn::DivOp>({x, bottom}));
}

void thresholdedRelu(Node &node) {
  Value x = node.input(0);
  Value keep = greaterThan(node, x, node.real("alpha", 1.0f));
  node.result(0, node.make<nn::SelectOp>({keep, x, node.scalar(0, x)}));
}

void cast(Node &node) {
  Type element = elementType(static_cast<int32_t>(node.integer("to", 0)), node.context());
  if (!element)
    node.fail("casts to " + onnxTypeName(static_cast<int32_t>(node.integer("to", 0))) + " are not supported");
  Type type = node.type(0).clone(element);
  node.result(0, node.make<nn::CastOp>(node.input(0), node.flag("saturate", saturates(node)), type));
}

void castLike(Node &node) {
  Type type = node.type(0).clone(node.type(1).getElementType());
  node.result(0, node.make<nn::CastOp>(node.input(0), node.flag("saturate", saturates(node)), type));
}

void add(Node &node) {
  binary<nn::AddOp>(node);
}
void sub(Node &node) {
  binary<nn::SubOp>(node);
}
void mul(Node &node) {
  binary<nn::MulOp>(node);
}
void div(Node &node) {
  binary<nn::DivOp>(node);
}
void logicalAnd(Node &node) {
  binary<nn::AndOp>(node);
}
void logicalOr(Node &node) {
  binary<nn::OrOp>(node);
}
void logicalXor(Node &node) {
  binary<nn::XorOp>(node);
}
void max(Node &node) {
  node.result(0, variadic<nn::MaxOp>(node));
}
void min(Node &node) {
  node.result(0, variadic<nn::MinOp>(node));
}
void sum(Node &node) {
  node.result(0, variadic<nn::AddOp>(node));
}

void mean(Node &node) {
  Value total = variadic<nn::AddOp>(node);
  node.result(0, node.make<nn::DivOp>({total, node.scalar(static_cast<double>(node.inputCount()), total)}));
}

void pow(Node &node) {
  // The result has the base's type; an exponent of another type is brought to it, or an integer base to a
  // float exponent's.
  Type base = node.type(0).getElementType(), exponent = node.type(1).getElementType();
  Type common = isa<FloatType>(exponent) && !isa<FloatType>(base) ? exponent : base;
  Value power = node.make<nn::PowOp>({node.cast(node.input(0), common), node.cast(node.input(1), common)});
  node.result(0, node.cast(power, base));
}

void mod(Node &node) {
  bool truncated = node.integer("fmod", 0) != 0;
  if (!truncated && isa<FloatType>(node.type(0).getElementType()))
    node.fail("fmod must be 1 for floating point operands");
  node.result(0, node.make<nn::ModOp>({node.input(0), node.input(1)},
                                      Node::present({{node.unit("truncated"), truncated}})));
}

void bitShift(Node &node) {
  std::string direction = node.text("direction", "");
  if (direction == "LEFT")
    return binary<nn::ShiftLeftOp>(node);
  if (direction == "RIGHT")
    return binary<nn::ShiftRightOp>(node);
  node.fail("direction must be LEFT or RIGHT, found '" + direction + "'");
}

void clip(Node &node) {
  Value value = node.input(0);
  // Bounds were attributes before opset 11.
  auto bound = [&](const char *name, size_t i) {
    const onnx::AttributeProto *number = node.attribute(name);
    return number ? node.scalar(number->f(), value) : node.inputOrNull(i);
  };
  if (Value least = bound("min", 1))
    value = node.make<nn::MaxOp>({value, least});
  if (Value greatest = bound("max", 2))
    value = node.make<nn::MinOp>({value, greatest});
  node.result(0, value);
}

void equal(Node &node) {
  compare<nn::ComparePredicate::Eq>(node);
}
void less(Node &node) {
  compare<nn::ComparePredicate::Lt>(node);
}
void lessOrEqual(Node &node) {
  compare<nn::ComparePredicate::Le>(node);
}
void greater(Node &node) {
  compare<nn::ComparePredicate::Gt>(node);
}
void greaterOrEqual(Node &node) {
  compare<nn::ComparePredicate::Ge>(node);
}

void where(Node &node) {
  node.result(0, node.make<nn::SelectOp>({node.input(0), node.input(1), node.input(2)}));
}

} // namespace npuc::importer::elementwise
