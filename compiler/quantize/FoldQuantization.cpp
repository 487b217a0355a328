#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/FoldPatterns.h"
#include "compiler/quantize/Formats.h"
#include "compiler/quantize/Quantize.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace npuc::quantize {

bool areFinite(const std::vector<double> &scales) {
  return llvm::all_of(scales, [](double scale) { return std::isfinite(scale); });
}

Value sumsOver(PatternRewriter &rewriter, Location loc, Value integers, ArrayRef<int64_t> axes) {
  Value wide =
      nn::CastOp::create(rewriter, loc, typeOf(integers).clone(rewriter.getI32Type()), integers, true);
  return nn::ReduceOp::create(rewriter, loc, nn::ReduceKind::Sum, wide, axes, true);
}

namespace {

bool isMovement(Operation *op) {
  return isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp>(op);
}

/// Integers of 8 bits that a dequantization with known parameters makes floats of.
struct Operand8 {
  Value integers;
  std::vector<double> scales;     ///< One, or one for each index of `axis`.
  std::vector<double> zeroPoints; ///< The same.
  int64_t axis = 0;

  bool perTensor() const { return scales.size() == 1 && zeroPoints.size() == 1; }
  bool centred() const {
    return llvm::all_of(zeroPoints, [](double zero) { return zero == 0; });
  }
  double zero(size_t i) const { return zeroPoints[zeroPoints.size() == 1 ? 0 : i]; }
  double scale(size_t i) const { return scales[scales.size() == 1 ? 0 : i]; }
};

FailureOr<Operand8> operand8(Value value) {
  auto dequantize = value.getDefiningOp<nn::DequantizeOp>();
  if (!dequantize || !typeOf(dequantize.getInput()).getElementType().isSignlessInteger(8) ||
      dequantize.getBlockSize())
    return failure();
  std::optional<std::vector<double>> scales = numbersOf(dequantize.getScale());
  std::optional<std::vector<double>> zeros = std::vector<double>{0};
  if (dequantize.getZeroPoint())
    zeros = numbersOf(dequantize.getZeroPoint());
  if (!scales || !zeros || !areFinite(*scales))
    return failure();
  return Operand8{dequantize.getInput(), *scales, *zeros, static_cast<int64_t>(dequantize.getAxis())};
}

nn::DequantizeOp dequantizeSums(PatternRewriter &rewriter, Location loc, Value sums, RankedTensorType type,
                                Value scale, int64_t axis) {
  axis = typeOf(scale).getRank() == 0 ? 0 : axis;
  return nn::DequantizeOp::create(rewriter, loc, type, sums, scale, Value(), axis, 0);
}

/// Scales of the sums of products.
std::vector<float> products(const Operand8 &x, const Operand8 &w) {
  std::vector<float> scales(w.scales.size());
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = static_cast<float>(x.scales[0] * w.scales[i]);
  return scales;
}

/// The constant part of a multiplication by weights of `channels` output channels: the bias in units of a
/// product, less what the input's zero point adds to each sum (and plus what both zero points' product does).
/// The weights are [outer, channels, inner]. Nothing if it leaves 32 bits, or an error.
std::optional<std::vector<int32_t>> foldedBias(Constants constants, const Operand8 &x, const Operand8 &w,
                                               Value bias, size_t channels, size_t inner) {
  std::vector<double> terms(channels, 0);
  if (bias) {
    TypedAttr value = constantOf(bias);
    interpret::HostTensor elements = value ? constants.floats(value) : interpret::HostTensor();
    if (!elements)
      return std::nullopt;
    for (size_t n = 0; n < channels; ++n)
      terms[n] = std::nearbyint(elements.data<float>()[n] / (x.scales[0] * w.scale(n)));
  }
  if (double zero = x.zeroPoints[0]; zero != 0) {
    TypedAttr value = constantOf(w.integers);
    interpret::HostTensor elements = value ? constants.ints(value) : interpret::HostTensor();
    if (!elements)
      return std::nullopt;
    std::vector<int64_t> sums(channels, 0);
    const auto *element = elements.data<int32_t>(), *end = element + elements.count();
    while (element < end)
      for (int64_t &sum : sums)
        for (size_t i = 0; i < inner; ++i)
          sum += *element++;
    double each = channels ? static_cast<double>(elements.count()) / static_cast<double>(channels) : 0;
    for (size_t n = 0; n < channels; ++n)
      terms[n] -= zero * (static_cast<double>(sums[n]) - each * w.zero(n));
  }
  std::vector<int32_t> result(channels);
  for (size_t n = 0; n < channels; ++n) {
    if (!(std::abs(terms[n]) < 0x1p31 - 1))
      return std::nullopt;
    result[n] = static_cast<int32_t>(terms[n]);
  }
  return result;
}

struct FoldLinear : FoldPattern<nn::LinearOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::LinearOp linear, PatternRewriter &rewriter) const override {
    FailureOr<Operand8> x = operand8(linear.getInput()), w = operand8(linear.getWeight());
    if (failed(x) || failed(w) || !x->perTensor())
      return rewriter.notifyMatchFailure(linear,
                                         "input and weights are not integers with one scale of the input");
    int64_t n = linear.getTransposed() ? 0 : 1;
    if ((w->scales.size() > 1 || w->zeroPoints.size() > 1) && w->axis != n)
      return rewriter.notifyMatchFailure(linear, "weights have a scale for each input");
    RankedTensorType type = linear.getType(), weightType = typeOf(w->integers);
    auto channels = static_cast<size_t>(weightType.getDimSize(n)),
         inner = n == 0 ? static_cast<size_t>(weightType.getDimSize(1)) : 1;
    Constants make = constants(rewriter, linear);
    std::optional<std::vector<int32_t>> bias = foldedBias(make, *x, *w, linear.getBias(), channels, inner);
    if (!bias)
      return rewriter.notifyMatchFailure(linear, "the bias is no constant of 32 bits in units of a product");
    bool hasBias = llvm::any_of(*bias, [](int32_t term) { return term != 0; });
    Value sums =
        nn::LinearOp::create(rewriter, linear.getLoc(), type.clone(rewriter.getI32Type()), x->integers,
                             w->integers, hasBias ? make.integers(*bias) : Value(), linear.getTransposed());
    if (!w->centred()) { // What the weights' zero point adds depends on the row.
      std::vector<int32_t> zeros(channels);
      for (size_t i = 0; i < channels; ++i)
        zeros[i] = static_cast<int32_t>(w->zero(i));
      Value rows = sumsOver(rewriter, linear.getLoc(), x->integers, type.getRank() - 1);
      sums = nn::SubOp::create(rewriter, linear.getLoc(), sums,
                               nn::MulOp::create(rewriter, linear.getLoc(), rows, make.integers(zeros)));
    }
    rewriter.replaceOp(linear, dequantizeSums(rewriter, linear.getLoc(), sums, type,
                                              make.scale(products(*x, *w)), type.getRank() - 1));
    return success();
  }
};

struct FoldConv : FoldPattern<nn::ConvOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::ConvOp conv, PatternRewriter &rewriter) const override {
    FailureOr<Operand8> x = operand8(conv.getInput()), w = operand8(conv.getWeight());
    if (failed(x) || failed(w) || !x->perTensor() || !w->centred() || (w->scales.size() > 1 && w->axis != 0))
      return rewriter.notifyMatchFailure(conv, "input and weights are not integers that convolve");
    RankedTensorType type = conv.getType(), weightType = typeOf(w->integers);
    auto channels = static_cast<size_t>(weightType.getDimSize(0));
    size_t each = channels ? static_cast<size_t>(weightType.getNumElements()) / channels : 1;
    Constants make = constants(rewriter, conv);
    std::optional<std::vector<int32_t>> bias = foldedBias(make, *x, *w, conv.getBias(), channels, each);
    if (!bias)
      return rewriter.notifyMatchFailure(conv, "the bias is no constant of 32 bits in units of a product");
    Value input = x->integers;
    SmallVector<int64_t> pads(conv.getPads());
    if (!x->centred() && llvm::any_of(pads, [](int64_t pad) { return pad != 0; })) {
      // Elements outside of the input are 0, which is the zero point.
      size_t spatial = pads.size() / 2;
      SmallVector<int64_t> low(2, 0), high(2, 0);
      low.append(pads.begin(), pads.begin() + spatial);
      high.append(pads.begin() + spatial, pads.end());
      input = nn::PadOp::create(rewriter, conv.getLoc(), nn::PadMode::Constant, input,
                                make.zeroPoint(static_cast<int64_t>(x->zeroPoints[0]), rewriter.getI8Type()),
                                low, high);
      pads.assign(pads.size(), 0);
    }
    Value sums = nn::ConvOp::create(rewriter, conv.getLoc(), type.clone(rewriter.getI32Type()), input,
                                    w->integers, make.integers(*bias), conv.getStrides(), conv.getDilations(),
                                    pads, conv.getGroups());
    rewriter.replaceOp(conv,
                       dequantizeSums(rewriter, conv.getLoc(), sums, type, make.scale(products(*x, *w)), 1));
    return success();
  }
};

struct FoldMatmul : FoldPattern<nn::MatmulOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::MatmulOp matmul, PatternRewriter &rewriter) const override {
    FailureOr<Operand8> a = operand8(matmul.getLhs()), b = operand8(matmul.getRhs());
    if (failed(a) || failed(b) || !a->perTensor() || b->zeroPoints.size() > 1)
      return rewriter.notifyMatchFailure(matmul, "operands are not integers with one scale");
    RankedTensorType type = matmul.getType(), rhs = typeOf(b->integers);
    if (b->scales.size() > 1 && b->axis + 1 != rhs.getRank())
      return rewriter.notifyMatchFailure(matmul,
                                         "the right operand has a scale for each index of another axis");
    Location loc = matmul.getLoc();
    Constants make = constants(rewriter, matmul);
    Value sums =
        nn::MatmulOp::create(rewriter, loc, type.clone(rewriter.getI32Type()), a->integers, b->integers);
    // Σ (p - za)(q - zb) = Σ pq - zb Σp - za Σq + K za zb.
    auto subtract = [&](Value integers, int64_t axis, double zero) {
      if (zero == 0)
        return;
      Value factor = make.integers({static_cast<int32_t>(zero)});
      sums = nn::SubOp::create(
          rewriter, loc, sums,
          nn::MulOp::create(rewriter, loc, sumsOver(rewriter, loc, integers, axis), factor));
    };
    RankedTensorType lhs = typeOf(a->integers);
    subtract(a->integers, lhs.getRank() - 1, b->zeroPoints[0]);
    subtract(b->integers, rhs.getRank() - 2, a->zeroPoints[0]);
    if (double both = a->zeroPoints[0] * b->zeroPoints[0] * static_cast<double>(lhs.getShape().back());
        both != 0)
      sums = nn::AddOp::create(rewriter, loc, sums, make.integers({static_cast<int32_t>(both)}));
    rewriter.replaceOp(
        matmul, dequantizeSums(rewriter, loc, sums, type, make.scale(products(*a, *b)), type.getRank() - 1));
    return success();
  }
};

struct FoldAttention : FoldPattern<nn::AttentionOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::AttentionOp op, PatternRewriter &rewriter) const override {
    FailureOr<Operand8> q = operand8(op.getQuery()), k = operand8(op.getKey()), v = operand8(op.getValue());
    auto fits = [](const FailureOr<Operand8> &x) { return succeeded(x) && x->perTensor() && x->centred(); };
    if (!fits(q) || !fits(k) || !fits(v))
      return rewriter.notifyMatchFailure(op, "query, key and value are not integers around 0 with one scale");
    double scale = op.getScale().convertToDouble() * q->scales[0] * k->scales[0];
    rewriter.replaceOpWithNewOp<nn::AttentionOp>(
        op, op.getType(), q->integers, k->integers, v->integers, op.getMask(),
        APFloat(static_cast<float>(scale)), op.getCausalOffsetAttr(), op.getSoftcap(), op.getZeroMasked(),
        APFloat(static_cast<float>(v->scales[0])));
    return success();
  }
};

/// move(dequantize(x)) is dequantize(move(x)) where all elements have one scale.
struct SinkDequantize : RewritePattern {
  SinkDequantize(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isMovement(op))
      return rewriter.notifyMatchFailure(op, "does more than to move elements");
    auto dequantize = op->getOperand(0).getDefiningOp<nn::DequantizeOp>();
    if (!dequantize || typeOf(dequantize.getScale()).getNumElements() != 1 ||
        typeOf(dequantize.getInput()).getElementTypeBitWidth() > 8 || dequantize.getBlockSize())
      return rewriter.notifyMatchFailure(op, "moves something else than integers with one scale");
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    Operation *moved = rewriter.clone(*op);
    moved->setOperand(0, dequantize.getInput());
    moved->getResult(0).setType(type.clone(typeOf(dequantize.getInput()).getElementType()));
    rewriter.replaceOpWithNewOp<nn::DequantizeOp>(op, type, moved->getResult(0), dequantize.getScale(),
                                                  dequantize.getZeroPoint(), 0, 0);
    return success();
  }
};

/// slice(dequantize(sums)) is dequantize(slice(sums)) with the scales of the part: what was projected
/// together may be quantized apart.
struct SinkBelowSlice : FoldPattern<nn::SliceOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::SliceOp slice, PatternRewriter &rewriter) const override {
    auto dequantize = slice.getInput().getDefiningOp<nn::DequantizeOp>();
    if (!dequantize || !typeOf(dequantize.getInput()).getElementType().isInteger(32) ||
        dequantize.getZeroPoint())
      return rewriter.notifyMatchFailure(slice, "not of sums of integers");
    std::optional<std::vector<double>> scales = numbersOf(dequantize.getScale());
    if (!scales)
      return rewriter.notifyMatchFailure(slice, "scales are not known");
    uint64_t axis = dequantize.getAxis();
    std::vector<float> kept = {static_cast<float>(scales->front())};
    if (scales->size() > 1) {
      kept.clear();
      for (int64_t i = 0; i < slice.getSizes()[axis]; ++i)
        kept.push_back(static_cast<float>(
            (*scales)[static_cast<size_t>(slice.getStarts()[axis] + i * slice.getSteps()[axis])]));
    }
    Value part = nn::SliceOp::create(rewriter, slice.getLoc(), dequantize.getInput(), slice.getStarts(),
                                     slice.getSizes(), slice.getSteps());
    rewriter.replaceOp(slice,
                       dequantizeSums(rewriter, slice.getLoc(), part, slice.getType(),
                                      constants(rewriter, slice).scale(kept), static_cast<int64_t>(axis)));
    return success();
  }
};

/// quantize(move(x)) is move(quantize(x)) where all elements have one scale and x comes from sums of
/// integers.
struct HoistQuantize : OpRewritePattern<nn::QuantizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::QuantizeOp op, PatternRewriter &rewriter) const override {
    Operation *move = op.getInput().getDefiningOp();
    if (!isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp>(move) || typeOf(op.getScale()).getNumElements() != 1)
      return rewriter.notifyMatchFailure(op, "not one scale after a reshape or transpose");
    Operation *source = move;
    while (isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp>(source))
      source = source->getOperand(0).getDefiningOp();
    auto sums = dyn_cast_or_null<nn::DequantizeOp>(source);
    if (!sums || !typeOf(sums.getInput()).getElementType().isInteger(32))
      return rewriter.notifyMatchFailure(op, "does not quantize sums of integers");
    Type element = op.getType().getElementType();
    auto quantized =
        nn::QuantizeOp::create(rewriter, op.getLoc(), typeOf(move->getOperand(0)).clone(element),
                               move->getOperand(0), op.getScale(), op.getZeroPoint(), 0, 0, true);
    Operation *moved = rewriter.clone(*move);
    moved->setOperand(0, quantized);
    moved->getResult(0).setType(op.getType());
    rewriter.replaceOp(op, moved);
    return success();
  }
};

/// quantize(dequantize(q)) with the same parameters gives q back.
struct CancelQuantize : OpRewritePattern<nn::QuantizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::QuantizeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<nn::DequantizeOp>();
    if (!inner || inner.getInput().getType() != op.getType() || inner.getAxis() != op.getAxis() ||
        inner.getBlockSize() != op.getBlockSize() ||
        constantOf(inner.getScale()) != constantOf(op.getScale()) || !constantOf(op.getScale()) ||
        !inner.getZeroPoint() != !op.getZeroPoint() ||
        (op.getZeroPoint() && (!constantOf(op.getZeroPoint()) ||
                               constantOf(op.getZeroPoint()) != constantOf(inner.getZeroPoint()))) ||
        !areFinite(numbersOf(op.getScale()).value_or(std::vector<double>{INFINITY})))
      return rewriter.notifyMatchFailure(op, "not of integers with the same scale and zero point");
    rewriter.replaceOp(op, inner.getInput());
    return success();
  }
};

/// quantize(dequantize(sums)) as the target requantizes.
struct FormRequantize : FoldPattern<nn::QuantizeOp> {
  FormRequantize(MLIRContext *context, interpret::ConstantReader &reader, Requantization how)
      : FoldPattern(context, reader), how(how) {}

  LogicalResult matchAndRewrite(nn::QuantizeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<nn::DequantizeOp>();
    if (!inner || !typeOf(inner.getInput()).getElementType().isInteger(32) || inner.getZeroPoint() ||
        !op.getType().getElementType().isSignlessInteger(8))
      return rewriter.notifyMatchFailure(op, "does not quantize sums of integers to i8");
    std::optional<std::vector<double>> from = numbersOf(inner.getScale()), to = numbersOf(op.getScale()),
                                       zero = std::vector<double>{0};
    if (op.getZeroPoint())
      zero = numbersOf(op.getZeroPoint());
    if (!from || !to || !zero || zero->size() != 1 || !areFinite(*from) || !areFinite(*to) ||
        (from->size() > 1 && to->size() > 1 && inner.getAxis() != op.getAxis()))
      return rewriter.notifyMatchFailure(op, "scales are not known, or run along different axes");
    size_t count = std::max(from->size(), to->size());
    std::vector<double> scales(count);
    for (size_t i = 0; i < count; ++i) {
      scales[i] = (*from)[from->size() == 1 ? 0 : i] / (*to)[to->size() == 1 ? 0 : i];
      if (how != Requantization::FloatScale && !(scales[i] > 0 && scales[i] < 1))
        return rewriter.notifyMatchFailure(op, "a sum's step is more than an integer's");
    }
    uint64_t axis = from->size() > 1 ? inner.getAxis() : op.getAxis();
    rewriter.replaceOp(
        op, requantized(rewriter, op, inner.getInput(), scales, axis, static_cast<int64_t>((*zero)[0])));
    return success();
  }

private:
  Value requantized(PatternRewriter &rewriter, nn::QuantizeOp op, Value sums, ArrayRef<double> scales,
                    uint64_t axis, int64_t zero) const {
    auto create = [&](nn::RequantizeKind kind, ArrayRef<float> factors, ArrayRef<int32_t> multipliers,
                      ArrayRef<int32_t> shifts, nn::Rounding rounding) {
      return nn::RequantizeOp::create(rewriter, op.getLoc(), op.getType(), kind, sums, factors, multipliers,
                                      shifts, scales.size() > 1 ? axis : 0, zero, rounding);
    };
    if (how == Requantization::FloatScale) {
      SmallVector<float> factors(scales.begin(), scales.end());
      return create(nn::RequantizeKind::Float, factors, {}, {}, nn::Rounding::HalfEven);
    }
    SmallVector<int32_t> multipliers, shifts;
    std::vector<int32_t> halves;
    for (double scale : scales) {
      FixedPoint point = fixedPoint(scale);
      multipliers.push_back(point.multiplier);
      shifts.push_back(point.shift);
      // Half a step of the result, in units of a sum.
      halves.push_back(static_cast<int32_t>(std::min(std::nearbyint(0.5 / scale), 0x1p30)));
    }
    if (how == Requantization::FixedPoint)
      return create(nn::RequantizeKind::FixedPoint, {}, multipliers, shifts, nn::Rounding::HalfUp);
    SmallVector<int64_t> aligned(static_cast<size_t>(op.getType().getRank()), 1);
    if (halves.size() > 1)
      aligned[axis] = static_cast<int64_t>(halves.size());
    Constants make = constants(rewriter, op);
    Value half = make.integers(halves);
    auto type = RankedTensorType::get(aligned, rewriter.getI32Type());
    half = rewriter.createOrFold<nn::ReshapeOp>(op.getLoc(), type, half);
    sums = nn::AddOp::create(rewriter, op.getLoc(), sums, half);
    return create(nn::RequantizeKind::FixedPoint, {}, multipliers, shifts, nn::Rounding::Down);
  }

  Requantization how;
};

/// Makes unsigned integers of 8 bits signed, 128 less with a zero point 128 less, where everything that reads
/// them dequantizes them, possibly after moving them.
class Signed {
public:
  explicit Signed(func::FuncOp function) : builder(function.getContext()) {
    for (Operation &op : llvm::make_early_inc_range(function.front())) {
      auto quantize = dyn_cast<nn::QuantizeOp>(op);
      auto constant = dyn_cast<nn::ConstantOp>(op);
      bool candidate = quantize || (constant && isa<DenseElementsAttr>(constant.getValue()));
      if (candidate && isUnsigned8(op.getResult(0)) && gather(op.getResult(0)))
        change(&op);
      values.clear();
      readers.clear();
    }
  }

private:
  static bool isUnsigned8(Value value) { return typeOf(value).getElementType().isUnsignedInteger(8); }

  bool gather(Value value) {
    values.push_back(value);
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (isMovement(user)) {
        if (!gather(user->getResult(0)))
          return false;
      } else if (auto reader = dyn_cast<nn::DequantizeOp>(user); reader && use.getOperandNumber() == 0) {
        if (reader.getZeroPoint() && !constantOf(reader.getZeroPoint()))
          return false;
        readers.push_back(reader);
      } else {
        return false;
      }
    }
    return !readers.empty();
  }

  DenseElementsAttr shifted(DenseElementsAttr old) {
    SmallVector<APInt> moved;
    for (const APInt &x : old.getValues<APInt>())
      moved.push_back(x ^ APInt(8, 0x80)); // x - 128, as a signed integer
    return DenseElementsAttr::get(cast<RankedTensorType>(old.getType()).clone(builder.getI8Type()), moved);
  }

  template <typename OpTy>
  void shiftZero(OpTy op) {
    auto zeros = dyn_cast_or_null<DenseElementsAttr>(constantOf(op.getZeroPoint()));
    builder.setInsertionPoint(op);
    DenseElementsAttr moved =
        zeros ? shifted(zeros)
              : DenseElementsAttr::get(RankedTensorType::get({}, builder.getI8Type()), APInt(8, 0x80));
    op.getZeroPointMutable().assign(nn::ConstantOp::create(builder, op.getLoc(), moved));
  }

  void change(Operation *source) {
    auto quantize = dyn_cast<nn::QuantizeOp>(source);
    if (quantize) {
      if (quantize.getZeroPoint() && !isa_and_nonnull<DenseElementsAttr>(constantOf(quantize.getZeroPoint())))
        return;
      shiftZero(quantize);
    } else {
      auto constant = cast<nn::ConstantOp>(source);
      constant.setValueAttr(shifted(cast<DenseElementsAttr>(constant.getValue())));
    }
    for (Value value : values)
      value.setType(typeOf(value).clone(builder.getI8Type()));
    for (nn::DequantizeOp reader : readers)
      shiftZero(reader);
  }

  OpBuilder builder;
  SmallVector<Value> values;
  SmallVector<nn::DequantizeOp> readers;
};

} // namespace

LogicalResult foldQuantization(func::FuncOp function, Requantization requantization,
                               interpret::ConstantReader &constants, const Multiplied &multiplied) {
  Signed{function};
  MLIRContext *context = function.getContext();
  RewritePatternSet patterns(context);
  // Before scales are left to be computed.
  patterns.add<FoldLinear, FoldConv, FoldMatmul>(context, constants, 2);
  populateComputedPatterns(patterns, constants, multiplied);
  populateGroupPatterns(patterns, constants, multiplied.fourBits);
  patterns.add<FoldAttention, SinkBelowSlice>(context, constants, 2);
  populateHeadPatterns(patterns, constants);
  patterns.add<SinkDequantize, HoistQuantize, CancelQuantize>(context);
  patterns.add<FormRequantize>(context, constants, requantization);
  GreedyRewriteConfig config;
  config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
  return applyPatternsGreedily(function, std::move(patterns), config);
}

std::vector<InFloat> inFloat(func::FuncOp function) {
  std::vector<InFloat> found;
  auto missing = [](Value value) -> std::string {
    auto dequantize = value.getDefiningOp<nn::DequantizeOp>();
    if (!dequantize)
      return "is not quantized";
    if (typeOf(dequantize.getScale()).getNumElements() != 1)
      return "has more than one scale";
    return "";
  };
  for (Operation &op : function.front()) {
    unsigned operands = observedOperands(&op);
    bool ofBytes = operands > 0 && typeOf(op.getOperand(0)).getElementTypeBitWidth() == 8;
    if (ofBytes || (operands == 0 && !isa<nn::ConvTransposeOp>(op)))
      continue;
    std::string reason = "its bias, zero points or weights' scales do not fold";
    if (isa<nn::AttentionOp>(op))
      reason = "its query, key and value are no integers around 0 with one scale, or with scales for heads";
    if (isa<nn::ConvTransposeOp>(op))
      reason = "transposed convolutions are not quantized";
    for (unsigned i = 0; i < operands; ++i)
      if (std::string what = missing(op.getOperand(i)); !what.empty()) {
        reason = "its operand " + std::to_string(i) + " " + what;
        break;
      }
    std::string node = op.getName().getStringRef().str();
    if (auto name = op.getLoc()->findInstanceOf<NameLoc>())
      node = name.getName().str();
    found.push_back({node, op.getName().getStringRef().str(), reason});
  }
  return found;
}

} // namespace npuc::quantize
