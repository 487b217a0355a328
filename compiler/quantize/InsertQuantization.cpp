#include "compiler/interpret/kernels/Movement.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Formats.h"
#include "compiler/quantize/Forms.h"
#include "compiler/quantize/Gptq.h"
#include "compiler/quantize/Precision.h"
#include "compiler/quantize/Quantize.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

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

/// The factors that the input of a linear is divided by: none, or one for each channel.
std::vector<float> factorsOf(Operation *op) {
  auto factors = op->getAttrOfType<DenseF32ArrayAttr>(factorsAttr);
  return factors ? factors.asArrayRef().vec() : std::vector<float>();
}

/// The range of a linear's input over its factors.
std::pair<float, float> smoothedRange(const Range &range, const std::vector<float> &factors) {
  float least = 0, greatest = 0;
  for (size_t c = 0; c < range.least.size(); ++c) {
    float factor = factors.empty() || range.least.size() == 1 ? 1 : factors[c];
    least = std::min(least, range.least[c] / factor);
    greatest = std::max(greatest, range.greatest[c] / factor);
  }
  return {least, greatest};
}

class Inserter {
public:
  Inserter(func::FuncOp function, interpret::ConstantReader &reader, const GramOf &gramOf,
           RoundedWeights &rounded)
      : function(function), builder(function.getContext()), reader(reader), gramOf(gramOf), rounded(rounded) {
  }

  LogicalResult run() {
    SmallVector<Operation *> all;
    for (Operation &op : function.front()) {
      auto name = op.getAttrOfType<StringAttr>(formatAttr);
      if (name && !formatFromText(name.getValue()))
        return op.emitError("has the unknown format '") << name.getValue() << "'";
      if (op.hasAttr(rangesAttr))
        all.push_back(&op);
    }
    bool ok = true;
    for (Operation *op : all)
      ok &= succeeded(quantize(op));
    for (auto &[op, name] : multiplications(function))
      for (StringRef attribute : {rangesAttr, formatAttr, factorsAttr, gptqAttr})
        op->removeAttr(attribute);
    return success(ok);
  }

private:
  LogicalResult quantize(Operation *op) {
    OperatorFormat format = formatOf(op);
    builder.setInsertionPoint(op);
    if (format == *formatFromText("float"))
      return success();
    if (auto linear = dyn_cast<nn::LinearOp>(op); linear && constantOf(linear.getWeight()))
      return quantizeLinear(linear, format);
    if (format.activations == Activations::Float)
      return success();
    if (format.activations == Activations::Fp8)
      return inFp8(op);
    if (auto conv = dyn_cast<nn::ConvOp>(op); conv && constantOf(conv.getWeight()))
      return quantizeConv(conv);
    return quantizeOperands(op);
  }

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
    Value scale = constants.scale(scales), values = constants.materialize(quantized);
    return nn::DequantizeOp::create(builder, loc, type, values, scale, Value(), scales.size() > 1 ? axis : 0,
                                    0);
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

  /// A linear's input in its numbers. All multiplications that read it in the same ones share them.
  struct Input {
    Value value;
    float scale = 1; ///< Of integers with one scale; 1 for others.
  };
  Input quantizedInput(nn::LinearOp linear, const OperatorFormat &format, const std::vector<float> &factors) {
    Value x = linear.getInput();
    auto key = std::tuple(x.getAsOpaquePointer(), format.activations, factors);
    if (auto found = inputs.find(key); found != inputs.end())
      return found->second;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(x);
    Location loc = linear.getLoc();
    Input result{x, 1};
    auto [least, greatest] = smoothedRange(rangeOf(linear, 0), factors);
    if (format.activations == Activations::Int8) {
      Format integers = asymmetric(least, greatest);
      std::vector<float> scales = factors.empty() ? std::vector<float>{1} : factors;
      for (float &scale : scales)
        scale *= integers.scale;
      result = {around(x, scales, integers, loc), integers.scale};
    } else if (format.activations == Activations::Int8Token) {
      result.value = aroundRows(builder, loc, factors.empty() ? x : divided(x, factors, loc));
    } else if (format.activations == Activations::Fp8) {
      result.value =
          aroundFp8(builder, loc, x, fp8Scale(least, greatest), Float8E4M3FNType::get(builder.getContext()));
    }
    inputs[key] = result;
    return result;
  }

  /// x over the factors, which a quantization with one scale does on its way and one by rows does not.
  Value divided(Value x, const std::vector<float> &factors, Location loc) {
    std::vector<float> inverse;
    for (float factor : factors)
      inverse.push_back(1 / factor);
    FloatType f32 = builder.getF32Type();
    RankedTensorType type = typeOf(x);
    if (!type.getElementType().isF32())
      x = nn::CastOp::create(builder, loc, type.clone(f32), x);
    auto product = nn::MulOp::create(builder, loc, x, Constants(builder, loc, reader).scale(inverse));
    product->setAttr(factorsAttr, builder.getDenseF32ArrayAttr(factors));
    if (type.getElementType().isF32())
      return product;
    return nn::CastOp::create(builder, loc, type, product);
  }

  LogicalResult quantizeLinear(nn::LinearOp linear, const OperatorFormat &format) {
    std::vector<float> factors = format.isInteger() ? factorsOf(linear) : std::vector<float>();
    TypedAttr weight = asF32(constantOf(linear.getWeight()));
    int64_t n = linear.getTransposed() ? 0 : 1;
    if (!factors.empty())
      weight = nn::ScaledAttr::get(builder.getContext(), weight, builder.getDenseF32ArrayAttr(factors), 1 - n,
                                   cast<RankedTensorType>(weight.getType()));
    Input input = quantizedInput(linear, format, factors);
    const bool gptq = gramOf && linear->hasAttr(gptqAttr);
    Value numbers = gptq || format.weightBits == 4
                        ? keptWeights(linear, format, weight, factors, input.scale, gptq)
                        : nearestWeights(linear, format, weight, input.scale);
    if (!numbers)
      return failure();
    linear.getInputMutable().assign(input.value);
    linear.getWeightMutable().assign(numbers);
    return success();
  }

  /// Weights, each the nearest number of 8 bits.
  Value nearestWeights(nn::LinearOp linear, const OperatorFormat &format, TypedAttr weight,
                       float inputScale) {
    Constants constants(builder, linear.getLoc(), reader);
    int64_t n = linear.getTransposed() ? 0 : 1;
    interpret::HostTensor elements = constants.floats(weight);
    if (!elements)
      return {};
    std::vector<float> most = magnitudes(elements, n);
    if (format.weightBits == 0)
      return fp8Weights(weight, linear.getWeight().getType(), most, n, linear.getLoc());
    return weights(weight, linear.getWeight().getType(),
                   weightScales(most, linear.getBias(), inputScale, constants), n, linear.getLoc());
  }

  /// Weights in numbers that are kept in memory, and in `rounded`.
  Value keptWeights(nn::LinearOp linear, const OperatorFormat &format, TypedAttr weight,
                    const std::vector<float> &factors, float inputScale, bool gptq) {
    Location loc = linear.getLoc();
    auto [kept, isNew] = rounded.known.try_emplace({constantOf(linear.getWeight()).getAsOpaquePointer(),
                                                    loc.getAsOpaquePointer(), text(format), factors, gptq});
    RoundedWeights::Constants &known = kept->second;
    if (isNew) {
      interpret::HostTensor elements = Constants(builder, loc, reader).floats(weight);
      if (!elements)
        return {};
      known = roundedWeights(linear, format, elements, factors, inputScale, gptq);
    }
    auto constant = [&](TypedAttr value) -> Value {
      return value ? nn::ConstantOp::create(builder, loc, value).getResult() : Value();
    };
    int64_t n = linear.getTransposed() ? 0 : 1;
    bool inGroups = format.weightBits == 4;
    Value integers = constant(known.integers), scales = constant(known.scales), zeros = constant(known.zeros);
    int64_t axis = inGroups ? 1 - n : cast<RankedTensorType>(scales.getType()).getRank() == 0 ? 0 : n;
    return nn::DequantizeOp::create(builder, loc, linear.getWeight().getType(), integers, scales, zeros, axis,
                                    inGroups ? format.group : 0);
  }

  /// The grid that a linear's weights ([rows, columns]) are laid on.
  WeightGrid gridOf(nn::LinearOp linear, const OperatorFormat &format, const interpret::HostTensor &elements,
                    float inputScale, std::span<const double> importance) {
    if (format.weightBits == 4)
      return weightGrid({elements.data<float>(), static_cast<size_t>(elements.count())}, elements.dim(0),
                        elements.dim(1), 4, format.group, format.asymmetric, importance, reader.threads());
    WeightGrid grid;
    grid.group = elements.dim(0);
    grid.scales = magnitudes(elements, 1);
    grid.fp8 = format.weightBits == 0;
    if (grid.fp8) {
      for (float &scale : grid.scales)
        scale = fp8Scale(-scale, scale);
    } else {
      Constants constants(builder, linear.getLoc(), reader);
      grid.scales = weightScales(grid.scales, linear.getBias(), inputScale, constants);
    }
    return grid;
  }

  /// Weights rounded to what their grid has, by GPTQ if so and the input's Gram matrix is known.
  RoundedWeights::Constants roundedWeights(nn::LinearOp linear, const OperatorFormat &format,
                                           interpret::HostTensor elements, const std::vector<float> &factors,
                                           float inputScale, bool byGptq) {
    Constants constants(builder, linear.getLoc(), reader);
    ThreadPool &pool = reader.threads();
    bool transposed = linear.getTransposed();
    int64_t n = transposed ? 0 : 1, rows = elements.dim(1 - n), columns = elements.dim(n);
    if (transposed)
      elements = interpret::transpose(pool, elements, std::vector<int64_t>{1, 0});
    std::span<const float> w(elements.data<float>(), static_cast<size_t>(elements.count()));
    static const GptqInput unknown;
    const GptqInput &input = byGptq ? gptqInput(linear, factors, rows) : unknown;
    WeightGrid grid = gridOf(linear, format, elements, inputScale, input.importance);
    std::vector<int8_t> codes = input.factor ? gptq(w, rows, columns, *input.factor, grid, pool)
                                             : roundToNearest(w, rows, columns, grid);
    // Zero points of 4 bits are of unsigned integers, 8 above the signed ones.
    bool isUnsigned = !grid.zeros.empty();
    auto type = grid.fp8                 ? ElementType::F8E4M3
                : format.weightBits == 8 ? ElementType::I8
                : isUnsigned             ? ElementType::U4
                                         : ElementType::I4;
    auto tensor = [&](std::vector<int8_t> values, int64_t count) {
      for (int8_t &value : values)
        value = static_cast<int8_t>(value + (isUnsigned ? 8 : 0));
      return oriented(interpret::HostTensor::of(type, {count, columns}, values), transposed);
    };
    auto value = [](Value constant) {
      TypedAttr found = constantOf(constant);
      constant.getDefiningOp()->erase();
      return found;
    };
    RoundedWeights::Constants made;
    made.integers = value(constants.inMemory(tensor(std::move(codes), rows)));
    int64_t groups = static_cast<int64_t>(grid.scales.size()) / columns;
    made.scales = value(
        format.weightBits != 4
            ? constants.scale(grid.scales)
            : constants.inMemory(oriented(
                  interpret::HostTensor::of(ElementType::F32, {groups, columns}, grid.scales), transposed)));
    if (isUnsigned)
      made.zeros = value(constants.inMemory(tensor({grid.zeros.begin(), grid.zeros.end()}, groups)));
    return made;
  }

  /// What GPTQ needs to know of an input: nothing where no samples were seen.
  struct GptqInput {
    std::vector<double> importance; ///< The Gram matrix's diagonal.
    std::optional<GptqFactor> factor;
  };
  /// Multiplications that read one input, one after another, share it.
  const GptqInput &gptqInput(nn::LinearOp linear, const std::vector<float> &factors, int64_t rows) {
    auto key = std::pair(linear.getInput().getAsOpaquePointer(), factors);
    if (lastInput.first == key)
      return lastInput.second;
    GptqInput input;
    std::vector<double> gram = gramOf(linear, factors);
    for (int64_t i = 0; !gram.empty() && i < rows; ++i)
      input.importance.push_back(gram[static_cast<size_t>(i * rows + i)]);
    if (!gram.empty())
      input.factor = gptqFactor(gram, rows, reader.threads());
    lastInput = {key, std::move(input)};
    return lastInput.second;
  }

  interpret::HostTensor oriented(const interpret::HostTensor &matrix, bool transposed) {
    return transposed ? interpret::transpose(reader.threads(), matrix, std::vector<int64_t>{1, 0}) : matrix;
  }

  /// The greatest number of e4m3 for the greatest magnitude.
  static float fp8Scale(float least, float greatest) {
    float most = std::max(std::abs(least), std::abs(greatest));
    return most > 0 ? most / 448 : 1;
  }

  Value fp8Weights(TypedAttr weight, RankedTensorType type, const std::vector<float> &most, int64_t axis,
                   Location loc) {
    Constants constants(builder, loc, reader);
    std::vector<float> scales, inverse;
    for (float m : most) {
      scales.push_back(fp8Scale(-m, m));
      inverse.push_back(1 / scales.back());
    }
    weight = nn::ScaledAttr::get(builder.getContext(), weight, builder.getDenseF32ArrayAttr(inverse), axis,
                                 cast<RankedTensorType>(weight.getType()));
    auto small = nn::ConvertedAttr::get(builder.getContext(), weight,
                                        type.clone(Float8E4M3FNType::get(builder.getContext())));
    Value scale = constants.scale(scales), values = constants.materialize(small);
    return nn::DequantizeOp::create(builder, loc, type, values, scale, Value(), scales.size() > 1 ? axis : 0,
                                    0);
  }

  /// A convolution, or a product of activations.
  LogicalResult inFp8(Operation *op) {
    auto e4m3 = Float8E4M3FNType::get(builder.getContext());
    for (unsigned i = 0; i < op->getAttrOfType<ArrayAttr>(rangesAttr).size(); ++i) {
      Range range = rangeOf(op, i);
      float scale =
          fp8Scale(*std::ranges::min_element(range.least), *std::ranges::max_element(range.greatest));
      op->setOperand(i, aroundFp8(builder, op->getLoc(), op->getOperand(i), scale, e4m3));
    }
    auto conv = dyn_cast<nn::ConvOp>(op);
    TypedAttr weight = conv ? constantOf(conv.getWeight()) : TypedAttr();
    if (!weight)
      return success();
    weight = asF32(weight);
    Constants constants(builder, op->getLoc(), reader);
    interpret::HostTensor elements = constants.floats(weight);
    if (!elements)
      return failure();
    conv.getWeightMutable().assign(
        fp8Weights(weight, conv.getWeight().getType(), byChannel(elements), 0, conv.getLoc()));
    return success();
  }

  /// Greatest magnitudes of a convolution's output channels.
  static std::vector<float> byChannel(const interpret::HostTensor &weight) {
    int64_t channels = weight.dim(0);
    return magnitudes(weight.reshaped({channels, channels ? weight.count() / channels : 0}), 0);
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
    std::vector<float> most = byChannel(elements);
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
  const GramOf &gramOf;
  RoundedWeights &rounded;
  std::pair<std::pair<void *, std::vector<float>>, GptqInput> lastInput = {};
  std::map<std::tuple<const void *, Activations, std::vector<float>>, Input> inputs;
};

} // namespace

LogicalResult insertQuantization(func::FuncOp function, interpret::ConstantReader &constants,
                                 const GramOf &gramOf, RoundedWeights *rounded) {
  RoundedWeights own;
  return Inserter(function, constants, gramOf, rounded ? *rounded : own).run();
}

} // namespace npuc::quantize
