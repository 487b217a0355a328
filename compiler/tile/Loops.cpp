#include "compiler/tile/Loops.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

/// The loops of `producer` along which slices of its result number `result` by `consumerLoops` (root loops of
/// the consumer's loops) cut it.
SmallVector<int> follow(LinalgOp consumer, OpOperand &operand, ArrayRef<int> consumerLoops, LinalgOp producer,
                        unsigned result) {
  AffineMap use = consumer.getMatchingIndexingMap(&operand);
  AffineMap definition = producer.getIndexingMapMatchingResult(producer->getResult(result));
  SmallVector<int> loops(producer.getNumLoops(), -1);
  for (auto [used, defined] : llvm::zip_equal(use.getResults(), definition.getResults())) {
    auto from = dyn_cast<AffineDimExpr>(used), to = dyn_cast<AffineDimExpr>(defined);
    if (from && to)
      loops[to.getPosition()] = consumerLoops[from.getPosition()];
  }
  return loops;
}

/// Loops along which an operation can be cut: of one that loads by index, those of the indices; a row is
/// loaded whole. Nor are elements of 4 bits, of which two share a byte, cut along the loop in which they
/// follow each other.
llvm::SmallBitVector ownCuttableLoops(LinalgOp op) {
  llvm::SmallBitVector loops(op.getNumLoops(), true);
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (map.getNumResults() == 0 || !getElementTypeOrSelf(operand.get()).isInteger(4))
      continue;
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (map.getResults().back().isFunctionOfDim(loop))
        loops.reset(loop);
  }
  if (!op.getBlock()->getOps<tensor::ExtractOp>().empty())
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      loops[loop] = op.getMatchingIndexingMap(op.getDpsInputOperand(0)).isFunctionOfDim(loop);
  return loops;
}

} // namespace

LoopsAlong npuc::tile::loopsAlong(LinalgOp root, const llvm::SetVector<Operation *> &members) {
  LoopsAlong along;
  along[root] =
      llvm::to_vector(llvm::map_range(llvm::seq<int>(0, root.getNumLoops()), [](int i) { return i; }));
  // Members are joined consumers first, so in this order every consumer is known before its producers.
  for (Operation *member : members) {
    auto consumer = cast<LinalgOp>(member);
    for (OpOperand &operand : member->getOpOperands()) {
      auto producer = operand.get().getDefiningOp<LinalgOp>();
      if (!producer || !members.contains(producer))
        continue;
      SmallVector<int> loops =
          follow(consumer, operand, along[member], producer, cast<OpResult>(operand.get()).getResultNumber());
      auto [it, isNew] = along.try_emplace(producer, loops);
      if (isNew)
        continue;
      for (auto [known, other] : llvm::zip_equal(it->second, loops))
        if (known != other)
          known = -1; // Two consumers want different cuts.
    }
  }
  return along;
}

llvm::SmallBitVector npuc::tile::cuttableLoops(LinalgOp root, const llvm::SetVector<Operation *> &members) {
  llvm::SmallBitVector cuttable(root.getNumLoops(), true);
  SmallVector<utils::IteratorType> rootKinds = root.getIteratorTypesArray();
  for (unsigned loop = 0; loop < root.getNumLoops(); ++loop)
    if (rootKinds[loop] != utils::IteratorType::parallel)
      cuttable.reset(loop);
  LoopsAlong along = loopsAlong(root, members);
  for (Operation *member : members) {
    SmallVector<utils::IteratorType> kinds = cast<LinalgOp>(member).getIteratorTypesArray();
    llvm::SmallBitVector own = ownCuttableLoops(cast<LinalgOp>(member));
    for (int loop : cuttable.set_bits()) {
      int found = 0;
      for (auto [at, rootLoop] : llvm::enumerate(along[member]))
        if (rootLoop == loop)
          found += kinds[at] == utils::IteratorType::parallel && own[at] ? 1 : 2;
      if (found != 1)
        cuttable.reset(loop);
    }
  }
  return cuttable;
}
