// Operators of domain com.microsoft, which onnxruntime's optimizer writes. Source of their meanings:
// onnxruntime's docs/ContribOperators.md.
#include "compiler/import/Attention.h"
#include "compiler/import/Handlers.h"

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

void refuse(Node &node, std::initializer_list<std::pair<size_t, const char *>> operands) {
  for (auto [i, name] : operands)
    if (node.has(i))
      node.decline(Twine("its operand ") + name + " is not supported");
}

/// A mask of i32 [batch, keys] (1: attend) as the bool [batch, 1, 1, keys] of nn.attention.
Value keyMask(Node &node, size_t i) {
  if (!node.has(i))
    return {};
  RankedTensorType type = node.type(i);
  if (type.getRank() != 2)
    node.decline("a key padding mask of rank " + Twine(type.getRank()) + " is not supported");
  Value mask = node.cast(node.input(i), node.builder().getI1Type());
  return node.reshape(mask, {type.getDimSize(0), 1, 1, type.getDimSize(1)});
}

/// Where a bool mask hides, -infinity is added to the scores: for a mask that meets an additive one.
Value combine(Node &node, Value mask, Value bias) {
  if (!mask || !bias)
    return mask ? mask : bias;
  return node.make<nn::SelectOp>({mask, bias, node.scalar(-INFINITY, bias)});
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
  if (node.wants(1) && node.has(7))
    node.decline("mask_index as a result is not supported");
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
}

void multiHeadAttention(Node &node) {
  refuse(node, {{8, "past_sequence_length"}, {9, "cache_indirection"}});
  int64_t heads = node.integer("num_heads", 0);
  if (!node.has(1) || !node.has(2) || node.type(0).getRank() != 3)
    node.decline("packed query, key and value are not supported");
  Value query = node.input(0), key = node.input(1), value = node.input(2);
  if (node.has(3)) {
    int64_t size = node.type(0).getDimSize(2), keySize = Node::typeOf(key).getShape().back();
    if (Node::typeOf(key).getRank() != 3 || size != keySize)
      node.decline("a bias of differently sized query and key is not supported");
    int64_t valueSize = node.type(3).getDimSize(0) - 2 * size;
    query = plus(node, query, node.sliceAxis(node.input(3), 0, 0, size));
    key = plus(node, key, node.sliceAxis(node.input(3), 0, size, size));
    value = plus(node, value, node.sliceAxis(node.input(3), 0, 2 * size, valueSize));
  }
  // Keys and values of rank 4 (cross attention) have their heads apart already.
  auto split = [&](Value operand) {
    return Node::typeOf(operand).getRank() == 4 ? operand : splitHeads(node, operand, heads);
  };
  query = split(query), key = appendToPast(node, node.inputOrNull(6), split(key));
  value = appendToPast(node, node.inputOrNull(7), split(value));
  AttentionOptions options;
  if (float scale = node.real("scale", 0); scale != 0)
    options.scale = scale;
  if (node.integer("unidirectional", 0) != 0)
    options.causalOffset = Node::typeOf(key).getDimSize(2) - Node::typeOf(query).getDimSize(2);
  options.mask = combine(node, keyMask(node, 4), node.inputOrNull(5));
  node.result(0, joinHeads(node, makeAttention(node, query, key, value, options)));
  node.result(1, key);
  node.result(2, value);
}

void rotaryEmbedding(Node &node) {
  Value value = node.input(0), positions = node.input(1);
  if (node.real("scale", 1.0f) != 1.0f || node.integer("is_packed_batching", 0) != 0)
    node.decline("scale and packed batching are not supported");
  bool joined = node.type(0).getRank() == 3;
  int64_t batch = node.type(0).getDimSize(0), sequence = node.type(0).getDimSize(joined ? 1 : 2);
  if (Node::typeOf(positions).getNumElements() == 1 && batch * sequence != 1) {
    // One number: the position of the first token.
    auto type = RankedTensorType::get({1, sequence}, node.builder().getI64Type());
    Value steps =
        node.make<nn::RangeOp>({}, {node.named("start", int64_t{0}), node.named("step", int64_t{1})},
                               RankedTensorType::get(sequence, node.builder().getI64Type()));
    positions = node.make<nn::AddOp>({node.reshape(steps, type.getShape()), node.reshape(positions, {1, 1})});
  }
  if (joined) {
    int64_t heads = node.integer("num_heads", 0);
    if (heads == 0)
      heads = node.type(0).getDimSize(2) / std::max<int64_t>(1, 2 * node.type(2).getDimSize(1));
    value = splitHeads(node, value, heads);
  }
  value = makeRope(node, value, node.input(2), node.input(3), positions, node.integer("interleaved", 0) != 0);
  node.result(0, joined ? joinHeads(node, value) : value);
}

} // namespace npuc::importer::microsoft
