// Linears by weights of 4 bits, or with scales for groups of products: their weights are brought to [n, k],
// so that what shares a byte is summed together, and integers become a nn.grouped_linear.
#include "compiler/interpret/Elements.h"
#include "compiler/quantize/FoldOperands.h"
#include "compiler/quantize/FoldPatterns.h"

#include <algorithm>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// Weights [n, k], k filled up to whole groups by weights that stand for 0, with their scales and zero points
/// (empty: 0) [n, groups].
struct Groups {
  int64_t n = 0, k = 0, count = 1, each = 0;
  TypedAttr integers;
  std::vector<float> scales;
  std::vector<int32_t> zeros;
  std::vector<int64_t> sums; ///< Of each group's weights less their zero points, if they were asked for.
};

/// Whether the linear's weights are constants that this file is for.
bool hasGroups(nn::LinearOp op) {
  auto dequantize = op.getWeight().getDefiningOp<nn::DequantizeOp>();
  if (!dequantize || !constantOf(dequantize.getInput()) || !constantOf(dequantize.getScale()) ||
      (dequantize.getZeroPoint() && !constantOf(dequantize.getZeroPoint())))
    return false;
  Type element = typeOf(dequantize.getInput()).getElementType();
  auto k = static_cast<unsigned>(op.getTransposed() ? 1 : 0);
  bool blocked = dequantize.getBlockSize() > 0;
  bool alongK = dequantize.getAxis() == k, single = typeOf(dequantize.getScale()).getNumElements() == 1;
  if (!element.isInteger(4) && !(element.isInteger(8) && blocked))
    return false;
  return blocked ? alongK : single || !alongK;
}

class Arrangement {
public:
  Arrangement(nn::LinearOp op, Constants make)
      : dequantize(op.getWeight().getDefiningOp<nn::DequantizeOp>()), transposed(op.getTransposed()),
        make(make) {
    RankedTensorType type = typeOf(dequantize.getInput());
    found.n = type.getDimSize(transposed ? 0 : 1);
    found.k = type.getDimSize(transposed ? 1 : 0);
    auto block = static_cast<int64_t>(dequantize.getBlockSize());
    found.each = block > 0 ? std::min(block, found.k) : found.k;
    found.count = static_cast<int64_t>(llvm::divideCeil(found.k, found.each));
  }

  /// Nothing, and an error, if the constants cannot be read.
  std::optional<Groups> run(bool withSums) {
    interpret::HostTensor scales = make.floats(constantOf(dequantize.getScale())), zeros;
    if (dequantize.getZeroPoint())
      zeros = make.ints(constantOf(dequantize.getZeroPoint()));
    if (!scales || (dequantize.getZeroPoint() && !zeros))
      return std::nullopt;
    for (int64_t n = 0; n < found.n; ++n)
      for (int64_t g = 0; g < found.count; ++g) {
        found.scales.push_back(scales.data<float>()[parameter(scales.count(), n, g)]);
        if (zeros)
          found.zeros.push_back(zeros.data<int32_t>()[parameter(zeros.count(), n, g)]);
      }
    if (llvm::all_of(found.zeros, [](int32_t zero) { return zero == 0; }))
      found.zeros.clear();
    found.integers = constantOf(dequantize.getInput());
    // Handles stay handles where whole groups only turn.
    bool whole = found.k == found.count * found.each,
         asItIs = whole && (transposed || nn::isHandle(found.integers));
    if ((!asItIs || withSums) && !arrange(withSums, asItIs))
      return std::nullopt;
    if (asItIs && !transposed) {
      auto type = cast<RankedTensorType>(found.integers.getType()).clone({found.n, found.k});
      found.integers = nn::TransposedAttr::get(type.getContext(), found.integers, {1, 0}, type);
    }
    return std::move(found);
  }

private:
  /// The element of a scale or zero point for column n and group g.
  size_t parameter(int64_t count, int64_t n, int64_t g) const {
    if (count == 1)
      return 0;
    return static_cast<size_t>(transposed ? n * found.count + g : g * found.n + n);
  }

  bool arrange(bool withSums, bool asItIs) {
    interpret::HostTensor from = make.ints(found.integers);
    if (!from)
      return false;
    int64_t padded = found.count * found.each;
    std::vector<int8_t> to;
    to.reserve(static_cast<size_t>(found.n * padded));
    found.sums.assign(withSums ? static_cast<size_t>(found.n * found.count) : 0, 0);
    for (int64_t n = 0; n < found.n; ++n)
      for (int64_t k = 0; k < padded; ++k) {
        auto group = static_cast<size_t>(n * found.count + k / found.each);
        int32_t zero = found.zeros.empty() ? 0 : found.zeros[group];
        int32_t q = k < found.k ? from.data<int32_t>()[transposed ? n * found.k + k : k * found.n + n] : zero;
        to.push_back(static_cast<int8_t>(q));
        if (withSums)
          found.sums[group] += q - zero;
      }
    if (!asItIs) {
      ElementType type = interpret::elementTypeOf(cast<RankedTensorType>(found.integers.getType()));
      Value value = make.inMemory(interpret::HostTensor::of(type, {found.n, padded}, to));
      found.integers = constantOf(value);
    }
    return true;
  }

  nn::DequantizeOp dequantize;
  bool transposed;
  Constants make;
  Groups found;
};

template <typename T>
Value perGroup(Constants &make, ElementType type, const Groups &groups, const std::vector<T> &values) {
  return make.inMemory(interpret::HostTensor::of(type, {groups.n, groups.count}, values));
}

/// The zero points as integers of 8 bits of `type`, or of 4, each in a byte; null: 0.
Value zerosOf(Constants &make, ElementType type, const Groups &groups) {
  std::vector<int8_t> bytes(groups.zeros.size());
  std::ranges::transform(groups.zeros, bytes.begin(), [](int32_t zero) { return static_cast<int8_t>(zero); });
  return bytes.empty() ? Value() : perGroup(make, type, groups, bytes);
}

/// `x` with as many zeros behind each row as whole groups need.
Value filledUp(PatternRewriter &rewriter, Location loc, Value x, const Groups &groups) {
  int64_t rest = groups.count * groups.each - groups.k;
  if (rest == 0)
    return x;
  SmallVector<int64_t> low(static_cast<size_t>(typeOf(x).getRank()), 0), high = low;
  high.back() = rest;
  return nn::PadOp::create(rewriter, loc, nn::PadMode::Constant, x, Value(), low, high);
}

struct FoldGroupedLinear : FoldPattern<nn::LinearOp> {
  FoldGroupedLinear(MLIRContext *context, interpret::ConstantReader &reader, bool fourBits)
      : FoldPattern(context, reader, 3), fourBits(fourBits) {}

  LogicalResult matchAndRewrite(nn::LinearOp op, PatternRewriter &rewriter) const override {
    if (!hasGroups(op))
      return rewriter.notifyMatchFailure(op, "weights are no constants of 4 bits or with scales for groups");
    std::optional<Integers> x = integersOf(op.getInput());
    std::optional<std::vector<double>> zero = std::vector<double>{0};
    if (x && x->zero)
      zero = numbersOf(x->zero.value);
    if (!x || !x->value || !x->type.getElementType().isInteger(8) || !x->scale || !zero ||
        zero->size() != 1 || x->scale.shape.back() != 1)
      return rewriter.notifyMatchFailure(
          op, "the input is no integers with a known zero point and a scale for each "
              "row");
    Location loc = op.getLoc();
    Constants make = constants(rewriter, op);
    auto zx = static_cast<int64_t>(zero->front());
    std::optional<Groups> groups = Arrangement(op, make).run(zx != 0);
    if (!groups)
      return rewriter.notifyMatchFailure(op, "weights cannot be read");
    ElementType type = interpret::elementTypeOf(cast<RankedTensorType>(groups->integers.getType()));
    Value zeros = zerosOf(make, type == ElementType::U8 ? type : ElementType::I8, *groups), offset;
    if (zx != 0) {
      std::vector<int32_t> taken;
      for (int64_t sum : groups->sums)
        taken.push_back(static_cast<int32_t>(-zx * sum));
      offset = perGroup(make, ElementType::I32, *groups, taken);
    }
    Value scale = perGroup(make, ElementType::F32, *groups, groups->scales);
    Value weight = nn::ConstantOp::create(rewriter, loc, groups->integers);
    bool unpack = !fourBits && bitWidth(type) == 4;
    Value y = nn::GroupedLinearOp::create(rewriter, loc, op.getType().clone(rewriter.getF32Type()),
                                          filledUp(rewriter, loc, x->value, *groups), weight, scale, zeros,
                                          offset, unpack);
    rewriter.replaceOp(op, Arithmetic(rewriter, loc, make, op.getType()).finish(y, x->scale, op.getBias()));
    return success();
  }

private:
  bool fourBits;
};

/// By floats: dequantized as they lie, k along a row.
struct TurnFourBits : FoldPattern<nn::LinearOp> {
  using FoldPattern::FoldPattern;
  LogicalResult matchAndRewrite(nn::LinearOp op, PatternRewriter &rewriter) const override {
    if (!hasGroups(op) || (op.getTransposed() && isWhole(op)) || integersOf(op.getInput()))
      return rewriter.notifyMatchFailure(op, "not by floats, or its weights lie as they should");
    auto dequantize = op.getWeight().getDefiningOp<nn::DequantizeOp>();
    Location loc = op.getLoc();
    Constants make = constants(rewriter, op);
    std::optional<Groups> groups = Arrangement(op, make).run(false);
    if (!groups)
      return rewriter.notifyMatchFailure(op, "weights cannot be read");
    Value weight = nn::ConstantOp::create(rewriter, loc, groups->integers),
          zeros = zerosOf(make, interpret::elementTypeOf(typeOf(weight)), *groups),
          scale = perGroup(make, ElementType::F32, *groups, groups->scales);
    RankedTensorType type = dequantize.getType().clone({groups->n, groups->count * groups->each});
    Value numbers = nn::DequantizeOp::create(rewriter, loc, type, weight, scale, zeros, 1, groups->each);
    rewriter.replaceOpWithNewOp<nn::LinearOp>(
        op, op.getType(), filledUp(rewriter, loc, op.getInput(), *groups), numbers, op.getBias(), true);
    return success();
  }

private:
  /// Whole groups.
  static bool isWhole(nn::LinearOp op) {
    auto dequantize = op.getWeight().getDefiningOp<nn::DequantizeOp>();
    auto block = static_cast<int64_t>(dequantize.getBlockSize());
    return block == 0 || typeOf(dequantize.getInput()).getDimSize(1) % block == 0;
  }
};

} // namespace

void populateGroupPatterns(RewritePatternSet &patterns, interpret::ConstantReader &reader, bool fourBits) {
  patterns.add<FoldGroupedLinear>(patterns.getContext(), reader, fourBits);
  patterns.add<TurnFourBits>(patterns.getContext(), reader, 2);
}

} // namespace npuc::quantize
