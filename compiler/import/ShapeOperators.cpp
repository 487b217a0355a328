// Operators on shapes, and those whose result follows from constants alone.
#include "compiler/import/Handlers.h"

#include "compiler/import/Types.h"

namespace npuc::importer::shape {
namespace {

using namespace mlir;

/// The only element of a constant, as an attribute of its element type.
TypedAttr constantScalar(const Node &node, size_t i) {
  DenseElementsAttr elements = Node::dense(node.input(i));
  if (!elements || elements.getNumElements() != 1)
    node.fail("operand " + Twine(i) + " must be a scalar that is known when the model is compiled");
  return cast<TypedAttr>(*elements.value_begin<Attribute>());
}

double asDouble(TypedAttr value) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValueAsDouble();
  return static_cast<double>(cast<IntegerAttr>(value).getValue().getSExtValue());
}

/// ceil((limit - start) / step), at least 0.
int64_t rangeLength(const Node &node, TypedAttr start, TypedAttr limit, TypedAttr step) {
  if (asDouble(step) == 0)
    node.fail("the step of a range must not be 0");
  if (auto first = dyn_cast<IntegerAttr>(start)) {
    int64_t a = first.getValue().getSExtValue(), b = cast<IntegerAttr>(limit).getValue().getSExtValue();
    int64_t s = cast<IntegerAttr>(step).getValue().getSExtValue();
    int64_t distance = s > 0 ? b - a : a - b;
    return distance <= 0 ? 0 : (distance - 1) / std::abs(s) + 1;
  }
  return std::max<int64_t>(
      0, static_cast<int64_t>(std::ceil((asDouble(limit) - asDouble(start)) / asDouble(step))));
}

} // namespace

void shape(Node &node) {
  ArrayRef<int64_t> sizes = node.type(0).getShape();
  auto rank = static_cast<int64_t>(sizes.size());
  auto clamp = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  int64_t start = clamp(node.integer("start", 0)), end = clamp(node.integer("end", rank));
  ArrayRef<int64_t> part = sizes.slice(start, std::max<int64_t>(0, end - start));
  node.result(0, node.integersConstant(part, {static_cast<int64_t>(part.size())}));
}

void size(Node &node) {
  node.result(0, node.integersConstant(node.type(0).getNumElements(), {}));
}

void constantOfShape(Node &node) {
  Ints sizes = node.constantIntegers(0);
  if (llvm::any_of(sizes, [](int64_t size) { return size < 0; }))
    node.fail("the shape has a negative size");
  const onnx::AttributeProto *value = node.attribute("value");
  Type element = value ? elementType(value->t().data_type(), node.context()) : node.builder().getF32Type();
  if (!element)
    node.fail("elements of type " + onnxTypeName(value->t().data_type()) + " are not supported");
  auto single = RankedTensorType::get({1}, element);
  DenseElementsAttr fill = value ? denseFromTensor(single, value->t())
                                 : DenseElementsAttr::get(single, node.builder().getF32FloatAttr(0));
  if (!fill)
    node.fail("the fill value must have one element");
  node.result(
      0, node.constant(cast<SplatElementsAttr>(fill).resizeSplat(RankedTensorType::get(sizes, element))));
}

void range(Node &node) {
  TypedAttr start = constantScalar(node, 0), limit = constantScalar(node, 1), step = constantScalar(node, 2);
  if (start.getType() != limit.getType() || start.getType() != step.getType())
    node.fail("start, limit and delta must have one type");
  auto type = RankedTensorType::get(rangeLength(node, start, limit, step), start.getType());
  node.result(
      0, node.make<nn::RangeOp>({}, {node.enumerated("start", start), node.enumerated("step", step)}, type));
}

void oneHot(Node &node) {
  int64_t depth = node.constantInteger(1);
  Value indices = node.input(0), values = node.input(2);
  int64_t rank = node.type(0).getRank(), axis = node.axis(node.integer("axis", -1), rank + 1);
  if (depth < 1)
    node.fail("depth must be positive, found " + Twine(depth));
  if (Node::typeOf(values).getNumElements() != 2)
    node.fail("values must be the two numbers off and on");
  Type i64 = node.builder().getI64Type();
  indices = node.cast(indices, i64);
  // A negative index counts from the end; what still is none of [0, depth) equals no position.
  Value zero = node.scalar(0, indices);
  auto predicate = [&](nn::ComparePredicate kind) {
    return node.enumerated("predicate", nn::ComparePredicateAttr::get(node.context(), kind));
  };
  Value negative = node.make<nn::CompareOp>({indices, zero}, predicate(nn::ComparePredicate::Lt));
  Value wrapped = node.make<nn::AddOp>({indices, node.scalar(static_cast<double>(depth), indices)});
  indices = node.make<nn::SelectOp>({negative, wrapped, indices});
  Ints withAxis(Node::typeOf(indices).getShape()), positions(static_cast<size_t>(rank) + 1, 1);
  withAxis.insert(withAxis.begin() + axis, 1);
  positions[static_cast<size_t>(axis)] = depth;
  auto type = RankedTensorType::get(depth, i64);
  Value range =
      node.make<nn::RangeOp>({}, {node.named("start", int64_t{0}), node.named("step", int64_t{1})}, type);
  Value hot = node.make<nn::CompareOp>({node.reshape(indices, withAxis), node.reshape(range, positions)},
                                       predicate(nn::ComparePredicate::Eq));
  Value off = node.reshape(node.sliceAxis(values, 0, 0, 1), {}),
        on = node.reshape(node.sliceAxis(values, 0, 1, 1), {});
  node.result(0, node.make<nn::SelectOp>({hot, on, off}));
}

void eyeLike(Node &node) {
  RankedTensorType type = node.type(0);
  if (type.getRank() != 2)
    node.fail("needs a matrix, found rank " + Twine(type.getRank()));
  Type element = type.getElementType();
  if (node.attribute("dtype"))
    element = elementType(static_cast<int32_t>(node.integer("dtype", 0)), node.context());
  if (!element)
    node.fail("dtype is not supported");
  Type i64 = node.builder().getI64Type();
  auto positions = [&](int64_t start, int64_t size, Ints shape) {
    Value range = node.make<nn::RangeOp>({}, {node.named("start", start), node.named("step", int64_t{1})},
                                         RankedTensorType::get(size, i64));
    return node.reshape(range, shape);
  };
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  auto kind = nn::ComparePredicateAttr::get(node.context(), nn::ComparePredicate::Eq);
  Value eye = node.make<nn::CompareOp>(
      {positions(node.integer("k", 0), rows, {rows, 1}), positions(0, columns, {1, columns})},
      node.enumerated("predicate", kind));
  node.result(0, node.cast(eye, element));
}

void nonZero(Node &node) {
  DenseElementsAttr elements = Node::dense(node.input(0));
  if (!elements)
    node.fail("how many elements are not zero depends on data: only a constant operand is supported");
  Value isSet = node.cast(node.input(0), node.builder().getI1Type());
  DenseElementsAttr bools = Node::dense(isSet);
  if (!bools)
    node.fail("only a constant operand of less than 64 KiB is supported");
  ArrayRef<int64_t> sizes = node.type(0).getShape();
  SmallVector<Ints> found(sizes.size());
  for (auto [flat, value] : llvm::enumerate(bools.getValues<bool>())) {
    if (!value)
      continue;
    auto rest = static_cast<int64_t>(flat);
    for (size_t d = sizes.size(); d-- > 0; rest /= sizes[d])
      found[d].push_back(rest % sizes[d]);
  }
  Ints all;
  for (const Ints &row : found)
    llvm::append_range(all, row);
  int64_t count = sizes.empty() ? 0 : static_cast<int64_t>(found[0].size());
  node.result(0, node.integersConstant(all, {static_cast<int64_t>(sizes.size()), count}));
}

} // namespace npuc::importer::shape
