// Quantizing, dequantizing, and contractions of integers.
#include "compiler/import/Integers.h"

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
  parameter = single(node, parameter);
  RankedTensorType type = Node::typeOf(parameter);
  return rows && type.getRank() == 1 ? node.reshape(parameter, {type.getDimSize(0), 1}) : parameter;
}

/// A matmul operand of QLinearMatMul, which allows more shapes of zero points than dequantizing, as whole
/// numbers.
Value wholeOperand(Node &node, size_t i, bool rows) {
  Value value = node.input(i), zero = single(node, node.inputOrNull(i + 2));
  RankedTensorType type = Node::typeOf(value);
  int64_t axis = type.getRank() - (rows ? 2 : 1), rank = zero ? Node::typeOf(zero).getRank() : 0;
  if (rank == 0 || (rank == 1 && axis >= 0))
    return whole(node, value, zero, std::max<int64_t>(axis, 0));
  Type f32 = node.builder().getF32Type();
  return node.make<nn::SubOp>({node.cast(value, f32), node.cast(aligned(node, zero, rows), f32)});
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
  bool wide = needsWide(node);
  Value lhs = centered(node, 0, 2, {node.has(2) ? node.type(2).getNumElements() : 0, 1}, wide);
  Value rhs = centered(node, 1, 3, {node.has(3) ? node.type(3).getNumElements() : 0}, wide);
  Node inner(node.proto(), node.since(), {lhs, rhs}, node);
  compute::matMul(inner);
  node.result(0, inner.results()[0]);
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
  Node inner(node.proto(), node.since(), {wholeOperand(node, 0, true), wholeOperand(node, 3, false)}, node);
  compute::matMul(inner);
  Value sums = inner.results()[0];
  Value lhs = aligned(node, node.input(1), true), rhs = aligned(node, node.input(4), false);
  if (node.type(6).getNumElements() != 1)
    node.fail("a result's scale for each row is not supported");
  SmallVector<Value> factors{lhs, rhs};
  if (Node::typeOf(lhs).getRank() > 0 ||
      Node::typeOf(rhs).getRank() > 1) // Along more than the last dimension.
    for (Value factor : std::exchange(factors, {node.scalar(1, sums)}))
      sums = node.make<nn::MulOp>({sums, node.cast(factor, Node::typeOf(sums).getElementType())});
  node.result(0, requantized(node, sums, factors, 6, Node::typeOf(sums).getRank() - 1,
                             node.type(7).getElementType()));
}

void qLinearConv(Node &node) {
  // The bias is of i32, at the scale of the products.
  SmallVector<Value> operands{whole(node, node.input(0), node.input(2), 1),
                              whole(node, node.input(3), node.input(5), 0)};
  if (node.has(8))
    operands.push_back(node.cast(node.input(8), node.builder().getF32Type()));
  Node inner(node.proto(), node.since(), operands, node);
  compute::conv(inner);
  node.result(0, requantized(node, inner.results()[0], {node.input(1), node.input(4)}, 6, 1,
                             node.type(7).getElementType()));
}

} // namespace npuc::importer::quantization
