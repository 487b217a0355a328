// nn-recover-rope: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERROPE
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// Which element of each rotated pair: in halves (x[p], x[p + R/2]) or interleaved (x[2p], x[2p + 1]).
struct Component {
  Value source;
  bool second, interleaved;
};

int64_t lastSize(Value value) {
  return typeOf(value).getShape().back();
}

bool isFullBut(SliceOp slice, int64_t axis) {
  ArrayRef<int64_t> sizes = slice.getSizes(), steps = slice.getSteps();
  for (auto [d, size] : llvm::enumerate(typeOf(slice.getInput()).getShape()))
    if (static_cast<int64_t>(d) != axis && (sizes[d] != size || steps[d] != 1))
      return false;
  return true;
}

/// The component that `value` takes of all pairs of a tensor.
std::optional<Component> asComponent(Value value) {
  RankedTensorType type = typeOf(value);
  if (auto reshape = value.getDefiningOp<ReshapeOp>()) {
    // x as [..., R/2, 2], one of the two picked.
    auto slice = reshape.getInput().getDefiningOp<SliceOp>();
    auto pairs = slice ? slice.getInput().getDefiningOp<ReshapeOp>() : ReshapeOp();
    if (!pairs)
      return std::nullopt;
    RankedTensorType split = pairs.getType(), x = typeOf(pairs.getInput());
    int64_t last = split.getRank() - 1;
    bool fits = split.getShape().back() == 2 && slice.getSizes()[last] == 1 && isFullBut(slice, last) &&
                x.getRank() == last && x.getShape().drop_back() == split.getShape().drop_back(2) &&
                type.getShape() == split.getShape().drop_back();
    return fits ? std::optional(Component{pairs.getInput(), slice.getStarts()[last] == 1, true})
                : std::nullopt;
  }
  auto slice = value.getDefiningOp<SliceOp>();
  if (!slice || type.getRank() == 0)
    return std::nullopt;
  int64_t last = type.getRank() - 1, size = lastSize(slice.getInput());
  if (!isFullBut(slice, last) || 2 * slice.getSizes()[last] != size)
    return std::nullopt;
  int64_t start = slice.getStarts()[last], step = slice.getSteps()[last];
  if (step == 2 && start <= 1)
    return Component{slice.getInput(), start == 1, true};
  if (step == 1 && (start == 0 || start == size / 2))
    return Component{slice.getInput(), start != 0, false};
  return std::nullopt;
}

/// The two components that `value` joins to pairs.
struct Joined {
  Value first, second;
  bool interleaved;
};

std::optional<Joined> asJoined(Value value) {
  if (auto reshape = value.getDefiningOp<ReshapeOp>()) {
    // Both as [..., R/2, 1], one after another, flattened.
    auto concat = reshape.getInput().getDefiningOp<ConcatOp>();
    if (!concat || concat.getInputs().size() != 2 ||
        static_cast<int64_t>(concat.getAxis()) != concat.getType().getRank() - 1)
      return std::nullopt;
    Value parts[2];
    for (int i : {0, 1}) {
      auto column = concat.getInputs()[i].getDefiningOp<ReshapeOp>();
      RankedTensorType type = typeOf(concat.getInputs()[i]);
      if (!column || type.getShape().back() != 1 ||
          typeOf(column.getInput()).getShape() != type.getShape().drop_back())
        return std::nullopt;
      parts[i] = column.getInput();
    }
    RankedTensorType part = typeOf(parts[0]);
    bool fits = reshape.getType().getRank() == part.getRank() && lastSize(value) == 2 * lastSize(parts[0]) &&
                reshape.getType().getShape().drop_back() == part.getShape().drop_back();
    return fits ? std::optional(Joined{parts[0], parts[1], true}) : std::nullopt;
  }
  auto concat = value.getDefiningOp<ConcatOp>();
  if (!concat || concat.getInputs().size() != 2 ||
      static_cast<int64_t>(concat.getAxis()) != concat.getType().getRank() - 1 ||
      concat.getInputs()[0].getType() != concat.getInputs()[1].getType())
    return std::nullopt;
  return Joined{concat.getInputs()[0], concat.getInputs()[1], false};
}

/// One component of cos or sin values whose pairs are equal, computed from what they are computed from.
class Single {
public:
  Single(bool interleaved, PatternRewriter &rewriter) : interleaved(interleaved), rewriter(rewriter) {}

  /// Whether both elements of each pair of `value`, along its last dimension, can be seen to be equal.
  bool isKnown(Value value, int depth = 12) const {
    RankedTensorType type = typeOf(value);
    if (type.getRank() == 0 || type.getShape().back() == 1)
      return true;
    if (depth == 0 || type.getShape().back() % 2 != 0)
      return false;
    if (DenseElementsAttr dense = denseOf(value))
      return static_cast<bool>(ofConstant(dense));
    if (auto joined = asJoined(value); joined && joined->interleaved == interleaved)
      return joined->first == joined->second;
    if (interleaved && repeatedPair(value))
      return true;
    Operation *op = value.getDefiningOp();
    return op && passes(op) &&
           llvm::all_of(partsOf(op), [&](Value part) { return isKnown(part, depth - 1); });
  }

  /// The first of each pair. `value` must be known.
  Value build(Value value) const {
    RankedTensorType type = typeOf(value);
    if (type.getRank() == 0 || type.getShape().back() == 1)
      return value;
    Location loc = value.getLoc();
    if (DenseElementsAttr dense = denseOf(value))
      return ConstantOp::create(rewriter, loc, ofConstant(dense));
    if (auto joined = asJoined(value); joined && joined->interleaved == interleaved)
      return joined->first;
    if (Value single = interleaved ? repeatedPair(value) : Value())
      return single;
    Operation *op = value.getDefiningOp();
    IRMapping mapping;
    for (Value part : partsOf(op))
      mapping.map(part, build(part));
    Operation *half = rewriter.clone(*op, mapping);
    half->getResult(0).setType(halved(type));
    return half->getResult(0);
  }

private:
  static RankedTensorType halved(RankedTensorType type) {
    SmallVector<int64_t> shape(type.getShape());
    shape.back() /= 2;
    return type.clone(shape);
  }

  /// Whether an operation works along the last dimension element by element.
  static bool passes(Operation *op) {
    RankedTensorType type = typeOf(op->getResult(0));
    if (op->hasTrait<Pointwise>())
      return !isa<QuantizeOp, DequantizeOp, RequantizeOp>(op);
    if (isa<ReshapeOp, BroadcastOp>(op)) {
      RankedTensorType from = typeOf(op->getOperand(0));
      return from.getRank() > 0 && from.getShape().back() == type.getShape().back();
    }
    if (auto gather = dyn_cast<GatherOp>(op))
      return static_cast<int64_t>(gather.getAxis()) < typeOf(gather.getTable()).getRank() - 1;
    return false;
  }

  static SmallVector<Value> partsOf(Operation *op) {
    if (auto gather = dyn_cast<GatherOp>(op))
      return {gather.getTable()};
    return op->getOperands();
  }

  /// c of c as [..., R/2, 1], repeated to [..., R/2, 2] and flattened.
  static Value repeatedPair(Value value) {
    auto reshape = value.getDefiningOp<ReshapeOp>();
    auto broadcast = reshape ? reshape.getInput().getDefiningOp<BroadcastOp>() : BroadcastOp();
    auto column = broadcast ? broadcast.getInput().getDefiningOp<ReshapeOp>() : ReshapeOp();
    if (!column || broadcast.getType().getShape().back() != 2 || column.getType().getShape().back() != 1)
      return {};
    RankedTensorType single = typeOf(column.getInput());
    bool fits = column.getType().getShape().drop_back() == single.getShape() &&
                broadcast.getType().getShape().drop_back() == single.getShape() &&
                reshape.getType() == single.clone(doubled(single.getShape()));
    return fits ? column.getInput() : Value();
  }

  static SmallVector<int64_t> doubled(ArrayRef<int64_t> shape) {
    SmallVector<int64_t> result(shape);
    if (!result.empty())
      result.back() *= 2;
    return result;
  }

  DenseElementsAttr ofConstant(DenseElementsAttr dense) const {
    auto type = cast<RankedTensorType>(dense.getType());
    int64_t size = type.getShape().back(), half = size / 2;
    auto values = llvm::to_vector(dense.getValues<Attribute>());
    SmallVector<Attribute> singles;
    for (int64_t row = 0; row < type.getNumElements() / size; ++row)
      for (int64_t p = 0; p < half; ++p) {
        int64_t first = row * size + (interleaved ? 2 * p : p), second = first + (interleaved ? 1 : half);
        if (values[first] != values[second])
          return {};
        singles.push_back(values[first]);
      }
    return DenseElementsAttr::get(halved(type), singles);
  }

  bool interleaved;
  PatternRewriter &rewriter;
};

/// `value` with leading dimensions of 1 up to rank 4.
Value ofRank4(Value value, PatternRewriter &rewriter) {
  RankedTensorType type = typeOf(value);
  SmallVector<int64_t> shape(4 - type.getRank(), 1);
  llvm::append_range(shape, type.getShape());
  return rewriter.createOrFold<ReshapeOp>(value.getLoc(), type.clone(shape), value);
}

/// Whether cos or sin values of this type, `width` wide, broadcast to x but for the last dimension.
bool rotates(RankedTensorType values, RankedTensorType x, int64_t width) {
  if (values.getRank() == 0 || values.getRank() > 4 || x.getRank() != 4 ||
      values.getShape().back() != width || values.getElementType() != x.getElementType())
    return false;
  auto shape = broadcastShapes(values.getShape().drop_back(), x.getShape().drop_back());
  return shape && ArrayRef(*shape) == x.getShape().drop_back();
}

/// The operands of a product, the one that `is` holds for first.
template <typename Predicate>
std::optional<std::pair<Value, Value>> factors(Value value, Predicate is) {
  auto mul = value.getDefiningOp<MulOp>();
  if (mul && is(mul.getLhs()))
    return std::pair(mul.getLhs(), mul.getRhs());
  if (mul && is(mul.getRhs()))
    return std::pair(mul.getRhs(), mul.getLhs());
  return std::nullopt;
}

/// x · cos + rotated(x) · sin, where rotated(x) joins -second and first of each pair.
struct RecoverRotated : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp add, PatternRewriter &rewriter) const override {
    for (auto [straight, turned] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto rotated = factors(turned, [](Value value) { return asJoined(value).has_value(); });
      auto joined = rotated ? asJoined(rotated->first) : std::nullopt;
      auto negated = joined ? asScaled(joined->first) : std::nullopt;
      if (!negated || negated->factor != -1)
        continue;
      auto first = asComponent(joined->second), second = asComponent(negated->value);
      if (!first || !second || first->second || !second->second || first->source != second->source ||
          first->interleaved != joined->interleaved || second->interleaved != joined->interleaved)
        continue;
      Value x = first->source;
      auto plain = factors(straight, [x](Value value) { return value == x; });
      RankedTensorType type = typeOf(x);
      if (!plain || type != add.getType())
        continue;
      Value cos = plain->second, sin = rotated->second;
      Single single(joined->interleaved, rewriter);
      if (!rotates(typeOf(cos), type, lastSize(x)) || !rotates(typeOf(sin), type, lastSize(x)) ||
          !single.isKnown(cos) || !single.isKnown(sin))
        return rewriter.notifyMatchFailure(add, "cos and sin do not fit x, or their pairs may differ");
      return replace(add, x, single.build(cos), single.build(sin), joined->interleaved, rewriter);
    }
    return rewriter.notifyMatchFailure(add, "not x · cos + rotated(x) · sin");
  }

  static LogicalResult replace(Operation *op, Value x, Value cos, Value sin, bool interleaved,
                               PatternRewriter &rewriter) {
    cos = ofRank4(cos, rewriter), sin = ofRank4(sin, rewriter);
    // Both broadcast to x; nn.rope wants them of one shape.
    auto shape = broadcastShapes(typeOf(cos).getShape(), typeOf(sin).getShape());
    cos = rewriter.createOrFold<BroadcastOp>(op->getLoc(), typeOf(cos).clone(*shape), cos);
    sin = rewriter.createOrFold<BroadcastOp>(op->getLoc(), typeOf(sin).clone(*shape), sin);
    rewriter.replaceOpWithNewOp<RopeOp>(op, x.getType(), x, cos, sin, interleaved);
    return success();
  }
};

/// Joins first · cos - second · sin and second · cos + first · sin.
template <typename OpTy>
struct RecoverComponents : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  struct Term {
    Component component;
    Value factor;
  };

  static std::optional<Term> asTerm(Value value) {
    auto found = factors(value, [](Value factor) { return asComponent(factor).has_value(); });
    return found ? std::optional(Term{*asComponent(found->first), found->second}) : std::nullopt;
  }

  LogicalResult matchAndRewrite(OpTy op, PatternRewriter &rewriter) const override {
    auto joined = asJoined(op.getResult());
    auto sub = joined ? joined->first.template getDefiningOp<SubOp>() : SubOp();
    auto add = joined ? joined->second.template getDefiningOp<AddOp>() : AddOp();
    if (!sub || !add)
      return rewriter.notifyMatchFailure(op, "does not join a difference and a sum");
    auto firstCos = asTerm(sub.getLhs()), secondSin = asTerm(sub.getRhs());
    auto a = asTerm(add.getLhs()), b = asTerm(add.getRhs());
    if (!firstCos || !secondSin || !a || !b)
      return rewriter.notifyMatchFailure(op, "not products with the components of pairs");
    if (b->component.second)
      std::swap(a, b);
    Value x = firstCos->component.source, cos = firstCos->factor, sin = secondSin->factor;
    bool fits = !firstCos->component.second && secondSin->component.second && a->component.second &&
                !b->component.second && a->factor == cos && b->factor == sin;
    for (const Term &term : {*firstCos, *secondSin, *a, *b})
      fits &= term.component.source == x && term.component.interleaved == joined->interleaved;
    if (!fits || typeOf(x) != op.getType() || !rotates(typeOf(cos), typeOf(x), lastSize(x) / 2) ||
        !rotates(typeOf(sin), typeOf(x), lastSize(x) / 2))
      return rewriter.notifyMatchFailure(op, "the products do not rotate one tensor's pairs");
    return RecoverRotated::replace(op, x, cos, sin, joined->interleaved, rewriter);
  }
};

/// A rope of the first elements of the last dimension, joined with the rest: a rope of all.
struct RecoverPartial : OpRewritePattern<ConcatOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ConcatOp concat, PatternRewriter &rewriter) const override {
    int64_t last = concat.getType().getRank() - 1;
    auto rope = concat.getInputs()[0].getDefiningOp<RopeOp>();
    if (concat.getInputs().size() != 2 || static_cast<int64_t>(concat.getAxis()) != last || !rope)
      return rewriter.notifyMatchFailure(concat, "does not join a rope with something");
    auto front = rope.getInput().getDefiningOp<SliceOp>(),
         back = concat.getInputs()[1].getDefiningOp<SliceOp>();
    auto isPart = [&](SliceOp slice, int64_t start) {
      return slice && isFullBut(slice, last) && slice.getSteps()[last] == 1 &&
             slice.getStarts()[last] == start;
    };
    if (!isPart(front, 0) || !isPart(back, lastSize(rope)) || front.getInput() != back.getInput() ||
        typeOf(front.getInput()) != concat.getType() || 2 * lastSize(rope.getCos()) != lastSize(rope))
      return rewriter.notifyMatchFailure(concat, "the rope and the rest are not parts of one tensor");
    rewriter.replaceOpWithNewOp<RopeOp>(concat, concat.getType(), front.getInput(), rope.getCos(),
                                        rope.getSin(), rope.getInterleaved());
    return success();
  }
};

struct RecoverRopes : impl::NNRecoverRopeBase<RecoverRopes> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RecoverRotated, RecoverComponents<ConcatOp>, RecoverComponents<ReshapeOp>, RecoverPartial>(
        &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::nn
