// Resize, as one weighted sum of gathered slices for each dimension that changes.
#include "compiler/import/Handlers.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

namespace npuc::importer::movement {
namespace {

using namespace mlir;

/// How one dimension is resized.
struct Axis {
  int64_t from, to;
  double scale;
  std::string coordinates; ///< coordinate_transformation_mode
};

/// The input's coordinate of the result's index i. Source: ONNX Resize-19, coordinate_transformation_mode.
double coordinate(Node &node, const Axis &axis, int64_t i) {
  auto x = static_cast<double>(i), from = static_cast<double>(axis.from), to = static_cast<double>(axis.to);
  if (axis.coordinates == "half_pixel")
    return (x + 0.5) / axis.scale - 0.5;
  if (axis.coordinates == "pytorch_half_pixel")
    return axis.to > 1 ? (x + 0.5) / axis.scale - 0.5 : 0;
  if (axis.coordinates == "asymmetric")
    return x / axis.scale;
  if (axis.coordinates == "align_corners")
    return axis.to > 1 ? x * (from - 1) / (to - 1) : 0;
  if (axis.coordinates == "half_pixel_symmetric") {
    double adjustment = to / (axis.scale * from), center = from / 2;
    return center * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5;
  }
  node.fail("coordinate_transformation_mode '" + axis.coordinates + "' is not supported");
}

int64_t nearestIndex(Node &node, const std::string &mode, double x) {
  if (mode == "round_prefer_floor")
    return static_cast<int64_t>(std::ceil(x - 0.5));
  if (mode == "round_prefer_ceil")
    return static_cast<int64_t>(std::floor(x + 0.5));
  if (mode == "floor")
    return static_cast<int64_t>(std::floor(x));
  if (mode == "ceil")
    return static_cast<int64_t>(std::ceil(x));
  node.fail("nearest_mode '" + mode + "' is not supported");
}

/// The weights of the neighbours floor(x) - 1 … floor(x) + 2 at the fraction t. Source: Keys' kernel with
/// coefficient a.
std::array<double, 4> cubicWeights(double t, double a) {
  auto near = [&](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  auto far = [&](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

/// Taps of one dimension: tap k of result i reads indices[k][i] with weights[k][i].
struct Taps {
  SmallVector<Ints> indices;
  SmallVector<SmallVector<float>> weights;
};

Taps tapsOf(Node &node, const Axis &axis, const std::string &mode) {
  bool cubic = mode == "cubic";
  size_t count = mode == "nearest" ? 1 : cubic ? 4 : 2;
  Taps taps{SmallVector<Ints>(count), SmallVector<SmallVector<float>>(count)};
  bool exclude = cubic && node.integer("exclude_outside", 0) != 0;
  for (int64_t i = 0; i < axis.to; ++i) {
    double x = coordinate(node, axis, i);
    double base = std::floor(x), t = x - base;
    std::array<double, 4> weights{1};
    auto first = static_cast<int64_t>(base);
    if (mode == "nearest")
      first = nearestIndex(node, node.text("nearest_mode", "round_prefer_floor"), x);
    else if (cubic)
      weights = cubicWeights(t, node.real("cubic_coeff_a", -0.75f)), --first;
    else
      weights = {1 - t, t};
    double total = 0;
    for (size_t k = 0; k < count; ++k) {
      int64_t at = first + static_cast<int64_t>(k);
      if (exclude && (at < 0 || at >= axis.from))
        weights[k] = 0;
      total += weights[k];
    }
    for (size_t k = 0; k < count; ++k) {
      taps.indices[k].push_back(std::clamp<int64_t>(first + static_cast<int64_t>(k), 0, axis.from - 1));
      taps.weights[k].push_back(static_cast<float>(exclude ? weights[k] / total : weights[k]));
    }
  }
  return taps;
}

Value resizeAxis(Node &node, Value value, int64_t d, const Axis &axis, const std::string &mode) {
  Taps taps = tapsOf(node, axis, mode);
  Type element = Node::typeOf(value).getElementType();
  Ints shape(static_cast<size_t>(Node::typeOf(value).getRank()), 1);
  shape[static_cast<size_t>(d)] = axis.to;
  auto weightType = RankedTensorType::get(shape, node.builder().getF32Type());
  Value sum;
  for (auto [indices, weights] : llvm::zip(taps.indices, taps.weights)) {
    Value picked =
        node.make<nn::GatherOp>({value, node.integersConstant(indices, {axis.to})}, node.named("axis", d));
    if (mode == "nearest")
      return picked;
    Value weight =
        node.cast(node.constant(DenseElementsAttr::get(weightType, ArrayRef<float>(weights))), element);
    Value term = node.make<nn::MulOp>({picked, weight});
    sum = sum ? node.make<nn::AddOp>({sum, term}) : term;
  }
  return sum;
}

SmallVector<double> constantScales(Node &node, size_t i) {
  DenseElementsAttr elements = Node::dense(node.input(i));
  if (!elements || !isa<FloatType>(elements.getElementType()))
    node.fail("the scales must be known when the model is compiled");
  return llvm::map_to_vector(elements.getValues<APFloat>(),
                             [](const APFloat &value) { return value.convertToDouble(); });
}

} // namespace

void resize(Node &node) {
  RankedTensorType type = node.type(0);
  std::string mode = node.text("mode", "nearest"),
              coordinates = node.text("coordinate_transformation_mode", "half_pixel");
  if (mode != "nearest" && mode != "linear" && mode != "cubic")
    node.fail("mode '" + mode + "' is not supported");
  if (node.integer("antialias", 0) != 0)
    node.fail("antialias is not supported");
  if (mode != "nearest" && !isa<FloatType>(type.getElementType()))
    node.fail("mode '" + mode + "' needs floating point elements");
  bool hasScales = node.has(2) && node.type(2).getNumElements() > 0;
  SmallVector<double> scales = hasScales ? constantScales(node, 2) : SmallVector<double>();
  Ints sizes = hasScales ? Ints() : node.constantIntegers(3);
  Ints axes = node.attribute("axes") ? node.axes(node.integers("axes"), type.getRank())
                                     : llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
  if (std::max(scales.size(), sizes.size()) != axes.size())
    node.fail("scales or sizes need one entry for each axis");
  std::string policy = node.text("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch")
    node.fail("keep_aspect_ratio_policy '" + policy + "' is not supported");
  Value value = node.input(0);
  for (auto [i, d] : llvm::enumerate(axes)) {
    int64_t from = type.getDimSize(d);
    Axis axis{from, 0, 1, coordinates};
    if (hasScales) {
      axis.scale = scales[i];
      // In 32 bits, as ONNX's shape inference: 3 · (10/3 rounded down) is 10 again.
      axis.to = static_cast<int64_t>(std::floor(static_cast<float>(from) * static_cast<float>(axis.scale)));
      double exact = static_cast<double>(from) * axis.scale;
      if (coordinates == "align_corners" && std::abs(exact - static_cast<double>(axis.to)) > 1e-5 * exact)
        node.fail(llvm::formatv(
            "align_corners with scale {0} of dimension {1}, whose size is {2}, is ambiguous: the last "
            "element meets the last of {3} (onnxruntime) or of {4} (ONNX's tests); give the sizes "
            "instead of scales",
            llvm::format("%g", axis.scale), d, from, axis.to, llvm::format("%g", exact)));
    } else {
      axis.to = sizes[i];
      axis.scale = static_cast<double>(axis.to) / static_cast<double>(from);
    }
    if (axis.to < 0 || !(axis.scale > 0) || from == 0)
      node.fail("dimension " + Twine(d) + " cannot be resized from " + Twine(from) + " to " + Twine(axis.to));
    if (axis.to != from || axis.scale != 1)
      value = resizeAxis(node, value, d, axis, mode);
  }
  node.result(0, value);
}

} // namespace npuc::importer::movement
