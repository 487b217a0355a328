// Reductions, running sums, greatest elements and their positions.
#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"

#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

using Kind = LinalgBuilder::Kind;

Value same(OpBuilder &, Location, Scalars s) {
  return s[0];
}

/// What the engine reduces elements of `tensor` in.
Type computeType(RankedTensorType tensor) {
  Builder b(tensor.getContext());
  return isa<FloatType>(tensor.getElementType()) ? Type(b.getF32Type()) : Type(b.getI32Type());
}

/// Loops of `rank` that `axes` does not name.
SmallVector<unsigned> staying(unsigned rank, ArrayRef<int64_t> axes) {
  SmallVector<unsigned> dims;
  for (unsigned i = 0; i < rank; ++i)
    if (!llvm::is_contained(axes, int64_t(i)))
      dims.push_back(i);
  return dims;
}

SmallVector<int64_t> pick(ArrayRef<int64_t> shape, ArrayRef<unsigned> dims) {
  return llvm::map_to_vector(dims, [&](unsigned d) { return shape[d]; });
}

//===--- reductions -------------------------------------------------------------------------------------===//

/// Cuts a reduction to one value of many elements in two, so that the first part has a loop for the cores:
/// [n] is seen as [parts, n / parts] with the largest number of parts that divides n and is at most
/// `greatestParts`.
int64_t partsOf(int64_t n) {
  constexpr int64_t least = 16 * 1024, greatestParts = 64;
  if (n <= least)
    return 1;
  int64_t parts = greatestParts;
  while (n % parts != 0)
    --parts;
  return parts;
}

/// Reduces f32 or i32 `kind` of body(x) over `axes`; the result has the dimensions that stay.
Value reduceOver(LinalgBuilder &b, Kind kind, Value x, ArrayRef<int64_t> axes, ScalarBody body,
                 Type element) {
  SmallVector<unsigned> kept = staying(typeOf(x).getRank(), axes);
  int64_t n = typeOf(x).getNumElements();
  if (!kept.empty() || partsOf(n) == 1)
    return b.reduce(kind, {b.identity(x)}, shapeOf(x), kept, body, element);
  int64_t parts = partsOf(n);
  Value rows = b.reshape(b.reshape(x, {n}), {parts, n / parts});
  Value some = b.reduce(kind, {b.identity(rows)}, {parts, n / parts}, {0}, body, element);
  return b.reduce(kind, {b.identity(some)}, {parts}, {}, same, element);
}

/// Π over dimension 0 of f32 or i32, by halves.
Value product(LinalgBuilder &b, Value x) {
  while (shapeOf(x)[0] > 1) {
    SmallVector<int64_t> shape(shapeOf(x)), offsets(shape.size(), 0);
    int64_t n = shape[0], half = n / 2;
    shape[0] = half;
    Value low = b.slice(x, offsets, shape);
    offsets[0] = half;
    Value high = b.slice(x, offsets, shape);
    RankedTensorType type = typeOf(x).clone(shape);
    Value folded =
        b.map({b.identity(low), b.identity(high)}, type,
              [](OpBuilder &inner, Location loc, Scalars s) { return Formula{inner, loc}.mul(s[0], s[1]); });
    if (n % 2) {
      offsets[0] = n - 1;
      shape[0] = 1;
      Value last = b.slice(x, offsets, shape);
      SmallVector<int64_t> first(shape.size(), 0), after(shape.size(), 0);
      after[0] = half;
      shape[0] = half + 1;
      folded = b.assemble(typeOf(x).clone(shape), {{folded, first}, {last, after}});
    }
    x = folded;
  }
  return b.reshape(x, shapeOf(x).drop_front());
}

/// `x` with `axes`, as one dimension, before the others, in the type that products are computed in.
Value axesFirst(LinalgBuilder &b, Value x, ArrayRef<int64_t> axes) {
  SmallVector<unsigned> kept = staying(typeOf(x).getRank(), axes);
  SmallVector<int64_t> order(axes), shape = {1};
  for (int64_t axis : axes)
    shape[0] *= shapeOf(x)[axis];
  llvm::append_range(order, kept);
  llvm::append_range(shape, pick(shapeOf(x), kept));
  Value wide =
      b.map({b.identity(x)}, typeOf(x).clone(computeType(typeOf(x))),
            [](OpBuilder &inner, Location loc, Scalars s) { return widenInteger(inner, loc, s[0]); });
  return b.reshape(b.transpose(wide, order), shape);
}

Value reduce(nn::ReduceOp op, LinalgBuilder &b) {
  using K = nn::ReduceKind;
  RankedTensorType result = typeOf(op.getResult());
  Value x = op.getInput();
  ArrayRef<int64_t> axes = op.getAxes();
  K kind = op.getKind();
  Type wide = computeType(result);
  bool isFloat = isa<FloatType>(wide);
  int64_t count = 1;
  for (int64_t axis : axes)
    count *= shapeOf(x)[axis];
  double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  if (count == 0) {
    double greatest = isFloat ? infinity : std::numeric_limits<int32_t>::max(),
           least = isFloat ? -infinity : std::numeric_limits<int32_t>::min();
    return b.splat(result, kind == K::Prod        ? 1
                           : kind == K::Max       ? least
                           : kind == K::Min       ? greatest
                           : kind == K::Mean      ? nan
                           : kind == K::LogSumExp ? -infinity
                                                  : 0);
  }
  bool isBool = result.getElementType().isInteger(1);
  auto number = [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    Formula f{inner, loc};
    return isBool ? f.select(s[0], f.number(1, wide), f.number(0, wide)) : s[0];
  };
  SmallVector<unsigned> kept = staying(typeOf(x).getRank(), axes);
  auto reducedType = RankedTensorType::get(pick(shapeOf(x), kept), result.getElementType());
  Value reduced, greatest;
  if (kind == K::LogSumExp) {
    greatest = reduceOver(b, Kind::Max, x, axes, same, wide);
    Operand beside = {greatest, b.dims(typeOf(x).getRank(), kept)};
    reduced = b.reduce(Kind::Sum, {b.identity(x), beside}, shapeOf(x), kept,
                       [](OpBuilder &inner, Location loc, Scalars s) {
                         Formula f{inner, loc};
                         // Where the greatest is infinite, the difference is no number.
                         return f.select(f.equal(s[0], s[1]), f.number(1), f.exp(f.sub(s[0], s[1])));
                       });
  } else if (kind == K::Prod) {
    reduced = product(b, axesFirst(b, x, axes));
  } else {
    Kind how = kind == K::Max ? Kind::Max : kind == K::Min ? Kind::Min : Kind::Sum;
    reduced = reduceOver(b, how, x, axes, number, wide);
  }
  SmallVector<Operand> inputs = {b.identity(reduced)};
  if (greatest)
    inputs.push_back(b.identity(greatest));
  Value finished = b.map(inputs, reducedType, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    Formula f{inner, loc};
    if (kind == K::LogSumExp)
      return f.add(f.call<math::LogOp>(s[0]), s[1]);
    if (kind == K::Mean)
      return isFloat ? f.mul(s[0], f.number(1.0 / double(count)))
                     : f.div(s[0], f.number(double(count), wide));
    return isBool ? f.complement(f.equal(s[0], f.number(0, wide))) : s[0];
  });
  return b.reshape(finished, result.getShape());
}

//===--- positions --------------------------------------------------------------------------------------===//

/// The position along `axis` of the element that `isPicked` picks: the least or the greatest of them, i32.
Value position(LinalgBuilder &b, ArrayRef<Operand> inputs, ArrayRef<int64_t> shape, int64_t axis, bool last,
               llvm::function_ref<Value(Formula &, Scalars)> isPicked) {
  Type i32 = b.b.getI32Type();
  return b.reduce(
      last ? Kind::Max : Kind::Min, inputs, shape, staying(shape.size(), {axis}),
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(isPicked(f, s), f.index(axis), f.number(last ? -1 : double(shape[axis]), i32));
      },
      i32);
}

/// `positions`, i32, as the i64 that nn's operations give; casts to i32 that follow undo it.
Value widened(LinalgBuilder &b, Value positions, RankedTensorType result) {
  Value wide = b.map({b.identity(positions)}, typeOf(positions).clone(result.getElementType()),
                     [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
                       return arith::ExtSIOp::create(inner, loc, result.getElementType(), s[0]);
                     });
  return b.reshape(wide, result.getShape());
}

Value argReduce(nn::ArgReduceOp op, LinalgBuilder &b) {
  Value x = op.getInput();
  ArrayRef<int64_t> shape = shapeOf(x);
  int64_t axis = op.getAxis();
  SmallVector<unsigned> rows = staying(shape.size(), {axis});
  bool isFloat = isa<FloatType>(typeOf(x).getElementType());
  Value extreme = b.reduce(op.getKind() == nn::ReduceKind::Max ? Kind::Max : Kind::Min, {b.identity(x)},
                           shape, rows, same, computeType(typeOf(x)));
  Value at = position(b, {b.identity(x), {extreme, b.dims(shape.size(), rows)}}, shape, axis, op.getLast(),
                      [&](Formula &f, Scalars s) {
                        Value isExtreme = f.equal(s[0], s[1]);
                        return isFloat ? f.any(isExtreme, f.isNan(s[0])) : isExtreme;
                      });
  return widened(b, at, typeOf(op.getResult()));
}

/// The elements by rank, for many of few: the rank of an element is the number of those before it in order.
Results sorted(nn::TopKOp op, LinalgBuilder &b) {
  Value x = op.getInput();
  SmallVector<int64_t> shape(shapeOf(x));
  unsigned rank = shape.size();
  int64_t axis = op.getAxis(), n = shape[axis], k = op.getK();
  Type wide = computeType(typeOf(x)), i32 = b.b.getI32Type();
  // Loops: the input's, where the axis runs over the elements ranked, and then the elements they are compared
  // with.
  SmallVector<unsigned> own = llvm::to_vector(llvm::seq<unsigned>(0, rank)), other = own;
  other[axis] = rank;
  SmallVector<int64_t> pairs = shape;
  pairs.push_back(n);
  Value ranks = b.reduce(
      Kind::Sum, {{x, b.dims(rank + 1, own)}, {x, b.dims(rank + 1, other)}}, pairs, own,
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        Value before = op.getSmallest() ? f.less(s[1], s[0]) : f.less(s[0], s[1]);
        Value tie = f.both(f.equal(s[0], s[1]), f.less(f.index(rank), f.index(axis)));
        return f.select(f.any(before, tie), f.number(1, i32), f.number(0, i32));
      },
      i32);
  // Loops: the results', where the axis runs over the ranks, and then the elements.
  pairs[axis] = k;
  bool isFloat = isa<FloatType>(wide);
  double least = isFloat ? -std::numeric_limits<double>::infinity() : std::numeric_limits<int32_t>::min();
  auto isMine = [&](Formula &f, Value ranked) { return f.equal(ranked, f.index(axis)); };
  Operand ranked = {ranks, b.dims(rank + 1, other)};
  Value values = b.reduce(
      Kind::Max, {ranked, {x, b.dims(rank + 1, other)}}, pairs, own,
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(isMine(f, s[0]), s[1], f.number(least, wide));
      },
      wide);
  Value indices = b.reduce(
      Kind::Max, {ranked}, pairs, own,
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(isMine(f, s[0]), f.index(rank), f.number(-1, i32));
      },
      i32);
  return {b.map({b.identity(values)}, typeOf(op.getValues()), same),
          widened(b, indices, typeOf(op.getIndices()))};
}

/// One after another, for few of many: each is the first of the greatest among those that come after the one
/// before it.
Results picked(nn::TopKOp op, LinalgBuilder &b) {
  Value x = op.getInput();
  SmallVector<int64_t> shape(shapeOf(x));
  int64_t axis = op.getAxis();
  bool smallest = op.getSmallest();
  SmallVector<unsigned> rows = staying(shape.size(), {axis});
  AffineMap rowMap = b.dims(shape.size(), rows);
  Type wide = computeType(typeOf(x));
  bool isFloat = isa<FloatType>(wide);
  double greatest = isFloat ? std::numeric_limits<double>::infinity() : std::numeric_limits<int32_t>::max(),
         least = isFloat ? -greatest : std::numeric_limits<int32_t>::min();
  SmallVector<int64_t> offsets(shape.size(), 0), one = shape;
  one[axis] = 1;
  SmallVector<Part> values, indices;
  SmallVector<Operand> inputs = {b.identity(x)};
  for (int64_t i = 0, k = op.getK(); i < k; ++i) {
    // x, and from the second on the value and the position before.
    auto comesAfter = [&](Formula &f, Scalars s) -> Value {
      if (i == 0)
        return f.number(1, f.b.getI1Type());
      Value beyond = smallest ? f.less(s[1], s[0]) : f.less(s[0], s[1]);
      return f.any(beyond, f.both(f.equal(s[0], s[1]), f.less(s[2], f.index(axis))));
    };
    Value value = b.reduce(
        smallest ? Kind::Min : Kind::Max, inputs, shape, rows,
        [&](OpBuilder &inner, Location loc, Scalars s) {
          Formula f{inner, loc};
          return f.select(comesAfter(f, s), s[0], f.number(smallest ? greatest : least, wide));
        },
        wide);
    SmallVector<Operand> withValue = inputs;
    withValue.push_back({value, rowMap});
    Value at = position(b, withValue, shape, axis, false, [&](Formula &f, Scalars s) {
      return f.both(comesAfter(f, s), f.equal(s[0], s.back()));
    });
    inputs = {b.identity(x), {value, rowMap}, {at, rowMap}};
    offsets[axis] = i;
    Value rounded = b.map({b.identity(value)}, typeOf(value).clone(typeOf(x).getElementType()), same);
    values.push_back({b.reshape(rounded, one), offsets});
    indices.push_back({b.reshape(at, one), offsets});
  }
  RankedTensorType type = typeOf(op.getIndices());
  Value positions = b.assemble(type.clone(b.b.getI32Type()), indices);
  return {b.assemble(typeOf(op.getValues()), values), widened(b, positions, type)};
}

Results topK(nn::TopKOp op, LinalgBuilder &b) {
  int64_t n = shapeOf(op.getInput())[op.getAxis()], k = op.getK();
  return k <= 64 && k * 4 <= n ? picked(op, b) : sorted(op, b);
}

//===--- running sums -----------------------------------------------------------------------------------===//

/// result[…, i, …] = Σ_j x[…, j, …] over j ≤ i.
Value cumSum(nn::CumSumOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  int64_t axis = op.getAxis();
  unsigned rank = type.getRank();
  // The loop over j comes after that over i.
  SmallVector<int64_t> extents(type.getShape());
  extents.insert(extents.begin() + axis + 1, extents[axis]);
  SmallVector<unsigned> own, summed;
  for (unsigned d = 0; d < rank + 1; ++d) {
    if (d != axis + 1)
      own.push_back(d);
    if (d != axis)
      summed.push_back(d);
  }
  using P = nn::ComparePredicate;
  P order = op.getReverse() ? (op.getExclusive() ? P::Gt : P::Ge) : (op.getExclusive() ? P::Lt : P::Le);
  Value sums = b.reduce(
      Kind::Sum, {{op.getInput(), b.dims(rank + 1, summed)}}, extents, own,
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(f.compare(order, f.index(axis + 1), f.index(axis)), s[0],
                        f.number(0, s[0].getType()));
      },
      computeType(type));
  return b.map({b.identity(sums)}, type, same);
}

} // namespace

std::vector<Handler> npuc::lower::reduceHandlers() {
  constexpr StringLiteral width = computableIntegers;
  std::vector<Handler> all;
  all.push_back(handler<nn::ReduceOp>(reduce).where<nn::ReduceOp>(
      width, [](nn::ReduceOp o) { return isComputable(typeOf(o.getResult()).getElementType()); }));
  all.push_back(handler<nn::ArgReduceOp>(argReduce).where<nn::ArgReduceOp>(
      width, [](nn::ArgReduceOp o) { return isComputable(typeOf(o.getInput()).getElementType()); }));
  all.push_back(Handler{
      nn::TopKOp::getOperationName(), [](Operation *op, LinalgBuilder &b) {
        return topK(cast<nn::TopKOp>(op), b);
      }}.where<nn::TopKOp>(width, [](nn::TopKOp o) {
    return isComputable(typeOf(o.getInput()).getElementType());
  }));
  all.push_back(handler<nn::CumSumOp>(cumSum).where<nn::CumSumOp>(
      width, [](nn::CumSumOp o) { return isComputable(typeOf(o.getResult()).getElementType()); }));
  return all;
}
