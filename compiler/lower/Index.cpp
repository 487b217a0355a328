// Gathers and scatters by index, and slices.
//
// A device gathers rows of a table by their numbers, from 0 up. So a table is seen as rows, and the number of
// each row is computed from the loops and the indices, with i < 0 as i + size. An index outside of its
// dimension must not become the number of some other row: it becomes the number of rows, which the device
// refuses.
//
// A scatter is the gather that it is the inverse of: for each row of the result, a reduction over the updates
// finds the one that falls on it. So cores never write the same row, and "the last wins" needs no order.
#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

using Kind = LinalgBuilder::Kind;

int64_t product(ArrayRef<int64_t> sizes) {
  int64_t n = 1;
  for (int64_t size : sizes)
    n *= size;
  return n;
}

/// Row-major strides of `sizes`.
SmallVector<int64_t> stridesOf(ArrayRef<int64_t> sizes) {
  SmallVector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;)
    strides[i - 1] = strides[i] * sizes[i];
  return strides;
}

/// All indices are constants of 0 and up.
bool isNeverNegative(Value indices) {
  auto constant = indices.getDefiningOp<nn::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : DenseIntElementsAttr();
  return dense && llvm::none_of(dense.getValues<APInt>(), [](const APInt &i) { return i.isNegative(); });
}

/// An index of a dimension of `size` elements, counted from its start.
Value fromStart(const Formula &f, Value index, int64_t size) {
  Value isNegative = f.less(index, f.number(0, index.getType()));
  return f.select(isNegative, f.add(index, f.number(double(size), index.getType())), index);
}

/// Adds up a row's number.
struct RowNumber {
  const Formula &f;
  Value sum, isOutside;

  void add(Value number, int64_t stride) {
    Value term = stride == 1 ? number : f.mul(number, f.number(double(stride), number.getType()));
    sum = sum ? f.add(sum, term) : term;
  }
  void addIndex(Value index, int64_t size, int64_t stride) {
    Value at = fromStart(f, index, size);
    Value bad = f.any(f.less(at, f.number(0, at.getType())),
                      f.compare(nn::ComparePredicate::Ge, at, f.number(double(size), at.getType())));
    isOutside = isOutside ? f.any(isOutside, bad) : bad;
    add(at, stride);
  }
  /// The row's number, or `rows`.
  Value get(int64_t rows) const {
    return isOutside ? f.select(isOutside, f.number(double(rows), sum.getType()), sum) : sum;
  }
};

/// result[i…, j] = table[numbers[i…], j] of a table [rows, width]; without j if the table has one dimension.
Value gatherRows(LinalgBuilder &b, Value table, Value numbers) {
  unsigned lead = typeOf(numbers).getRank();
  SmallVector<int64_t> shape(shapeOf(numbers));
  llvm::append_range(shape, shapeOf(table).drop_front());
  auto result = typeOf(table).clone(shape);
  SmallVector<AffineMap> maps = {b.dims(shape.size(), upTo(lead)), b.b.getMultiDimIdentityMap(shape.size())};
  SmallVector<utils::IteratorType> loops(shape.size(), utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b.b, b.loc, result, numbers, b.empty(shape, result.getElementType()), maps, loops,
             [&](OpBuilder &inner, Location loc, ValueRange s) {
               SmallVector<Value> at = {arith::IndexCastOp::create(inner, loc, inner.getIndexType(), s[0])};
               if (shape.size() > lead)
                 at.push_back(linalg::IndexOp::create(inner, loc, lead));
               linalg::YieldOp::create(inner, loc,
                                       tensor::ExtractOp::create(inner, loc, table, at).getResult());
             })
      .getResult(0);
}

/// `table` as [rows, width], or [rows] of single elements.
Value asRows(LinalgBuilder &b, Value table, int64_t rows) {
  int64_t width = rows ? typeOf(table).getNumElements() / rows : 1;
  return width == 1 ? b.reshape(table, {rows}) : b.reshape(table, {rows, width});
}

RankedTensorType i32Tensor(LinalgBuilder &b, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, b.b.getI32Type());
}

//===--- gathers ----------------------------------------------------------------------------------------===//

/// The table [a…, n, b…] as rows of b…; row a · n + i for index i.
Value gather(nn::GatherOp op, LinalgBuilder &b) {
  Value table = op.getTable(), indices = op.getIndices();
  ArrayRef<int64_t> shape = shapeOf(table);
  int64_t size = shape[op.getAxis()], outer = product(shape.take_front(op.getAxis()));
  SmallVector<int64_t> numbered(shapeOf(indices));
  Value numbers = indices;
  if (outer != 1) {
    numbered.insert(numbered.begin(), outer);
    SmallVector<unsigned> loops = llvm::to_vector(llvm::seq<unsigned>(1, numbered.size()));
    numbers = b.map({{indices, b.dims(numbered.size(), loops)}}, i32Tensor(b, numbered),
                    [&](OpBuilder &inner, Location loc, Scalars s) {
                      Formula f{inner, loc};
                      RowNumber row{f, {}, {}};
                      row.add(f.index(0), size);
                      row.addIndex(s[0], size, 1);
                      return row.get(outer * size);
                    });
  } else if (!isNeverNegative(indices)) {
    numbers =
        b.map({b.identity(indices)}, i32Tensor(b, numbered), [&](OpBuilder &inner, Location loc, Scalars s) {
          return fromStart(Formula{inner, loc}, s[0], size);
        });
  }
  return b.reshape(gatherRows(b, asRows(b, table, outer * size), numbers), shapeOf(op.getResult()));
}

/// Of the table as single elements.
Value gatherElements(nn::GatherElementsOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> shape = shapeOf(op.getInput());
  SmallVector<int64_t> strides = stridesOf(shape);
  Value numbers = b.map({b.identity(op.getIndices())}, i32Tensor(b, shapeOf(op.getIndices())),
                        [&](OpBuilder &inner, Location loc, Scalars s) {
                          Formula f{inner, loc};
                          RowNumber row{f, {}, {}};
                          row.addIndex(s[0], shape[op.getAxis()], strides[op.getAxis()]);
                          for (unsigned d = 0; d < shape.size(); ++d)
                            if (d != op.getAxis() && shapeOf(op.getIndices())[d] != 1)
                              row.add(f.index(d), strides[d]);
                          return row.get(product(shape));
                        });
  return gatherRows(b, b.reshape(op.getInput(), {product(shape)}), numbers);
}

/// The numbers of the rows that tuples `indices` [i…, k] name in dimensions `batches`… of a table of `shape`,
/// the first `batches` loops being the table's own first dimensions.
Value rowsOfTuples(LinalgBuilder &b, Value indices, ArrayRef<int64_t> shape, int64_t batches) {
  ArrayRef<int64_t> outer = shapeOf(indices).drop_back();
  int64_t components = shapeOf(indices).back();
  ArrayRef<int64_t> indexed = shape.take_front(batches + components);
  SmallVector<int64_t> strides = stridesOf(indexed);
  SmallVector<Operand> inputs;
  for (int64_t i = 0; i < components; ++i) {
    SmallVector<int64_t> offsets(outer.size() + 1, 0), sizes(outer);
    offsets.back() = i;
    sizes.push_back(1);
    inputs.push_back(b.identity(b.reshape(b.slice(indices, offsets, sizes), outer)));
  }
  return b.map(inputs, i32Tensor(b, outer), [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    Formula f{inner, loc};
    RowNumber row{f, {}, {}};
    for (int64_t i = 0; i < components; ++i)
      row.addIndex(s[i], shape[batches + i], strides[batches + i]);
    for (int64_t i = 0; i < batches; ++i)
      row.add(f.index(i), strides[i]);
    return row.sum ? row.get(product(indexed)) : f.number(0, inner.getI32Type());
  });
}

Value gatherNd(nn::GatherNdOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> shape = shapeOf(op.getInput());
  int64_t indexed = op.getBatchDims() + shapeOf(op.getIndices()).back();
  Value numbers = rowsOfTuples(b, op.getIndices(), shape, op.getBatchDims());
  Value rows = asRows(b, op.getInput(), product(shape.take_front(indexed)));
  return b.reshape(gatherRows(b, rows, numbers), shapeOf(op.getResult()));
}

/// Dimension `dim` from its end to its start: row a · n + n − 1 − i of [a…, n, b…].
Value reversed(LinalgBuilder &b, Value x, unsigned dim) {
  ArrayRef<int64_t> shape = shapeOf(x);
  int64_t outer = product(shape.take_front(dim)), size = shape[dim];
  Value numbers = b.map({}, i32Tensor(b, {outer, size}), [&](OpBuilder &inner, Location loc, Scalars) {
    Formula f{inner, loc};
    Type i32 = inner.getI32Type();
    Value row = f.mul(f.index(0), f.number(double(size), i32));
    return f.add(row, f.sub(f.number(double(size - 1), i32), f.index(1)));
  });
  return b.reshape(gatherRows(b, asRows(b, x, outer * size), numbers), shape);
}

/// A view, and for a negative step what it views in reverse.
Value slice(nn::SliceOp op, LinalgBuilder &b) {
  SmallVector<int64_t> starts(op.getStarts()), steps(op.getSteps());
  SmallVector<unsigned> backward;
  for (unsigned d = 0; d < starts.size(); ++d)
    if (steps[d] < 0) {
      starts[d] += (op.getSizes()[d] - 1) * steps[d];
      steps[d] = -steps[d];
      if (op.getSizes()[d] > 1)
        backward.push_back(d);
    }
  Value x = b.slice(op.getInput(), starts, op.getSizes(), steps);
  // Rows are numbered in what is contiguous.
  if (!backward.empty() && x != op.getInput())
    x = b.map({b.identity(x)}, typeOf(x), [](OpBuilder &, Location, Scalars s) { return s[0]; });
  for (unsigned d : backward)
    x = reversed(b, x, d);
  return x;
}

//===--- scatters ---------------------------------------------------------------------------------------===//

using Reduction = nn::ScatterReduction;

/// How updates meet each other and what is there: as sums, greatest and least are reduced.
struct Meeting {
  Kind kind;
  double identity;
  Type wide;

  Meeting(Reduction reduction, Type element) {
    bool isFloat = isa<FloatType>(element);
    Builder b(element.getContext());
    wide = isFloat ? Type(b.getF32Type()) : Type(b.getI32Type());
    double greatest = isFloat ? std::numeric_limits<double>::infinity() : std::numeric_limits<int32_t>::max(),
           least = isFloat ? -greatest : std::numeric_limits<int32_t>::min();
    kind = reduction == Reduction::Add ? Kind::Sum : reduction == Reduction::Min ? Kind::Min : Kind::Max;
    identity = kind == Kind::Sum ? 0 : kind == Kind::Min ? greatest : least;
  }
  Value combine(const Formula &f, Value x, Value y) const {
    return kind == Kind::Sum ? f.add(x, y) : kind == Kind::Min ? f.min(x, y) : f.max(x, y);
  }
};

/// The loops of a scatter: the result's dimensions, and then the updates that may fall there.
struct ScatterLoops {
  SmallVector<int64_t> extents; ///< The last is that of the updates.
  unsigned at;                  ///< The loop that indices are compared with.
  Operand indices;              ///< Counted from the start.
};

/// For each of the result's rows the last update that falls on it, or −1.
Value lastUpdate(LinalgBuilder &b, const ScatterLoops &loops, ArrayRef<unsigned> rows) {
  Type i32 = b.b.getI32Type();
  unsigned update = loops.extents.size() - 1;
  return b.reduce(
      Kind::Max, {loops.indices}, loops.extents, rows,
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(f.equal(s[0], f.index(loops.at)), f.index(update), f.number(-1, i32));
      },
      i32);
}

/// Reduces the updates that fall on each element, and meets `input` with them.
Value meetAll(LinalgBuilder &b, Reduction reduction, Value input, const ScatterLoops &loops,
              Operand updates) {
  Meeting meeting(reduction, typeOf(input).getElementType());
  unsigned rank = loops.extents.size() - 1;
  Value met = b.reduce(
      meeting.kind, {loops.indices, updates}, loops.extents, upTo(rank),
      [&](OpBuilder &inner, Location loc, Scalars s) {
        Formula f{inner, loc};
        return f.select(f.equal(s[0], f.index(loops.at)), s[1], f.number(meeting.identity, meeting.wide));
      },
      meeting.wide);
  return b.map({b.identity(input), b.identity(met)}, typeOf(input),
               [&](OpBuilder &inner, Location loc, Scalars s) {
                 return meeting.combine(Formula{inner, loc}, s[0], s[1]);
               });
}

/// Indices counted from the start.
Value fromStart(LinalgBuilder &b, Value indices, int64_t size) {
  return b.map(
      {b.identity(indices)}, i32Tensor(b, shapeOf(indices)),
      [&](OpBuilder &inner, Location loc, Scalars s) { return fromStart(Formula{inner, loc}, s[0], size); });
}

/// The part of the input that updates can reach: all of the axis, and of the other dimensions what the
/// indices have.
Value scatterElements(nn::ScatterElementsOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  ArrayRef<int64_t> shape = type.getShape(), indexed = shapeOf(op.getIndices());
  unsigned rank = shape.size(), axis = op.getAxis();
  if (typeOf(op.getIndices()).getNumElements() == 0)
    return op.getInput();
  SmallVector<int64_t> reached(indexed), offsets(rank, 0);
  reached[axis] = shape[axis];
  Value input = b.slice(op.getInput(), offsets, reached);

  SmallVector<unsigned> inIndices = upTo(rank);
  inIndices[axis] = rank;
  ScatterLoops loops = {reached, axis, {}};
  loops.extents.push_back(indexed[axis]);
  loops.indices = {fromStart(b, op.getIndices(), shape[axis]), b.dims(rank + 1, inIndices)};
  Operand updates = {op.getUpdates(), b.dims(rank + 1, inIndices)};
  Value scattered;
  if (op.getReduction() != Reduction::None) {
    scattered = meetAll(b, op.getReduction(), input, loops, updates);
  } else {
    Value last = lastUpdate(b, loops, upTo(rank));
    Meeting any(Reduction::Max, type.getElementType());
    // The greatest of one.
    Value update = b.reduce(
        Kind::Max, {{last, b.dims(rank + 1, upTo(rank))}, updates}, loops.extents, upTo(rank),
        [&](OpBuilder &inner, Location loc, Scalars s) {
          Formula f{inner, loc};
          Value value = s[1].getType().isInteger(1)
                            ? f.select(s[1], f.number(1, any.wide), f.number(0, any.wide))
                            : s[1];
          return f.select(f.equal(s[0], f.index(rank)), value, f.number(any.identity, any.wide));
        },
        any.wide);
    scattered = b.map({b.identity(input), b.identity(last), b.identity(update)}, typeOf(input),
                      [&](OpBuilder &inner, Location loc, Scalars s) {
                        Formula f{inner, loc};
                        Value value = s[0].getType().isInteger(1)
                                          ? f.complement(f.equal(s[2], f.number(0, any.wide)))
                                          : s[2];
                        return f.select(f.less(s[1], f.number(0, inner.getI32Type())), s[0], value);
                      });
  }
  SmallVector<Part> parts = {{scattered, offsets}};
  for (const Box &box : boxesAround(shape, offsets, reached))
    parts.push_back({b.slice(op.getInput(), box.offsets, box.sizes), box.offsets});
  return parts.size() == 1 ? scattered : b.assemble(type, parts);
}

/// The result as rows that tuples name.
Value scatterNd(nn::ScatterNdOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  ArrayRef<int64_t> shape = type.getShape();
  int64_t rows = product(shape.take_front(shapeOf(op.getIndices()).back())),
          updates = product(shapeOf(op.getIndices()).drop_back());
  if (updates == 0)
    return op.getInput();
  int64_t width = type.getNumElements() / rows;
  Value numbers = b.reshape(rowsOfTuples(b, op.getIndices(), shape, 0), {updates});
  Value input = b.reshape(op.getInput(), {rows, width}), from = b.reshape(op.getUpdates(), {updates, width});
  if (op.getReduction() != Reduction::None) {
    ScatterLoops loops = {{rows, width, updates}, 0, {numbers, b.dims(3, {2})}};
    return b.reshape(meetAll(b, op.getReduction(), input, loops, {from, b.dims(3, {2, 1})}), shape);
  }
  Value last = lastUpdate(b, {{rows, updates}, 0, {numbers, b.dims(2, {1})}}, {0});
  Value some = b.map({b.identity(last)}, typeOf(last), [](OpBuilder &inner, Location loc, Scalars s) {
    Formula f{inner, loc};
    return f.max(s[0], f.number(0, s[0].getType()));
  });
  Value update = b.reshape(gatherRows(b, asRows(b, from, updates), some), {rows, width});
  Value scattered = b.map({b.identity(input), {last, b.dims(2, {0})}, b.identity(update)}, typeOf(input),
                          [](OpBuilder &inner, Location loc, Scalars s) {
                            Formula f{inner, loc};
                            return f.select(f.less(s[1], f.number(0, inner.getI32Type())), s[0], s[2]);
                          });
  return b.reshape(scattered, shape);
}

template <typename OpTy>
Handler indexed(Value (*lower)(OpTy, LinalgBuilder &)) {
  return handler<OpTy>(lower)
      .template where<OpTy>("its indices have 32 bits",
                            [](OpTy o) { return typeOf(o.getIndices()).getElementType().isInteger(32); })
      .template where<OpTy>("the indexed tensor has fewer than 2^31 elements", [](OpTy o) {
        return typeOf(o->getOperand(0)).getNumElements() < std::numeric_limits<int32_t>::max();
      });
}

/// A scatter that computes with what it moves.
template <typename OpTy>
Handler scatter(Value (*lower)(OpTy, LinalgBuilder &)) {
  return indexed<OpTy>(lower)
      .template where<OpTy>("its elements are floats, bools or integers of 32 bits",
                            [](OpTy o) {
                              Type element = typeOf(o.getResult()).getElementType();
                              return isa<FloatType>(element) || element.isSignlessInteger(1) ||
                                     element.isSignlessInteger(32);
                            })
      .template where<OpTy>(
          "it replaces, adds or takes the greatest or least: products have no reduction on a vector engine",
          [](OpTy o) { return o.getReduction() != Reduction::Mul; });
}

} // namespace

std::vector<Handler> npuc::lower::indexHandlers() {
  std::vector<Handler> all;
  all.push_back(handler<nn::SliceOp>(slice));
  all.push_back(indexed<nn::GatherOp>(gather));
  all.push_back(indexed<nn::GatherElementsOp>(gatherElements));
  all.push_back(indexed<nn::GatherNdOp>(gatherNd));
  all.push_back(scatter<nn::ScatterElementsOp>(scatterElements));
  all.push_back(scatter<nn::ScatterNdOp>(scatterNd));
  return all;
}
