#include "compiler/import/Node.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/Verifier.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace npuc::importer {

using namespace mlir;

namespace {

/// Of one tensor: so that no count of bytes overflows. No memory holds so many.
constexpr int64_t maximumElements = int64_t{1} << 48;

} // namespace

std::string displayName(const onnx::NodeProto &node) {
  if (!node.name().empty())
    return node.name();
  for (const std::string &output : node.output())
    if (!output.empty())
      return node.op_type() + " of " + output;
  return node.op_type();
}

std::string takeErrors(std::string &errors) {
  std::string taken = std::exchange(errors, "");
  // "'nn.add' op operands do not broadcast" speaks of an operation that the user never wrote.
  if (size_t end = taken.find("' op "); taken.starts_with("'nn.") && end != std::string::npos)
    taken.erase(0, end + 5);
  return taken;
}

Value Node::input(size_t i) const {
  if (!has(i))
    fail("operand " + Twine(i) + " is missing");
  return inputs_[i];
}

const onnx::AttributeProto *Node::attribute(StringRef name) const {
  for (const onnx::AttributeProto &attribute : proto_.attribute())
    if (attribute.name() == name)
      return &attribute;
  return nullptr;
}

int64_t Node::integer(StringRef name, int64_t otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->i() : otherwise;
}

float Node::real(StringRef name, float otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->f() : otherwise;
}

std::string Node::text(StringRef name, StringRef otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? found->s() : otherwise.str();
}

Ints Node::integers(StringRef name, Ints otherwise) const {
  const onnx::AttributeProto *found = attribute(name);
  return found ? Ints(found->ints().begin(), found->ints().end()) : otherwise;
}

DenseElementsAttr Node::dense(Value value) {
  DenseElementsAttr attribute;
  if (value)
    matchPattern(value, m_Constant(&attribute));
  return attribute;
}

Ints Node::constantIntegers(size_t i) const {
  DenseElementsAttr elements = dense(input(i));
  if (!elements) {
    Location location = input(i).getLoc();
    auto name = dyn_cast<NameLoc>(location);
    std::string source = isa<BlockArgument>(input(i)) ? "is an input of the model"
                         : name ? "is computed from data by node '" + name.getName().str() + "'"
                                : "is computed from data";
    fail(fmt::format("operand {} ('{}') must be known when the model is compiled, but {}", i,
                     proto_.input(static_cast<int>(i)), source));
  }
  if (!isa<IntegerType>(elements.getElementType()))
    fail("operand " + Twine(i) + " must be of integers");
  bool isUnsigned = elements.getElementType().isUnsignedInteger() || elements.getElementType().isInteger(1);
  return llvm::map_to_vector(elements.getValues<APInt>(), [&](const APInt &value) {
    return isUnsigned ? static_cast<int64_t>(value.getZExtValue()) : value.getSExtValue();
  });
}

int64_t Node::constantInteger(size_t i) const {
  Ints values = constantIntegers(i);
  if (values.size() != 1)
    fail("operand " + Twine(i) + " must have one element, found " + Twine(values.size()));
  return values[0];
}

std::optional<Ints> Node::integersOf(StringRef name, size_t i) const {
  if (attribute(name))
    return integers(name);
  if (has(i))
    return constantIntegers(i);
  return std::nullopt;
}

std::optional<double> Node::splat(Value value) {
  DenseElementsAttr elements = dense(value);
  if (!elements || !elements.isSplat() || !isa<FloatType>(elements.getElementType()))
    return std::nullopt;
  return elements.getSplatValue<APFloat>().convertToDouble();
}

Value Node::constant(TypedAttr value) {
  return make<nn::ConstantOp>({}, builder_.getNamedAttr("value", value), value.getType());
}

Value Node::scalar(double value, Value like) {
  Type element = typeOf(like).getElementType();
  auto type = RankedTensorType::get({}, element);
  if (auto floating = dyn_cast<FloatType>(element)) {
    APFloat number(value);
    bool loses;
    number.convert(floating.getFloatSemantics(), APFloat::rmNearestTiesToEven, &loses);
    return constant(DenseElementsAttr::get(type, number));
  }
  APInt number(element.getIntOrFloatBitWidth(), static_cast<uint64_t>(static_cast<int64_t>(value)), true,
               true);
  return constant(DenseElementsAttr::get(type, number));
}

Value Node::integersConstant(ArrayRef<int64_t> values, Ints shape) {
  return constant(DenseElementsAttr::get(RankedTensorType::get(shape, builder_.getI64Type()), values));
}

int64_t Node::axis(int64_t axis, int64_t rank) const {
  if (axis < -rank || axis >= rank)
    fail("axis " + Twine(axis) + " is not one of " + Twine(rank) + " dimensions");
  return axis < 0 ? axis + rank : axis;
}

Ints Node::axes(Ints axes, int64_t rank) const {
  for (int64_t &entry : axes)
    entry = axis(entry, rank);
  return axes;
}

SmallVector<NamedAttribute> Node::present(ArrayRef<std::pair<NamedAttribute, bool>> attributes) {
  SmallVector<NamedAttribute> result;
  for (const auto &[attribute, isThere] : attributes)
    if (isThere)
      result.push_back(attribute);
  return result;
}

void Node::failBuild() {
  throw NodeFailure{takeErrors(errors_)};
}

void Node::checkSizes(TypeRange types) const {
  for (Type type : types) {
    int64_t count = 1;
    bool overflows = false;
    for (int64_t size : mlir::cast<RankedTensorType>(type).getShape())
      overflows |= size < 0 || __builtin_mul_overflow(count, std::max<int64_t>(1, size), &count) ||
                   count > maximumElements;
    if (overflows)
      fail(fmt::format("a result of shape [{}] is too large",
                       fmt::join(mlir::cast<RankedTensorType>(type).getShape(), ", ")));
  }
}

SmallVector<Value> Node::finish(OperationState &state) {
  checkSizes(state.types);
  Operation *operation = builder_.create(state);
  if (failed(operation->getName().verifyInvariants(operation))) {
    operation->erase();
    failBuild();
  }
  if (isa<nn::ConstantOp>(operation))
    return operation->getResults();
  // An operation folds in place a few times at most, each time skipping one producer.
  SmallVector<OpFoldResult> folded;
  while (succeeded(operation->fold(folded)) && folded.empty())
    ;
  SmallVector<Value> results;
  if (folded.empty()) {
    if (!evaluate(operation, results))
      return operation->getResults();
  } else {
    for (OpFoldResult result : folded)
      results.push_back(isa<Value>(result) ? mlir::cast<Value>(result)
                                           : constant(mlir::cast<TypedAttr>(mlir::cast<Attribute>(result))));
  }
  operation->erase();
  return results;
}

bool Node::evaluate(Operation *operation, SmallVector<Value> &results) {
  if (!evaluator_)
    return false;
  auto isSmall = [](Type type) {
    return nn::byteSize(mlir::cast<RankedTensorType>(type)) < nn::NNDialect::handleBytes;
  };
  if (!llvm::all_of(operation->getResultTypes(), isSmall))
    return false;
  // Weights that are integers stay so: a target may multiply them as they are.
  if (isa<nn::DequantizeOp>(operation) && typeOf(operation->getResult(0)).getRank() > 1)
    return false;
  SmallVector<DenseElementsAttr> operands;
  for (Value operand : operation->getOperands()) {
    operands.push_back(dense(operand));
    if (!operands.back() || !isSmall(operand.getType()))
      return false;
  }
  std::optional<std::vector<DenseElementsAttr>> values = evaluator_(operation, operands);
  if (!values)
    return false;
  for (DenseElementsAttr value : *values)
    results.push_back(constant(value));
  return true;
}

Value Node::reshape(Value value, ArrayRef<int64_t> shape) {
  return make<nn::ReshapeOp>(value, {}, typeOf(value).clone(shape));
}

Value Node::transpose(Value value, ArrayRef<int64_t> permutation) {
  return make<nn::TransposeOp>(value, named("permutation", permutation));
}

Value Node::cast(Value value, Type element) {
  return make<nn::CastOp>(value, {}, typeOf(value).clone(element));
}

Value Node::slice(Value value, ArrayRef<int64_t> starts, ArrayRef<int64_t> sizes) {
  Ints steps(starts.size(), 1);
  return make<nn::SliceOp>(value, {named("starts", starts), named("sizes", sizes), named("steps", steps)});
}

Value Node::sliceAxis(Value value, int64_t axis, int64_t start, int64_t size) {
  Ints starts(static_cast<size_t>(typeOf(value).getRank())), sizes(typeOf(value).getShape());
  starts[static_cast<size_t>(axis)] = start;
  sizes[static_cast<size_t>(axis)] = size;
  return slice(value, starts, sizes);
}

Value Node::broadcast(Value value, ArrayRef<int64_t> shape) {
  return make<nn::BroadcastOp>(value, {}, typeOf(value).clone(shape));
}

Value Node::reduce(nn::ReduceKind kind, Value value, ArrayRef<int64_t> axes, bool keep) {
  return make<nn::ReduceOp>(value,
                            present({{enumerated("kind", nn::ReduceKindAttr::get(context(), kind)), true},
                                     {named("axes", axes), true},
                                     {unit("keep"), keep}}));
}

void Node::result(size_t i, Value value) {
  if (i < results_.size())
    results_[i] = value;
}

bool Node::wants(size_t i) const {
  return i < results_.size() && !proto_.output(static_cast<int>(i)).empty();
}

} // namespace npuc::importer
