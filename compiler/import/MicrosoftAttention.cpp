// Attention of domain com.microsoft. Source of the meanings: onnxruntime's docs/ContribOperators.md and,
// where that is silent (masks and caches of group query attention), its CPU kernels' outputs.
#include "compiler/import/Attention.h"
#include "compiler/import/Handlers.h"

namespace npuc::importer::microsoft {
namespace {

using namespace mlir;

void refuse(Node &node, std::initializer_list<std::pair<size_t, const char *>> operands) {
  for (auto [i, name] : operands)
    if (node.has(i))
      node.decline(Twine("its operand ") + name + " is not supported");
}

Value plus(Node &node, Value value, Value other) {
  return other ? node.make<nn::AddOp>({value, other}) : value;
}

Value compare(Node &node, nn::ComparePredicate kind, Value lhs, Value rhs) {
  auto predicate = nn::ComparePredicateAttr::get(node.context(), kind);
  return node.make<nn::CompareOp>({lhs, rhs}, node.enumerated("predicate", predicate));
}

/// 0, 1, … of `element` as the dimension `axis` of `rank` dimensions.
Value steps(Node &node, Type element, int64_t count, int64_t axis, int64_t rank) {
  auto number = [&](int64_t value) { return node.builder().getIntegerAttr(element, value); };
  Value range =
      node.make<nn::RangeOp>({}, {node.enumerated("start", number(0)), node.enumerated("step", number(1))},
                             RankedTensorType::get(count, element));
  Ints shape(static_cast<size_t>(rank), 1);
  shape[axis] = count;
  return node.reshape(range, shape);
}

/// Which keys are attended to, from operand i: i32 [batch] (how many), [2 · batch] (their ends, then their
/// starts), [batch, keys], [batch, queries, keys] or [batch, 1, queries, keys], the latter with 1 for a key
/// that is. Bool of rank 4 that broadcasts to [batch, heads, queries, keys], null without the operand.
Value keptKeys(Node &node, size_t i, int64_t batch, int64_t keys) {
  if (!node.has(i))
    return {};
  RankedTensorType type = node.type(i);
  ArrayRef<int64_t> shape = type.getShape();
  Type i64 = node.builder().getI64Type();
  if (type.getRank() == 1) {
    if (shape[0] != batch && shape[0] != 2 * batch)
      node.decline("a mask of " + Twine(shape[0]) + " numbers for " + Twine(batch) +
                   " sequences is not supported");
    Value position = steps(node, i64, keys, 3, 4), limits = node.cast(node.input(i), i64);
    auto limit = [&](int64_t start) {
      return node.reshape(node.sliceAxis(limits, 0, start, batch), {batch, 1, 1, 1});
    };
    Value kept = compare(node, nn::ComparePredicate::Lt, position, limit(0));
    if (shape[0] == batch)
      return kept;
    return node.make<nn::AndOp>({kept, compare(node, nn::ComparePredicate::Ge, position, limit(batch))});
  }
  if (shape.back() != keys || (type.getRank() == 4 && shape[1] != 1) || type.getRank() > 4)
    node.decline("a mask of this shape is not supported");
  Ints spread(shape);
  while (spread.size() < 4)
    spread.insert(spread.begin() + 1, 1);
  return node.reshape(node.cast(node.input(i), node.builder().getI1Type()), spread);
}

/// What is added to the scores: the filter value where keys are hidden, and the bias.
Value additiveMask(Node &node, Value kept, Value bias, Value like) {
  if (!kept)
    return bias;
  Value filter = node.scalar(node.real("mask_filter_value", -10000.0f), like);
  return plus(node, node.make<nn::SelectOp>({kept, node.scalar(0, like), filter}), bias);
}

AttentionOptions scaled(Node &node) {
  AttentionOptions options;
  if (float scale = node.real("scale", 0); scale != 0)
    options.scale = scale;
  return options;
}

int64_t headsOf(Node &node, const char *attribute) {
  int64_t heads = node.integer(attribute, 0);
  if (heads < 1)
    node.fail(Twine(attribute) + " must be positive");
  return heads;
}

/// Part `part` of operand i, which holds `parts` of [batch, sequence, heads, part, size], by heads.
Value packedPart(Node &node, size_t i, int64_t part, int64_t parts) {
  ArrayRef<int64_t> shape = node.type(i).getShape();
  if (shape.size() != 5 || shape[3] != parts)
    node.decline("operand " + Twine(i) + " must be [batch, sequence, heads, " + Twine(parts) + ", size]");
  Value one = node.sliceAxis(node.input(i), 3, part, 1);
  return node.transpose(node.reshape(one, {shape[0], shape[1], shape[2], shape[4]}), {0, 2, 1, 3});
}

/// Rotates the heads of `value` [batch, heads, sequence, size] by the caches' rows of `positions`.
Value rotate(Node &node, Value value, size_t caches, Value positions) {
  return makeRope(node, value, node.input(caches), node.input(caches + 1), positions,
                  node.integer("rotary_interleaved", 0) != 0);
}

} // namespace

void attention(Node &node) {
  refuse(node, {{6, "past_sequence_length"}});
  if (node.integer("do_rotary", 0) != 0)
    node.decline("do_rotary is not supported");
  if (node.type(0).getRank() != 3 || node.type(1).getRank() != 2)
    node.fail("the input must have rank 3 and the weights rank 2");
  int64_t heads = headsOf(node, "num_heads"), width = node.type(1).getDimSize(1);
  Ints sizes = node.integers("qkv_hidden_sizes", {width / 3, width / 3, width / 3});
  if (sizes.size() != 3 || sizes[0] + sizes[1] + sizes[2] != width)
    node.fail("the weights have " + Twine(width) + " columns, which qkv_hidden_sizes do not make up");
  SmallVector<Value> operands{node.input(0), node.input(1)};
  if (node.has(2))
    operands.push_back(node.input(2));
  Value joined = node.make<nn::LinearOp>(operands);
  auto part = [&](int64_t start, int64_t size) {
    return splitHeads(node, node.sliceAxis(joined, 2, start, size), heads);
  };
  Value query = part(0, sizes[0]), key = part(sizes[0], sizes[1]),
        value = part(sizes[0] + sizes[1], sizes[2]);
  if (node.has(4)) {
    ArrayRef<int64_t> past = node.type(4).getShape();
    if (past.size() != 5 || past[0] != 2)
      node.fail("past must be [2, batch, heads, sequence, size]");
    auto half = [&](int64_t i) {
      return node.reshape(node.sliceAxis(node.input(4), 0, i, 1), past.drop_front());
    };
    key = appendToPast(node, half(0), key);
    value = appendToPast(node, half(1), value);
  }
  int64_t queries = node.type(0).getDimSize(1), keys = Node::typeOf(key).getDimSize(2);
  AttentionOptions options = scaled(node);
  if (node.integer("unidirectional", 0) != 0)
    options.causalOffset = keys - queries;
  Value kept = keptKeys(node, 3, node.type(0).getDimSize(0), keys);
  options.mask = additiveMask(node, kept, node.inputOrNull(5), query);
  node.result(0, joinHeads(node, makeAttention(node, query, key, value, options)));
  if (node.wants(1)) {
    auto lead = [&](Value state) {
      Ints shape(Node::typeOf(state).getShape());
      shape.insert(shape.begin(), 1);
      return node.reshape(state, shape);
    };
    node.result(1, node.make<nn::ConcatOp>({lead(key), lead(value)}, node.named("axis", int64_t{0})));
  }
}

void multiHeadAttention(Node &node) {
  refuse(node, {{8, "past_sequence_length"}, {9, "cache_indirection"}});
  int64_t heads = headsOf(node, "num_heads");
  Value query, key, value;
  if (node.type(0).getRank() == 5) {
    query = packedPart(node, 0, 0, 3), key = packedPart(node, 0, 1, 3), value = packedPart(node, 0, 2, 3);
  } else {
    query = node.input(0);
    if (node.has(1) && node.type(1).getRank() == 5)
      key = packedPart(node, 1, 0, 2), value = packedPart(node, 1, 1, 2);
    else
      key = node.input(1), value = node.input(2);
  }
  if (node.has(3)) {
    if (Node::typeOf(query).getRank() != 3 || Node::typeOf(key).getRank() != 3 ||
        Node::typeOf(value).getRank() != 3)
      node.decline("a bias of packed operands is not supported");
    int64_t start = 0;
    for (Value *operand : {&query, &key, &value}) {
      int64_t size = Node::typeOf(*operand).getShape().back();
      *operand = plus(node, *operand, node.sliceAxis(node.input(3), 0, start, size));
      start += size;
    }
  }
  // Keys and values of rank 4 (cross attention) have their heads apart already.
  auto split = [&](Value operand) {
    return Node::typeOf(operand).getRank() == 4 ? operand : splitHeads(node, operand, heads);
  };
  query = split(query), key = appendToPast(node, node.inputOrNull(6), split(key));
  value = appendToPast(node, node.inputOrNull(7), split(value));
  int64_t queries = Node::typeOf(query).getDimSize(2), keys = Node::typeOf(key).getDimSize(2);
  AttentionOptions options = scaled(node);
  if (node.integer("unidirectional", 0) != 0)
    options.causalOffset = keys - queries;
  Value kept = keptKeys(node, 4, Node::typeOf(query).getDimSize(0), keys);
  options.mask = additiveMask(node, kept, node.inputOrNull(5), query);
  node.result(0, joinHeads(node, makeAttention(node, query, key, value, options)));
  node.result(1, key);
  node.result(2, value);
}

namespace {

/// A cache of keys or values for group query attention.
class GroupCache {
public:
  /// Of `capacity` positions, after `past` [batch] i32 positions of a cache of which `held` may be filled.
  GroupCache(Node &node, int64_t batch, int64_t sequence, int64_t capacity, int64_t held, Value past)
      : node(node), batch(batch), sequence(sequence), capacity(capacity), held(held), past(past) {}

  /// The cache in operand i with `update` [batch, heads, sequence, size] after what it holds.
  Value append(size_t i, Value update) {
    if (!past)
      return padded(update);
    Ints shape(Node::typeOf(update).getShape());
    shape[2] = capacity;
    Value both = node.make<nn::ConcatOp>({node.input(i), update}, node.named("axis", int64_t{2}));
    // Position j is the past's, or the update's where the past has ended; beyond that nothing.
    Value position = steps(node, node.builder().getI32Type(), capacity, 2, 4);
    Value end = node.reshape(past, {batch, 1, 1, 1});
    Value inPast = compare(node, nn::ComparePredicate::Lt, position, end);
    Value behind =
        node.make<nn::AddOp>({node.make<nn::SubOp>({position, end}), node.scalar(double(held), position)});
    Value last = node.scalar(double(held + sequence - 1), position);
    Value index = node.make<nn::SelectOp>({inPast, position, node.make<nn::MinOp>({behind, last})});
    Value picked;
    if (batch == 1)
      picked =
          node.make<nn::GatherOp>({both, node.reshape(index, {capacity})}, node.named("axis", int64_t{2}));
    else
      picked = node.make<nn::GatherElementsOp>({both, node.broadcast(index, shape)},
                                               node.named("axis", int64_t{2}));
    if (capacity == sequence)
      return picked;
    Value filled = compare(node, nn::ComparePredicate::Le, behind, last);
    return node.make<nn::SelectOp>({filled, picked, node.scalar(0, picked)});
  }

private:
  /// Zeros after the update.
  Value padded(Value update) {
    if (capacity == sequence)
      return update;
    auto mode = nn::PadModeAttr::get(node.context(), nn::PadMode::Constant);
    return node.make<nn::PadOp>({update}, {node.enumerated("mode", mode), node.named("low", Ints{0, 0, 0, 0}),
                                           node.named("high", Ints{0, 0, capacity - sequence, 0})});
  }

  Node &node;
  int64_t batch, sequence, capacity, held;
  Value past;
};

} // namespace

void groupQueryAttention(Node &node) {
  refuse(node, {{11, "head_sink"}, {12, "k_scale"}, {13, "v_scale"}});
  if (node.integer("smooth_softmax", 0) > 0 || node.integer("qk_output", 0) > 0 ||
      node.integer("kv_cache_bit_width", 0) > 0)
    node.decline("smooth_softmax, qk_output and quantized caches are not supported");
  int64_t heads = headsOf(node, "num_heads"), groups = headsOf(node, "kv_num_heads");
  if (node.type(0).getRank() != 3)
    node.fail("query must have rank 3");
  int64_t batch = node.type(0).getDimSize(0), sequence = node.type(0).getDimSize(1);
  Value query = node.input(0), key, value;
  if (node.has(1)) {
    key = node.input(1), value = node.input(2);
  } else {
    int64_t parts = heads + 2 * groups, width = node.type(0).getDimSize(2);
    if (width % parts != 0)
      node.fail("a packed query's last dimension must divide into " + Twine(parts) + " heads");
    int64_t size = width / parts;
    key = node.sliceAxis(query, 2, heads * size, groups * size);
    value = node.sliceAxis(query, 2, (heads + groups) * size, groups * size);
    query = node.sliceAxis(query, 2, 0, heads * size);
  }
  query = splitHeads(node, query, heads);
  key = splitHeads(node, key, groups), value = splitHeads(node, value, groups);

  int64_t total = node.constantInteger(6), held = node.has(3) ? node.type(3).getDimSize(2) : 0;
  int64_t capacity = std::max(total, held);
  if (total < sequence)
    node.fail("total_sequence_length is " + Twine(total) + ", less than the query's " + Twine(sequence));
  // A first prompt has no past, whatever the lengths say; after it each sequence has its own.
  Value past;
  Type i32 = node.builder().getI32Type();
  if (total != sequence)
    past = node.make<nn::AddOp>({node.reshape(node.cast(node.input(5), i32), {batch}),
                                 node.scalar(double(1 - sequence), node.input(5))});

  if (node.integer("do_rotary", 0) != 0) {
    Value positions = node.inputOrNull(9);
    if (!positions) {
      positions = steps(node, i32, sequence, 1, 2);
      if (past)
        positions = node.make<nn::AddOp>({positions, node.reshape(past, {batch, 1})});
    }
    query = rotate(node, query, 7, positions), key = rotate(node, key, 7, positions);
  }
  GroupCache cache(node, batch, sequence, capacity, held, past);
  key = cache.append(3, key), value = cache.append(4, value);
  node.result(1, key), node.result(2, value);

  AttentionOptions options = scaled(node);
  options.softcap = node.real("softcap", 0);
  int64_t window = node.integer("local_window_size", -1);
  Value kept;
  if (past || window > 0) {
    Value last = steps(node, i32, sequence, 2, 4), position = steps(node, i32, capacity, 3, 4);
    if (past)
      last = node.make<nn::AddOp>({last, node.reshape(past, {batch, 1, 1, 1})});
    kept = compare(node, nn::ComparePredicate::Le, position, last);
    if (window > 0) {
      Value start = node.make<nn::SubOp>({last, node.scalar(double(window), last)});
      kept = node.make<nn::AndOp>({kept, compare(node, nn::ComparePredicate::Gt, position, start)});
    }
  } else {
    options.causalOffset = 0;
  }
  options.mask = kept;
  if (Value bias = node.inputOrNull(10))
    options.mask = kept ? node.make<nn::SelectOp>({kept, bias, node.scalar(-INFINITY, bias)}) : bias;
  node.result(0, joinHeads(node, makeAttention(node, query, key, value, options)));
}

void rotaryEmbedding(Node &node) {
  Value value = node.input(0), positions = node.input(1);
  if (node.real("scale", 1.0f) != 1.0f || node.integer("is_packed_batching", 0) != 0)
    node.decline("scale and packed batching are not supported");
  bool joined = node.type(0).getRank() == 3;
  int64_t batch = node.type(0).getDimSize(0), sequence = node.type(0).getDimSize(joined ? 1 : 2);
  if (Node::typeOf(positions).getNumElements() == 1 && batch * sequence != 1)
    // One number: the position of the first token.
    positions =
        node.make<nn::AddOp>({steps(node, node.builder().getI64Type(), sequence, 1, 2),
                              node.reshape(node.cast(positions, node.builder().getI64Type()), {1, 1})});
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
