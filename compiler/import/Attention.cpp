#include "compiler/import/Attention.h"

#include "compiler/import/Handlers.h"

#include <cmath>

namespace npuc::importer {

using namespace mlir;

Value splitHeads(Node &node, Value value, int64_t heads) {
  ArrayRef<int64_t> shape = Node::typeOf(value).getShape();
  if (shape.size() != 3 || heads < 1 || shape[2] % heads != 0)
    node.fail("the last dimension of an operand of rank 3 must divide into " + Twine(heads) + " heads");
  return node.transpose(node.reshape(value, {shape[0], shape[1], heads, shape[2] / heads}), {0, 2, 1, 3});
}

Value joinHeads(Node &node, Value value) {
  ArrayRef<int64_t> shape = Node::typeOf(value).getShape();
  return node.reshape(node.transpose(value, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]});
}

Value makeAttention(Node &node, Value query, Value key, Value value, const AttentionOptions &options) {
  auto size = static_cast<float>(Node::typeOf(query).getShape().back());
  SmallVector<Value> operands{query, key, value};
  if (options.mask)
    operands.push_back(options.mask);
  SmallVector<NamedAttribute> attributes{node.named("scale", options.scale.value_or(1.0f / std::sqrt(size))),
                                         node.named("softcap", options.softcap)};
  if (options.causalOffset)
    attributes.push_back(node.named("causal_offset", *options.causalOffset));
  if (options.zeroMasked)
    attributes.push_back(node.unit("zero_masked"));
  return node.make<nn::AttentionOp>(operands, attributes);
}

Value appendToPast(Node &node, Value past, Value update) {
  if (!past)
    return update;
  return node.make<nn::KvUpdateOp>({past, update}, node.named("axis", int64_t{2}));
}

Value makeRope(Node &node, Value value, Value cos, Value sin, Value positions, bool interleaved) {
  auto pick = [&](Value cache) {
    if (positions)
      cache = node.make<nn::GatherOp>({cache, positions}, node.named("axis", int64_t{0}));
    RankedTensorType type = Node::typeOf(cache);
    if (type.getRank() != 3)
      node.fail("cos and sin must be of rank 3, or 2 with position ids");
    return node.reshape(cache, {type.getDimSize(0), 1, type.getDimSize(1), type.getDimSize(2)});
  };
  return node.make<nn::RopeOp>({value, pick(cos), pick(sin)},
                               Node::present({{node.unit("interleaved"), interleaved}}));
}

namespace attention {
namespace {

/// A mask over fewer keys than there are hides the rest.
Value widenMask(Node &node, Value mask, int64_t keys) {
  RankedTensorType type = Node::typeOf(mask);
  int64_t missing = keys - (type.getRank() == 0 ? keys : type.getShape().back());
  if (missing <= 0)
    return mask;
  Ints low(static_cast<size_t>(type.getRank())), high(low);
  high.back() = missing;
  Value hidden = node.scalar(isa<FloatType>(type.getElementType()) ? -INFINITY : 0, mask);
  auto mode = nn::PadModeAttr::get(node.context(), nn::PadMode::Constant);
  return node.make<nn::PadOp>(
      {mask, hidden}, {node.enumerated("mode", mode), node.named("low", low), node.named("high", high)});
}

} // namespace

void attention(Node &node) {
  if (node.wants(3))
    node.decline("the scores as a result are not supported");
  if (node.has(6))
    node.decline("nonpad_kv_seqlen is not supported");
  Value query = node.input(0), key = node.input(1), value = node.input(2);
  bool joined = node.type(0).getRank() == 3;
  if (joined) {
    query = splitHeads(node, query, node.integer("q_num_heads", 0));
    key = splitHeads(node, key, node.integer("kv_num_heads", 0));
    value = splitHeads(node, value, node.integer("kv_num_heads", 0));
  }
  int64_t past = node.has(4) ? node.type(4).getDimSize(2) : 0;
  key = appendToPast(node, node.inputOrNull(4), key);
  value = appendToPast(node, node.inputOrNull(5), value);
  AttentionOptions options;
  if (node.attribute("scale"))
    options.scale = node.real("scale", 1);
  if (node.integer("is_causal", 0) != 0)
    options.causalOffset = past;
  options.softcap = node.real("softcap", 0);
  // ONNX leaves open what a row is that sees no key; in PyTorch, which exports this operator, and in
  // onnxruntime it is 0.
  options.zeroMasked = node.has(3);
  if (node.has(3))
    options.mask = widenMask(node, node.input(3), Node::typeOf(key).getDimSize(2));
  Value result = makeAttention(node, query, key, value, options);
  node.result(0, joined ? joinHeads(node, result) : result);
  node.result(1, key);
  node.result(2, value);
}

void rotaryEmbedding(Node &node) {
  Value value = node.input(0);
  bool joined = node.type(0).getRank() == 3;
  if (joined)
    value = splitHeads(node, value, node.integer("num_heads", 0));
  // The caches' last dimension says how many elements rotate; rotary_embedding_dim repeats it.
  value = makeRope(node, value, node.input(1), node.input(2), node.inputOrNull(3),
                   node.integer("interleaved", 0) != 0);
  node.result(0, joined ? joinHeads(node, value) : value);
}

} // namespace attention
} // namespace npuc::importer
