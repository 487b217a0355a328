#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

SmallVector<OpFoldResult> indices(LinalgBuilder &b, ArrayRef<int64_t> values) {
  return getAsIndexOpFoldResult(b.b.getContext(), values);
}

Lowered slice(nn::SliceOp op, LinalgBuilder &b, std::string &why) {
  if (llvm::any_of(op.getSteps(), [](int64_t step) { return step < 1; })) {
    why = "a slice with a negative step has no view";
    return failure();
  }
  return tensor::ExtractSliceOp::create(b.b, b.loc, typeOf(op.getResult()), op.getInput(),
                                        indices(b, op.getStarts()), indices(b, op.getSizes()),
                                        indices(b, op.getSteps()))
      .getResult();
}

/// Rows of a table by index; a table is gathered along its first dimension.
Lowered gather(nn::GatherOp op, LinalgBuilder &b, std::string &why) {
  Value table = op.getTable(), picks = op.getIndices();
  if (op.getAxis() != 0 || !typeOf(picks).getElementType().isInteger(32)) {
    why = "only rows, along axis 0 and by 32-bit indices, are gathered";
    return failure();
  }
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

Lowered npuc::lower::lowerMovement(Operation *op, LinalgBuilder &b, std::string &why) {
  return llvm::TypeSwitch<Operation *, Lowered>(op)
      .Case([&](nn::ReshapeOp o) { return b.reshape(o.getInput(), typeOf(o.getResult()).getShape()); })
      .Case([&](nn::TransposeOp o) { return b.transpose(o.getInput(), o.getPermutation()); })
      .Case([&](nn::SliceOp o) { return slice(o, b, why); })
      .Case([&](nn::GatherOp o) { return gather(o, b, why); })
      .Case([&](nn::BroadcastOp o) { return broadcast(o, b); })
      .Default([&](Operation *) -> Lowered { return lowerCompute(op, b, why); });
}
