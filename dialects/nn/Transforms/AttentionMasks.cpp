#include "dialects/nn/Transforms/AttentionMasks.h"

#include "dialects/nn/Transforms/Match.h"

#include "mlir/IR/PatternMatch.h"

#include <cmath>

namespace npuc::nn {
namespace {

/// A float mask of two values: 0 where `keep` holds, `fill` elsewhere. `keep` is either a value or a
/// triangle.
struct TwoValued {
  Value keep;
  bool inverted = false;
  std::optional<Triangle> triangle;
  double fill = 0;
};

/// The triangle of zeros in a dense mask that is `fill` everywhere else.
std::optional<TwoValued> asTwoValued(DenseElementsAttr dense) {
  auto type = cast<RankedTensorType>(dense.getType());
  if (!isa<FloatType>(type.getElementType()) || type.getRank() < 2 || dense.isSplat())
    return std::nullopt;
  double fill = 0;
  SmallVector<bool> keep;
  for (const APFloat &value : dense.getValues<APFloat>()) {
    keep.push_back(value.isZero());
    if (value.isZero())
      continue;
    double number = value.convertToDouble();
    if (fill != 0 && number != fill)
      return std::nullopt;
    fill = number;
  }
  auto bools = DenseElementsAttr::get(type.clone(IntegerType::get(type.getContext(), 1)), keep);
  auto triangle = asTriangle(bools);
  return triangle ? std::optional(TwoValued{{}, false, triangle, fill}) : std::nullopt;
}

std::optional<TwoValued> asTwoValued(Value mask) {
  if (DenseElementsAttr dense = denseOf(mask))
    return asTwoValued(dense);
  if (auto trilu = mask.getDefiningOp<TriluOp>()) {
    auto fill = splatOf(trilu.getInput());
    if (!fill || !trilu.getUpper())
      return std::nullopt;
    return TwoValued{{}, false, Triangle{static_cast<int64_t>(trilu.getDiagonal()) - 1}, *fill};
  }
  auto select = mask.getDefiningOp<SelectOp>();
  if (!select)
    return std::nullopt;
  auto onTrue = splatOf(select.getOnTrue()), onFalse = splatOf(select.getOnFalse());
  if (!onTrue || !onFalse || (*onTrue != 0 && *onFalse != 0))
    return std::nullopt;
  bool inverted = *onTrue != 0;
  TwoValued found{select.getCondition(), inverted, {}, inverted ? *onTrue : *onFalse};
  if (!inverted)
    found.triangle = asTriangle(found.keep);
  return found;
}

struct Shape {
  int64_t rows, columns;
};

Shape scoresShape(AttentionOp attention) {
  return {typeOf(attention.getQuery()).getDimSize(2), typeOf(attention.getKey()).getDimSize(2)};
}

/// Whether `value`'s last two dimensions are those of the scores, not broadcast to them.
bool spans(Value value, Shape shape) {
  RankedTensorType type = typeOf(withoutBroadcast(value));
  return type.getRank() >= 2 && type.getShape().take_back(2) == ArrayRef<int64_t>{shape.rows, shape.columns};
}

void setMask(AttentionOp attention, Value mask, std::optional<Triangle> triangle, PatternRewriter &rewriter) {
  Shape shape = scoresShape(attention);
  rewriter.modifyOpInPlace(attention, [&] {
    if (mask)
      attention.getMaskMutable().assign(mask);
    else
      attention.getMaskMutable().clear();
    if (!triangle || triangle->offset >= shape.columns - 1)
      return;
    int64_t offset =
        std::min(triangle->offset, static_cast<int64_t>(attention.getCausalOffset().value_or(INT64_MAX)));
    attention.setCausalOffset(offset);
  });
}

/// The mask's broadcasts are attention's own; one of zeros, or of true, is none.
struct ShrinkMask : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp attention, PatternRewriter &rewriter) const override {
    Value mask = attention.getMask();
    if (!mask)
      return rewriter.notifyMatchFailure(attention, "no mask");
    bool isBool = typeOf(mask).getElementType().isInteger(1);
    if (splatOf(mask) == (isBool ? 1.0 : 0.0)) {
      setMask(attention, {}, {}, rewriter);
      return success();
    }
    if (withoutBroadcast(mask) == mask)
      return rewriter.notifyMatchFailure(attention, "mask is not broadcast");
    setMask(attention, withoutBroadcast(mask), {}, rewriter);
    return success();
  }
};

/// 0 or -infinity: bools. 0 or a large number, in a triangle that masks no row entirely: the same as with
/// -infinity, since every row has a score that the number leaves at probability 0.
struct FloatMask : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp attention, PatternRewriter &rewriter) const override {
    Value mask = attention.getMask();
    if (!mask || typeOf(mask).getElementType().isInteger(1))
      return rewriter.notifyMatchFailure(attention, "no mask of floats");
    Value shaped = mask;
    while (auto reshape = shaped.getDefiningOp<ReshapeOp>())
      shaped = reshape.getInput();
    auto found = asTwoValued(shaped);
    if (!found)
      return rewriter.notifyMatchFailure(attention, "the mask is not of 0 and one number");
    bool isInfinite = std::isinf(found->fill) && found->fill < 0;
    Shape scores = scoresShape(attention);
    bool isSpanned = spans(mask, scores) && (!found->keep || spans(found->keep, scores));
    if (found->triangle && isSpanned) {
      bool isHuge = found->fill <= (typeOf(mask).getElementType().isF16() ? -6e4 : -1e30);
      bool masksNoRow =
          found->triangle->offset >= 0 && static_cast<int64_t>(attention.getCausalOffset().value_or(0)) >= 0;
      if (isInfinite || (isHuge && masksNoRow)) {
        setMask(attention, {}, found->triangle, rewriter);
        return success();
      }
    }
    if (!isInfinite || !found->keep)
      return rewriter.notifyMatchFailure(attention,
                                         "the mask adds a finite number, and may mask a whole row");
    Value keep = found->keep;
    if (shaped != mask && typeOf(keep).getShape() != typeOf(shaped).getShape())
      return rewriter.notifyMatchFailure(attention, "the mask is reshaped after it was broadcast");
    if (shaped != mask)
      keep = ReshapeOp::create(rewriter, mask.getLoc(), typeOf(keep).clone(typeOf(mask).getShape()), keep);
    if (found->inverted)
      keep = NotOp::create(rewriter, mask.getLoc(), keep.getType(), keep);
    setMask(attention, keep, {}, rewriter);
    return success();
  }
};

void collectConjuncts(Value value, SmallVectorImpl<Value> &conjuncts) {
  value = withoutBroadcast(value);
  if (auto both = value.getDefiningOp<AndOp>()) {
    collectConjuncts(both.getLhs(), conjuncts);
    collectConjuncts(both.getRhs(), conjuncts);
  } else {
    conjuncts.push_back(value);
  }
}

/// A triangle among the conditions that a mask of bools joins.
struct CausalMask : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp attention, PatternRewriter &rewriter) const override {
    Value mask = attention.getMask();
    if (!mask || !typeOf(mask).getElementType().isInteger(1))
      return rewriter.notifyMatchFailure(attention, "no mask of bools");
    SmallVector<Value> conjuncts;
    collectConjuncts(mask, conjuncts);
    for (auto [position, conjunct] : llvm::enumerate(conjuncts)) {
      auto triangle = spans(conjunct, scoresShape(attention)) ? asTriangle(conjunct) : std::nullopt;
      if (!triangle)
        continue;
      Value rest;
      for (auto [other, value] : llvm::enumerate(conjuncts))
        if (other != position)
          rest = rest ? AndOp::create(rewriter, mask.getLoc(), rest, value).getResult() : value;
      setMask(attention, rest, triangle, rewriter);
      return success();
    }
    return rewriter.notifyMatchFailure(attention, "no triangle among the mask's conditions");
  }
};

} // namespace

void populateAttentionMaskPatterns(RewritePatternSet &patterns) {
  patterns.add<ShrinkMask, FloatMask, CausalMask>(patterns.getContext());
}

} // namespace npuc::nn
