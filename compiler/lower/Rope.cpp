// Rotary position embedding.
#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

/// The matrices that turn pairs, negated: result[b, h, s, i, j, p] = −cos where i = j, sin where i < j, −sin
/// where i > j. Every layer turns by the same ones, so they are made once.
Value rotations(Value cos, Value sin, LinalgBuilder &b) {
  ArrayRef<int64_t> angles = typeOf(cos).getShape();
  auto type =
      RankedTensorType::get({angles[0], angles[1], angles[2], 2, 2, angles[3]}, typeOf(cos).getElementType());
  AffineMap byAngle = b.dims(6, {0, 1, 2, 5});
  return b.map(
      {{cos, byAngle}, {sin, byAngle}}, type, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
        auto index = [&](int64_t loop) -> Value {
          return arith::IndexCastOp::create(inner, loc, inner.getI32Type(),
                                            linalg::IndexOp::create(inner, loc, loop));
        };
        Value i = index(3), j = index(4);
        Value same = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::eq, i, j);
        Value first = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::slt, i, j);
        Value turned =
            arith::SelectOp::create(inner, loc, first, s[1], arith::NegFOp::create(inner, loc, s[1]));
        return arith::SelectOp::create(inner, loc, same, arith::NegFOp::create(inner, loc, s[0]), turned);
      });
}

/// The pairs as vectors of two, turned: result[…, i, p] = Σ_j rotation[…, i, j, p] · x[…, j, p]. A sum over
/// two is work for the vector engine; as the rotations are negated, it is no contraction.
Value rotate(Value x, Value rotations, bool interleaved, LinalgBuilder &b) {
  ArrayRef<int64_t> shape = typeOf(x).getShape();
  int64_t pairs = shape[3] / 2;
  SmallVector<int64_t> split = {shape[0], shape[1], shape[2], interleaved ? pairs : 2,
                                interleaved ? 2 : pairs};
  SmallVector<int64_t> extents = {shape[0], shape[1], shape[2], 2, 2, pairs}; // b, h, s, i, j, p
  SmallVector<unsigned> components =
      interleaved ? SmallVector<unsigned>{0, 1, 2, 5, 4} : SmallVector<unsigned>{0, 1, 2, 4, 5};
  Value sums =
      b.reduce(LinalgBuilder::Kind::Sum,
               {{b.reshape(x, split), b.dims(6, components)}, b.broadcast(rotations, extents)}, extents,
               {0, 1, 2, 3, 5}, [](OpBuilder &inner, Location loc, Scalars s) -> Value {
                 return arith::NegFOp::create(inner, loc, arith::MulFOp::create(inner, loc, s[0], s[1]));
               });
  AffineMap back = interleaved ? b.dims(5, {0, 1, 2, 4, 3}) : b.dims(5, {0, 1, 2, 3, 4});
  Value rounded = b.map({{sums, back}}, RankedTensorType::get(split, typeOf(x).getElementType()),
                        [](OpBuilder &, Location, Scalars s) { return s[0]; });
  return b.reshape(rounded, shape);
}

Value rope(nn::RopeOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  SmallVector<int64_t> shape(type.getShape());
  int64_t rotated = 2 * typeOf(op.getCos()).getDimSize(3), depth = shape[3];
  Value turns = rotations(op.getCos(), op.getSin(), b);
  if (rotated == depth)
    return rotate(op.getInput(), turns, op.getInterleaved(), b);
  shape[3] = rotated;
  Value first = rotate(b.slice(op.getInput(), {0, 0, 0, 0}, shape), turns, op.getInterleaved(), b);
  shape[3] = depth - rotated;
  Value rest = b.slice(op.getInput(), {0, 0, 0, rotated}, shape);
  return b.assemble(type, {{first, {0, 0, 0, 0}}, {rest, {0, 0, 0, rotated}}});
}

} // namespace

std::vector<Handler> npuc::lower::ropeHandlers() {
  return {handler<nn::RopeOp>(rope)};
}
