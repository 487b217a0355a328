// Quantizing, dequantizing, and contractions of integers.
#include "compiler/import/Handlers.h"

#include "compiler/import/Types.h"

namespace npuc::importer::quantization {
namespace {

using namespace mlir;

/// axis and block_size of nn.quantize for an operand of `rank` dimensions. ONNX's default axis of 1 does not
/// matter, and may not exist, where there is one scale.
SmallVector<NamedAttribute> layout(Node &node, int64_t rank, Value scale) {
  int64_t block = node.integer("block_size", 0);
  bool single = block == 0 && Node::typeOf(scale).getNumElements() == 1;
  int64_t axis = single ? 0 : node.axis(node.integer("axis", 1), rank);
  return {node.named("axis", axis), node.named("block_size", block)};
}

Value dequantized(Node &node, Value value, Value scale, Value zero, ArrayRef<NamedAttribute> attributes) {
  SmallVector<Value> operands{value, scale};
  if (zero)
    operands.push_back(zero);
  Type type = Node::typeOf(value).clone(Node::typeOf(scale).getElementType());
  return node.make<nn::DequantizeOp>(operands, attributes, type);
}

Value quantized(Node &node, Value value, Value scale, Value zero, Type element,
                ArrayRef<NamedAttribute> attributes) {
  SmallVector<Value> operands{node.cast(value, Node::typeOf(scale).getElementType()), scale};
  if (zero)
    operands.push_back(zero);
  return node.make<nn::QuantizeOp>(operands, attributes, Node::typeOf(value).clone(element));
}

bool isZero(Value zero) {
  DenseElementsAttr elements = Node::dense(zero);
  return elements && elements.isSplat() && elements.getSplatValue<APInt>().isZero();
}

/// The operand `i` of an integer contraction, minus its zero point `z`: in i32 where that is not 0. A zero
/// point per row or column has `shape`.
Value centered(Node &node, size_t i, size_t z, ArrayRef<int64_t> shape, bool wide) {
  Value value = node.input(i);
  if (!wide)
    return value;
  Type i32 = node.builder().getI32Type();
  value = node.cast(value, i32);
  if (!node.has(z) || isZero(node.input(z)))
    return value;
  Value zero = node.cast(node.input(z), i32);
  zero = node.reshape(zero, Node::typeOf(zero).getNumElements() == 1 ? ArrayRef<int64_t>() : shape);
  return node.make<nn::SubOp>({value, zero});
}

bool needsWide(Node &node) {
  return (node.has(2) && !isZero(node.input(2))) || (node.has(3) && !isZero(node.input(3)));
}

/// A scale or zero point of a matmul operand with one entry for each row (lhs) or column (rhs), made to align
/// with it.
Value aligned(Node &node, Value parameter, bool rows) {
  RankedTensorType type = Node::typeOf(parameter);
  if (type.getNumElements() == 1)
    return node.reshape(parameter, {});
  return rows && type.getRank() == 1 ? node.reshape(parameter, {type.getDimSize(0), 1}) : parameter;
}

/// (value - zero) · scale in f32 for parameters that broadcast: QLinearMatMul allows more shapes than
/// dequantizing.
Value broadcastDequantized(Node &node, size_t i, bool rows) {
  Type f32 = node.builder().getF32Type();
  Value scale = node.cast(node.input(i + 1), f32), zero = node.inputOrNull(i + 2), value = node.input(i);
  if (Node::typeOf(scale).getNumElements() == 1)
    return dequantized(node, value, node.reshape(scale, {}), zero ? node.reshape(zero, {}) : zero, {});
  // One for each row or column.
  RankedTensorType type = Node::typeOf(value), scales = Node::typeOf(scale);
  int64_t axis = type.getRank() - (rows ? 2 : 1);
  if (scales.getRank() == 1 && axis >= 0 &&
      scales.getDimSize(0) == type.getDimSize(static_cast<unsigned>(axis))) {
    if (zero && Node::typeOf(zero).getNumElements() == 1)
      zero = node.broadcast(node.reshape(zero, {}), scales.getShape());
    return dequantized(node, value, scale, zero, node.named("axis", axis));
  }
  value = node.cast(value, f32);
  if (zero)
    value = node.make<nn::SubOp>({value, node.cast(aligned(node, zero, rows), f32)});
  return node.make<nn::MulOp>({value, aligned(node, scale, rows)});
}

Value requantized(Node &node, Value value, size_t scaleAt) {
  Value scale = node.input(scaleAt), zero = node.input(scaleAt + 1);
  if (Node::typeOf(scale).getNumElements() != 1)
    node.fail("a result's scale for each row is not supported");
  return quantized(node, value, node.reshape(scale, {}), node.reshape(zero, {}),
                   Node::typeOf(zero).getElementType(), {});
}

} // namespace

void quantizeLinear(Node &node) {
  Value scale = node.input(1), zero = node.inputOrNull(2);
  Type element = zero ? Node::typeOf(zero).getElementType() : node.builder().getIntegerType(8, false);
  if (auto type = static_cast<int32_t>(node.integer("output_dtype", 0)); type != 0 && !zero)
    element = elementType(type, node.context());
  if (!element)
    node.fail("output_dtype " + onnxTypeName(static_cast<int32_t>(node.integer("output_dtype", 0))) +
              " is not supported");
  SmallVector<NamedAttribute> attributes = layout(node, node.type(0).getRank(), scale);
  attributes.push_back(node.flag("saturate", node.integer("saturate", 1) != 0));
  node.result(0, quantized(node, node.input(0), scale, zero, element, attributes));
}

void dequantizeLinear(Node &node) {
  Value scale = node.input(1);
  Value value = dequantized(node, node.input(0), scale, node.inputOrNull(2),
                            layout(node, node.type(0).getRank(), scale));
  if (auto type = static_cast<int32_t>(node.integer("output_dtype", 0))) {
    Type element = elementType(type, node.context());
    if (!element)
      node.fail("output_dtype " + onnxTypeName(type) + " is not supported");
    value = node.cast(value, element);
  }
  node.result(0, value);
}

void matMulInteger(Node &node) {
  if (node.type(0).getRank() < 2 || node.type(1).getRank() < 2)
    node.fail("operands need a rank of at least 2");
  bool wide = needsWide(node);
  Value lhs = centered(node, 0, 2, {node.has(2) ? node.type(2).getNumElements() : 0, 1}, wide);
  Value rhs = centered(node, 1, 3, {node.has(3) ? node.type(3).getNumElements() : 0}, wide);
  node.result(0, node.make<nn::MatmulOp>({lhs, rhs}));
}

void convInteger(Node &node) {
  bool wide = needsWide(node);
  Ints perOutput(static_cast<size_t>(node.type(1).getRank()), 1);
  perOutput[0] = node.type(1).getDimSize(0);
  Value input = centered(node, 0, 2, {}, wide), weight = centered(node, 1, 3, perOutput, wide);
  Node inner(node.proto(), node.since(), {input, weight}, node);
  compute::conv(inner);
  node.result(0, inner.results()[0]);
}

void qLinearMatMul(Node &node) {
  Value lhs = broadcastDequantized(node, 0, true), rhs = broadcastDequantized(node, 3, false);
  node.result(0, requantized(node, node.make<nn::MatmulOp>({lhs, rhs}), 6));
}

void qLinearConv(Node &node) {
  Value input = dequantized(node, node.input(0), node.input(1), node.input(2),
                            layout(node, node.type(0).getRank(), node.input(1)));
  Value scale = node.input(4);
  Value weight = dequantized(node, node.input(3), scale, node.input(5), {node.named("axis", int64_t{0})});
  SmallVector<Value> operands{input, weight};
  if (node.has(8)) {
    // The bias is i32 at the scale of the products.
    Value product = node.make<nn::MulOp>({node.reshape(node.input(1), {}), scale});
    operands.push_back(dequantized(node, node.input(8), product, {}, {}));
  }
  Node inner(node.proto(), node.since(), operands, node);
  compute::conv(inner);
  node.result(0, requantized(node, inner.results()[0], 6));
}

} // namespace npuc::importer::quantization
