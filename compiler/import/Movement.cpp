// Operators that move elements.
#include "compiler/import/Handlers.h"

#include <cmath>

namespace npuc::importer::movement {
namespace {

using namespace mlir;

Ints iota(int64_t count) {
  return llvm::to_vector(llvm::seq<int64_t>(0, count));
}

/// The operand `i` as i64 or i32, as nn's index operands are.
Value indices(Node &node, size_t i) {
  Value value = node.input(i);
  Type element = Node::typeOf(value).getElementType();
  return element.isInteger(32) || element.isInteger(64) ? value
                                                        : node.cast(value, node.builder().getI64Type());
}

NamedAttribute reduction(Node &node) {
  std::string name = node.text("reduction", "none");
  std::optional<nn::ScatterReduction> kind = nn::symbolizeScatterReduction(name);
  if (!kind)
    node.fail("reduction '" + name + "' is not supported");
  return node.enumerated("reduction", nn::ScatterReductionAttr::get(node.context(), *kind));
}

/// What gathering indices that are known and follow each other is: a slice, which of a large constant reads
/// only these rows (position embeddings). Null if they are not so, or if the table is small enough to be
/// evaluated.
Value consecutiveRows(Node &node, int64_t axis) {
  DenseElementsAttr elements = Node::dense(node.input(1));
  RankedTensorType table = node.type(0), type = node.type(1);
  auto constant = node.input(0).getDefiningOp<nn::ConstantOp>();
  if (!elements || type.getNumElements() == 0 || !constant || !constant.isHandle())
    return {};
  Ints rows = node.constantIntegers(1);
  int64_t size = table.getDimSize(axis), first = rows[0] < 0 ? rows[0] + size : rows[0];
  for (auto [i, row] : llvm::enumerate(rows))
    if ((row < 0 ? row + size : row) != first + static_cast<int64_t>(i))
      return {};
  Ints shape(table.getShape().take_front(axis));
  llvm::append_range(shape, type.getShape());
  llvm::append_range(shape, table.getShape().drop_front(axis + 1));
  return node.reshape(node.sliceAxis(node.input(0), axis, first, type.getNumElements()), shape);
}

/// Splits each dimension d into groups[d] × the rest, permutes, and joins neighbours into `shape`.
Value shuffle(Node &node, Value value, ArrayRef<int64_t> split, ArrayRef<int64_t> permutation,
              ArrayRef<int64_t> shape) {
  return node.reshape(node.transpose(node.reshape(value, split), permutation), shape);
}

} // namespace

void identity(Node &node) {
  node.result(0, node.input(0));
}

void dropout(Node &node) {
  if (node.has(2) && node.constantInteger(2) != 0)
    node.fail("training mode is not supported");
  node.result(0, node.input(0));
  if (!node.wants(1))
    return;
  auto type = node.type(0).clone(node.builder().getI1Type());
  node.result(1, node.constant(DenseElementsAttr::get(cast<ShapedType>(type), true)));
}

void reshape(Node &node) {
  RankedTensorType input = node.type(0);
  Ints sizes = node.constantIntegers(1);
  bool zeroIsZero = node.integer("allowzero", 0) != 0;
  int64_t known = 1;
  std::optional<size_t> open;
  for (auto [d, size] : llvm::enumerate(sizes)) {
    if (size == 0 && !zeroIsZero) {
      if (d >= static_cast<size_t>(input.getRank()))
        node.fail("size 0 copies dimension " + Twine(d) + ", which the operand does not have");
      size = input.getDimSize(d);
    }
    if (size < -1 || (size == -1 && open))
      node.fail("the shape has a size below -1, or two that are -1");
    if (size == -1)
      open = d;
    else
      known *= size;
  }
  if (open) {
    if (known == 0 || input.getNumElements() % known != 0)
      node.fail(Twine(input.getNumElements()) + " elements do not divide by " + Twine(known));
    sizes[*open] = input.getNumElements() / known;
  }
  node.result(0, node.reshape(node.input(0), sizes));
}

void flatten(Node &node) {
  ArrayRef<int64_t> shape = node.type(0).getShape();
  auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = node.integer("axis", 1);
  if (axis < -rank || axis > rank)
    node.fail("axis " + Twine(axis) + " is not one of " + Twine(rank) + " dimensions");
  axis += axis < 0 ? rank : 0;
  auto product = [](ArrayRef<int64_t> sizes) {
    return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
  };
  node.result(
      0, node.reshape(node.input(0), {product(shape.take_front(axis)), product(shape.drop_front(axis))}));
}

void squeeze(Node &node) {
  RankedTensorType type = node.type(0);
  std::optional<Ints> given = node.integersOf("axes", 1);
  Ints axes = given ? node.axes(*given, type.getRank()) : Ints();
  Ints shape;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    bool drop = given ? llvm::is_contained(axes, d) : type.getDimSize(d) == 1;
    if (drop && type.getDimSize(d) != 1)
      node.fail("dimension " + Twine(d) + " has size " + Twine(type.getDimSize(d)) + " and not 1");
    if (!drop)
      shape.push_back(type.getDimSize(d));
  }
  node.result(0, node.reshape(node.input(0), shape));
}

void unsqueeze(Node &node) {
  RankedTensorType type = node.type(0);
  Ints given = node.integersOf("axes", 1).value_or(Ints());
  int64_t rank = type.getRank() + static_cast<int64_t>(given.size());
  Ints axes = node.axes(given, rank), shape;
  for (int64_t d = 0, from = 0; d < rank; ++d) {
    bool isNew = llvm::is_contained(axes, d);
    if (!isNew && from == type.getRank())
      node.fail("an axis stands twice");
    shape.push_back(isNew ? 1 : type.getDimSize(from++));
  }
  node.result(0, node.reshape(node.input(0), shape));
}

void transpose(Node &node) {
  Ints reversed = iota(node.type(0).getRank());
  std::reverse(reversed.begin(), reversed.end());
  node.result(0, node.transpose(node.input(0), node.integers("perm", reversed)));
}

void expand(Node &node) {
  Ints sizes = node.constantIntegers(1);
  auto shape = nn::broadcastShapes(node.type(0).getShape(), sizes);
  if (!shape)
    node.fail("the shapes do not broadcast");
  node.result(0, node.broadcast(node.input(0), *shape));
}

void tile(Node &node) {
  ArrayRef<int64_t> shape = node.type(0).getShape();
  Ints repeats = node.constantIntegers(1);
  if (repeats.size() != shape.size())
    node.fail("repeats needs one entry for each dimension");
  Ints split, repeated, joined;
  for (auto [size, count] : llvm::zip(shape, repeats)) {
    if (count < 0)
      node.fail("repeats must not be negative");
    split.append({1, size});
    repeated.append({count, size});
    joined.push_back(count * size);
  }
  node.result(0, node.reshape(node.broadcast(node.reshape(node.input(0), split), repeated), joined));
}

void slice(Node &node) {
  RankedTensorType type = node.type(0);
  Ints starts = node.constantIntegers(1), ends = node.constantIntegers(2);
  Ints axes = node.has(3) ? node.axes(node.constantIntegers(3), type.getRank())
                          : iota(static_cast<int64_t>(starts.size()));
  Ints steps = node.has(4) ? node.constantIntegers(4) : Ints(starts.size(), 1);
  if (starts.size() != ends.size() || starts.size() != axes.size() || starts.size() != steps.size() ||
      static_cast<int64_t>(starts.size()) > type.getRank())
    node.fail("starts, ends, axes and steps must have one length");
  auto rank = static_cast<size_t>(type.getRank());
  Ints first(rank, 0), sizes(type.getShape()), strides(rank, 1);
  for (size_t i = 0; i < starts.size(); ++i) {
    auto d = static_cast<size_t>(axes[i]);
    int64_t size = type.getDimSize(axes[i]), step = steps[i];
    if (step == 0)
      node.fail("a step must not be 0");
    // Going up, both are clamped to [0, size]; going down, the start to [0, size - 1] and the end to [-1,
    // size - 1].
    int64_t high = std::max<int64_t>(0, step > 0 ? size : size - 1);
    auto clamp = [&](int64_t at, int64_t low) {
      return std::clamp(at < 0 ? std::max(at, -size - 1) + size : at, low, high);
    };
    int64_t start = clamp(starts[i], 0), end = clamp(ends[i], step > 0 ? 0 : -1);
    int64_t distance = step > 0 ? end - start : start - end;
    sizes[d] = distance <= 0 || size == 0 ? 0 : (distance - 1) / std::abs(step) + 1;
    first[d] = sizes[d] == 0 ? 0 : start;
    strides[d] = step;
  }
  node.result(0,
              node.make<nn::SliceOp>(node.input(0), {node.named("starts", first), node.named("sizes", sizes),
                                                     node.named("steps", strides)}));
}

void split(Node &node) {
  RankedTensorType type = node.type(0);
  int64_t axis = node.axis(node.integer("axis", 0), type.getRank()), size = type.getDimSize(axis);
  int64_t count = node.integer("num_outputs", node.proto().output_size());
  std::optional<Ints> given = node.integersOf("split", 1);
  if (count < 1)
    node.fail("it has no outputs");
  int64_t chunk = llvm::divideCeil(size, count), start = 0;
  for (int64_t i = 0; i < node.proto().output_size(); ++i) {
    if (given && i >= static_cast<int64_t>(given->size()))
      node.fail("it has more outputs than parts");
    int64_t part = given ? (*given)[static_cast<size_t>(i)] : std::min(chunk, size - start);
    node.result(static_cast<size_t>(i), node.sliceAxis(node.input(0), axis, start, part));
    start += part;
  }
  if (start != size)
    node.fail("the parts have " + Twine(start) + " elements of " + Twine(size) + " together");
}

void concat(Node &node) {
  int64_t axis = node.axis(node.integer("axis", 0), node.type(0).getRank());
  node.result(0, node.make<nn::ConcatOp>(node.inputs(), node.named("axis", axis)));
}

void pad(Node &node) {
  RankedTensorType type = node.type(0);
  std::optional<Ints> given = node.integersOf("pads", 1); // An attribute before opset 11, as the value.
  if (!given)
    node.fail("it has no pads");
  Ints pads = *given;
  Ints axes = node.has(3) ? node.axes(node.constantIntegers(3), type.getRank()) : iota(type.getRank());
  if (pads.size() != 2 * axes.size())
    node.fail("pads needs two entries for each axis");
  std::string name = node.text("mode", "constant");
  std::optional<nn::PadMode> mode = nn::symbolizePadMode(name);
  if (!mode)
    node.fail("mode '" + name + "' is not supported");
  Ints low(static_cast<size_t>(type.getRank())), high(low);
  for (size_t i = 0; i < axes.size(); ++i) {
    low[static_cast<size_t>(axes[i])] = pads[i];
    high[static_cast<size_t>(axes[i])] = pads[i + axes.size()];
  }
  SmallVector<Value> operands{node.input(0)};
  if (node.has(2) && *mode == nn::PadMode::Constant)
    operands.push_back(node.reshape(node.input(2), {}));
  else if (float value = node.real("value", 0); value != 0 && *mode == nn::PadMode::Constant)
    operands.push_back(node.scalar(value, node.input(0)));
  node.result(
      0, node.make<nn::PadOp>(operands, {node.enumerated("mode", nn::PadModeAttr::get(node.context(), *mode)),
                                         node.named("low", low), node.named("high", high)}));
}

void gather(Node &node) {
  int64_t axis = node.axis(node.integer("axis", 0), node.type(0).getRank());
  if (Value rows = consecutiveRows(node, axis))
    return node.result(0, rows);
  node.result(0, node.make<nn::GatherOp>({node.input(0), indices(node, 1)}, node.named("axis", axis)));
}

void gatherElements(Node &node) {
  int64_t axis = node.axis(node.integer("axis", 0), node.type(0).getRank());
  node.result(0,
              node.make<nn::GatherElementsOp>({node.input(0), indices(node, 1)}, node.named("axis", axis)));
}

void gatherNd(Node &node) {
  int64_t batch = node.integer("batch_dims", 0);
  node.result(0,
              node.make<nn::GatherNdOp>({node.input(0), indices(node, 1)}, node.named("batch_dims", batch)));
}

void scatterElements(Node &node) {
  int64_t axis = node.axis(node.integer("axis", 0), node.type(0).getRank());
  node.result(0, node.make<nn::ScatterElementsOp>({node.input(0), indices(node, 1), node.input(2)},
                                                  {reduction(node), node.named("axis", axis)}));
}

void scatterNd(Node &node) {
  node.result(0,
              node.make<nn::ScatterNdOp>({node.input(0), indices(node, 1), node.input(2)}, reduction(node)));
}

void trilu(Node &node) {
  int64_t diagonal = node.has(1) ? node.constantInteger(1) : 0;
  bool upper = node.integer("upper", 1) != 0;
  node.result(0, node.make<nn::TriluOp>(
                     node.input(0),
                     Node::present({{node.unit("upper"), upper}, {node.named("diagonal", diagonal), true}})));
}

void depthToSpace(Node &node) {
  RankedTensorType type = node.type(0);
  int64_t block = node.integer("blocksize", 0);
  if (type.getRank() != 4 || block < 1 || type.getDimSize(1) % (block * block) != 0)
    node.fail("the channels do not divide into blocks of " + Twine(block) + "²");
  int64_t n = type.getDimSize(0), c = type.getDimSize(1) / (block * block), h = type.getDimSize(2),
          w = type.getDimSize(3);
  Ints joined{n, c, h * block, w * block};
  bool columnsFirst = node.text("mode", "DCR") == "CRD";
  if (columnsFirst)
    return node.result(0,
                       shuffle(node, node.input(0), {n, c, block, block, h, w}, {0, 1, 4, 2, 5, 3}, joined));
  node.result(0, shuffle(node, node.input(0), {n, block, block, c, h, w}, {0, 3, 4, 1, 5, 2}, joined));
}

void spaceToDepth(Node &node) {
  RankedTensorType type = node.type(0);
  int64_t block = node.integer("blocksize", 0);
  if (type.getRank() != 4 || block < 1 || type.getDimSize(2) % block != 0 || type.getDimSize(3) % block != 0)
    node.fail("the image does not divide into blocks of " + Twine(block) + "²");
  int64_t n = type.getDimSize(0), c = type.getDimSize(1), h = type.getDimSize(2) / block,
          w = type.getDimSize(3) / block;
  node.result(0, shuffle(node, node.input(0), {n, c, h, block, w, block}, {0, 3, 5, 1, 2, 4},
                         {n, c * block * block, h, w}));
}

} // namespace npuc::importer::movement
