#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"
#include "compiler/quantize/Quantize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

Value same(OpBuilder &, Location, Scalars s) {
  return s[0];
}

/// An integer as f32; floats are that already.
Value real(OpBuilder &b, Location loc, Value x) {
  return isa<FloatType>(x.getType()) ? x : arith::SIToFPOp::create(b, loc, b.getF32Type(), x).getResult();
}

Value f32(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value)));
}

/// How many parts a sum of integers is computed in.
int64_t partsOf(Operation *op) {
  auto parts = op->getAttrOfType<IntegerAttr>(quantize::partsAttr);
  return parts ? parts.getInt() : 1;
}

Value linear(nn::LinearOp op, LinalgBuilder &b) {
  RankedTensorType result = typeOf(op.getResult());
  unsigned rank = result.getRank(), k = rank;
  SmallVector<int64_t> extents(result.getShape());
  extents.push_back(shapeOf(op.getInput()).back());
  SmallVector<unsigned> lhs = upTo(rank - 1);
  lhs.push_back(k);
  SmallVector<unsigned> rhs =
      op.getTransposed() ? SmallVector<unsigned>{rank - 1, k} : SmallVector<unsigned>{k, rank - 1};
  Value sums = b.contract({op.getInput(), b.dims(rank + 1, lhs)}, {op.getWeight(), b.dims(rank + 1, rhs)},
                          b.dims(rank + 1, upTo(rank)), extents, partsOf(op));
  return b.finish(sums, op.getBias(), result);
}

/// The groups' sums have a dimension of their own, over which they are added with their scales. Loops of the
/// products: rows…, n, group, k within the group; of the sums: group, rows…, n.
Value groupedLinear(nn::GroupedLinearOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> in = shapeOf(op.getInput());
  int64_t n = shapeOf(op.getWeight())[0], groups = shapeOf(op.getScale())[1], each = in.back() / groups;
  unsigned rows = in.size() - 1, column = rows, group = rows + 1, k = rows + 2;
  SmallVector<int64_t> split(in.drop_back()), extents = split;
  split.append({groups, each});
  extents.append({n, groups, each});
  Value x = b.reshape(op.getInput(), split), w = b.reshape(op.getWeight(), {n, groups, each});
  Value zero = op.getZeroPoint();
  if (op.getUnpack()) {
    SmallVector<Operand> inputs = {b.identity(w)};
    if (zero)
      inputs.push_back({zero, b.dims(3, {0, 1})});
    Type i8 = b.b.getI8Type();
    w = b.map(inputs, typeOf(w).clone(i8), [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
      Value wide = widenInteger(inner, loc, s[0]);
      if (s.size() > 1) // Differences of 4 bits fit 8.
        wide = arith::SubIOp::create(inner, loc, wide, widenInteger(inner, loc, s[1]));
      return narrowInteger(inner, loc, wide, i8);
    });
    zero = {};
  }
  SmallVector<unsigned> lhs = upTo(rows), sums = {group}, staying;
  lhs.append({group, k});
  llvm::append_range(sums, upTo(rows + 1));
  Value partial = b.contract({x, b.dims(k + 1, lhs)}, {w, b.dims(k + 1, {column, group, k})},
                             b.dims(k + 1, sums), extents);
  unsigned loops = rows + 2;
  AffineMap ofGroup = b.dims(loops, {rows + 1, 0});
  SmallVector<Operand> inputs = {b.identity(partial), {op.getScale(), ofGroup}};
  if (op.getOffset())
    inputs.push_back({op.getOffset(), ofGroup});
  if (zero) {
    SmallVector<unsigned> ofRow = {rows}, own = upTo(rows + 1);
    llvm::append_range(ofRow, upTo(rows));
    inputs.push_back({zero, ofGroup});
    inputs.push_back(
        {b.reduce(LinalgBuilder::Kind::Sum, {b.identity(x)}, split, ofRow, same), b.dims(loops, own)});
  }
  for (unsigned d = 1; d < loops; ++d)
    staying.push_back(d);
  return b.reduce(
      LinalgBuilder::Kind::Sum, inputs, shapeOf(partial), staying,
      [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
        Value sum = s[0];
        if (op.getOffset())
          sum = arith::AddIOp::create(inner, loc, sum, s[2]);
        if (zero)
          sum = arith::SubIOp::create(inner, loc, sum,
                                      arith::MulIOp::create(inner, loc, s.back(), s[s.size() - 2]));
        return arith::MulFOp::create(inner, loc, real(inner, loc, sum), s[1]);
      },
      b.b.getF32Type());
}

Value matmul(nn::MatmulOp op, LinalgBuilder &b) {
  RankedTensorType result = typeOf(op.getResult());
  unsigned rank = result.getRank();
  SmallVector<int64_t> extents(result.getShape());
  extents.push_back(shapeOf(op.getLhs()).back());
  // Loops: batch…, m, n, k. Batches that an operand repeats are no loop of it.
  auto side = [&](Value value, ArrayRef<unsigned> matrix) -> Operand {
    ArrayRef<int64_t> shape = shapeOf(value);
    unsigned batches = shape.size() - 2, lead = rank - shape.size();
    SmallVector<unsigned> loops;
    SmallVector<int64_t> kept;
    for (unsigned i = 0; i < batches; ++i)
      if (shape[i] == result.getShape()[lead + i]) {
        loops.push_back(lead + i);
        kept.push_back(shape[i]);
      }
    llvm::append_range(loops, matrix);
    llvm::append_range(kept, shape.take_back(2));
    return {b.reshape(value, kept), b.dims(rank + 1, loops)};
  };
  Value sums = b.contract(side(op.getLhs(), {rank - 2, rank}), side(op.getRhs(), {rank, rank - 1}),
                          b.dims(rank + 1, upTo(rank)), extents, partsOf(op));
  return b.finish(sums, {}, result);
}

/// Loops of a reduction over dimensions `axes` of `shape`: those that stay.
SmallVector<unsigned> staying(ArrayRef<int64_t> shape, ArrayRef<int64_t> axes) {
  SmallVector<unsigned> dims;
  for (unsigned i = 0; i < shape.size(); ++i)
    if (!llvm::is_contained(axes, int64_t(i)))
      dims.push_back(i);
  return dims;
}

/// Softmax over the loops of `shape` that `rows` does not name, in two steps between which a caller can do
/// more: powers, and what they are to be multiplied by. What is the same for all of a row is computed once
/// for it.
class RowSoftmax {
public:
  /// A row of `zeroMasked` that is all −inf is 0, not NaN.
  RowSoftmax(LinalgBuilder &b, ArrayRef<int64_t> shape, ArrayRef<unsigned> rows, bool zeroMasked)
      : b(b), shape(shape), rows(rows), zeroMasked(zeroMasked) {}

  AffineMap rowMap() const { return b.dims(shape.size(), rows); }

  /// greatest · exp(x − the greatest x of its row), in `type`.
  Value powers(Value x, double greatest, Type type) const {
    Value top = b.reduce(LinalgBuilder::Kind::Max, {b.identity(x)}, shape, rows, same);
    if (zeroMasked || greatest != 1)
      top = forRows(top, [&](OpBuilder &inner, Location loc, Value s) -> Value {
        if (zeroMasked)
          s = arith::MaximumFOp::create(inner, loc, s, f32(inner, loc, std::numeric_limits<float>::lowest()));
        return greatest == 1 ? s : arith::SubFOp::create(inner, loc, s, f32(inner, loc, std::log(greatest)));
      });
    return b.map({b.identity(x), {top, rowMap()}}, RankedTensorType::get(shape, type),
                 [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
                   Value power =
                       math::ExpOp::create(inner, loc, arith::SubFOp::create(inner, loc, s[0], s[1]));
                   return isa<FloatType>(type) ? power : b.toInteger(inner, power, {}, type);
                 });
  }

  /// scale / the row's sum of powers.
  Value factors(Value sums, double scale) const {
    return forRows(sums, [&](OpBuilder &inner, Location loc, Value s) -> Value {
      s = real(inner, loc, s);
      if (zeroMasked)
        s = arith::MaximumFOp::create(inner, loc, s, f32(inner, loc, std::numeric_limits<float>::min()));
      return arith::DivFOp::create(inner, loc, f32(inner, loc, scale), s);
    });
  }

private:
  Value forRows(Value values, llvm::function_ref<Value(OpBuilder &, Location, Value)> body) const {
    return b.map({b.identity(values)}, RankedTensorType::get(shapeOf(values), b.b.getF32Type()),
                 [&](OpBuilder &inner, Location loc, Scalars s) { return body(inner, loc, s[0]); });
  }

  LinalgBuilder &b;
  ArrayRef<int64_t> shape;
  ArrayRef<unsigned> rows;
  bool zeroMasked;
};

Value product(OpBuilder &b, Location loc, Scalars s) {
  return arith::MulFOp::create(b, loc, real(b, loc, s[0]), s[1]);
}

Value softmax(nn::SoftmaxOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  ArrayRef<int64_t> shape = type.getShape();
  SmallVector<unsigned> rows = staying(shape, {int64_t(op.getAxis())});
  RowSoftmax steps(b, shape, rows, op.getZeroMasked());
  Value powers = steps.powers(op.getInput(), 1, b.b.getF32Type());
  Value sum = b.reduce(LinalgBuilder::Kind::Sum, {b.identity(powers)}, shape, rows, same);
  return b.map({b.identity(powers), {steps.factors(sum, 1), steps.rowMap()}}, type, product);
}

Value logSoftmax(nn::LogSoftmaxOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  ArrayRef<int64_t> shape = type.getShape();
  SmallVector<unsigned> rows = staying(shape, {int64_t(op.getAxis())});
  AffineMap rowMap = b.dims(shape.size(), rows);
  Value greatest = b.reduce(LinalgBuilder::Kind::Max, {b.identity(op.getInput())}, shape, rows, same);
  Value sum =
      b.reduce(LinalgBuilder::Kind::Sum, {b.identity(op.getInput()), {greatest, rowMap}}, shape, rows,
               [](OpBuilder &inner, Location loc, Scalars s) -> Value {
                 return math::ExpOp::create(inner, loc, arith::SubFOp::create(inner, loc, s[0], s[1]));
               });
  return b.map({b.identity(op.getInput()), {greatest, rowMap}, {sum, rowMap}}, type,
               [](OpBuilder &inner, Location loc, Scalars s) -> Value {
                 return arith::SubFOp::create(inner, loc, arith::SubFOp::create(inner, loc, s[0], s[1]),
                                              math::LogOp::create(inner, loc, s[2]));
               });
}

/// Norms over dimensions `axis` and after: (x − mean?) · rsqrt(mean of squares + epsilon) · scale (+ bias).
Value norm(LinalgBuilder &b, Value input, Value scale, Value bias, int64_t axis, double epsilon, bool centred,
           RankedTensorType result) {
  ArrayRef<int64_t> shape = shapeOf(input);
  unsigned rank = shape.size();
  SmallVector<unsigned> rows = upTo(axis);
  AffineMap rowMap = b.dims(rank, rows);
  double inverse = 1.0 / std::accumulate(shape.begin() + axis, shape.end(), 1.0, std::multiplies<>());
  auto times = [&](OpBuilder &inner, Location loc, Value x, double factor) -> Value {
    return arith::MulFOp::create(inner, loc, x, f32(inner, loc, factor));
  };
  // What is the same for all of a row is computed once for it.
  auto forRows = [&](Value values, ScalarBody body) {
    return b.map({b.identity(values)}, RankedTensorType::get(shapeOf(values), b.b.getF32Type()), body);
  };
  Value x = input;
  if (centred) {
    Value sum = b.reduce(LinalgBuilder::Kind::Sum, {b.identity(input)}, shape, rows, same);
    Value mean = forRows(
        sum, [&](OpBuilder &inner, Location loc, Scalars s) { return times(inner, loc, s[0], inverse); });
    x = b.map({b.identity(input), {mean, rowMap}}, RankedTensorType::get(shape, b.b.getF32Type()),
              [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
                return arith::SubFOp::create(inner, loc, s[0], s[1]);
              });
  }
  Value squares = b.reduce(LinalgBuilder::Kind::Sum, {b.identity(x)}, shape, rows,
                           [](OpBuilder &inner, Location loc, Scalars s) -> Value {
                             return arith::MulFOp::create(inner, loc, s[0], s[0]);
                           });
  Value factor = forRows(squares, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    return math::RsqrtOp::create(
        inner, loc,
        arith::AddFOp::create(inner, loc, times(inner, loc, s[0], inverse), f32(inner, loc, epsilon)));
  });
  SmallVector<Operand> inputs = {b.identity(x), {factor, rowMap}, b.broadcast(scale, shape)};
  if (bias)
    inputs.push_back(b.broadcast(bias, shape));
  return b.map(inputs, result, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    Value scaled = arith::MulFOp::create(inner, loc, arith::MulFOp::create(inner, loc, s[0], s[1]), s[2]);
    return s.size() == 4 ? arith::AddFOp::create(inner, loc, scaled, s[3]).getResult() : scaled;
  });
}

/// A layer norm over each group's channels and all that follows them.
Value groupNorm(nn::GroupNormOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  int64_t groups = op.getGroups(), channels = type.getDimSize(1) / groups;
  SmallVector<int64_t> split = {type.getDimSize(0), groups, channels}, perChannel = {groups, channels};
  llvm::append_range(split, type.getShape().drop_front(2));
  perChannel.resize(split.size() - 1, 1);
  Value normed =
      norm(b, b.reshape(op.getInput(), split), b.reshape(op.getScale(), perChannel),
           b.reshape(op.getBias(), perChannel), 2, op.getEpsilon().convertToFloat(), true, type.clone(split));
  return b.reshape(normed, type.getShape());
}

/// Loops of scores: batch, key head, query head within it, query row i, key row j. The probabilities stay
/// unnormalized until the sum over values, which is smaller.
Value attention(nn::AttentionOp op, LinalgBuilder &b) {
  RankedTensorType result = typeOf(op.getResult());
  Type storage = result.getElementType();
  ArrayRef<int64_t> q = shapeOf(op.getQuery()), k = shapeOf(op.getKey());
  int64_t batch = q[0], groups = k[1], heads = q[1] / groups, rows = q[2], keys = k[2], depth = q[3],
          width = result.getShape()[3];
  SmallVector<int64_t> scoreShape = {batch, groups, heads, rows, keys};
  Value query = b.reshape(op.getQuery(), {batch, groups, heads, rows, depth});

  SmallVector<int64_t> extents = scoreShape;
  extents.push_back(depth);
  Value products = b.contract({query, b.dims(6, {0, 1, 2, 3, 5})}, {op.getKey(), b.dims(6, {0, 1, 4, 5})},
                              b.dims(6, {0, 1, 2, 3, 4}), extents);

  SmallVector<Operand> inputs = {b.identity(products)};
  if (Value mask = op.getMask()) {
    // [B, H, S, T] by broadcasting; H splits into key heads and query heads.
    SmallVector<int64_t> shape(4, 1);
    ArrayRef<int64_t> own = shapeOf(mask);
    std::copy(own.begin(), own.end(), shape.end() - own.size());
    SmallVector<int64_t> split = {shape[0], shape[1] == 1 ? 1 : groups, shape[1] == 1 ? 1 : heads, shape[2],
                                  shape[3]};
    inputs.push_back(b.broadcast(b.reshape(mask, split), scoreShape));
  }
  bool boolMask = op.getMask() && typeOf(op.getMask()).getElementType().isInteger(1);
  double scale = op.getScale().convertToFloat(), cap = op.getSoftcap().convertToFloat();
  double infinity = std::numeric_limits<double>::infinity();
  Value scores = b.map(
      inputs, RankedTensorType::get(scoreShape, b.b.getF32Type()),
      [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
        Value x = arith::MulFOp::create(inner, loc, real(inner, loc, s[0]), f32(inner, loc, scale));
        if (cap > 0)
          x = arith::MulFOp::create(
              inner, loc,
              math::TanhOp::create(inner, loc,
                                   arith::MulFOp::create(inner, loc, x, f32(inner, loc, 1 / cap))),
              f32(inner, loc, cap));
        if (boolMask)
          x = arith::SelectOp::create(inner, loc, s[1], x, f32(inner, loc, -infinity));
        else if (s.size() == 2)
          x = arith::AddFOp::create(inner, loc, x, s[1]);
        if (std::optional<int64_t> offset = op.getCausalOffset()) {
          auto index = [&](int64_t loop) -> Value {
            return arith::IndexCastOp::create(inner, loc, inner.getI32Type(),
                                              linalg::IndexOp::create(inner, loc, loop));
          };
          Value limit = arith::AddIOp::create(
              inner, loc, index(3), arith::ConstantOp::create(inner, loc, inner.getI32IntegerAttr(*offset)));
          Value seen = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::sle, index(4), limit);
          x = arith::SelectOp::create(inner, loc, seen, x, f32(inner, loc, -infinity));
        }
        return x;
      });
  SmallVector<unsigned> rowLoops = {0, 1, 2, 3};
  RowSoftmax steps(b, scoreShape, rowLoops, op.getZeroMasked());
  bool isInteger = op.isInteger();
  Value powers = steps.powers(scores, isInteger ? 127 : 1, isInteger ? Type(b.b.getI8Type()) : storage);
  Value sum = b.reduce(LinalgBuilder::Kind::Sum, {b.identity(powers)}, scoreShape, rowLoops, same);

  extents = {batch, groups, heads, rows, width, keys};
  Value weighted = b.contract({powers, b.dims(6, {0, 1, 2, 3, 5})}, {op.getValue(), b.dims(6, {0, 1, 5, 4})},
                              b.dims(6, {0, 1, 2, 3, 4}), extents, partsOf(op));
  Value factors = steps.factors(sum, isInteger ? op.getValueScale().convertToDouble() : 1);
  Value output = b.map({b.identity(weighted), {factors, steps.rowMap()}},
                       RankedTensorType::get({batch, groups, heads, rows, width}, storage), product);
  return b.reshape(output, result.getShape());
}

Value layerNorm(nn::LayerNormOp o, LinalgBuilder &b) {
  return norm(b, o.getInput(), o.getScale(), o.getBias(), o.getAxis(), o.getEpsilon().convertToFloat(), true,
              typeOf(o.getResult()));
}

Value rmsNorm(nn::RmsNormOp o, LinalgBuilder &b) {
  return norm(b, o.getInput(), o.getScale(), {}, o.getAxis(), o.getEpsilon().convertToFloat(), false,
              typeOf(o.getResult()));
}

constexpr StringRef multiplies = "it multiplies floats, or integers of 8 bits";

template <typename OpTy>
bool isMultiplied(OpTy op) {
  return llvm::all_of(op->getOperands().take_front(2), [](Value operand) {
    Type element = typeOf(operand).getElementType();
    return isa<FloatType>(element) || element.isInteger(8);
  });
}

} // namespace

std::vector<Handler> npuc::lower::computeHandlers() {
  return {
      handler<nn::LinearOp>(linear).where<nn::LinearOp>(multiplies, isMultiplied),
      handler<nn::GroupedLinearOp>(groupedLinear)
          .where<nn::GroupedLinearOp>(
              "its groups have an even number of products, if its weights have 4 bits",
              [](nn::GroupedLinearOp op) {
                int64_t each = shapeOf(op.getWeight())[1] / shapeOf(op.getScale())[1];
                return !typeOf(op.getWeight()).getElementType().isInteger(4) || each % 2 == 0;
              }),
      handler<nn::MatmulOp>(matmul).where<nn::MatmulOp>(multiplies, isMultiplied),
      handler<nn::AttentionOp>(attention),
      handler<nn::SoftmaxOp>(softmax),
      handler<nn::LayerNormOp>(layerNorm),
      handler<nn::RmsNormOp>(rmsNorm),
      handler<nn::LogSoftmaxOp>(logSoftmax),
      handler<nn::GroupNormOp>(groupNorm),
  };
}
