// nn-recover-norms: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERNORMS
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// x of x - mean(x), the mean over `axes`.
Value centred(Value value, ArrayRef<int64_t> axes) {
  Value x, mean;
  if (auto sub = value.getDefiningOp<SubOp>()) {
    x = sub.getLhs(), mean = sub.getRhs();
  } else if (auto add = value.getDefiningOp<AddOp>()) {
    x = add.getLhs();
    auto scaled = asScaled(add.getRhs());
    mean = scaled && scaled->factor == -1 ? scaled->value : Value();
  }
  if (!mean)
    return {};
  auto found = asMean(mean);
  return found && found->input == x && ArrayRef(found->axes) == axes ? x : Value();
}

/// A constant 1 of the shape of the normalized dimensions.
Value onesLike(RankedTensorType type, int64_t axis, PatternRewriter &rewriter, Location loc) {
  RankedTensorType shape = type.clone(type.getShape().drop_front(axis));
  Attribute one = rewriter.getFloatAttr(type.getElementType(), 1);
  return ConstantOp::create(rewriter, loc, DenseElementsAttr::get(shape, one));
}

/// d / √(mean(d²) + ε): the norm of d, or of x where d is x - mean(x).
template <typename OpTy>
struct RecoverNorm : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    auto over = asOverRoot(op.getResult());
    if (!over)
      return rewriter.notifyMatchFailure(op, "not a value over a square root");
    auto shifted = asShifted(over->radicand);
    double epsilon = shifted ? shifted->factor : 0;
    auto mean = asMean(shifted ? shifted->value : over->radicand);
    if (!mean || squared(mean->input) != over->numerator)
      return rewriter.notifyMatchFailure(op, "not the mean of the value's squares under the root");
    RankedTensorType type = typeOf(over->numerator);
    auto axis = trailingAxis(mean->axes, type.getRank());
    if (!axis || type != op.getType() || epsilon < 0)
      return rewriter.notifyMatchFailure(op, "the mean is not over the last dimensions");
    Value ones = onesLike(type, *axis, rewriter, op.getLoc());
    APFloat rounded(static_cast<float>(epsilon));
    if (Value x = centred(over->numerator, mean->axes))
      rewriter.replaceOpWithNewOp<LayerNormOp>(op, type, x, ones, Value(), *axis, rounded);
    else
      rewriter.replaceOpWithNewOp<RmsNormOp>(op, type, over->numerator, ones, *axis, rounded);
    return success();
  }
};

/// Whether `value` is a vector over the normalized dimensions `axis` and after of `type`, the same for all
/// others.
bool isVectorOver(Value value, RankedTensorType type, int64_t axis) {
  ArrayRef<int64_t> shape = typeOf(value).getShape();
  while (!shape.empty() && shape.front() == 1)
    shape = shape.drop_front();
  auto broadcast = broadcastShapes(shape, type.getShape().drop_front(axis));
  return broadcast && ArrayRef(*broadcast) == type.getShape().drop_front(axis);
}

/// `value` with its leading ones removed, so that its rank does not exceed the normalized dimensions'.
Value withoutLeadingOnes(Value value, int64_t rank, PatternRewriter &rewriter) {
  RankedTensorType type = typeOf(value);
  if (type.getRank() <= rank)
    return value;
  return ReshapeOp::create(rewriter, value.getLoc(), type.clone(type.getShape().take_back(rank)), value);
}

/// norm(x) · s with a norm that does not scale, and norm(x) + b with one that has no bias.
template <typename NormOp>
struct FoldScale : OpRewritePattern<MulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MulOp mul, PatternRewriter &rewriter) const override {
    for (auto [side, other] :
         {std::pair(mul.getLhs(), mul.getRhs()), std::pair(mul.getRhs(), mul.getLhs())}) {
      auto norm = side.template getDefiningOp<NormOp>();
      if (!norm || !norm->hasOneUse() || !isSplat(norm.getScale(), 1) || norm.getType() != mul.getType())
        continue;
      if constexpr (std::is_same_v<NormOp, LayerNormOp>)
        if (norm.getBias())
          continue;
      int64_t axis = norm.getAxis();
      if (!isVectorOver(other, norm.getType(), axis))
        continue;
      auto scaled = cast<NormOp>(rewriter.clone(*norm));
      scaled->setLoc(mul.getLoc());
      scaled.getScaleMutable().assign(withoutLeadingOnes(other, norm.getType().getRank() - axis, rewriter));
      rewriter.replaceOp(mul, scaled);
      return success();
    }
    return rewriter.notifyMatchFailure(mul, "no norm that a vector scales");
  }
};

struct FoldBias : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp add, PatternRewriter &rewriter) const override {
    for (auto [side, other] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto norm = side.getDefiningOp<LayerNormOp>();
      if (!norm || !norm->hasOneUse() || norm.getBias() || norm.getType() != add.getType() ||
          !isVectorOver(other, norm.getType(), norm.getAxis()))
        continue;
      Value bias = withoutLeadingOnes(other, norm.getType().getRank() - norm.getAxis(), rewriter);
      rewriter.replaceOpWithNewOp<LayerNormOp>(add, norm.getType(), norm.getInput(), norm.getScale(), bias,
                                               norm.getAxis(), norm.getEpsilon());
      return success();
    }
    return rewriter.notifyMatchFailure(add, "no norm that a vector shifts");
  }
};

/// A norm computed in a wider type than its operand and its result have: norms compute in at least fp32 as
/// they are.
template <typename NormOp>
struct NarrowNorm : OpRewritePattern<CastOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CastOp narrow, PatternRewriter &rewriter) const override {
    auto norm = narrow.getInput().template getDefiningOp<NormOp>();
    if (!norm || !norm->hasOneUse() || !isSplat(norm.getScale(), 1) || norm->getNumOperands() != 2)
      return rewriter.notifyMatchFailure(narrow, "not a norm alone");
    auto widen = norm.getInput().template getDefiningOp<CastOp>();
    bool isWider = norm.getType().getElementTypeBitWidth() > narrow.getType().getElementTypeBitWidth();
    if (!widen || widen.getInput().getType() != narrow.getType() || !isWider ||
        !isa<FloatType>(narrow.getType().getElementType()))
      return rewriter.notifyMatchFailure(narrow, "the norm's operand is not widened from the result's type");
    int64_t axis = norm.getAxis();
    Value ones = onesLike(narrow.getType(), axis, rewriter, norm.getLoc());
    if constexpr (std::is_same_v<NormOp, LayerNormOp>)
      rewriter.replaceOpWithNewOp<NormOp>(narrow, narrow.getType(), widen.getInput(), ones, Value(), axis,
                                          norm.getEpsilon());
    else
      rewriter.replaceOpWithNewOp<NormOp>(narrow, narrow.getType(), widen.getInput(), ones, axis,
                                          norm.getEpsilon());
    return success();
  }
};

struct RecoverNorms : impl::NNRecoverNormsBase<RecoverNorms> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RecoverNorm<DivOp>, RecoverNorm<MulOp>, FoldScale<LayerNormOp>, FoldScale<RmsNormOp>,
                 FoldBias, NarrowNorm<LayerNormOp>, NarrowNorm<RmsNormOp>>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::nn
