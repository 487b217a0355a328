// Operators of domain com.microsoft, which onnxruntime's optimizer writes. Source of their meanings:
// onnxruntime's docs/ContribOperators.md.
#include "compiler/import/Handlers.h"

#include <limits>

namespace npuc::importer::microsoft {
namespace {

using namespace mlir;

Value plus(Node &node, Value value, Value other) {
  return other ? node.make<nn::AddOp>({value, other}) : value;
}

Value layerNorm(Node &node, Value value, Value scale, Value bias, float epsilon) {
  int64_t axis = Node::typeOf(value).getRank() - 1;
  SmallVector<Value> operands{value, scale};
  if (bias)
    operands.push_back(bias);
  return node.make<nn::LayerNormOp>(operands, {node.named("axis", axis), node.named("epsilon", epsilon)});
}

Value rmsNorm(Node &node, Value value, Value scale, int64_t axis, float epsilon) {
  return node.make<nn::RmsNormOp>({value, scale}, {node.named("axis", axis), node.named("epsilon", epsilon)});
}

Value gelu(Node &node, Value value, bool tanh) {
  return node.make<nn::GeluOp>(value, Node::present({{node.unit("tanh"), tanh}}));
}

/// What a fused operator applies to its result, by onnxruntime's name for it.
Value activated(Node &node, Value value) {
  std::string name = node.text("activation", "");
  if (name.empty())
    return value;
  const onnx::AttributeProto *given = node.attribute("activation_params");
  auto parameter = [&](const char *attribute, int at, float otherwise) {
    return given && at < given->floats_size() ? given->floats(at) : node.real(attribute, otherwise);
  };
  if (name == "Relu")
    return node.make<nn::ReluOp>(value);
  if (name == "Tanh")
    return node.make<nn::TanhOp>(value);
  if (name == "Sigmoid")
    return node.make<nn::SigmoidOp>(value);
  if (name == "LeakyRelu") {
    Value scaled = node.make<nn::MulOp>({value, node.scalar(parameter("activation_alpha", 0, 0.01f), value)});
    auto kind = nn::ComparePredicateAttr::get(node.context(), nn::ComparePredicate::Lt);
    Value negative =
        node.make<nn::CompareOp>({value, node.scalar(0, value)}, node.enumerated("predicate", kind));
    return node.make<nn::SelectOp>({negative, scaled, value});
  }
  if (name == "Clip") {
    Value low = node.scalar(parameter("activation_min", 0, std::numeric_limits<float>::lowest()), value);
    Value high = node.scalar(parameter("activation_max", 1, std::numeric_limits<float>::max()), value);
    return node.make<nn::MinOp>({node.make<nn::MaxOp>({value, low}), high});
  }
  node.decline("the activation '" + name + "' is not supported");
}

} // namespace

void fusedMatMul(Node &node) {
  auto swapped = [&](size_t i, const char *flag) {
    Value value = node.input(i);
    int64_t rank = Node::typeOf(value).getRank();
    if (node.integer(flag, 0) == 0 || rank < 2)
      return value;
    Ints permutation = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
    return node.transpose(value, permutation);
  };
  if (node.integer("transBatchA", 0) != 0 || node.integer("transBatchB", 0) != 0)
    node.decline("transBatchA and transBatchB are not supported");
  Node inner(node.proto(), 1, {swapped(0, "transA"), swapped(1, "transB")}, node);
  compute::matMul(inner);
  Value product = inner.results()[0];
  float alpha = node.real("alpha", 1.0f);
  node.result(0, alpha == 1.0f ? product : node.make<nn::MulOp>({product, node.scalar(alpha, product)}));
}

void fusedGemm(Node &node) {
  Node inner(node.proto(), node.since(), llvm::to_vector(node.inputs()), node);
  compute::gemm(inner);
  node.result(0, activated(node, inner.results()[0]));
}

/// Convolution, then the addition of a fourth operand, then an activation.
void fusedConv(Node &node) {
  Node inner(node.proto(), node.since(), llvm::to_vector(node.inputs().take_front(3)), node);
  compute::conv(inner);
  node.result(0, activated(node, plus(node, inner.results()[0], node.inputOrNull(3))));
}

void biasSplitGelu(Node &node) {
  Value sum = plus(node, node.input(0), node.input(1));
  int64_t axis = Node::typeOf(sum).getRank() - 1, half = Node::typeOf(sum).getDimSize(axis) / 2;
  Value gate = gelu(node, node.sliceAxis(sum, axis, half, half), false);
  node.result(0, node.make<nn::MulOp>({node.sliceAxis(sum, axis, 0, half), gate}));
}

void fastGelu(Node &node) {
  node.result(0, gelu(node, plus(node, node.input(0), node.inputOrNull(1)), true));
}
void biasGelu(Node &node) {
  node.result(0, gelu(node, plus(node, node.input(0), node.input(1)), false));
}

void quickGelu(Node &node) {
  Value x = node.input(0);
  Value scaled = node.make<nn::MulOp>({x, node.scalar(node.real("alpha", 1.702f), x)});
  node.result(0, node.make<nn::MulOp>({x, node.make<nn::SigmoidOp>(scaled)}));
}

void skipLayerNormalization(Node &node) {
  Value sum = plus(node, plus(node, node.input(0), node.input(1)), node.inputOrNull(4));
  node.result(0, layerNorm(node, sum, node.input(2), node.inputOrNull(3), node.real("epsilon", 1e-12f)));
  node.result(3, sum);
}

void simplifiedLayerNormalization(Node &node) {
  int64_t axis = node.axis(node.integer("axis", -1), node.type(0).getRank());
  node.result(0, rmsNorm(node, node.input(0), node.input(1), axis, node.real("epsilon", 1e-5f)));
}

void skipSimplifiedLayerNormalization(Node &node) {
  Value sum = plus(node, plus(node, node.input(0), node.input(1)), node.inputOrNull(3));
  int64_t axis = Node::typeOf(sum).getRank() - 1;
  node.result(0, rmsNorm(node, sum, node.input(2), axis, node.real("epsilon", 1e-12f)));
  node.result(3, sum);
}

void embedLayerNormalization(Node &node) {
  auto embed = [&](Value table, Value ids) {
    return node.make<nn::GatherOp>({table, ids}, node.named("axis", int64_t{0}));
  };
  RankedTensorType ids = node.type(0);
  if (ids.getRank() != 2)
    node.fail("input_ids must have rank 2");
  Value sum = embed(node.input(2), node.input(0));
  Value positions = node.has(8) ? embed(node.input(3), node.input(8))
                                : node.sliceAxis(node.input(3), 0, 0, ids.getDimSize(1));
  sum = plus(node, sum, positions);
  if (node.has(1) && node.has(4))
    sum = plus(node, sum, embed(node.input(4), node.input(1)));
  node.result(0, layerNorm(node, sum, node.input(5), node.input(6), node.real("epsilon", 1e-12f)));
  node.result(2, sum);
  if (!node.wants(1))
    return;
  // How many tokens of each sequence are there.
  Type i32 = node.builder().getI32Type();
  Value lengths = node.has(7) ? node.reduce(nn::ReduceKind::Sum, node.cast(node.input(7), i32), {1}, false)
                              : node.constant(DenseElementsAttr::get(
                                    RankedTensorType::get(ids.getDimSize(0), i32), APInt(32, 0)));
  node.result(1, lengths);
}

} // namespace npuc::importer::microsoft
