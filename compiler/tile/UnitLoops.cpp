#include "compiler/tile/Plan.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

/// `value` with a leading dimension of 1, or without it.
Value withUnit(OpBuilder &builder, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape = {1};
  llvm::append_range(shape, type.getShape());
  SmallVector<ReassociationIndices> groups(type.getRank());
  for (int64_t i = 0; i < type.getRank(); ++i)
    groups[i].push_back(i + 1);
  if (!groups.empty())
    groups[0].insert(groups[0].begin(), 0);
  return tensor::ExpandShapeOp::create(builder, value.getLoc(), type.clone(shape), value, groups);
}

Value withoutUnit(OpBuilder &builder, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<ReassociationIndices> groups(type.getRank() - 1);
  for (int64_t i = 1; i < type.getRank(); ++i)
    groups[i - 1].push_back(i);
  if (!groups.empty())
    groups[0].insert(groups[0].begin(), 0);
  return tensor::CollapseShapeOp::create(builder, value.getLoc(), type.clone(type.getShape().drop_front()),
                                         value, groups);
}

/// What `init` holds, with a leading dimension of 1: again an empty or filled tensor, which goes with its
/// group.
Value initWithUnit(OpBuilder &builder, Value init) {
  Operation *op = init.getDefiningOp();
  auto type = cast<RankedTensorType>(init.getType());
  SmallVector<int64_t> shape = {1};
  llvm::append_range(shape, type.getShape());
  if (isa_and_nonnull<tensor::EmptyOp>(op))
    return tensor::EmptyOp::create(builder, init.getLoc(), shape, type.getElementType());
  if (auto fill = dyn_cast_or_null<linalg::FillOp>(op))
    return linalg::FillOp::create(builder, init.getLoc(), fill.value(), initWithUnit(builder, fill.output()))
        .getResult(0);
  return withUnit(builder, init);
}

} // namespace

void npuc::tile::addUnitLoop(Group &group) {
  MLIRContext *context = group.root()->getContext();
  SmallVector<Operation *> old(group.operations.begin(), group.operations.end());
  llvm::DenseMap<Value, Value> made;
  for (LinalgOp &op : group.operations) {
    OpBuilder builder(op);
    SmallVector<Value> inputs, inits;
    SmallVector<AffineMap> maps;
    auto addMap = [&](OpOperand &operand) {
      AffineMap map = op.getMatchingIndexingMap(&operand).shiftDims(1);
      maps.push_back(map.insertResult(getAffineDimExpr(0, context), 0));
    };
    for (OpOperand *input : op.getDpsInputOperands()) {
      Value inside = made.lookup(input->get());
      inputs.push_back(inside ? inside : withUnit(builder, input->get()));
      addMap(*input);
    }
    for (OpOperand &init : op.getDpsInitsMutable()) {
      inits.push_back(initWithUnit(builder, init.get()));
      addMap(init);
    }
    SmallVector<utils::IteratorType> loops = {utils::IteratorType::parallel};
    llvm::append_range(loops, op.getIteratorTypesArray());
    auto unit = linalg::GenericOp::create(builder, op.getLoc(), ValueRange(inits).getTypes(), inputs, inits,
                                          maps, loops);
    IRMapping mapping;
    op->getRegion(0).cloneInto(&unit.getRegion(), mapping);
    unit.walk([](linalg::IndexOp index) { index.setDim(index.getDim() + 1); });
    for (auto [before, after] : llvm::zip_equal(op->getResults(), unit->getResults()))
      made[before] = after;
    op = cast<LinalgOp>(unit.getOperation());
  }
  // Whatever else uses the results sees them as they were.
  for (Operation *op : llvm::reverse(old)) {
    for (Value before : op->getResults()) {
      auto isOutside = [&](OpOperand &use) { return !llvm::is_contained(old, use.getOwner()); };
      if (llvm::none_of(before.getUses(), isOutside))
        continue;
      OpBuilder builder(op);
      before.replaceUsesWithIf(withoutUnit(builder, made[before]), isOutside);
    }
    op->erase();
  }
}
