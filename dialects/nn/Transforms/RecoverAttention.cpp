// nn-recover-attention: see Passes.td. From softmax(query · keyᵀ …) · value to nn.attention; what its mask
// means is AttentionMasks.cpp's part.
#include "dialects/nn/Transforms/AttentionMasks.h"
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERATTENTION
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// select(is_nan(p), 0, p), p a softmax.
struct ZeroMasked : OpRewritePattern<SelectOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SelectOp select, PatternRewriter &rewriter) const override {
    auto softmax = select.getOnFalse().getDefiningOp<SoftmaxOp>();
    auto test = select.getCondition().getDefiningOp<IsNanOp>();
    if (!softmax || !test || test.getInput() != softmax || !isSplat(select.getOnTrue(), 0) ||
        select.getType() != softmax.getType())
      return rewriter.notifyMatchFailure(select, "does not replace a softmax's NaN by 0");
    rewriter.replaceOpWithNewOp<SoftmaxOp>(select, softmax.getType(), softmax.getInput(), softmax.getAxis(),
                                           true);
    return success();
  }
};

/// A mask as it was found on the way from the softmax to the scores. A fill replaces scores where `condition`
/// is `filled`.
struct FoundMask {
  Value term = {};
  Value condition = {};
  bool filled = false;
  double fill = 0;
};

/// What a softmax's operand is made of.
struct Scores {
  MatmulOp product;
  double scale = 1, softcap = 0;
  SmallVector<FoundMask> masks;
};

/// Fills at least this far below every score replace it exactly when they are added to it.
constexpr double hugeFill = -1e9;

Value castInput(Value value) {
  auto cast = value.getDefiningOp<CastOp>();
  return cast && isa<FloatType>(typeOf(cast.getInput()).getElementType()) ? cast.getInput() : Value();
}

/// The matmul that `value` is computed from by what may stand between scores and softmax, of the same shape.
MatmulOp scoresOf(Value value, int depth = 8) {
  if (auto matmul = value.getDefiningOp<MatmulOp>())
    return matmul;
  Operation *op = value.getDefiningOp();
  if (!op || depth == 0 || !isa<AddOp, SelectOp, MulOp, DivOp, TanhOp, CastOp>(op))
    return {};
  for (Value operand : op->getOperands())
    if (typeOf(operand).getShape() == typeOf(value).getShape())
      if (MatmulOp matmul = scoresOf(operand, depth - 1))
        return matmul;
  return {};
}

/// cap and x of cap · tanh(x / cap).
std::optional<Scaled> asSoftcap(Value value) {
  auto outer = asScaled(value);
  auto tanh = outer ? outer->value.getDefiningOp<TanhOp>() : TanhOp();
  auto inner = tanh ? asScaled(tanh.getInput()) : std::nullopt;
  if (!inner || outer->factor <= 0 ||
      !isAbout(inner->factor * outer->factor, 1, typeOf(value).getElementType()))
    return std::nullopt;
  return Scaled{inner->value, outer->factor};
}

/// Takes masks, cap and scale off the scores; a reason in `why` if something else is in the way.
FailureOr<Scores> takeApart(Value value, const char *&why) {
  Scores scores;
  for (;;) {
    if (auto matmul = value.getDefiningOp<MatmulOp>()) {
      scores.product = matmul;
      return scores;
    }
    bool isInner = scores.scale != 1 || scores.softcap != 0;
    if (auto cap = asSoftcap(value)) {
      if (isInner) {
        why = "soft cap inside of a scale";
        return failure();
      }
      scores.softcap = cap->factor;
      value = cap->value;
    } else if (auto scaled = asScaled(value)) {
      scores.scale *= scaled->factor;
      value = scaled->value;
    } else if (auto add = value.getDefiningOp<AddOp>()) {
      bool isLeft = typeOf(add.getLhs()) == typeOf(value) && scoresOf(add.getLhs());
      Value next = isLeft ? add.getLhs() : add.getRhs();
      if (isInner || typeOf(next) != typeOf(value) || !scoresOf(next)) {
        why = "a sum that is not scores plus mask";
        return failure();
      }
      scores.masks.push_back({isLeft ? add.getRhs() : add.getLhs(), {}});
      value = next;
    } else if (auto select = value.getDefiningOp<SelectOp>()) {
      auto onTrue = splatOf(select.getOnTrue()), onFalse = splatOf(select.getOnFalse());
      auto fill = onTrue ? onTrue : onFalse;
      Value next = onTrue ? select.getOnFalse() : select.getOnTrue();
      if (isInner || !fill || *fill > hugeFill || typeOf(next) != typeOf(value)) {
        why = "a selection that is not scores or a large negative number";
        return failure();
      }
      scores.masks.push_back({{}, select.getCondition(), onTrue.has_value(), *fill});
      value = next;
    } else {
      why = "an operation between scores and softmax that no attention has";
      return failure();
    }
  }
}

/// `value` without the numbers that it is multiplied by, which go into `scale`, looking through what only
/// moves elements.
Value withoutScale(Value value, double &scale, PatternRewriter &rewriter) {
  if (auto scaled = asScaled(value)) {
    scale *= scaled->factor;
    return withoutScale(scaled->value, scale, rewriter);
  }
  Operation *op = value.getDefiningOp();
  if (!op || !isa<ReshapeOp, TransposeOp, BroadcastOp>(op))
    return value;
  Value source = withoutScale(op->getOperand(0), scale, rewriter);
  if (source == op->getOperand(0))
    return value;
  IRMapping mapping;
  mapping.map(op->getOperand(0), source);
  return rewriter.clone(*op, mapping)->getResult(0);
}

/// `value` with leading dimensions of 1 up to rank 4.
Value ofRank4(Value value, PatternRewriter &rewriter) {
  RankedTensorType type = typeOf(value);
  SmallVector<int64_t> shape(4 - type.getRank(), 1);
  llvm::append_range(shape, type.getShape());
  return rewriter.createOrFold<ReshapeOp>(value.getLoc(), type.clone(shape), value);
}

Value transposed(Value matrices, PatternRewriter &rewriter) {
  int64_t rank = typeOf(matrices).getRank();
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  std::swap(permutation[rank - 1], permutation[rank - 2]);
  return rewriter.createOrFold<TransposeOp>(matrices.getLoc(), matrices, permutation);
}

/// Whether query [.., H, S, D], transposed key [.., G, D, T] and value [.., G, T, E] have equal batches and
/// heads that nn.attention groups as broadcasting does.
bool headsFit(RankedTensorType query, RankedTensorType key, RankedTensorType value) {
  int64_t rank = query.getRank();
  if (rank > 4 || key.getRank() != rank || value.getRank() != rank)
    return false;
  auto dim = [rank](RankedTensorType type, int64_t fromRight) {
    return rank >= fromRight ? type.getDimSize(rank - fromRight) : 1;
  };
  bool sameBatch = dim(query, 4) == dim(key, 4) && dim(query, 4) == dim(value, 4);
  bool sameKeys = dim(key, 3) == dim(value, 3) && key.getShape().back() == value.getDimSize(rank - 2);
  return sameBatch && sameKeys && (dim(key, 3) == dim(query, 3) || dim(key, 3) == 1);
}

/// All masks as one: bools if nothing finite is added, floats otherwise.
Value joinMasks(ArrayRef<FoundMask> masks, Type element, Location loc, PatternRewriter &rewriter) {
  Value bools, floats;
  auto number = [&](double value) -> Value {
    RankedTensorType scalar = RankedTensorType::get({}, element);
    return ConstantOp::create(
        rewriter, loc, DenseElementsAttr::get(scalar, Attribute(rewriter.getFloatAttr(element, value))));
  };
  auto addTerm = [&](Value term) {
    floats = floats ? AddOp::create(rewriter, loc, floats, term).getResult() : term;
  };
  for (const FoundMask &mask : masks) {
    if (mask.term) {
      addTerm(mask.term);
    } else if (std::isinf(mask.fill)) {
      Value keep = mask.condition;
      if (mask.filled)
        keep = NotOp::create(rewriter, loc, keep.getType(), keep);
      bools = bools ? AndOp::create(rewriter, loc, bools, keep).getResult() : keep;
    } else {
      Value onTrue = number(mask.filled ? mask.fill : 0), onFalse = number(mask.filled ? 0 : mask.fill);
      addTerm(SelectOp::create(rewriter, loc, mask.condition, onTrue, onFalse));
    }
  }
  if (bools && floats)
    addTerm(SelectOp::create(rewriter, loc, bools, number(0), number(-INFINITY)));
  return floats ? floats : bools;
}

struct RecoverAttention : OpRewritePattern<MatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MatmulOp matmul, PatternRewriter &rewriter) const override {
    Value probabilities = matmul.getLhs(), input = castInput(probabilities);
    auto softmax = (input ? input : probabilities).getDefiningOp<SoftmaxOp>();
    if (!softmax || static_cast<int64_t>(softmax.getAxis()) != softmax.getType().getRank() - 1)
      return rewriter.notifyMatchFailure(matmul, "left operand is not a softmax over keys");
    input = softmax.getInput();
    if (Value narrow = castInput(input); narrow && narrow.getType() == probabilities.getType())
      input = narrow;
    if (input.getType() != probabilities.getType())
      return rewriter.notifyMatchFailure(matmul, "probabilities are not of the scores' type");
    const char *why = nullptr;
    FailureOr<Scores> scores = takeApart(input, why);
    if (failed(scores))
      return rewriter.notifyMatchFailure(matmul, why);
    MatmulOp product = scores->product;
    RankedTensorType query = typeOf(product.getLhs()), key = typeOf(product.getRhs()),
                     value = typeOf(matmul.getRhs());
    if (!headsFit(query, key, value) || query.getElementType() != value.getElementType())
      return rewriter.notifyMatchFailure(matmul, "query, key and value do not group by heads");

    Location loc = matmul.getLoc();
    double scale = scores->scale;
    Value q = ofRank4(withoutScale(product.getLhs(), scale, rewriter), rewriter);
    Value k = ofRank4(transposed(withoutScale(product.getRhs(), scale, rewriter), rewriter), rewriter);
    Value v = ofRank4(matmul.getRhs(), rewriter);
    Value mask = joinMasks(scores->masks, query.getElementType(), loc, rewriter);
    RankedTensorType result = typeOf(q).clone(
        {typeOf(q).getDimSize(0), typeOf(q).getDimSize(1), typeOf(q).getDimSize(2), typeOf(v).getDimSize(3)});
    Value attention = AttentionOp::create(rewriter, loc, result, q, k, v, mask,
                                          rewriter.getF32FloatAttr(static_cast<float>(scale)), IntegerAttr(),
                                          rewriter.getF32FloatAttr(static_cast<float>(scores->softcap)),
                                          softmax.getZeroMaskedAttr(), rewriter.getF32FloatAttr(1));
    rewriter.replaceOp(matmul, rewriter.createOrFold<ReshapeOp>(loc, matmul.getType(), attention));
    return success();
  }
};

/// The keys or values that `value` repeats for each query head of a group; `value` itself if it repeats none.
/// Heads of one group must follow each other.
Value ungrouped(Value value, PatternRewriter &rewriter) {
  RankedTensorType type = typeOf(value);
  Value repeated = value;
  if (auto reshape = value.getDefiningOp<ReshapeOp>())
    repeated = reshape.getInput();
  auto broadcast = repeated.getDefiningOp<BroadcastOp>();
  if (!broadcast)
    return value;
  ArrayRef<int64_t> from = typeOf(broadcast.getInput()).getShape(), to = broadcast.getType().getShape();
  SmallVector<int64_t> shape(type.getShape());
  if (repeated == value) {
    // [B, 1, T, D] to [B, H, T, D].
    shape[1] = 1;
    return from == ArrayRef(shape) ? broadcast.getInput() : value;
  }
  // [B, G, 1, T, D] to [B, G, R, T, D], joined to [B, G·R, T, D].
  if (to.size() != 5 || from.size() != 5 || to[0] != shape[0] ||
      to.take_back(2) != type.getShape().take_back(2))
    return value;
  SmallVector<int64_t> single(to);
  single[2] = 1;
  if (from != ArrayRef(single))
    return value;
  shape[1] = to[1];
  return rewriter.createOrFold<ReshapeOp>(value.getLoc(), type.clone(shape), broadcast.getInput());
}

struct GroupHeads : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp attention, PatternRewriter &rewriter) const override {
    Value key = ungrouped(attention.getKey(), rewriter), value = ungrouped(attention.getValue(), rewriter);
    if (key == attention.getKey() || value == attention.getValue() ||
        typeOf(key).getDimSize(1) != typeOf(value).getDimSize(1))
      return rewriter.notifyMatchFailure(attention,
                                         "key and value are not both repeated for the heads of a group");
    rewriter.modifyOpInPlace(attention, [&] {
      attention.getKeyMutable().assign(key);
      attention.getValueMutable().assign(value);
    });
    return success();
  }
};

struct RecoverAttentions : impl::NNRecoverAttentionBase<RecoverAttentions> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateSimplifyPatterns(patterns);
    populateAttentionMaskPatterns(patterns);
    patterns.add<ZeroMasked, RecoverAttention, GroupHeads>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::nn
