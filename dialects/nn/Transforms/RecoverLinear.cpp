// nn-recover-linear: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERLINEAR
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

struct RecoverLinear : OpRewritePattern<MatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MatmulOp matmul, PatternRewriter &rewriter) const override {
    Value weight = matmul.getRhs();
    if (typeOf(weight).getRank() != 2 || !isWeight(weight))
      return rewriter.notifyMatchFailure(matmul, "right operand is not a matrix of weights");
    auto transpose = weight.getDefiningOp<TransposeOp>();
    if (transpose)
      weight = transpose.getInput();
    rewriter.replaceOpWithNewOp<LinearOp>(matmul, matmul.getType(), matmul.getLhs(), weight, Value(),
                                          transpose != nullptr);
    return success();
  }
};

/// linear(x) + b.
struct FoldBias : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp add, PatternRewriter &rewriter) const override {
    for (auto [side, other] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto linear = side.getDefiningOp<LinearOp>();
      if (!linear || !linear->hasOneUse() || linear.getBias() || linear.getType() != add.getType())
        continue;
      int64_t size = linear.getType().getShape().back();
      RankedTensorType type = typeOf(other), vector = type.clone({size});
      if (!isWeight(other) || type.getNumElements() != size || type.getRank() == 0 ||
          type.getShape().back() != size)
        continue;
      Value bias =
          type == vector ? other : ReshapeOp::create(rewriter, other.getLoc(), vector, other).getResult();
      rewriter.replaceOpWithNewOp<LinearOp>(add, add.getType(), linear.getInput(), linear.getWeight(), bias,
                                            linear.getTransposed());
      return success();
    }
    return rewriter.notifyMatchFailure(add, "no linear that a constant vector is added to");
  }
};

RankedTensorType withLast(ArrayRef<int64_t> leading, RankedTensorType last) {
  SmallVector<int64_t> shape(leading);
  shape.push_back(last.getShape().back());
  return last.clone(shape);
}

LinearOp linearOf(LinearOp like, Value input, PatternRewriter &rewriter) {
  RankedTensorType type = withLast(typeOf(input).getShape().drop_back(), like.getType());
  return LinearOp::create(rewriter, like.getLoc(), type, input, like.getWeight(), like.getBias(),
                          like.getTransposed());
}

/// linear(reshape(x)) where the reshape only joins leading dimensions: the linear keeps them apart.
struct KeepRows : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp linear, PatternRewriter &rewriter) const override {
    auto reshape = linear.getInput().getDefiningOp<ReshapeOp>();
    if (!reshape)
      return rewriter.notifyMatchFailure(linear, "input is not reshaped");
    RankedTensorType from = typeOf(reshape.getInput()), to = reshape.getType();
    if (from.getRank() <= to.getRank() || from.getShape().back() != to.getShape().back())
      return rewriter.notifyMatchFailure(linear, "the reshape does more than to join leading dimensions");
    LinearOp kept = linearOf(linear, reshape.getInput(), rewriter);
    rewriter.replaceOpWithNewOp<ReshapeOp>(linear, linear.getType(), kept);
    return success();
  }
};

/// reshape(linear(x)) with x a matrix, where the reshape only splits its rows: x is split before.
struct SplitRows : OpRewritePattern<ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ReshapeOp reshape, PatternRewriter &rewriter) const override {
    auto linear = reshape.getInput().getDefiningOp<LinearOp>();
    if (!linear || !linear->hasOneUse() || linear.getType().getRank() != 2)
      return rewriter.notifyMatchFailure(reshape, "not the only use of a linear of a matrix");
    RankedTensorType to = reshape.getType();
    if (to.getRank() <= 2 || to.getShape().back() != linear.getType().getShape().back())
      return rewriter.notifyMatchFailure(reshape, "the reshape does more than to split rows");
    RankedTensorType split = withLast(to.getShape().drop_back(), typeOf(linear.getInput()));
    Value input = ReshapeOp::create(rewriter, reshape.getLoc(), split, linear.getInput());
    rewriter.replaceOp(reshape, linearOf(linear, input, rewriter));
    return success();
  }
};

struct RecoverLinears : impl::NNRecoverLinearBase<RecoverLinears> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RecoverLinear, FoldBias, KeepRows, SplitRows>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::nn
