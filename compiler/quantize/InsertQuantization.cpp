#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Formats.h"
#include "compiler/quantize/Quantize.h"

#include "llvm/ADT/MapVector.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// The range that calibration saw of operand number `i`.
Range rangeOf(Operation *op, unsigned i) {
  auto entry = cast<ArrayAttr>(op->getAttrOfType<ArrayAttr>(rangesAttr)[i]);
  auto numbers = [&](unsigned which) {
    ArrayRef<float> values = cast<DenseF32ArrayAttr>(entry[which]).asArrayRef();
    return std::vector<float>(values.begin(), values.end());
  };
  return {numbers(0), numbers(1)};
}

/// Greatest magnitude for each index of `axis` of a matrix.
std::vector<float> magnitudes(const interpret::HostTensor &matrix, int64_t axis) {
  int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  std::vector<float> most(static_cast<size_t>(matrix.dim(axis)), 0);
  const auto *x = matrix.data<float>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      float &m = most[static_cast<size_t>(axis == 0 ? r : c)];
      m = std::max(m, std::abs(x[r * columns + c]));
    }
  return most;
}

class Inserter {
public:
  Inserter(func::FuncOp function, interpret::ConstantReader &reader)
      : function(function), builder(function.getContext()), reader(reader) {}

  LogicalResult run() {
    llvm::MapVector<Value, SmallVector<nn::LinearOp>> linears;
    SmallVector<Operation *> others;
    for (Operation &op : function.front()) {
      if (!op.hasAttr(rangesAttr))
        continue;
      auto linear = dyn_cast<nn::LinearOp>(op);
      if (linear && constantOf(linear.getWeight()))
        linears[linear.getInput()].push_back(linear);
      else
        others.push_back(&op);
    }
    bool ok = true;
    for (auto &[input, users] : linears)
      ok &= succeeded(quantizeLinears(input, users));
    for (Operation *op : others)
      ok &=
          succeeded(isa<nn::ConvOp>(op) && constantOf(op->getOperand(1)) ? quantizeConv(cast<nn::ConvOp>(op))
                                                                         : quantizeOperands(op));
    for (Operation &op : function.front())
      op.removeAttr(rangesAttr);
    return success(ok);
  }

private:
  /// x as integers and back: to i8 by `scales` (one, or one for each index of the last dimension), and back
  /// by `format`.
  Value around(Value x, const std::vector<float> &scales, Format format, Location loc) {
    Constants constants(builder, loc, reader);
    RankedTensorType type = typeOf(x), integers = type.clone(builder.getI8Type());
    Value zero = constants.zeroPoint(format.zeroPoint, builder.getI8Type());
    int64_t axis = scales.size() > 1 ? type.getRank() - 1 : 0;
    Value quantized =
        nn::QuantizeOp::create(builder, loc, integers, x, constants.scale(scales), zero, axis, 0, true);
    return nn::DequantizeOp::create(builder, loc, type, quantized, constants.scale(format.scale), zero, 0, 0);
  }

  /// The weights of f32 as integers with a scale for each index of `axis`, and back to `type`.
  Value weights(TypedAttr source, RankedTensorType type, const std::vector<float> &scales, int64_t axis,
                Location loc) {
    Constants constants(builder, loc, reader);
    RankedTensorType integers = type.clone(builder.getI8Type());
    auto quantized = nn::QuantizedAttr::get(builder.getContext(), source,
                                            builder.getDenseF32ArrayAttr(scales), axis, integers);
    return nn::DequantizeOp::create(builder, loc, type, constants.materialize(quantized),
                                    constants.scale(scales), Value(), scales.size() > 1 ? axis : 0, 0);
  }

  /// Symmetric scales of output channels from their weights' greatest magnitudes; at least so great that the
  /// bias, in units of a product, keeps to 30 bits.
  std::vector<float> weightScales(std::vector<float> most, Value bias, float inputScale,
                                  Constants &constants) {
    interpret::HostTensor terms;
    if (TypedAttr value = constantOf(bias))
      terms = constants.floats(value);
    for (size_t n = 0; n < most.size(); ++n) {
      float least = terms ? std::ldexp(std::abs(terms.data<float>()[n]) / inputScale, -30) : 0;
      most[n] = std::max(symmetric(-most[n], most[n]).scale, least);
    }
    return most;
  }

  /// All multiplications of one input by weights share its integers.
  LogicalResult quantizeLinears(Value input, ArrayRef<nn::LinearOp> users) {
    nn::LinearOp first = users.front();
    builder.setInsertionPoint(first);
    Range range = rangeOf(first, 0);
    size_t channels = range.least.size();
    std::vector<float> activations(channels), mostWeights(channels, 0), mostOf;
    for (size_t c = 0; c < channels; ++c)
      activations[c] = std::max(std::abs(range.least[c]), std::abs(range.greatest[c]));
    for (nn::LinearOp linear : users) {
      Constants constants(builder, linear.getLoc(), reader);
      interpret::HostTensor weight = constants.floats(constantOf(linear.getWeight()));
      if (!weight)
        return failure();
      mostOf = magnitudes(weight, linear.getTransposed() ? 1 : 0);
      std::ranges::transform(mostWeights, mostOf, mostWeights.begin(),
                             [](float a, float b) { return std::max(a, b); });
    }
    std::vector<float> factors = balance(activations, mostWeights), scales(channels);
    float least = 0, greatest = 0;
    for (size_t c = 0; c < channels; ++c) {
      least = std::min(least, range.least[c] / factors[c]);
      greatest = std::max(greatest, range.greatest[c] / factors[c]);
    }
    Format format = asymmetric(least, greatest);
    for (size_t c = 0; c < channels; ++c)
      scales[c] = format.scale * factors[c];
    Value quantized = around(input, scales, format, first.getLoc());
    for (nn::LinearOp linear : users) {
      builder.setInsertionPoint(linear);
      Constants constants(builder, linear.getLoc(), reader);
      TypedAttr weight = constantOf(linear.getWeight());
      int64_t n = linear.getTransposed() ? 0 : 1;
      weight = nn::ScaledAttr::get(builder.getContext(), asF32(weight), builder.getDenseF32ArrayAttr(factors),
                                   1 - n, cast<RankedTensorType>(asF32(weight).getType()));
      std::vector<float> most = magnitudes(constants.floats(weight), n);
      linear.getInputMutable().assign(quantized);
      linear.getWeightMutable().assign(weights(weight, linear.getWeight().getType(),
                                               weightScales(most, linear.getBias(), format.scale, constants),
                                               n, linear.getLoc()));
    }
    return success();
  }

  LogicalResult quantizeConv(nn::ConvOp conv) {
    builder.setInsertionPoint(conv);
    Constants constants(builder, conv.getLoc(), reader);
    Range range = rangeOf(conv, 0);
    Format format = asymmetric(range.least[0], range.greatest[0]);
    TypedAttr weight = asF32(constantOf(conv.getWeight()));
    interpret::HostTensor elements = constants.floats(weight);
    if (!elements)
      return failure();
    int64_t channels = elements.dim(0);
    std::vector<float> most =
        magnitudes(elements.reshaped({channels, channels ? elements.count() / channels : 0}), 0);
    conv.getInputMutable().assign(around(conv.getInput(), {format.scale}, format, conv.getLoc()));
    conv.getWeightMutable().assign(weights(weight, conv.getWeight().getType(),
                                           weightScales(most, conv.getBias(), format.scale, constants), 0,
                                           conv.getLoc()));
    return success();
  }

  /// Both operands of a product of activations, and query, key and value: without zero points, which would
  /// need sums of the other operand.
  LogicalResult quantizeOperands(Operation *op) {
    builder.setInsertionPoint(op);
    for (unsigned i = 0; i < op->getAttrOfType<ArrayAttr>(rangesAttr).size(); ++i) {
      Range range = rangeOf(op, i);
      Format format =
          symmetric(*std::ranges::min_element(range.least), *std::ranges::max_element(range.greatest));
      op->setOperand(i, around(op->getOperand(i), {format.scale}, format, op->getLoc()));
    }
    return success();
  }

  TypedAttr asF32(TypedAttr value) {
    auto type = cast<RankedTensorType>(value.getType());
    if (type.getElementType().isF32())
      return value;
    return nn::ConvertedAttr::get(builder.getContext(), value, type.clone(builder.getF32Type()));
  }

  func::FuncOp function;
  OpBuilder builder;
  interpret::ConstantReader &reader;
};

} // namespace

LogicalResult insertQuantization(func::FuncOp function, interpret::ConstantReader &constants) {
  return Inserter(function, constants).run();
}

} // namespace npuc::quantize
