// Quantized operators of domain com.microsoft: what they compute on the numbers that their integers stand
// for. Source of the meanings: onnxruntime's docs/ContribOperators.md.
#include "compiler/import/Handlers.h"
#include "compiler/import/Integers.h"
#include "compiler/import/Types.h"

#include "dialects/nn/IR/NN.h"

namespace npuc::importer::microsoft {
namespace {

using namespace mlir;

/// The numbers that integers stand for; a scale for each index is one for each of dimension `axis`.
Value numbers(Node &node, Value value, Value scale, Value zero, int64_t axis) {
  return dequantized(node, value, single(node, scale), single(node, zero), node.named("axis", axis));
}

/// Operand i with its scale and zero point, which follow it.
Value operand(Node &node, size_t i) {
  return numbers(node, node.input(i), node.input(i + 1), node.inputOrNull(i + 2),
                 std::max<int64_t>(0, node.type(i).getRank() - 1));
}

/// `value` as integers of operand `like`'s type, with the scale in operand i and the zero point after it.
Value integers(Node &node, Value value, size_t i, size_t like) {
  return quantized(node, value, single(node, node.input(i)), single(node, node.inputOrNull(i + 1)),
                   node.type(like).getElementType(), {});
}

/// `value` in steps of the result as integers of operand `like`'s type, with the zero point in operand i.
Value inSteps(Node &node, Value value, size_t i, size_t like) {
  return quantized(node, value, node.scalar(1, value), single(node, node.inputOrNull(i)),
                   node.type(like).getElementType(), {});
}

/// Runs a handler of the plain operator on `operands`, with this node's attributes.
Value plain(Node &node, Handler handler, ArrayRef<Value> operands, int64_t since = 1) {
  Node inner(node.proto(), since, llvm::to_vector(operands), node);
  handler(inner);
  return inner.results()[0];
}

void unary(Node &node, Handler handler, int64_t since = 1) {
  node.result(0, integers(node, plain(node, handler, operand(node, 0), since), 3, 0));
}

/// A handler of an operator whose channels are dimension 1, for nodes that may have them last.
void anyChannels(Node &node, Handler handler) {
  if (node.integer("channels_last", 0) == 0)
    return handler(node);
  Ints first = llvm::to_vector(llvm::seq<int64_t>(0, node.type(0).getRank())), last = first;
  if (first.size() < 3)
    node.fail("needs a batch, channels and spatial dimensions, found rank " + Twine(first.size()));
  std::rotate(first.begin() + 1, first.end() - 1, first.end());
  std::rotate(last.begin() + 1, last.begin() + 2, last.end());
  SmallVector<Value> operands(node.inputs());
  operands[0] = node.transpose(operands[0], first);
  Node inner(node.proto(), node.since(), operands, node);
  handler(inner);
  node.result(0, node.transpose(inner.results()[0], last));
}

Value bounded(Node &node, Value x, nn::ReduceKind kind) {
  Ints axes = llvm::to_vector(llvm::seq<int64_t>(0, Node::typeOf(x).getRank()));
  Value zero = node.scalar(0, x), bound = node.reduce(kind, x, axes, false);
  return kind == nn::ReduceKind::Min ? node.make<nn::MinOp>({bound, zero})
                                     : node.make<nn::MaxOp>({bound, zero});
}

/// x rounded to 256 steps from its least to its greatest element, 0 among them, as DynamicQuantizeLinear
/// does.
Value roundedDynamically(Node &node, Value x) {
  Value low = bounded(node, x, nn::ReduceKind::Min), high = bounded(node, x, nn::ReduceKind::Max);
  Value scale = node.make<nn::DivOp>({node.make<nn::SubOp>({high, low}), node.scalar(255, x)});
  auto equal = nn::ComparePredicateAttr::get(node.context(), nn::ComparePredicate::Eq);
  Value flat = node.make<nn::CompareOp>({scale, node.scalar(0, x)}, node.enumerated("predicate", equal));
  scale = node.make<nn::SelectOp>({flat, node.scalar(1, x), scale});
  Value zero = node.make<nn::RoundOp>(node.make<nn::NegOp>(node.make<nn::DivOp>({low, scale})));
  zero = node.cast(zero, node.builder().getIntegerType(8, false));
  Value bytes = quantized(node, x, scale, zero, Node::typeOf(zero).getElementType(), {});
  return numbers(node, bytes, scale, zero, 0);
}

Value withBias(Node &node, Value value, size_t i) {
  return node.has(i) ? node.make<nn::AddOp>({value, node.input(i)}) : value;
}

/// The bytes of a constant as elements of `type`, which it holds in as many bytes.
Value reinterpreted(Node &node, size_t i, RankedTensorType type) {
  auto constant = node.input(i).getDefiningOp<nn::ConstantOp>();
  if (!constant)
    node.decline("operand " + Twine(i) + " must be a constant");
  if (nn::byteSize(type) != nn::byteSize(node.type(i)))
    node.fail("operand " + Twine(i) + " has " + Twine(nn::byteSize(node.type(i))) + " bytes, not " +
              Twine(nn::byteSize(type)));
  if (auto external = dyn_cast<nn::ExternalAttr>(constant.getValue()))
    return node.constant(
        nn::ExternalAttr::get(node.context(), external.getPath(), external.getOffset(), type));
  DenseElementsAttr dense = Node::dense(node.input(i));
  if (!dense)
    node.decline("operand " + Twine(i) + " must be a constant of the file");
  std::string bytes;
  for (const APInt &value : dense.getValues<APInt>())
    bytes.push_back(static_cast<char>(value.getZExtValue()));
  return node.constant(denseFromBytes(type, bytes));
}

} // namespace

/// In steps of the result, as onnxruntime adds: (a - za) · (sa / s) + (b - zb) · (sb / s).
void qLinearAdd(Node &node) {
  SmallVector<Value> terms;
  for (size_t i : {0, 3}) {
    Value steps = node.make<nn::DivOp>({single(node, node.input(i + 1)), single(node, node.input(6))});
    terms.push_back(numbers(node, node.input(i), steps, node.inputOrNull(i + 2), 0));
  }
  node.result(0, inSteps(node, node.make<nn::AddOp>(terms), 7, 0));
}
/// (a - za) · (b - zb) · (sa · sb / s), of which the first product is exact.
void qLinearMul(Node &node) {
  Value product = node.make<nn::MulOp>({whole(node, node.input(0), node.inputOrNull(2), 0),
                                        whole(node, node.input(3), node.inputOrNull(5), 0)});
  Value steps = node.make<nn::MulOp>({single(node, node.input(1)), single(node, node.input(4))});
  steps = node.make<nn::DivOp>({steps, single(node, node.input(6))});
  node.result(0, inSteps(node, node.make<nn::MulOp>({product, steps}), 7, 0));
}
void qLinearSigmoid(Node &node) {
  unary(node, elementwise::sigmoid);
}
void qLinearLeakyRelu(Node &node) {
  unary(node, elementwise::leakyRelu);
}
void qLinearSoftmax(Node &node) {
  int64_t opset = node.integer("opset", 13);
  unary(node, opset < 13 ? norm::softmaxFlattened : norm::softmax, opset);
}
void qLinearAveragePool(Node &node) {
  anyChannels(node, [](Node &inner) { unary(inner, compute::averagePool); });
}
void qLinearGlobalAveragePool(Node &node) {
  anyChannels(node, [](Node &inner) { unary(inner, compute::globalAveragePool); });
}
void qLinearConv(Node &node) {
  anyChannels(node, quantization::qLinearConv);
}

void qLinearWhere(Node &node) {
  Value chosen = plain(node, elementwise::where, {node.input(0), operand(node, 1), operand(node, 4)});
  node.result(0, integers(node, chosen, 7, 1));
}
/// Of opset 11's form: its axes are an attribute.
void qLinearReduceMean(Node &node) {
  unary(node, compute::reduceMean);
}

void qLinearConcat(Node &node) {
  SmallVector<Value> parts;
  for (size_t i = 2; i + 1 < node.inputCount(); i += 3)
    parts.push_back(operand(node, i));
  if (parts.empty())
    node.fail("has nothing to concatenate");
  node.result(0, integers(node, plain(node, movement::concat, parts), 0, 2));
}

void qGemm(Node &node) {
  if (node.type(0).getRank() != 2 || node.type(3).getRank() != 2)
    node.fail("operands must be matrices");
  bool transposed = node.integer("transB", 0) != 0;
  Value a = whole(node, node.input(0), node.inputOrNull(2), 0),
        b = whole(node, node.input(3), node.inputOrNull(5), transposed ? 0 : 1);
  if (node.integer("transA", 0) != 0)
    a = node.transpose(a, {1, 0});
  Value sums = node.make<nn::LinearOp>({a, b}, Node::present({{node.unit("transposed"), transposed}}));
  Type f32 = node.builder().getF32Type();
  if (node.has(6)) // Of i32, at the scale of the products.
    sums = node.make<nn::AddOp>({sums, node.cast(node.input(6), f32)});
  SmallVector<Value> factors{node.input(1), node.input(4), node.scalar(node.real("alpha", 1.0f), sums)};
  if (node.has(7))
    return node.result(
        0, requantized(node, sums, factors, 7, 1, node.type(node.has(8) ? 8 : 0).getElementType()));
  Value scale = node.cast(single(node, factors[0]), f32);
  for (Value factor : ArrayRef(factors).drop_front())
    scale = node.make<nn::MulOp>({scale, node.cast(single(node, factor), f32)});
  node.result(0, node.make<nn::MulOp>({sums, scale}));
}

void qAttention(Node &node) {
  Value input = numbers(node, node.input(0), node.input(3), node.inputOrNull(6), 0);
  Value weight = numbers(node, node.input(1), node.input(4), node.inputOrNull(7), 1);
  Node inner(node.proto(), node.since(),
             {input, weight, node.input(2), node.inputOrNull(5), node.inputOrNull(8)}, node);
  attention(inner);
  for (auto [i, value] : llvm::enumerate(inner.results()))
    if (value)
      node.result(i, value);
}

void dynamicQuantizeMatMul(Node &node) {
  Value b = numbers(node, node.input(1), node.input(2), node.inputOrNull(3), node.type(1).getRank() - 1);
  Value product = plain(node, compute::matMul, {roundedDynamically(node, node.input(0)), b});
  node.result(0, withBias(node, product, 4));
}

void matMulIntegerToFloat(Node &node) {
  Value a = numbers(node, node.input(0), node.input(2), node.inputOrNull(4), 0);
  Value b = numbers(node, node.input(1), node.input(3), node.inputOrNull(5), node.type(1).getRank() - 1);
  node.result(0, withBias(node, plain(node, compute::matMul, {a, b}), 6));
}

/// Rows of a table of integers in blocks, as floats: the integers, scales and zero points of these rows alone
/// are read.
void gatherBlockQuantized(Node &node) {
  RankedTensorType data = node.type(0);
  int64_t rank = data.getRank(), gathered = node.axis(node.integer("gather_axis", 0), rank),
          axis = node.axis(node.integer("quantize_axis", 1), rank), bits = node.integer("bits", 4);
  int64_t block = node.integer("block_size", 128);
  if (block < 1)
    node.fail("block_size must be positive");
  Value table = node.input(0), scales = node.input(2), zeros = node.inputOrNull(3);
  if (data.getElementType().isUnsignedInteger(8)) {
    if (bits != 4 && bits != 8)
      node.decline(Twine(bits) + " bits are not supported");
    if (axis != rank - 1)
      node.fail("bytes hold integers of the last dimension, but quantize_axis is another");
    Type element = node.builder().getIntegerType(static_cast<unsigned>(bits), false);
    int64_t perByte = 8 / bits;
    // The tensor that the bytes of `type` hold.
    auto unpacked = [&](RankedTensorType type) {
      SmallVector<int64_t> shape(type.getShape());
      shape.back() *= perByte;
      return RankedTensorType::get(shape, element);
    };
    table = reinterpreted(node, 0, unpacked(data));
    if (zeros) {
      zeros = reinterpreted(node, 3, unpacked(node.type(3)));
      ArrayRef<int64_t> sizes = Node::typeOf(scales).getShape(); // Those of a row fill whole bytes.
      if (Node::typeOf(zeros).getShape() != sizes)
        zeros = node.slice(zeros, Ints(sizes.size(), 0), sizes);
    } else {
      auto type = RankedTensorType::get(Node::typeOf(scales).getShape(), element); // The middle.
      zeros = node.constant(
          DenseElementsAttr::get(type, APInt(static_cast<unsigned>(bits), uint64_t{1} << (bits - 1))));
    }
  }
  Type result = Node::typeOf(scales).getElementType();
  auto rows = [&](Value value) {
    return value ? node.make<nn::GatherOp>({value, node.input(1)}, node.named("axis", gathered)) : value;
  };
  auto real = [&](Value integers, Value scale, Value zero, int64_t at) {
    SmallVector<Value> operands{integers, scale};
    if (zero)
      operands.push_back(zero);
    return node.make<nn::DequantizeOp>(operands, {node.named("axis", at), node.named("block_size", block)},
                                       Node::typeOf(integers).clone(result));
  };
  if (gathered == axis)
    return node.result(0, rows(real(table, scales, zeros, axis)));
  int64_t more = node.type(1).getRank() - 1;
  node.result(0, real(rows(table), rows(scales), rows(zeros), axis > gathered ? axis + more : axis));
}

void matMulNBits(Node &node) {
  int64_t n = node.integer("N", 0), k = node.integer("K", 0), bits = node.integer("bits", 4);
  int64_t block = node.integer("block_size", 0);
  if (n < 1 || k < 1 || block < 1)
    node.fail("N, K and block_size must be positive");
  if (bits != 4 && bits != 8)
    node.decline(Twine(bits) + " bits are not supported");
  int64_t blocks = llvm::divideCeil(k, block), perByte = 8 / bits;
  Type element = node.builder().getIntegerType(static_cast<unsigned>(bits), false);
  Value weight = reinterpreted(node, 1, RankedTensorType::get({n, blocks * block}, element)), zeros;
  Value scales = node.reshape(node.input(2), {n, blocks});
  if (!node.has(3)) {
    // Without zero points it is the middle.
    auto type = RankedTensorType::get({n, blocks}, element);
    zeros = node.constant(
        DenseElementsAttr::get(type, APInt(static_cast<unsigned>(bits), uint64_t{1} << (bits - 1))));
  } else if (node.type(3).getElementType().isUnsignedInteger(8)) {
    // Those of a row fill whole bytes.
    int64_t row = llvm::alignTo(blocks, perByte);
    zeros = reinterpreted(node, 3, RankedTensorType::get({n, row}, element));
    if (row != blocks)
      zeros = node.slice(zeros, {0, 0}, {n, blocks});
  } else {
    zeros = node.reshape(node.input(3), {n, blocks});
  }
  if (node.has(4)) { // Which block's scale each of k has: blocks of one.
    Value groups = node.slice(node.input(4), {0}, {k});
    weight = node.slice(weight, {0, 0}, {n, k});
    for (Value *parameters : {&scales, &zeros})
      *parameters = node.make<nn::GatherOp>({*parameters, groups}, node.named("axis", int64_t{1}));
    blocks = k;
    block = 1;
  }
  Value numbers;
  if (Type real = Node::typeOf(scales).getElementType(); Node::typeOf(zeros).getElementType() == element) {
    numbers = dequantized(node, weight, scales, zeros,
                          {node.named("axis", int64_t{1}), node.named("block_size", block)});
  } else { // Zero points between integers.
    numbers = node.reshape(node.cast(weight, real), {n, blocks, block});
    numbers = node.make<nn::SubOp>({numbers, node.cast(node.reshape(zeros, {n, blocks, 1}), real)});
    numbers = node.make<nn::MulOp>({numbers, node.reshape(scales, {n, blocks, 1})});
    numbers = node.reshape(numbers, {n, blocks * block});
  }
  if (blocks * block != k)
    numbers = node.slice(numbers, {0, 0}, {n, k});
  SmallVector<Value> linear{node.input(0), numbers};
  if (node.has(5))
    linear.push_back(node.input(5));
  node.result(0, node.make<nn::LinearOp>(linear, node.unit("transposed")));
}

} // namespace npuc::importer::microsoft
