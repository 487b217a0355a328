#include "compiler/import/Integers.h"

namespace npuc::importer {

using namespace mlir;

Value single(Node &node, Value parameter) {
  if (!parameter)
    return parameter;
  RankedTensorType type = Node::typeOf(parameter);
  if (type.getNumElements() == 1)
    return node.reshape(parameter, {});
  DenseElementsAttr elements = Node::dense(parameter);
  return elements && elements.isSplat() ? node.constant(elements.resizeSplat(type.clone(ArrayRef<int64_t>())))
                                        : parameter;
}

Value dequantized(Node &node, Value integers, Value scale, Value zero, ArrayRef<NamedAttribute> attributes) {
  SmallVector<Value> operands{integers, scale};
  if (zero)
    operands.push_back(zero);
  Type type = Node::typeOf(integers).clone(Node::typeOf(scale).getElementType());
  return node.make<nn::DequantizeOp>(operands, attributes, type);
}

Value quantized(Node &node, Value value, Value scale, Value zero, Type element,
                ArrayRef<NamedAttribute> attributes) {
  SmallVector<Value> operands{node.cast(value, Node::typeOf(scale).getElementType()), scale};
  if (zero)
    operands.push_back(zero);
  return node.make<nn::QuantizeOp>(operands, attributes, Node::typeOf(value).clone(element));
}

Value whole(Node &node, Value integers, Value zero, int64_t axis) {
  zero = single(node, zero);
  SmallVector<int64_t> shape;
  if (zero)
    shape.append(Node::typeOf(zero).getShape().begin(), Node::typeOf(zero).getShape().end());
  auto type = RankedTensorType::get(shape, node.builder().getF32Type());
  Value one = node.constant(DenseElementsAttr::get(type, 1.0f));
  return dequantized(node, integers, one, zero, node.named("axis", shape.empty() ? 0 : axis));
}

Value requantized(Node &node, Value sums, ArrayRef<Value> factors, size_t i, int64_t axis, Type element) {
  Type f32 = node.builder().getF32Type();
  Value scale = node.cast(node.reshape(node.input(i), {}), f32), product;
  for (Value factor : factors) {
    factor = node.cast(single(node, factor), f32);
    product = product ? node.make<nn::MulOp>({product, factor}) : factor;
  }
  scale = node.make<nn::DivOp>({scale, product});
  return quantized(node, sums, scale, single(node, node.inputOrNull(i + 1)), element,
                   node.named("axis", Node::typeOf(scale).getRank() == 0 ? 0 : axis));
}

} // namespace npuc::importer
