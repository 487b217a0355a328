// Contractions, pooling and reductions.
#include "compiler/import/Handlers.h"

namespace npuc::importer::compute {
namespace {

using namespace mlir;

Value swapLast(Node &node, Value value) {
  Ints permutation = llvm::to_vector(llvm::seq<int64_t>(0, Node::typeOf(value).getRank()));
  std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
  return node.transpose(value, permutation);
}

bool isConstant(Value value) {
  return value.getDefiningOp<nn::ConstantOp>() != nullptr;
}

/// The geometry of a window over spatial dimensions, from a node's attributes.
struct Window {
  Ints kernel, strides, dilations, pads;

  Window(Node &node, Ints size, ArrayRef<int64_t> spatial) : kernel(std::move(size)) {
    auto count = static_cast<size_t>(spatial.size());
    if (kernel.size() != count)
      node.fail("the kernel has " + Twine(kernel.size()) + " dimensions, the operand " + Twine(count) +
                " spatial ones");
    strides = node.integers("strides", Ints(count, 1));
    dilations = node.integers("dilations", Ints(count, 1));
    pads = node.integers("pads", Ints(2 * count, 0));
    if (strides.size() != count || dilations.size() != count || pads.size() != 2 * count)
      node.fail("strides, dilations and pads need one, one and two entries for each spatial dimension");
    for (int64_t stride : strides)
      if (stride < 1)
        node.fail("strides must be positive");
    padAutomatically(node, spatial);
  }

  SmallVector<NamedAttribute> attributes(Node &node) const {
    return {node.named("strides", strides), node.named("dilations", dilations), node.named("pads", pads)};
  }

private:
  /// auto_pad: SAME makes ceil(size / stride) positions, the odd element at the end (UPPER) or the start
  /// (LOWER).
  void padAutomatically(Node &node, ArrayRef<int64_t> spatial) {
    std::string mode = node.text("auto_pad", "NOTSET");
    if (mode == "NOTSET")
      return;
    pads.assign(2 * kernel.size(), 0);
    if (mode == "VALID")
      return;
    if (mode != "SAME_UPPER" && mode != "SAME_LOWER")
      node.fail("auto_pad '" + mode + "' is not known");
    for (size_t d = 0; d < kernel.size(); ++d) {
      int64_t positions = llvm::divideCeil(spatial[d], strides[d]);
      int64_t total = std::max<int64_t>(0, (positions - 1) * strides[d] + (kernel[d] - 1) * dilations[d] + 1 -
                                               spatial[d]);
      pads[d] = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
      pads[kernel.size() + d] = total - pads[d];
    }
  }
};

void pool(Node &node, nn::PoolKind kind) {
  RankedTensorType type = node.type(0);
  if (type.getRank() < 3)
    node.fail("needs a batch, channels and spatial dimensions, found rank " + Twine(type.getRank()));
  if (node.wants(1))
    node.decline("indices of maxima are not supported");
  ArrayRef<int64_t> spatial = type.getShape().drop_front(2);
  Window window(node, node.integers("kernel_shape"), spatial);
  bool countPadding = node.integer("count_include_pad", 0) != 0;
  if (node.integer("ceil_mode", 0) != 0)
    for (size_t d = 0; d < spatial.size(); ++d) {
      // One more position where elements are left over and it would start inside of the input or its low
      // padding.
      int64_t reach = (window.kernel[d] - 1) * window.dilations[d] + 1, stride = window.strides[d];
      int64_t &high = window.pads[spatial.size() + d], low = window.pads[d];
      int64_t slack = spatial[d] + low + high - reach;
      int64_t more = llvm::divideCeil(std::max<int64_t>(0, slack), stride) * stride - slack;
      int64_t last = llvm::divideCeil(std::max<int64_t>(0, slack), stride) * stride;
      if (slack <= 0 || more == 0 || last >= spatial[d] + low)
        continue;
      if (countPadding && kind == nn::PoolKind::Average)
        node.decline("ceil_mode with count_include_pad counts a padding of its own");
      high += more;
    }
  SmallVector<NamedAttribute> attributes = window.attributes(node);
  attributes.push_back(node.enumerated("kind", nn::PoolKindAttr::get(node.context(), kind)));
  attributes.push_back(node.named("kernel", window.kernel));
  if (countPadding)
    attributes.push_back(node.unit("count_padding"));
  node.result(0, node.make<nn::PoolOp>(node.input(0), attributes));
}

void globalPool(Node &node, nn::ReduceKind kind) {
  Ints axes = llvm::to_vector(llvm::seq<int64_t>(2, std::max<int64_t>(2, node.type(0).getRank())));
  node.result(0, node.reduce(kind, node.input(0), axes, true));
}

Ints reductionAxes(Node &node) {
  int64_t rank = node.type(0).getRank();
  std::optional<Ints> given = node.integersOf("axes", 1);
  if (given && !given->empty())
    return node.axes(*given, rank);
  if (node.integer("noop_with_empty_axes", 0) != 0)
    return {};
  return llvm::to_vector(llvm::seq<int64_t>(0, rank));
}

Value reduced(Node &node, nn::ReduceKind kind, Value value) {
  return node.reduce(kind, value, reductionAxes(node), node.integer("keepdims", 1) != 0);
}

void argReduce(Node &node, nn::ReduceKind kind) {
  int64_t axis = node.axis(node.integer("axis", 0), node.type(0).getRank());
  node.result(
      0, node.make<nn::ArgReduceOp>(
             node.input(0),
             Node::present({{node.enumerated("kind", nn::ReduceKindAttr::get(node.context(), kind)), true},
                            {node.named("axis", axis), true},
                            {node.unit("keep"), node.integer("keepdims", 1) != 0},
                            {node.unit("last"), node.integer("select_last_index", 0) != 0}})));
}

} // namespace

void matMul(Node &node) {
  Value lhs = node.input(0), rhs = node.input(1);
  ArrayRef<int64_t> a = node.type(0).getShape(), b = node.type(1).getShape();
  if (a.empty() || b.empty())
    node.fail("operands must not be scalars");
  if (b.size() == 2 && isConstant(rhs) && !isConstant(lhs))
    return node.result(0, node.make<nn::LinearOp>({lhs, rhs}));
  // As numpy: a vector is a row on the left, a column on the right, and its dimension of 1 goes again.
  if (a.size() == 1)
    lhs = node.reshape(lhs, {1, a[0]});
  if (b.size() == 1)
    rhs = node.reshape(rhs, {b[0], 1});
  Value product = node.make<nn::MatmulOp>({lhs, rhs});
  Ints shape(Node::typeOf(product).getShape());
  if (a.size() == 1)
    shape.erase(shape.end() - 2);
  if (b.size() == 1)
    shape.pop_back();
  node.result(0, node.reshape(product, shape));
}

void gemm(Node &node) {
  Value a = node.input(0), b = node.input(1), c = node.inputOrNull(2);
  float alpha = node.real("alpha", 1.0f), beta = node.real("beta", 1.0f);
  if (node.type(0).getRank() != 2 || node.type(1).getRank() != 2)
    node.fail("operands must be matrices");
  if (node.integer("transA", 0) != 0)
    a = swapLast(node, a);
  bool transposed = node.integer("transB", 0) != 0;
  int64_t n = node.type(1).getDimSize(transposed ? 0 : 1);
  bool isBias = c && Node::typeOf(c).getShape() == ArrayRef<int64_t>(n);
  if (alpha == 1.0f && beta == 1.0f && (!c || isBias) && isa<FloatType>(node.type(0).getElementType())) {
    SmallVector<Value> operands{a, b};
    if (c)
      operands.push_back(c);
    return node.result(
        0, node.make<nn::LinearOp>(operands, Node::present({{node.unit("transposed"), transposed}})));
  }
  Value product = node.make<nn::LinearOp>({a, b}, Node::present({{node.unit("transposed"), transposed}}));
  if (alpha != 1.0f)
    product = node.make<nn::MulOp>({product, node.scalar(alpha, product)});
  if (c) {
    if (beta != 1.0f)
      c = node.make<nn::MulOp>({c, node.scalar(beta, c)});
    product = node.make<nn::AddOp>({product, c});
  }
  node.result(0, product);
}

void conv(Node &node) {
  RankedTensorType input = node.type(0), weight = node.type(1);
  if (input.getRank() < 3 || weight.getRank() != input.getRank())
    node.fail("operands need a batch, channels and spatial dimensions");
  Window window(node, Ints(weight.getShape().drop_front(2)), input.getShape().drop_front(2));
  SmallVector<NamedAttribute> attributes = window.attributes(node);
  attributes.push_back(node.named("groups", node.integer("group", 1)));
  SmallVector<Value> operands{node.input(0), node.input(1)};
  if (node.has(2))
    operands.push_back(node.input(2));
  node.result(0, node.make<nn::ConvOp>(operands, attributes));
}

void convTranspose(Node &node) {
  RankedTensorType input = node.type(0), weight = node.type(1);
  if (input.getRank() < 3 || weight.getRank() != input.getRank())
    node.fail("operands need a batch, channels and spatial dimensions");
  if (node.text("auto_pad", "NOTSET") != "NOTSET" || node.attribute("output_shape"))
    node.fail("auto_pad and output_shape are not supported");
  Ints kernel(weight.getShape().drop_front(2));
  Window window(node, kernel, input.getShape().drop_front(2));
  SmallVector<NamedAttribute> attributes = window.attributes(node);
  attributes.push_back(node.named("output_padding", node.integers("output_padding", Ints(kernel.size(), 0))));
  attributes.push_back(node.named("groups", node.integer("group", 1)));
  SmallVector<Value> operands{node.input(0), node.input(1)};
  if (node.has(2))
    operands.push_back(node.input(2));
  node.result(0, node.make<nn::ConvTransposeOp>(operands, attributes));
}

void maxPool(Node &node) {
  pool(node, nn::PoolKind::Max);
}
void averagePool(Node &node) {
  pool(node, nn::PoolKind::Average);
}
void globalMaxPool(Node &node) {
  globalPool(node, nn::ReduceKind::Max);
}
void globalAveragePool(Node &node) {
  globalPool(node, nn::ReduceKind::Mean);
}

void reduceSum(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Sum, node.input(0)));
}
void reduceMean(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Mean, node.input(0)));
}
void reduceMax(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Max, node.input(0)));
}
void reduceMin(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Min, node.input(0)));
}
void reduceProd(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Prod, node.input(0)));
}
void reduceLogSumExp(Node &node) {
  Value x = node.input(0);
  if (isa<FloatType>(Node::typeOf(x).getElementType()))
    return node.result(0, reduced(node, nn::ReduceKind::LogSumExp, x));
  Value sum = reduced(node, nn::ReduceKind::LogSumExp, node.cast(x, node.builder().getF64Type()));
  node.result(0, node.cast(sum, Node::typeOf(x).getElementType()));
}

void reduceL1(Node &node) {
  node.result(0, reduced(node, nn::ReduceKind::Sum, node.make<nn::AbsOp>(node.input(0))));
}

void reduceSumSquare(Node &node) {
  Value x = node.input(0);
  node.result(0, reduced(node, nn::ReduceKind::Sum, node.make<nn::MulOp>({x, x})));
}

void reduceL2(Node &node) {
  Value x = node.input(0);
  Type element = Node::typeOf(x).getElementType();
  Value sum = reduced(node, nn::ReduceKind::Sum, node.make<nn::MulOp>({x, x}));
  Type floating = isa<FloatType>(element) ? element : Type(node.builder().getF64Type());
  node.result(0, node.cast(node.make<nn::SqrtOp>(node.cast(sum, floating)), element));
}

void reduceLogSum(Node &node) {
  Value sum = reduced(node, nn::ReduceKind::Sum, node.input(0));
  Type element = Node::typeOf(sum).getElementType();
  Type floating = isa<FloatType>(element) ? element : Type(node.builder().getF64Type());
  node.result(0, node.cast(node.make<nn::LogOp>(node.cast(sum, floating)), element));
}

void argMax(Node &node) {
  argReduce(node, nn::ReduceKind::Max);
}
void argMin(Node &node) {
  argReduce(node, nn::ReduceKind::Min);
}

void topK(Node &node) {
  int64_t axis = node.axis(node.integer("axis", -1), node.type(0).getRank());
  bool smallest = node.integer("largest", 1) == 0;
  SmallVector<Value> both =
      node.build<nn::TopKOp>(node.input(0), Node::present({{node.named("k", node.constantInteger(1)), true},
                                                           {node.named("axis", axis), true},
                                                           {node.unit("smallest"), smallest}}));
  node.result(0, both[0]);
  node.result(1, both[1]);
}

void cumSum(Node &node) {
  int64_t axis = node.axis(node.constantInteger(1), node.type(0).getRank());
  node.result(
      0, node.make<nn::CumSumOp>(node.input(0),
                                 Node::present({{node.named("axis", axis), true},
                                                {node.unit("exclusive"), node.integer("exclusive", 0) != 0},
                                                {node.unit("reverse"), node.integer("reverse", 0) != 0}})));
}

} // namespace npuc::importer::compute
