#include "compiler/quantize/QdqGraph.h"

#include "compiler/import/Node.h"
#include "compiler/interpret/HostTensor.h"

#include <fmt/format.h>

#include <cstring>

namespace npuc::quantize {
namespace {

/// Opsets in which QuantizeLinear and DequantizeLinear got scales for each index of an axis; fp8; and blocks,
/// integers of 4 and 16 bits.
constexpr int64_t withAxis = 13, withFloat8 = 19, withBlocks = 21;

bool isFloat8(ElementType type) {
  return type == ElementType::F8E4M3 || type == ElementType::F8E5M2;
}

bool isFourBits(ElementType type) {
  return type == ElementType::I4 || type == ElementType::U4;
}

onnx::TensorProto::DataType onnxType(ElementType type) {
  switch (type) {
  case ElementType::I4:
    return onnx::TensorProto::INT4;
  case ElementType::U4:
    return onnx::TensorProto::UINT4;
  case ElementType::U8:
    return onnx::TensorProto::UINT8;
  case ElementType::I16:
    return onnx::TensorProto::INT16;
  case ElementType::U16:
    return onnx::TensorProto::UINT16;
  case ElementType::I64:
    return onnx::TensorProto::INT64;
  case ElementType::F8E4M3:
    return onnx::TensorProto::FLOAT8E4M3FN;
  case ElementType::F8E5M2:
    return onnx::TensorProto::FLOAT8E5M2;
  case ElementType::F16:
    return onnx::TensorProto::FLOAT16;
  case ElementType::BF16:
    return onnx::TensorProto::BFLOAT16;
  case ElementType::F32:
    return onnx::TensorProto::FLOAT;
  case ElementType::F64:
    return onnx::TensorProto::DOUBLE;
  default:
    return onnx::TensorProto::INT8;
  }
}

/// The first opset whose quantization has `type`.
int64_t sinceOpset(ElementType type) {
  if (isFloat8(type))
    return withFloat8;
  return type == ElementType::I8 || type == ElementType::U8 ? 10 : withBlocks;
}

const onnx::AttributeProto *attribute(const onnx::NodeProto &node, const char *name) {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

void set(onnx::NodeProto &node, const char *name, int64_t value) {
  onnx::AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(value);
}

void set(onnx::NodeProto &node, const char *name, const std::vector<int64_t> &values) {
  onnx::AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(onnx::AttributeProto::INTS);
  for (int64_t value : values)
    attribute->add_ints(value);
}

template <typename T>
std::string_view bytesOf(const std::vector<T> &values) {
  return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

/// Calls `use` with the name of every tensor that the graph's nodes read, subgraphs' included.
void forEachUse(onnx::GraphProto &graph, const std::function<void(const std::string &)> &use) {
  for (const onnx::ValueInfoProto &output : graph.output())
    use(output.name());
  for (onnx::NodeProto &node : *graph.mutable_node()) {
    for (const std::string &input : node.input())
      use(input);
    for (onnx::AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_g())
        forEachUse(*attribute.mutable_g(), use);
      for (onnx::GraphProto &inner : *attribute.mutable_graphs())
        forEachUse(inner, use);
    }
  }
}

/// A matrix of elements of one byte, its dimensions exchanged.
interpret::HostTensor transposed(const interpret::HostTensor &matrix) {
  int64_t rows = matrix.dim(0), columns = matrix.dim(1);
  interpret::HostTensor result(matrix.type(), {columns, rows});
  const auto *x = matrix.data<uint8_t>();
  auto *y = result.mutableData<uint8_t>();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      y[c * rows + r] = x[r * columns + c];
  return result;
}

template <typename T>
std::vector<T> transposed(const std::vector<T> &matrix, int64_t rows, int64_t columns) {
  std::vector<T> result(matrix.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      result[static_cast<size_t>(c * rows + r)] = matrix[static_cast<size_t>(r * columns + c)];
  return result;
}

/// The grid of a matrix whose dimensions are exchanged.
Grid transposed(Grid grid) {
  grid.axis = 1 - grid.axis;
  if (grid.blockSize == 0 || grid.shape.size() != 2)
    return grid;
  grid.scales = transposed(grid.scales, grid.shape[0], grid.shape[1]);
  if (grid.zeroPoints.size() > 1)
    grid.zeroPoints = transposed(grid.zeroPoints, grid.shape[0], grid.shape[1]);
  std::swap(grid.shape[0], grid.shape[1]);
  return grid;
}

} // namespace

QdqGraph::QdqGraph(onnx::ModelProto &model, interpret::ConstantReader &constants, Store store,
                   Diagnostics &diagnostics)
    : graph_(*model.mutable_graph()), constants_(constants), store_(std::move(store)),
      diagnostics_(diagnostics), around_(static_cast<size_t>(graph_.node_size())) {
  for (const onnx::OperatorSetIdProto &import : model.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx")
      opset_ = import.version();
  for (int i = 0; i < graph_.node_size(); ++i) {
    named_[importer::displayName(graph_.node(i))].push_back(i);
    names_.insert(graph_.node(i).name());
    for (const std::string &output : graph_.node(i).output())
      producers_[output] = i;
  }
  forEachUse(graph_, [&](const std::string &name) { names_.insert(name); });
  for (const auto &[name, node] : producers_)
    names_.insert(name);
  for (const onnx::TensorProto &tensor : graph_.initializer())
    names_.insert(tensor.name());
}

int QdqGraph::producerOf(const std::string &tensor) const {
  auto found = producers_.find(tensor);
  return found == producers_.end() ? -1 : found->second;
}

/// The node that is meant; -1 with the reason if there is none.
int QdqGraph::multiplication(const ExportedNode &how, std::string &why) const {
  auto isMultiplication = [&](int i) {
    const std::string &type = graph_.node(i).op_type();
    return graph_.node(i).domain().empty() && (type == "MatMul" || type == "Gemm" || type == "Conv");
  };
  auto found = named_.find(how.node);
  if (found == named_.end()) {
    why = "it stands for no node of the model's main graph";
    return -1;
  }
  if (found->second.size() != 1) {
    why = "several nodes have its name";
    return -1;
  }
  int at = found->second.front();
  if (isMultiplication(at))
    return at;
  // The addition of its bias, possibly after a reshape.
  std::vector<int> candidates;
  if (graph_.node(at).op_type() == "Add")
    for (std::string input : graph_.node(at).input()) {
      int from = producerOf(input);
      while (from >= 0 && graph_.node(from).op_type() == "Reshape")
        from = producerOf(graph_.node(from).input(0));
      if (from >= 0 && isMultiplication(from))
        candidates.push_back(from);
    }
  if (candidates.size() == 1)
    return candidates.front();
  why = fmt::format("its node, {}, is no MatMul, Gemm or Conv", graph_.node(at).op_type());
  return -1;
}

std::string QdqGraph::unique(std::string name) {
  std::string candidate = name;
  for (int i = 1; !names_.insert(candidate).second; ++i)
    candidate = fmt::format("{}_{}", name, i);
  return candidate;
}

onnx::NodeProto &QdqGraph::add(Nodes &nodes, const char *operation, std::vector<std::string> inputs,
                               const std::string &output) {
  onnx::NodeProto &node = nodes.emplace_back();
  node.set_op_type(operation);
  node.set_name(unique(output + "_" + operation));
  for (std::string &input : inputs)
    node.add_input(std::move(input));
  node.add_output(output);
  return node;
}

std::string QdqGraph::make(Nodes &nodes, const char *operation, std::vector<std::string> inputs,
                           const std::string &output) {
  std::string name = unique(output);
  add(nodes, operation, std::move(inputs), name);
  return name;
}

std::string QdqGraph::initializer(const std::string &name, ElementType type, std::vector<int64_t> shape,
                                  std::string_view bytes) {
  onnx::TensorProto *tensor = graph_.add_initializer();
  tensor->set_name(unique(name));
  tensor->set_data_type(onnxType(type));
  for (int64_t size : shape)
    tensor->add_dims(size);
  (void)store_(*tensor, bytes); // Errors are counted in the end.
  return tensor->name();
}

std::string QdqGraph::reals(const std::string &name, std::vector<int64_t> shape,
                            const std::vector<float> &values) {
  return initializer(name, ElementType::F32, std::move(shape), bytesOf(values));
}

std::string QdqGraph::integers(const std::string &name, const std::vector<int64_t> &values) {
  return initializer(name, ElementType::I64, {static_cast<int64_t>(values.size())}, bytesOf(values));
}

/// Zero points of the grid's type and shape: all of them, or one for all.
std::string QdqGraph::numbers(const std::string &name, const Grid &grid, const std::vector<double> &values) {
  size_t count = grid.scales.size();
  auto at = [&](size_t i) { return static_cast<int64_t>(values.size() == 1 ? values[0] : values[i]); };
  std::string bytes;
  if (isFourBits(grid.type)) {
    bytes.assign((count + 1) / 2, '\0');
    for (size_t i = 0; i < count; ++i)
      bytes[i / 2] = static_cast<char>(bytes[i / 2] | ((at(i) & 15) << (i % 2 * 4)));
  } else {
    for (size_t i = 0; i < count; ++i) { // fp8 has no zero points but 0, which is zero bits.
      auto value = static_cast<uint16_t>(at(i));
      bytes.append(reinterpret_cast<const char *>(&value), bitWidth(grid.type) / 8);
    }
  }
  return initializer(name, grid.type, grid.shape, bytes);
}

/// Where what reads `tensor` first can be put.
QdqGraph::Nodes &QdqGraph::placeAfter(const std::string &tensor) {
  int producer = producerOf(tensor);
  return producer < 0 ? first_ : around_[static_cast<size_t>(producer)].after;
}

std::string QdqGraph::converted(Nodes &nodes, const std::string &tensor, ElementType type) {
  std::string result = make(nodes, "Cast", {tensor}, tensor + "_" + std::string(name(type)));
  set(nodes.back(), "to", static_cast<int64_t>(onnxType(type)));
  return result;
}

/// Floats of f32 rounded to the grid, and back, to `floats`.
std::string QdqGraph::around(Nodes &nodes, const std::string &tensor, const Grid &grid, ElementType floats) {
  std::string scale = reals(tensor + "_scale", {}, grid.scales),
              zero = numbers(tensor + "_zero_point", grid, grid.zeroPoints);
  std::string q = make(nodes, "QuantizeLinear", {tensor, scale, zero}, tensor + "_QuantizeLinear_Output");
  q = make(nodes, "DequantizeLinear", {q, scale, zero}, tensor + "_DequantizeLinear_Output");
  return floats == ElementType::F32 ? q : converted(nodes, q, floats);
}

/// A reduction over the last dimension, which stays; its axes became an operand in opset `axesAreInput`.
std::string QdqGraph::reduced(Nodes &nodes, const char *operation, const std::string &tensor,
                              int64_t axesAreInput, const std::string &output) {
  if (opset_ >= axesAreInput)
    return make(nodes, operation, {tensor, integers(output + "_axes", {-1})}, output);
  std::string name = make(nodes, operation, {tensor}, output);
  set(nodes.back(), "axes", std::vector<int64_t>{-1});
  return name;
}

/// Floats of f32 rounded to 127 steps up to the greatest of their row, and back, to `floats`.
std::string QdqGraph::aroundRows(Nodes &nodes, const std::string &tensor, int64_t row, ElementType floats) {
  std::string most = reduced(nodes, "ReduceMax", make(nodes, "Abs", {tensor}, tensor + "_magnitudes"), 18,
                             tensor + "_greatest");
  std::string scale =
      make(nodes, "Mul", {most, reals(tensor + "_step", {}, {1.0f / 127})}, tensor + "_steps");
  scale = make(nodes, "Max", {scale, reals(tensor + "_least", {}, {1e-20f})}, tensor + "_scale");
  std::string q;
  if (opset_ >= withBlocks) {
    auto block = [&] {
      set(nodes.back(), "axis", int64_t{-1});
      set(nodes.back(), "block_size", row);
    };
    q = make(nodes, "QuantizeLinear", {tensor, scale}, tensor + "_QuantizeLinear_Output");
    block();
    set(nodes.back(), "output_dtype", static_cast<int64_t>(onnx::TensorProto::INT8));
    q = make(nodes, "DequantizeLinear", {q, scale}, tensor + "_DequantizeLinear_Output");
    block();
  } else {
    q = make(nodes, "Round", {make(nodes, "Div", {tensor, scale}, tensor + "_quotients")},
             tensor + "_rounded");
    q = make(nodes, "Mul", {q, scale}, tensor + "_restored");
  }
  return floats == ElementType::F32 ? q : converted(nodes, q, floats);
}

std::string QdqGraph::quantized(const std::string &tensor, const ExportedNode::Input &input,
                                ElementType floats) {
  const Grid &grid = input.grid;
  std::string key = tensor + '\0' + std::to_string(static_cast<int>(grid.type)) + std::to_string(input.row);
  key.append(bytesOf(grid.scales)).append(bytesOf(grid.zeroPoints)).append(bytesOf(input.factors));
  std::string &known = known_[key];
  if (!known.empty())
    return known;
  Nodes &nodes = placeAfter(tensor);
  std::string x = floats == ElementType::F32 ? tensor : converted(nodes, tensor, ElementType::F32);
  if (!input.factors.empty()) {
    std::vector<float> reciprocals;
    for (float factor : input.factors)
      reciprocals.push_back(1 / factor);
    std::string by = reals(tensor + "_smoothing", {static_cast<int64_t>(reciprocals.size())}, reciprocals);
    x = make(nodes, "Mul", {x, by}, tensor + "_smoothed");
  }
  return known = input.row ? aroundRows(nodes, x, input.row, floats) : around(nodes, x, grid, floats);
}

/// The weights of node `at`, as initializers of integers and what makes floats of them.
std::string QdqGraph::weights(int at, const ExportedNode &how) {
  const onnx::NodeProto &node = graph_.node(at);
  Nodes &nodes = around_[static_cast<size_t>(at)].before;
  interpret::HostTensor q = constants_.read(how.weights, how.node, diagnostics_);
  if (!q)
    return {};
  Grid grid = how.weightGrid;
  const onnx::AttributeProto *transB = attribute(node, "transB");
  bool wanted = node.op_type() == "Gemm" && transB && transB->i() != 0;
  if (node.op_type() != "Conv" && wanted != how.transposed) {
    q = transposed(q);
    grid = transposed(grid);
  }
  std::string name = node.input(1);
  bool plain = grid.scales.size() == 1 && grid.blockSize == 0;
  int64_t needed = std::max(sinceOpset(grid.type), grid.blockSize ? withBlocks : plain ? 10 : withAxis);
  if (opset_ >= needed) {
    Array packed = interpret::toArray(q);
    std::string_view bytes(reinterpret_cast<const char *>(packed.data.data()), packed.data.size());
    std::string tensor = initializer(name + "_quantized", grid.type, q.shape(), bytes),
                scale = reals(name + "_scale", grid.shape, grid.scales),
                zero = numbers(name + "_zero_point", grid, grid.zeroPoints);
    std::string result =
        make(nodes, "DequantizeLinear", {tensor, scale, zero}, name + "_DequantizeLinear_Output");
    if (!plain && opset_ >= withAxis)
      set(nodes.back(), "axis", grid.axis);
    if (grid.blockSize)
      set(nodes.back(), "block_size", grid.blockSize);
    return how.floats == ElementType::F32 ? result : converted(nodes, result, how.floats);
  }
  // The same by products: bytes that stand for themselves, less zero points, times scales that broadcast.
  std::vector<int64_t> shape = q.shape(), parts = shape, aligned(shape.size(), 1);
  if (grid.blockSize) {
    parts[static_cast<size_t>(grid.axis)] = shape[static_cast<size_t>(grid.axis)] / grid.blockSize;
    parts.insert(parts.begin() + grid.axis + 1, grid.blockSize);
    aligned = grid.shape;
    aligned.insert(aligned.begin() + grid.axis + 1, 1);
  } else if (!plain) {
    aligned[static_cast<size_t>(grid.axis)] = static_cast<int64_t>(grid.scales.size());
  }
  Grid bytes{grid.type == ElementType::U4 || grid.type == ElementType::U8 ? ElementType::U8 : ElementType::I8,
             {1},
             {0},
             {},
             0,
             0};
  std::string tensor = initializer(name + "_quantized", bytes.type, parts,
                                   {reinterpret_cast<const char *>(q.raw()), q.bytes()});
  std::string one = reals(name + "_one", {}, bytes.scales), none = numbers(name + "_none", bytes, {0});
  std::string x = make(nodes, "DequantizeLinear", {tensor, one, none}, name + "_DequantizeLinear_Output");
  if (llvm::any_of(grid.zeroPoints, [](double zero) { return zero != 0; })) {
    std::vector<float> zeros(grid.zeroPoints.begin(), grid.zeroPoints.end());
    x = make(nodes, "Sub",
             {x, reals(name + "_zeros", zeros.size() == 1 ? std::vector<int64_t>() : aligned, zeros)},
             name + "_centered");
  }
  x = make(nodes, "Mul", {x, reals(name + "_scale", aligned, grid.scales)}, name + "_scaled");
  if (grid.blockSize)
    x = make(nodes, "Reshape", {x, integers(name + "_shape", shape)}, name + "_whole");
  return how.floats == ElementType::F32 ? x : converted(nodes, x, how.floats);
}

/// A product with a softmax: softmax(s) · v is Σ e·v / Σ e with e = exp(s - max s), which is rounded in the
/// place of the quotients, as these may all be small. False if operand 0 is no softmax of its last dimension,
/// possibly with NaN (of rows that see nothing) made 0.
bool QdqGraph::roundPowers(int at, const ExportedNode::Input &input, ElementType floats) {
  onnx::NodeProto &product = *graph_.mutable_node(at);
  int from = input.operand == 0 && !input.row ? producerOf(product.input(0)) : -1;
  std::string filled;
  if (from >= 0 && graph_.node(from).op_type() == "Where") {
    const onnx::NodeProto &where = graph_.node(from);
    int test = producerOf(where.input(0)), softmax = producerOf(where.input(2));
    if (test < 0 || graph_.node(test).op_type() != "IsNaN" || graph_.node(test).input(0) != where.input(2))
      return false;
    filled = where.input(1);
    from = softmax;
  }
  if (from < 0 || graph_.node(from).op_type() != "Softmax" || !graph_.node(from).domain().empty())
    return false;
  const onnx::NodeProto &softmax = graph_.node(from);
  const onnx::AttributeProto *axis = attribute(softmax, "axis");
  if (axis ? axis->i() != -1 : opset_ < 13)
    return false;
  std::string scores = softmax.input(0), result = product.output(0);
  Nodes &nodes = around_[static_cast<size_t>(at)].before, &remade = around_[static_cast<size_t>(at)].remade;
  std::string most = reduced(nodes, "ReduceMax", scores, 18, result + "_greatest");
  std::string less = make(nodes, "Sub", {scores, most}, result + "_differences");
  std::string powers = make(nodes, "Exp", {less}, result + "_powers");
  if (floats != ElementType::F32)
    powers = converted(nodes, powers, ElementType::F32);
  powers = around(nodes, powers, input.grid, floats);
  std::string sums = reduced(remade, "ReduceSum", powers, 13, result + "_sums");
  std::string weighted = unique(result + "_weighted");
  product.set_input(0, powers);
  product.set_output(0, weighted);
  if (filled.empty()) {
    add(remade, "Div", {weighted, sums}, result);
    return true;
  }
  std::string quotient = make(remade, "Div", {weighted, sums}, result + "_quotients");
  std::string test = make(remade, "IsNaN", {quotient}, result + "_tests");
  add(remade, "Where", {test, filled, quotient}, result);
  return true;
}

std::string QdqGraph::apply(const ExportedNode &how) {
  std::string why;
  int at = multiplication(how, why);
  if (at < 0)
    return why;
  if (!done_.insert(at).second)
    return "its node is quantized as another's";
  onnx::NodeProto &node = *graph_.mutable_node(at);
  const onnx::AttributeProto *transA = attribute(node, "transA");
  const Grid &grid = how.weightGrid;
  for (const ExportedNode::Input &input : how.inputs) {
    if (input.row && opset_ < 11)
      return fmt::format("opset {} does not round", opset_);
    if (!input.row && sinceOpset(input.grid.type) > opset_)
      return fmt::format("opset {} does not quantize to {}; from {} on it does", opset_,
                         name(input.grid.type), sinceOpset(input.grid.type));
    if ((!input.factors.empty() || input.row) && transA && transA->i() != 0)
      return "its input is transposed, and has more than one scale";
  }
  if (how.weights && isFloat8(grid.type) && opset_ < withFloat8)
    return fmt::format("opset {} has no {}; from {} on it has", opset_, name(grid.type), withFloat8);
  if (how.weights && grid.blockSize &&
      mlir::cast<mlir::RankedTensorType>(how.weights.getType()).getDimSize(static_cast<unsigned>(grid.axis)) %
              grid.blockSize !=
          0 &&
      opset_ < withBlocks)
    return fmt::format("opset {} has no blocks of weights; from {} on it has", opset_, withBlocks);
  for (const ExportedNode::Input &input : how.inputs)
    if (!roundPowers(at, input, how.floats))
      node.set_input(static_cast<int>(input.operand),
                     quantized(node.input(static_cast<int>(input.operand)), input, how.floats));
  if (how.weights)
    node.set_input(1, weights(at, how));
  return "";
}

void QdqGraph::finish() {
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  auto append = [&](Nodes &list) {
    for (onnx::NodeProto &node : list)
      *nodes.Add() = std::move(node);
  };
  append(first_);
  for (int i = 0; i < graph_.node_size(); ++i) {
    Around &around = around_[static_cast<size_t>(i)];
    append(around.before);
    nodes.Add()->Swap(graph_.mutable_node(i));
    append(around.remade);
    append(around.after);
  }
  graph_.mutable_node()->Swap(&nodes);

  std::map<std::string, int> uses;
  forEachUse(graph_, [&](const std::string &name) { ++uses[name]; });
  for (int i = graph_.node_size() - 1; i >= 0; --i) {
    onnx::NodeProto &node = *graph_.mutable_node(i);
    bool used = llvm::any_of(node.output(), [&](const std::string &name) { return uses[name] > 0; });
    bool hasGraph = llvm::any_of(node.attribute(), [](const auto &a) { return a.has_g(); });
    if (used || hasGraph)
      continue;
    for (const std::string &input : node.input())
      --uses[input];
    node.clear_op_type();
  }
  auto prune = [](auto *list, auto isDead) {
    list->erase(std::remove_if(list->begin(), list->end(), isDead), list->end());
  };
  std::set<std::string> alive;
  prune(graph_.mutable_node(), [](const onnx::NodeProto &node) { return node.op_type().empty(); });
  for (const onnx::NodeProto &node : graph_.node())
    alive.insert(node.output().begin(), node.output().end());
  std::set<std::string> dead;
  for (const onnx::TensorProto &tensor : graph_.initializer())
    if (uses[tensor.name()] == 0)
      dead.insert(tensor.name());
  prune(graph_.mutable_initializer(),
        [&](const onnx::TensorProto &tensor) { return dead.count(tensor.name()) != 0; });
  prune(graph_.mutable_input(),
        [&](const onnx::ValueInfoProto &info) { return dead.count(info.name()) != 0; });
  prune(graph_.mutable_value_info(),
        [&](const onnx::ValueInfoProto &info) { return alive.count(info.name()) == 0; });
}

} // namespace npuc::quantize
