// Attention of integers whose scales or zero points stand for heads: written out as what nn.attention of
// integers computes, with factors for each head where that has one.
#include "compiler/quantize/FoldOperands.h"
#include "compiler/quantize/FoldPatterns.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// One for all, or one for each head.
bool isByHead(const Parameter &parameter) {
  return !parameter || parameter.isAlong(1);
}

/// Builds one attention. Dimensions of scores: batch, key head, query head of it, query, key.
class Heads {
public:
  Heads(nn::AttentionOp op, PatternRewriter &rewriter, Constants make)
      : op(op), b(rewriter), make(make), build(rewriter, op.getLoc(), make, op.getType()) {
    ArrayRef<int64_t> q = op.getQuery().getType().getShape(), k = op.getKey().getType().getShape();
    batch = q[0], groups = k[1], heads = q[1] / k[1], rows = q[2], keys = k[2], depth = q[3];
    width = op.getType().getDimSize(3);
  }

  Value run(const Integers &q, const Integers &k, const Integers &v) {
    Value query = reshape(q.value, {batch, groups, heads, rows, depth}),
          key = reshape(k.value, {batch, groups, 1, keys, depth}),
          value = reshape(v.value, {batch, groups, 1, keys, width});
    key = create<nn::TransposeOp>(typeOf(key).clone({batch, groups, 1, depth, keys}), key,
                                  ArrayRef<int64_t>{0, 1, 2, 4, 3});
    Type i32 = b.getI32Type();
    RankedTensorType scoreType = RankedTensorType::get({batch, groups, heads, rows, keys}, i32);
    // A key's zero point adds the same to all scores of a row, which a softmax takes away.
    Value scores = real(create<nn::MatmulOp>(scoreType, query, key));
    Value factor = create<nn::MulOp>(ofHeads(q.scale, heads), ofHeads(k.scale, 1));
    factor = create<nn::MulOp>(factor, make.scale(op.getScale().convertToFloat()));
    scores = masked(capped(create<nn::MulOp>(scores, factor)));

    // 127 steps for the greatest of a row.
    Value top = create<nn::ReduceOp>(nn::ReduceKind::Max, scores, ArrayRef<int64_t>{4}, true);
    if (op.getZeroMasked())
      top = create<nn::MaxOp>(top, make.scale(std::numeric_limits<float>::lowest()));
    top = create<nn::SubOp>(top, make.scale(std::log(127.0f)));
    Value powers = create<nn::ExpOp>(create<nn::SubOp>(scores, top));
    Value steps =
        create<nn::QuantizeOp>(scoreType.clone(b.getI8Type()), powers, make.scale(1), Value(), 0, 0, true);
    Value sums = real(sumsOver(b, op.getLoc(), steps, 4));
    if (op.getZeroMasked())
      sums = create<nn::MaxOp>(sums, make.scale(std::numeric_limits<float>::min()));
    Value y = real(create<nn::MatmulOp>(scoreType.clone({batch, groups, heads, rows, width}), steps, value));
    Value scale = ofHeads(v.scale, 1);
    y = create<nn::MulOp>(y, create<nn::DivOp>(scale, sums));
    if (v.zero)
      y = create<nn::SubOp>(y, create<nn::MulOp>(scale, ofHeads(v.zero, 1)));
    if (y.getType() != op.getType().clone(typeOf(y).getShape()))
      y = nn::CastOp::create(b, op.getLoc(), op.getType().clone(typeOf(y).getShape()), y, true);
    return reshape(y, op.getType().getShape());
  }

private:
  /// Floats are f32, whatever others are stored in.
  template <typename OpTy, typename... Arguments>
  Value create(Arguments &&...arguments) {
    auto made = OpTy::create(b, op.getLoc(), std::forward<Arguments>(arguments)...);
    if (isa<FloatType>(typeOf(made->getResult(0)).getElementType()))
      made->setAttr(inF32Attr, b.getUnitAttr());
    return made;
  }

  Value reshape(Value value, ArrayRef<int64_t> shape) {
    return b.createOrFold<nn::ReshapeOp>(op.getLoc(), typeOf(value).clone(shape), value);
  }

  Value real(Value integers) {
    return create<nn::CastOp>(typeOf(integers).clone(b.getF32Type()), integers, true);
  }

  /// A parameter of `each` heads for each key head, as it meets the scores.
  Value ofHeads(const Parameter &parameter, int64_t each) {
    Shape shape;
    if (!parameter.isSingle())
      shape = {groups, each, 1, 1};
    return build.shaped(parameter, b.getF32Type(), shape);
  }

  Value capped(Value scores) {
    float cap = op.getSoftcap().convertToFloat();
    if (cap <= 0)
      return scores;
    return create<nn::MulOp>(create<nn::TanhOp>(create<nn::MulOp>(scores, make.scale(1 / cap))),
                             make.scale(cap));
  }

  Value masked(Value scores) {
    Value hidden = make.scale(-std::numeric_limits<float>::infinity());
    if (Value mask = op.getMask()) {
      // It broadcasts to [B, H, S, T], of which H splits.
      Shape four(4, 1);
      ArrayRef<int64_t> own = typeOf(mask).getShape();
      std::copy(own.begin(), own.end(), four.end() - static_cast<ptrdiff_t>(own.size()));
      bool perHead = four[1] != 1;
      mask = reshape(mask, {four[0], perHead ? groups : 1, perHead ? heads : 1, four[2], four[3]});
      if (typeOf(mask).getElementType().isInteger(1))
        scores = create<nn::SelectOp>(mask, scores, hidden);
      else
        scores = create<nn::AddOp>(scores,
                                   typeOf(mask).getElementType().isF32()
                                       ? mask
                                       : create<nn::CastOp>(typeOf(mask).clone(b.getF32Type()), mask, true));
    }
    if (std::optional<int64_t> offset = op.getCausalOffset()) {
      auto range = [&](int64_t size, int64_t start, ArrayRef<int64_t> shape) {
        auto type = RankedTensorType::get({size}, b.getI32Type());
        return reshape(create<nn::RangeOp>(type, b.getI32IntegerAttr(static_cast<int32_t>(start)),
                                           b.getI32IntegerAttr(1)),
                       shape);
      };
      Value seen = create<nn::CompareOp>(nn::ComparePredicate::Le, range(keys, 0, {1, keys}),
                                         range(rows, *offset, {rows, 1}));
      scores = create<nn::SelectOp>(seen, scores, hidden);
    }
    return scores;
  }

  nn::AttentionOp op;
  PatternRewriter &b;
  Constants make;
  Arithmetic build;
  int64_t batch, groups, heads, rows, keys, depth, width;
};

struct FoldHeads : FoldPattern<nn::AttentionOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::AttentionOp op, PatternRewriter &rewriter) const override {
    std::optional<Integers> q = integersOf(op.getQuery()), k = integersOf(op.getKey()),
                            v = integersOf(op.getValue());
    auto fits = [](const std::optional<Integers> &x) {
      return x && x->value && x->type.getElementType().isInteger(8) && isByHead(x->scale) &&
             isByHead(x->zero);
    };
    if (!fits(q) || !fits(k) || !fits(v) || q->hasZero())
      return rewriter.notifyMatchFailure(
          op, "query, key and value are not integers with scales for heads, the query "
              "around 0");
    // Models of others mean their probabilities as they are.
    if (q->scale.isSingle() && k->scale.isSingle() && v->scale.isSingle())
      return rewriter.notifyMatchFailure(op, "has one scale for all heads");
    if (k->hasZero() && op.getSoftcap().convertToFloat() > 0)
      return rewriter.notifyMatchFailure(op,
                                         "what a key's zero point adds is not taken away from capped scores");
    rewriter.replaceOp(op, Heads(op, rewriter, constants(rewriter, op)).run(*q, *k, *v));
    return success();
  }
};

} // namespace

void populateHeadPatterns(RewritePatternSet &patterns, interpret::ConstantReader &reader) {
  patterns.add<FoldHeads>(patterns.getContext(), reader, 1);
}

} // namespace npuc::quantize
