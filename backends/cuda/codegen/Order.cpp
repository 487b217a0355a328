#include "backends/cuda/codegen/Order.h"

#include "compiler/tile/Plan.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace npuc;

namespace {

/// The loops of a formula in the order in which the sums that it reads lie, or else what it reads first, if
/// it stores them in another; else nothing.
SmallVector<unsigned> orderOfOperand(linalg::GenericOp op) {
  if (op.getNumReductionLoops() > 0 || op.getNumResults() != 1 || op.hasIndexSemantics() ||
      !op.getMatchingIndexingMap(op.getDpsInitOperand(0)).isIdentity())
    return {};
  AffineMap order;
  for (OpOperand *input : op.getDpsInputOperands()) {
    auto product = input->get().getDefiningOp<linalg::LinalgOp>();
    bool ofSums = product && tile::isContraction(product);
    AffineMap map = op.getMatchingIndexingMap(input);
    if (map.isPermutation() && (ofSums || !order))
      order = map;
  }
  if (!order || order.isIdentity())
    return {};
  return llvm::map_to_vector(order.getResults(),
                             [](AffineExpr index) { return cast<AffineDimExpr>(index).getPosition(); });
}

/// All that reads `tensor` are loops over it, and what sums does so along its dimension `last`: products have
/// it as second operand.
bool wantsLast(Value tensor, unsigned last) {
  bool isSummed = false;
  for (OpOperand &use : tensor.getUses()) {
    auto op = dyn_cast<linalg::GenericOp>(use.getOwner());
    if (!op || !op.isDpsInput(&use))
      return false;
    if (op.getNumReductionLoops() == 0)
      continue;
    auto index = dyn_cast<AffineDimExpr>(op.getMatchingIndexingMap(&use).getResult(last));
    if (!index || op.getIteratorTypesArray()[index.getPosition()] != utils::IteratorType::reduction ||
        (tile::isContraction(op) && use.getOperandNumber() != 1))
      return false;
    isSummed = true;
  }
  return isSummed;
}

} // namespace

void npuc::cuda::orderResults(func::FuncOp function) {
  for (auto op : llvm::to_vector(function.getOps<linalg::GenericOp>())) {
    SmallVector<unsigned> order = orderOfOperand(op);
    if (order.empty() || !wantsLast(op.getResult(0), order.back()))
      continue;
    IRRewriter rewriter(op);
    Value result = op.getResult(0);
    auto type = cast<RankedTensorType>(result.getType());
    SmallVector<int64_t> shape =
        llvm::map_to_vector(order, [&](unsigned dim) { return type.getDimSize(dim); });
    for (OpOperand &use : result.getUses()) {
      auto user = cast<linalg::GenericOp>(use.getOwner());
      SmallVector<AffineMap> maps = user.getIndexingMapsArray();
      AffineMap &map = maps[use.getOperandNumber()];
      SmallVector<AffineExpr> indices =
          llvm::map_to_vector(order, [&](unsigned dim) { return map.getResult(dim); });
      map = AffineMap::get(map.getNumDims(), 0, indices, map.getContext());
      user.setIndexingMapsAttr(rewriter.getAffineMapArrayAttr(maps));
    }
    op.getDpsInitsMutable()[0].set(
        tensor::EmptyOp::create(rewriter, op.getLoc(), shape, type.getElementType()));
    result.setType(type.clone(shape));
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    SmallVector<AffineExpr> loops =
        llvm::map_to_vector(order, [&](unsigned loop) { return rewriter.getAffineDimExpr(loop); });
    maps.back() = AffineMap::get(op.getNumLoops(), 0, loops, rewriter.getContext());
    op.setIndexingMapsAttr(rewriter.getAffineMapArrayAttr(maps));
    (void)linalg::interchangeGenericOp(rewriter, op, order);
  }
}
