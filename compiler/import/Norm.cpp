// Softmax and normalizations.
#include "compiler/import/Handlers.h"

namespace npuc::importer::norm {
namespace {

using namespace mlir;

template <typename OpTy>
void alongAxis(Node &node, int64_t otherwise) {
  int64_t axis = node.axis(node.integer("axis", otherwise), node.type(0).getRank());
  node.result(0, node.make<OpTy>(node.input(0), node.named("axis", axis)));
}

/// Before opset 13, the dimensions from `axis` on were one row.
template <typename OpTy>
void flattened(Node &node) {
  ArrayRef<int64_t> shape = node.type(0).getShape();
  int64_t axis = node.axis(node.integer("axis", 1), static_cast<int64_t>(shape.size()));
  if (axis + 1 == static_cast<int64_t>(shape.size()))
    return alongAxis<OpTy>(node, 1);
  Ints rows(shape.take_front(axis));
  rows.push_back(std::accumulate(shape.begin() + axis, shape.end(), int64_t{1}, std::multiplies<>()));
  Value value = node.make<OpTy>(node.reshape(node.input(0), rows), node.named("axis", axis));
  node.result(0, node.reshape(value, shape));
}

/// `value`, of one element for each channel, so that it broadcasts to [N, C, …] of this rank.
Value perChannel(Node &node, Value value, int64_t rank) {
  Ints shape(static_cast<size_t>(rank), 1);
  shape[1] = Node::typeOf(value).getNumElements();
  return node.reshape(value, shape);
}

float epsilon(const Node &node) {
  return node.real("epsilon", 1e-5f);
}

} // namespace

void softmax(Node &node) {
  alongAxis<nn::SoftmaxOp>(node, -1);
}
void softmaxFlattened(Node &node) {
  flattened<nn::SoftmaxOp>(node);
}
void logSoftmax(Node &node) {
  alongAxis<nn::LogSoftmaxOp>(node, -1);
}
void logSoftmaxFlattened(Node &node) {
  flattened<nn::LogSoftmaxOp>(node);
}

void layerNormalization(Node &node) {
  if (node.wants(1) || node.wants(2))
    node.decline("its mean and deviation as results are not supported");
  int64_t axis = node.axis(node.integer("axis", -1), node.type(0).getRank());
  SmallVector<Value> operands{node.input(0), node.input(1)};
  if (node.has(2))
    operands.push_back(node.input(2));
  node.result(0, node.make<nn::LayerNormOp>(
                     operands, {node.named("axis", axis), node.named("epsilon", epsilon(node))}));
}

void rmsNormalization(Node &node) {
  int64_t axis = node.axis(node.integer("axis", -1), node.type(0).getRank());
  node.result(
      0, node.make<nn::RmsNormOp>({node.input(0), node.cast(node.input(1), node.type(0).getElementType())},
                                  {node.named("axis", axis), node.named("epsilon", epsilon(node))}));
}

void groupNormalization(Node &node) {
  node.result(0, node.make<nn::GroupNormOp>({node.input(0), node.input(1), node.input(2)},
                                            {node.named("groups", node.integer("num_groups", 1)),
                                             node.named("epsilon", epsilon(node))}));
}

void instanceNormalization(Node &node) {
  if (node.type(0).getRank() < 2)
    node.fail("needs a batch and channels");
  node.result(0, node.make<nn::GroupNormOp>({node.input(0), node.input(1), node.input(2)},
                                            {node.named("groups", node.type(0).getDimSize(1)),
                                             node.named("epsilon", epsilon(node))}));
}

void batchNormalization(Node &node) {
  if (node.integer("training_mode", 0) != 0 || node.wants(1))
    node.fail("training mode is not supported");
  int64_t rank = node.type(0).getRank();
  if (rank < 2)
    node.fail("needs a batch and channels");
  // y = (x - mean) · (scale / √(variance + ε)) + bias: what does not depend on x folds.
  Type element = node.type(0).getElementType();
  Value scale = node.cast(node.input(1), element), bias = node.cast(node.input(2), element);
  Value mean = node.cast(node.input(3), element), variance = node.cast(node.input(4), element);
  Value deviation =
      node.make<nn::SqrtOp>(node.make<nn::AddOp>({variance, node.scalar(epsilon(node), variance)}));
  Value factor = node.make<nn::DivOp>({scale, deviation});
  Value centered = node.make<nn::SubOp>({node.input(0), perChannel(node, mean, rank)});
  Value scaled = node.make<nn::MulOp>({centered, perChannel(node, factor, rank)});
  node.result(0, node.make<nn::AddOp>({scaled, perChannel(node, bias, rank)}));
}

void lpNormalization(Node &node) {
  Value x = node.input(0);
  Ints axis{node.axis(node.integer("axis", -1), node.type(0).getRank())};
  bool isOne = node.integer("p", 2) == 1;
  Value power = isOne ? node.make<nn::AbsOp>(x) : node.make<nn::MulOp>({x, x});
  Value length = node.reduce(nn::ReduceKind::Sum, power, axis, true);
  if (!isOne)
    length = node.make<nn::SqrtOp>(length);
  // A vector of length 0 stays 0.
  auto kind = nn::ComparePredicateAttr::get(node.context(), nn::ComparePredicate::Eq);
  Value isZero = node.make<nn::CompareOp>({length, node.scalar(0, x)}, node.enumerated("predicate", kind));
  length = node.make<nn::SelectOp>({isZero, node.scalar(1, x), length});
  node.result(0, node.make<nn::DivOp>({x, length}));
}

} // namespace npuc::importer::norm
