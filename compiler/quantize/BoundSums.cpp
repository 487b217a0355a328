#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Quantize.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// Greatest magnitude of a signed integer of 8 bits.
constexpr double mostOf8 = 128;

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}
bool isInteger8(Value value) {
  return typeOf(value).getElementType().isInteger(8);
}
/// Greatest magnitude of an element, an integer of 4 or 8 bits.
double mostOf(Value value) {
  Type element = typeOf(value).getElementType();
  double values = element.isInteger(4) ? 16 : 256;
  return element.isUnsignedInteger() ? values - 1 : values / 2;
}

/// Σ |w| over a run of k for each output channel: by (channel, k) → element.
class WeightSums {
public:
  WeightSums(interpret::HostTensor weights, bool channelFirst)
      : weights(std::move(weights)), channelFirst(channelFirst) {}

  int64_t channels() const { return weights.dim(channelFirst ? 0 : 1); }
  int64_t products() const { return weights.dim(channelFirst ? 1 : 0); }

  /// The greatest over channels and over `parts` equal runs.
  double greatest(int64_t parts) const {
    int64_t run = products() / parts;
    std::vector<double> sums(static_cast<size_t>(channels() * parts), 0);
    const auto *w = weights.data<int32_t>();
    for (int64_t row = 0; row < weights.dim(0); ++row) {
      double *sum = sums.data() + (channelFirst ? row * parts : row / run);
      if (channelFirst)
        for (int64_t k = 0; k < products(); ++k)
          sum[k / run] += std::abs(*w++);
      else
        for (int64_t n = 0; n < channels(); ++n)
          sum[n * parts] += std::abs(*w++);
    }
    double most = 0;
    for (double sum : sums)
      most = std::max(most, sum);
    return most;
  }

private:
  interpret::HostTensor weights;
  bool channelFirst;
};

/// The least divisor of `products` into whose number of parts a sum can be cut so that `bound(parts)` keeps
/// to `limit`; nothing if there is none.
std::optional<int64_t> leastParts(int64_t products, double limit, llvm::function_ref<double(int64_t)> bound) {
  for (int64_t parts = 1; parts <= products; ++parts)
    if (products % parts == 0 && bound(parts) <= limit)
      return parts;
  return std::nullopt;
}

class Bounder {
public:
  Bounder(func::FuncOp function, unsigned bits, interpret::ConstantReader &reader)
      : builder(function.getContext()), limit(std::ldexp(1.0, static_cast<int>(bits) - 1) - 1),
        reader(reader) {}

  LogicalResult bound(Operation *op) {
    if (auto linear = dyn_cast<nn::LinearOp>(op); linear && isInteger8(linear.getInput()))
      return boundLinear(linear);
    if (auto grouped = dyn_cast<nn::GroupedLinearOp>(op))
      return boundGroups(grouped);
    if (auto matmul = dyn_cast<nn::MatmulOp>(op); matmul && isInteger8(matmul.getLhs()))
      return set(op, typeOf(matmul.getLhs()).getShape().back(),
                 mostOf(matmul.getLhs()) * mostOf(matmul.getRhs()));
    if (auto attention = dyn_cast<nn::AttentionOp>(op); attention && attention.isInteger()) {
      if (typeOf(attention.getKey()).getDimSize(3) * mostOf8 * mostOf8 > limit)
        return op->emitError("sums of ") << typeOf(attention.getKey()).getDimSize(3)
                                         << " products of a head do not fit the accumulators";
      return set(op, typeOf(attention.getValue()).getDimSize(2), 127 * mostOf8);
    }
    if (auto conv = dyn_cast<nn::ConvOp>(op); conv && isInteger8(conv.getInput()))
      return boundConv(conv);
    return success();
  }

private:
  /// Each product is at most `most`.
  LogicalResult set(Operation *op, int64_t products, double most) {
    return set(op, leastParts(products, limit,
                              [&](int64_t parts) { return most * static_cast<double>(products / parts); }));
  }

  LogicalResult set(Operation *op, std::optional<int64_t> parts) {
    if (!parts)
      return op->emitError("a single product does not fit the accumulators");
    if (*parts > 1)
      op->setAttr(partsAttr, builder.getI64IntegerAttr(*parts));
    return success();
  }

  /// Σ |w| times an input's greatest magnitude bounds a sum where the weights are known.
  LogicalResult boundLinear(nn::LinearOp op) {
    int64_t products = typeOf(op.getInput()).getShape().back();
    double most = mostOf(op.getInput()), product = most * mostOf(op.getWeight());
    TypedAttr weight = constantOf(op.getWeight());
    if (!weight || static_cast<double>(products) * product <= limit)
      return set(op, products, product);
    interpret::HostTensor elements = Constants(builder, op.getLoc(), reader).ints(weight);
    if (!elements)
      return failure();
    WeightSums sums(elements, op.getTransposed());
    return set(op, leastParts(products, limit, [&](int64_t parts) { return sums.greatest(parts) * most; }));
  }

  LogicalResult boundGroups(nn::GroupedLinearOp op) {
    RankedTensorType weight = op.getWeight().getType();
    int64_t each = weight.getDimSize(1) / op.getScale().getType().getDimSize(1);
    if (static_cast<double>(each) * mostOf(op.getInput()) * mostOf(op.getWeight()) <= limit)
      return success();
    return op.emitError("its sums of ") << each << " products of a group may leave the accumulators";
  }

  LogicalResult boundConv(nn::ConvOp op) {
    RankedTensorType type = typeOf(op.getWeight());
    int64_t channels = type.getDimSize(0), products = channels ? type.getNumElements() / channels : 0;
    double most = mostOf(op.getInput());
    if (static_cast<double>(products) * most * mostOf(op.getWeight()) <= limit)
      return success();
    TypedAttr weight = constantOf(op.getWeight());
    interpret::HostTensor elements;
    if (weight && !(elements = Constants(builder, op.getLoc(), reader).ints(weight)))
      return failure();
    if (elements && WeightSums(elements.reshaped({channels, products}), true).greatest(1) * most <= limit)
      return success();
    return op.emitError("its sums of ") << products << " products may leave the accumulators";
  }

  OpBuilder builder;
  double limit;
  interpret::ConstantReader &reader;
};

} // namespace

LogicalResult boundSums(func::FuncOp function, unsigned bits, interpret::ConstantReader &constants) {
  Bounder bounder(function, bits, constants);
  bool ok = true;
  for (Operation &op : function.front())
    ok &= succeeded(bounder.bound(&op));
  return success(ok);
}

} // namespace npuc::quantize
