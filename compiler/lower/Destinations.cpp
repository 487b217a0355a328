#include "compiler/lower/Destinations.h"

#include "compiler/lower/LinalgBuilder.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace npuc::lower;
using bufferization::AllocTensorOp;
using tensor::InsertSliceOp;

namespace {

/// A reshape that adds dimensions of size 1 and nothing else.
bool addsUnits(tensor::ExpandShapeOp expand) {
  return expand && llvm::all_of(expand.getReassociationIndices(), [&](const ReassociationIndices &group) {
           return llvm::count_if(group,
                                 [&](int64_t i) { return expand.getResultType().getDimSize(i) != 1; }) <= 1;
         });
}

} // namespace

Destinations::Destinations(Block &block) : block(block) {
  for (auto root : block.getOps<AllocTensorOp>()) {
    Inserts inserts;
    for (Value whole = root; whole.hasOneUse(); whole = inserts.back()) {
      auto insert = dyn_cast<InsertSliceOp>(*whole.user_begin());
      if (!insert || insert.getDest() != whole)
        break;
      inserts.push_back(insert);
    }
    if (!inserts.empty())
      assembled.push_back(std::move(inserts));
  }
}

/// The operation that a destination can be given to for `value`; null if there is none. What is not
/// contiguous is reshaped only by splitting its dimensions, which is how a collapsed value's source sees it.
Operation *Destinations::writerOf(Value value, bool contiguous) {
  if (!value.hasOneUse())
    return nullptr;
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<tensor::CollapseShapeOp>(op) ||
      (contiguous && isa_and_nonnull<tensor::ExpandShapeOp>(op)))
    return writerOf(op->getOperand(0), contiguous);
  if (auto generic = dyn_cast_or_null<linalg::GenericOp>(op)) {
    Value init = generic.getDpsInits()[0];
    auto fill = init.getDefiningOp<linalg::FillOp>();
    return (fill ? fill.output() : init).getDefiningOp<tensor::EmptyOp>() ? op : nullptr;
  }
  // The parts of a tensor may be made anywhere before: its first destination stands at the block's start.
  if (contiguous && isa_and_nonnull<InsertSliceOp>(op))
    for (Inserts &inserts : assembled)
      if (inserts.back() == op && inserts.front().getDest().getDefiningOp<AllocTensorOp>())
        return op;
  return nullptr;
}

/// Gives `destination` to the writer of `value`, and moves the reshapes between them to the writer.
Value Destinations::redirect(Value value, Value destination) {
  Operation *op = value.getDefiningOp();
  if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
    OpOperand &init = generic.getDpsInitsMutable()[0];
    if (auto fill = init.get().getDefiningOp<linalg::FillOp>()) {
      OpBuilder builder(op);
      destination = linalg::FillOp::create(builder, fill.getLoc(), fill.value(), destination).getResult(0);
    }
    init.set(destination);
    return value;
  }
  if (isa<InsertSliceOp>(op)) {
    for (Inserts &inserts : assembled)
      if (inserts.back() == op) {
        Operation *root = inserts.front().getDest().getDefiningOp();
        root->getResult(0).replaceAllUsesWith(destination);
        root->erase();
      }
    return value;
  }
  Value source = op->getOperand(0);
  OpBuilder builder(op->getContext());
  builder.setInsertionPointAfterValue(destination);
  Value seen = LinalgBuilder(builder, op->getLoc())
                   .reshape(destination, cast<RankedTensorType>(source.getType()).getShape());
  Value made = redirect(source, seen);
  op->moveAfter(made.getDefiningOp());
  return value;
}

Value Destinations::copy(OpBuilder &builder, Value value, Value destination) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<AffineMap> maps(2, builder.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> loops(type.getRank(), utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, value.getLoc(), type, value, destination, maps, loops,
             [](OpBuilder &inner, Location loc, ValueRange s) { linalg::YieldOp::create(inner, loc, s[0]); })
      .getResult(0);
}

Value Destinations::computeInto(OpOperand &use, Value destination) {
  if (writerOf(use.get(), true))
    return redirect(use.get(), destination);
  OpBuilder builder(use.getOwner());
  return copy(builder, use.get(), destination);
}

void Destinations::placeParts() {
  for (Inserts &inserts : assembled)
    place(inserts);
}

void Destinations::place(Inserts &inserts) {
  if (Operation *root = inserts.front().getDest().getDefiningOp<AllocTensorOp>())
    root->moveBefore(&block, block.begin());
  Value whole = inserts.back().getResult(), current = inserts.front().getDest();
  SmallVector<OpOperand *> users;
  for (OpOperand &use : whole.getUses())
    users.push_back(&use);

  struct Part {
    InsertSliceOp insert;
    Operation *writer;
  };
  SmallVector<Part> made, copied;
  for (InsertSliceOp insert : inserts) {
    // A slice may lack the destination's dimensions of size 1.
    for (auto expand = insert.getSource().getDefiningOp<tensor::ExpandShapeOp>(); addsUnits(expand);
         expand = insert.getSource().getDefiningOp<tensor::ExpandShapeOp>()) {
      insert.getSourceMutable().assign(expand.getSrc());
      if (expand->use_empty())
        expand->erase();
    }
    Operation *writer = writerOf(insert.getSource(), false);
    (writer ? made : copied).push_back({insert, writer});
  }
  llvm::sort(made, [](const Part &a, const Part &b) { return a.writer->isBeforeInBlock(b.writer); });
  auto sliceFor = [&](OpBuilder &builder, InsertSliceOp insert) {
    return tensor::ExtractSliceOp::create(builder, insert.getLoc(), insert.getSourceType(), current,
                                          insert.getMixedOffsets(), insert.getMixedSizes(),
                                          insert.getMixedStrides())
        .getResult();
  };
  for (auto [insert, writer] : made) {
    OpBuilder builder(writer);
    Value part = redirect(insert.getSource(), sliceFor(builder, insert));
    insert->moveAfter(part.getDefiningOp());
    insert.getDestMutable().assign(current);
    current = insert.getResult();
  }
  for (auto [insert, writer] : copied) {
    OpBuilder builder(insert);
    insert.getSourceMutable().assign(copy(builder, insert.getSource(), sliceFor(builder, insert)));
    insert.getDestMutable().assign(current);
    current = insert.getResult();
  }
  for (OpOperand *use : users)
    use->set(current);
}
