// nn-recover-activations: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERACTIVATIONS
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// How far from its erf or tanh a gelu's result and its x are looked for.
constexpr int reach = 8;

/// The values that `value` is computed from by arithmetic, nearest first: those that may be x.
SmallVector<Value> sourcesOf(Value value) {
  SmallVector<Value> sources{value};
  for (size_t i = 0; i < sources.size() && i < 4 * reach; ++i)
    if (Operation *op = sources[i].getDefiningOp(); op && isa<AddOp, SubOp, MulOp, DivOp, PowOp, NegOp>(op))
      for (Value operand : op->getOperands())
        if (operand.getType() == value.getType() && !llvm::is_contained(sources, operand))
          sources.push_back(operand);
  return sources;
}

/// x/2 · (1 + f), with f = erf(x/√2) or f = tanh(√(2/π) · (x + 0.044715 x³)), in any order and grouping.
template <typename OpTy>
struct RecoverGelu : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;
  static constexpr bool isTanh = std::is_same_v<OpTy, TanhOp>;

  static Polynomial argument() {
    if (!isTanh)
      return {{{1, 0}, M_SQRT1_2}};
    double outer = M_2_SQRTPI * M_SQRT1_2;
    return {{{1, 0}, outer}, {{3, 0}, outer * 0.044715}};
  }

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    Type element = op.getType().getElementType();
    const Polynomial wanted{{{1, 0}, 0.5}, {{1, 1}, 0.5}};
    for (Value x : sourcesOf(op.getInput())) {
      auto inner = asPolynomial(op.getInput(), x);
      if (!inner || !isAbout(*inner, argument(), element))
        continue;
      Value result = op.getResult();
      for (int step = 0; step < reach && result.hasOneUse(); ++step) {
        Operation *user = *result.user_begin();
        if (user->getNumResults() != 1)
          break;
        result = user->getResult(0);
        auto outer = asPolynomial(result, x, op.getResult());
        if (!outer)
          break;
        if (!isAbout(*outer, wanted, element))
          continue;
        rewriter.setInsertionPoint(user);
        auto gelu = GeluOp::create(rewriter, user->getLoc(), x.getType(), x, isTanh);
        rewriter.replaceOp(user, gelu);
        return success();
      }
    }
    return rewriter.notifyMatchFailure(op, "no x that makes it part of a gelu");
  }
};

/// 1 / (1 + e^-x).
struct RecoverSigmoid : OpRewritePattern<ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ExpOp exp, PatternRewriter &rewriter) const override {
    auto negated = asScaled(exp.getInput());
    if (!negated || negated->factor != -1 || !exp->hasOneUse())
      return rewriter.notifyMatchFailure(exp, "not e^-x used once");
    Value sum = exp->user_begin()->getResult(0);
    auto shifted = asShifted(sum);
    if (!shifted || shifted->value != exp.getResult() || shifted->factor != 1 || !sum.hasOneUse())
      return rewriter.notifyMatchFailure(exp, "not 1 + e^-x used once");
    Operation *user = *sum.user_begin();
    auto div = dyn_cast<DivOp>(user);
    bool isQuotient = div && div.getRhs() == sum;
    if (!isQuotient && !isa<ReciprocalOp>(user))
      return rewriter.notifyMatchFailure(exp, "1 + e^-x divides nothing");
    rewriter.setInsertionPoint(user);
    Value sigmoid = SigmoidOp::create(rewriter, user->getLoc(), exp.getType(), negated->value);
    if (isQuotient && !isSplat(div.getLhs(), 1))
      sigmoid = MulOp::create(rewriter, user->getLoc(), div.getLhs(), sigmoid);
    rewriter.replaceOp(user, sigmoid);
    return success();
  }
};

/// x · sigmoid(x).
struct RecoverSilu : OpRewritePattern<MulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MulOp mul, PatternRewriter &rewriter) const override {
    for (auto [x, gate] : {std::pair(mul.getLhs(), mul.getRhs()), std::pair(mul.getRhs(), mul.getLhs())})
      if (auto sigmoid = gate.getDefiningOp<SigmoidOp>(); sigmoid && sigmoid.getInput() == x) {
        rewriter.replaceOpWithNewOp<SiluOp>(mul, mul.getType(), x);
        return success();
      }
    return rewriter.notifyMatchFailure(mul, "not a value times its own sigmoid");
  }
};

struct RecoverActivations : impl::NNRecoverActivationsBase<RecoverActivations> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RecoverGelu<ErfOp>, RecoverGelu<TanhOp>, RecoverSigmoid, RecoverSilu>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::nn
