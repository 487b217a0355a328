#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/TilingInterface.h"
#include "mlir/Transforms/CSE.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace npuc::tile;
using linalg::LinalgOp;

namespace {

/// Fuses producers of the same group, and fills; nothing else, so that no other group is computed twice.
scf::SCFTileAndFuseOptions::ControlFnTy sameGroup(Attribute group) {
  return [group](tensor::ExtractSliceOp, OpResult producer,
                 bool) -> std::optional<scf::SCFTileAndFuseOptions::ControlFnResult> {
    Operation *op = producer.getOwner();
    if (!isa<linalg::FillOp>(op) && op->getAttr(groupAttr) != group)
      return std::nullopt;
    return scf::SCFTileAndFuseOptions::ControlFnResult{};
  };
}

/// Tiles `op` by `sizes` (0: not), fuses what `fusion` says, replaces its uses, and returns the tiled
/// operation.
FailureOr<TilingInterface> tileAndFuse(RewriterBase &rewriter, TilingInterface op, ArrayRef<int64_t> sizes,
                                       scf::SCFTilingOptions::LoopType loops,
                                       scf::SCFTileAndFuseOptions::ControlFnTy fusion) {
  scf::SCFTileAndFuseOptions options;
  options.tilingOptions.setTileSizes(getAsIndexOpFoldResult(op.getContext(), sizes)).setLoopType(loops);
  options.setFusionControlFn(std::move(fusion));
  if (loops == scf::SCFTilingOptions::LoopType::ForallOp) {
    SmallVector<Attribute> mapping;
    for (int64_t size : sizes)
      if (size != 0)
        mapping.push_back(npuc::npu::CoreAttr::get(op.getContext(), mapping.size()));
    options.tilingOptions.setMapping(mapping);
  }
  rewriter.setInsertionPoint(op);
  FailureOr<scf::SCFTileAndFuseResult> result =
      scf::tileConsumerAndFuseProducersUsingSCF(rewriter, op, options);
  if (failed(result))
    return op.emitError("cannot be cut into tiles of ") << DenseI64ArrayAttr::get(op.getContext(), sizes);
  for (OpResult old : op->getResults())
    rewriter.replaceAllUsesWith(old, result->replacements[old]);
  auto tiled = cast<TilingInterface>(result->tiledAndFusedOps.front());
  rewriter.eraseOp(op);
  return tiled;
}

/// Each block of a result sets its own start.
std::optional<scf::SCFTileAndFuseOptions::ControlFnResult> onlyFills(tensor::ExtractSliceOp,
                                                                     OpResult producer, bool) {
  if (!isa<linalg::FillOp>(producer.getOwner()))
    return std::nullopt;
  return scf::SCFTileAndFuseOptions::ControlFnResult{};
}

/// What a sum starts from is set once, before the loops over its blocks.
std::optional<scf::SCFTileAndFuseOptions::ControlFnResult> nothing(tensor::ExtractSliceOp, OpResult, bool) {
  return std::nullopt;
}

bool cutsAny(ArrayRef<int64_t> sizes) {
  return llvm::any_of(sizes, [](int64_t size) { return size != 0; });
}

/// The whole of a group that no loop cuts still runs in a loop over (one) core.
SmallVector<int64_t> atLeastOne(LinalgOp root, ArrayRef<int64_t> sizes) {
  SmallVector<int64_t> result(sizes);
  if (cutsAny(result))
    return result;
  SmallVector<int64_t> extents = root.getStaticLoopRanges();
  for (auto [loop, kind] : llvm::enumerate(root.getIteratorTypesArray()))
    if (kind == utils::IteratorType::parallel) {
      result[loop] = extents[loop];
      break;
    }
  return result;
}

/// Cuts the group of `root` into its steps, groups of their own, whose results are put together.
LogicalResult applySteps(RewriterBase &rewriter, LinalgOp root) {
  SmallVector<int64_t> steps(root->getAttrOfType<DenseI64ArrayAttr>(stepsAttr).asArrayRef());
  root->removeAttr(stepsAttr);
  for (OpOperand &init : root.getDpsInitsMutable())
    if (auto empty = init.get().getDefiningOp<tensor::EmptyOp>()) {
      rewriter.setInsertionPoint(root);
      init.set(bufferization::AllocTensorOp::create(rewriter, empty.getLoc(), empty.getType(), ValueRange()));
    }
  FailureOr<TilingInterface> tiled =
      tileAndFuse(rewriter, cast<TilingInterface>(root.getOperation()), steps,
                  scf::SCFTilingOptions::LoopType::ForOp, sameGroup(root->getAttr(groupAttr)));
  if (failed(tiled))
    return failure();
  while (auto loop = (*tiled)->getParentOfType<scf::ForOp>())
    if (failed(loopUnrollFull(loop)))
      return loop.emitError("cannot be unrolled into steps");
  return success();
}

void cleanUp(func::FuncOp function) {
  RewritePatternSet patterns(function.getContext());
  tensor::populateFoldTensorEmptyPatterns(patterns);
  tensor::populateMergeConsecutiveInsertExtractSlicePatterns(patterns);
  linalg::FillOp::getCanonicalizationPatterns(patterns, function.getContext());
  tensor::ExtractSliceOp::getCanonicalizationPatterns(patterns, function.getContext());
  // The size of a fused operation's result would keep the operation that it was fused from.
  memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
  affine::AffineMinOp::getCanonicalizationPatterns(patterns, function.getContext());
  affine::AffineApplyOp::getCanonicalizationPatterns(patterns, function.getContext());
  (void)applyPatternsGreedily(function, std::move(patterns));
  // A value of several uses was fused once for each; they are equal.
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance(function);
  eliminateCommonSubExpressions(rewriter, dominance, function);
}

} // namespace

LogicalResult npuc::tile::applyTiles(func::FuncOp function) {
  IRRewriter rewriter(function.getContext());
  using LoopType = scf::SCFTilingOptions::LoopType;
  SmallVector<LinalgOp> stepped, roots;
  for (LinalgOp op : function.getBody().getOps<LinalgOp>())
    if (op->hasAttr(stepsAttr))
      stepped.push_back(op);
  for (LinalgOp root : llvm::reverse(stepped))
    if (failed(applySteps(rewriter, root)))
      return failure();
  if (!stepped.empty())
    cleanUp(function);
  for (LinalgOp op : function.getBody().getOps<LinalgOp>())
    if (op->hasAttr(coresAttr))
      roots.push_back(op);
  for (LinalgOp root : llvm::reverse(roots)) {
    SmallVector<int64_t> cores =
        atLeastOne(root, root->getAttrOfType<DenseI64ArrayAttr>(coresAttr).asArrayRef());
    SmallVector<int64_t> blocks(root->getAttrOfType<DenseI64ArrayAttr>(blocksAttr).asArrayRef());
    if (!cutsAny(cores))
      return root->emitError("reduces everything to one value; it has no loop that runs over cores");
    auto group = sameGroup(root->getAttr(groupAttr));
    FailureOr<TilingInterface> tiled =
        tileAndFuse(rewriter, cast<TilingInterface>(root.getOperation()), cores, LoopType::ForallOp, group);
    if (succeeded(tiled) && cutsAny(blocks))
      tiled = tileAndFuse(rewriter, *tiled, blocks, LoopType::ForOp, group);
    if (failed(tiled))
      return failure();
    (*tiled)->removeAttr(coresAttr);
    (*tiled)->removeAttr(blocksAttr);
    (*tiled)->removeAttr(cyclesAttr);
  }
  cleanUp(function);

  SmallVector<TilingInterface> contractions;
  function.walk([&](TilingInterface op) {
    if (op->hasAttr(contractionBlocksAttr) && op->getParentOfType<scf::ForallOp>())
      contractions.push_back(op);
  });
  for (TilingInterface op : contractions) {
    SmallVector<int64_t> blocks(op->getAttrOfType<DenseI64ArrayAttr>(contractionBlocksAttr).asArrayRef());
    op->removeAttr(contractionBlocksAttr);
    // First the loops of the result, with the fill inside, then the reduction loops around the accumulation
    // alone.
    SmallVector<int64_t> outer = blocks, inner = blocks;
    for (auto [loop, kind] : llvm::enumerate(op.getLoopIteratorTypes()))
      (kind == utils::IteratorType::parallel ? inner : outer)[loop] = 0;
    FailureOr<TilingInterface> tiled = op;
    if (cutsAny(outer))
      tiled = tileAndFuse(rewriter, *tiled, outer, LoopType::ForOp, onlyFills);
    if (succeeded(tiled) && cutsAny(inner))
      tiled = tileAndFuse(rewriter, *tiled, inner, LoopType::ForOp, nothing);
    if (failed(tiled))
      return failure();
  }
  cleanUp(function);
  function.walk([](LinalgOp op) {
    op->removeAttr(groupAttr);
    op->removeAttr(contractionBlocksAttr);
  });
  return success();
}
