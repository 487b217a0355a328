// Index expressions: what exporters compute from ranges to pick elements or to compare positions.
#include "dialects/nn/Transforms/Match.h"

namespace npuc::nn {
namespace {

SmallVector<int64_t> stridesOf(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  return strides;
}

int64_t integerOf(const APInt &value, Type element) {
  return element.isUnsignedInteger() || element.isInteger(1) ? value.getZExtValue() : value.getSExtValue();
}

std::optional<Affine> affineOfConstant(DenseElementsAttr dense) {
  auto type = cast<RankedTensorType>(dense.getType());
  if (!isa<IntegerType>(type.getElementType()) || type.getNumElements() == 0)
    return std::nullopt;
  Affine affine{0, SmallVector<int64_t>(type.getRank(), 0)};
  auto values = dense.getValues<APInt>();
  auto at = [&](int64_t index) { return integerOf(values[index], type.getElementType()); };
  SmallVector<int64_t> strides = stridesOf(type.getShape());
  affine.constant = at(0);
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (type.getDimSize(d) > 1)
      affine.steps[d] = at(strides[d]) - affine.constant;
  for (int64_t index = 0; index < type.getNumElements(); ++index) {
    int64_t expected = affine.constant;
    for (int64_t d = 0; d < type.getRank(); ++d)
      expected += affine.steps[d] * (index / strides[d] % type.getDimSize(d));
    if (at(index) != expected)
      return std::nullopt;
  }
  return affine;
}

/// `affine` over shape `from`, seen in shape `to` of as many elements. Runs of dimensions that correspond are
/// joined into one and split again; joining needs the steps of a row-major count.
std::optional<Affine> reshaped(const Affine &affine, ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  Affine result{affine.constant, SmallVector<int64_t>(to.size(), 0)};
  size_t i = 0, o = 0;
  while (i < from.size() || o < to.size()) {
    size_t i0 = i, o0 = o;
    int64_t in = i < from.size() ? from[i++] : 1, out = o < to.size() ? to[o++] : 1;
    while (in != out)
      if (in < out) {
        if (i == from.size())
          return std::nullopt;
        in *= from[i++];
      } else {
        if (o == to.size())
          return std::nullopt;
        out *= to[o++];
      }
    int64_t step = 0, size = 1;
    for (size_t d = i; d-- > i0;) {
      if (from[d] == 1)
        continue;
      if (size == 1)
        step = affine.steps[d];
      else if (affine.steps[d] != step * size)
        return std::nullopt;
      size *= from[d];
    }
    for (size_t d = o; d-- > o0;) {
      result.steps[d] = to[d] == 1 ? 0 : step;
      step *= to[d];
    }
  }
  return result;
}

/// `affine` over a shape, aligned at the right with a broadcast `to` of it.
Affine broadcasted(const Affine &affine, ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  Affine result{affine.constant, SmallVector<int64_t>(to.size(), 0)};
  for (size_t d = 0; d < from.size(); ++d)
    result.steps[to.size() - from.size() + d] = from[d] == 1 ? 0 : affine.steps[d];
  return result;
}

Affine combined(const Affine &a, const Affine &b, int64_t sign) {
  Affine result = a;
  result.constant += sign * b.constant;
  for (auto [step, other] : llvm::zip(result.steps, b.steps))
    step += sign * other;
  return result;
}

std::optional<Affine> affine(Value value, int depth);

std::optional<Affine> affineOfBinary(Operation *op, int depth) {
  ArrayRef<int64_t> shape = typeOf(op->getResult(0)).getShape();
  auto part = [&](Value operand) -> std::optional<Affine> {
    auto found = affine(operand, depth - 1);
    return found ? std::optional(broadcasted(*found, typeOf(operand).getShape(), shape)) : std::nullopt;
  };
  auto a = part(op->getOperand(0)), b = part(op->getOperand(1));
  if (!a || !b)
    return std::nullopt;
  if (!isa<MulOp>(op))
    return combined(*a, *b, isa<AddOp>(op) ? 1 : -1);
  auto isConstant = [](const Affine &x) {
    return llvm::all_of(x.steps, [](int64_t step) { return step == 0; });
  };
  if (!isConstant(*b))
    std::swap(a, b);
  if (!isConstant(*b))
    return std::nullopt;
  Affine product{a->constant * b->constant, a->steps};
  for (int64_t &step : product.steps)
    step *= b->constant;
  return product;
}

std::optional<Affine> affine(Value value, int depth) {
  RankedTensorType type = typeOf(value);
  if (DenseElementsAttr dense = denseOf(value))
    return affineOfConstant(dense);
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0 || !isa<IntegerType>(type.getElementType()))
    return std::nullopt;
  if (auto range = dyn_cast<RangeOp>(op))
    return Affine{cast<IntegerAttr>(range.getStart()).getInt(),
                  {cast<IntegerAttr>(range.getStep()).getInt()}};
  if (isa<AddOp, SubOp, MulOp>(op))
    return affineOfBinary(op, depth);
  if (!isa<ReshapeOp, BroadcastOp, CastOp, TransposeOp, SliceOp>(op))
    return std::nullopt;
  auto source = affine(op->getOperand(0), depth - 1);
  ArrayRef<int64_t> from = typeOf(op->getOperand(0)).getShape();
  if (!source || isa<CastOp>(op))
    return type.getElementTypeBitWidth() >= 32 ? source : std::nullopt;
  if (isa<ReshapeOp>(op))
    return type.getNumElements() ? reshaped(*source, from, type.getShape()) : std::nullopt;
  if (isa<BroadcastOp>(op))
    return broadcasted(*source, from, type.getShape());
  Affine result{source->constant, {}};
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    for (int64_t d : transpose.getPermutation())
      result.steps.push_back(source->steps[d]);
    return result;
  }
  auto slice = cast<SliceOp>(op);
  for (auto [step, start, stride] : llvm::zip(source->steps, slice.getStarts(), slice.getSteps())) {
    result.constant += step * start;
    result.steps.push_back(step * stride);
  }
  return result;
}

std::optional<Triangle> triangleOfCompare(CompareOp compare) {
  RankedTensorType type = typeOf(compare);
  auto a = asAffine(compare.getLhs()), b = asAffine(compare.getRhs());
  if (!a || !b || type.getRank() < 2)
    return std::nullopt;
  Affine difference = combined(broadcasted(*a, typeOf(compare.getLhs()).getShape(), type.getShape()),
                               broadcasted(*b, typeOf(compare.getRhs()).getShape(), type.getShape()), -1);
  // lhs - rhs = row · i + column · j + constant, compared with 0, and to be read as j ≤ i + offset.
  int64_t column = difference.steps.pop_back_val(), row = difference.steps.pop_back_val();
  bool isTriangle = (column == 1 || column == -1) && row == -column;
  if (!isTriangle || llvm::any_of(difference.steps, [](int64_t step) { return step != 0; }))
    return std::nullopt;
  switch (compare.getPredicate()) {
  case ComparePredicate::Le:
    return column == 1 ? std::optional(Triangle{-difference.constant}) : std::nullopt;
  case ComparePredicate::Lt:
    return column == 1 ? std::optional(Triangle{-difference.constant - 1}) : std::nullopt;
  case ComparePredicate::Ge:
    return column == -1 ? std::optional(Triangle{difference.constant}) : std::nullopt;
  case ComparePredicate::Gt:
    return column == -1 ? std::optional(Triangle{difference.constant - 1}) : std::nullopt;
  default:
    return std::nullopt;
  }
}

} // namespace

std::optional<Affine> asAffine(Value value) {
  return affine(value, 16);
}

bool isCount(const Affine &affine, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides = stridesOf(shape);
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] > 1 && affine.steps[d] != strides[d])
      return false;
  return true;
}

std::optional<int64_t> asCount(Value value) {
  auto found = asAffine(value);
  return found && isCount(*found, typeOf(value).getShape()) ? std::optional(found->constant) : std::nullopt;
}

std::optional<Triangle> asTriangle(DenseElementsAttr dense) {
  auto type = cast<RankedTensorType>(dense.getType());
  if (!type.getElementType().isInteger(1) || type.getRank() < 2 || type.getNumElements() == 0)
    return std::nullopt;
  int64_t columns = type.getDimSize(type.getRank() - 1), rows = type.getDimSize(type.getRank() - 2);
  auto values = dense.getValues<bool>();
  int64_t offset = -1;
  while (offset + 1 < columns && values[offset + 1])
    ++offset;
  for (int64_t index = 0; index < type.getNumElements(); ++index)
    if (values[index] != (index % columns <= index / columns % rows + offset))
      return std::nullopt;
  return Triangle{offset};
}

std::optional<Triangle> asTriangle(Value value) {
  value = withoutBroadcast(value);
  if (DenseElementsAttr dense = denseOf(value))
    return asTriangle(dense);
  if (auto compare = value.getDefiningOp<CompareOp>())
    return triangleOfCompare(compare);
  if (auto trilu = value.getDefiningOp<TriluOp>(); trilu && !trilu.getUpper() && isSplat(trilu.getInput(), 1))
    return Triangle{static_cast<int64_t>(trilu.getDiagonal())};
  return std::nullopt;
}

} // namespace npuc::nn
