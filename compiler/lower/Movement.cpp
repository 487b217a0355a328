#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

Value reshape(nn::ReshapeOp op, LinalgBuilder &b) {
  return b.reshape(op.getInput(), typeOf(op.getResult()).getShape());
}

Value transpose(nn::TransposeOp op, LinalgBuilder &b) {
  return b.transpose(op.getInput(), op.getPermutation());
}

Value slice(nn::SliceOp op, LinalgBuilder &b) {
  return b.slice(op.getInput(), op.getStarts(), op.getSizes(), op.getSteps());
}

/// Each part is computed into, or copied to, its slice of the whole.
Value concatenate(LinalgBuilder &b, ValueRange inputs, int64_t axis, RankedTensorType type) {
  SmallVector<Part> parts;
  SmallVector<int64_t> offsets(type.getRank(), 0);
  for (Value input : inputs) {
    if (typeOf(input) == type)
      return input; // The others are empty.
    parts.push_back({input, offsets});
    offsets[axis] += typeOf(input).getDimSize(axis);
  }
  return b.assemble(type, parts);
}

Value concat(nn::ConcatOp op, LinalgBuilder &b) {
  return concatenate(b, op.getInputs(), op.getAxis(), typeOf(op.getResult()));
}

Value kvUpdate(nn::KvUpdateOp op, LinalgBuilder &b) {
  return concatenate(b, {op.getPast(), op.getUpdate()}, op.getAxis(), typeOf(op.getResult()));
}

/// Rows of a table by index; a table is gathered along its first dimension.
Value gather(nn::GatherOp op, LinalgBuilder &b) {
  Value table = op.getTable(), picks = op.getIndices();
  RankedTensorType result = typeOf(op.getResult());
  unsigned rank = result.getRank(), lead = typeOf(picks).getRank();
  SmallVector<unsigned> leading = llvm::to_vector(llvm::seq<unsigned>(0, lead));
  SmallVector<AffineMap> maps = {b.dims(rank, leading), b.b.getMultiDimIdentityMap(rank)};
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             b.b, b.loc, result, picks, b.empty(result.getShape(), result.getElementType()), maps, loops,
             [&](OpBuilder &inner, Location loc, ValueRange s) {
               SmallVector<Value> at = {arith::IndexCastOp::create(inner, loc, inner.getIndexType(), s[0])};
               for (unsigned d = lead; d < rank; ++d)
                 at.push_back(linalg::IndexOp::create(inner, loc, d));
               linalg::YieldOp::create(inner, loc,
                                       tensor::ExtractOp::create(inner, loc, table, at).getResult());
             })
      .getResult(0);
}

Value broadcast(nn::BroadcastOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  return b.map({b.broadcast(op.getInput(), type.getShape())}, type,
               [](OpBuilder &, Location, Scalars s) { return s[0]; });
}

} // namespace

std::vector<Handler> npuc::lower::movementHandlers() {
  return {
      handler<nn::ReshapeOp>(reshape),
      handler<nn::TransposeOp>(transpose),
      handler<nn::SliceOp>(slice).where<nn::SliceOp>(
          "its steps are positive",
          [](nn::SliceOp o) { return llvm::all_of(o.getSteps(), [](int64_t step) { return step > 0; }); }),
      handler<nn::GatherOp>(gather)
          .where<nn::GatherOp>("it gathers rows: its axis is 0",
                               [](nn::GatherOp o) { return o.getAxis() == 0; })
          .where<nn::GatherOp>(
              "its indices have 32 bits",
              [](nn::GatherOp o) { return typeOf(o.getIndices()).getElementType().isInteger(32); }),
      handler<nn::BroadcastOp>(broadcast),
      handler<nn::ConcatOp>(concat),
      handler<nn::KvUpdateOp>(kvUpdate),
  };
}
