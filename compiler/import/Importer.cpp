#include "compiler/import/Importer.h"

#include "compiler/import/Handlers.h"
#include "compiler/import/Opsets.h"
#include "compiler/import/Shapes.h"
#include "compiler/import/Types.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <fmt/format.h>
#include <onnx/checker.h>
#include <onnx/defs/schema.h>

namespace npuc::importer {

using namespace mlir;

namespace {

/// Functions within functions, branches within branches.
constexpr int maximumDepth = 64;

std::string normalized(const std::string &domain) {
  return domain == "ai.onnx" ? "" : domain;
}

std::string spelledDomain(const std::string &domain) {
  return domain.empty() ? "ai.onnx" : domain;
}

Opsets opsetsOf(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto> &imports) {
  Opsets opsets;
  for (const onnx::OperatorSetIdProto &import : imports)
    opsets[normalized(import.domain())] = import.version();
  return opsets;
}

const onnx::OpSchema *schemaOf(const onnx::NodeProto &node, const Opsets &opsets) {
  std::string domain = normalized(node.domain());
  auto version = opsets.find(domain);
  if (version == opsets.end())
    return nullptr;
  return onnx::OpSchemaRegistry::Schema(node.op_type(), static_cast<int>(version->second), domain);
}

/// `node` of a function's body with the attributes that it takes from the call put in. Attributes that
/// neither the call nor a default gives stay absent.
void bindAttributes(google::protobuf::RepeatedPtrField<onnx::AttributeProto> *attributes,
                    const std::map<std::string, const onnx::AttributeProto *> &given);

void bindGraph(onnx::GraphProto *graph, const std::map<std::string, const onnx::AttributeProto *> &given) {
  for (onnx::NodeProto &node : *graph->mutable_node())
    bindAttributes(node.mutable_attribute(), given);
}

void bindAttributes(google::protobuf::RepeatedPtrField<onnx::AttributeProto> *attributes,
                    const std::map<std::string, const onnx::AttributeProto *> &given) {
  for (int i = attributes->size() - 1; i >= 0; --i) {
    onnx::AttributeProto *attribute = attributes->Mutable(i);
    if (attribute->has_g())
      bindGraph(attribute->mutable_g(), given);
    if (attribute->ref_attr_name().empty())
      continue;
    auto found = given.find(attribute->ref_attr_name());
    if (found == given.end()) {
      attributes->DeleteSubrange(i, 1);
      continue;
    }
    std::string name = attribute->name();
    *attribute = *found->second;
    attribute->set_name(name);
  }
}

} // namespace

Importer::Importer(ModelFile &file, const ImportOptions &options, MLIRContext &context,
                   Diagnostics &diagnostics)
    : file_(file), options_(options), context_(context), diagnostics_(diagnostics), builder_(&context),
      opsets_(opsetsOf(file.model().opset_import())) {}

OwningOpRef<ModuleOp> Importer::run(Location location) {
  const onnx::GraphProto &graph = file_.model().graph();
  std::vector<const onnx::ValueInfoProto *> inputs = realInputs(graph);
  size_t before = diagnostics_.errorCount();
  bool opsets = checkOpsets();
  std::optional<SmallVector<Type>> types = inputTypes(inputs);
  if (!opsets || !types)
    return {};

  ScopedDiagnosticHandler handler(&context_, [&](mlir::Diagnostic &diagnostic) {
    errors_ += (errors_.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> module = ModuleOp::create(location);
  builder_.setInsertionPointToStart(module->getBody());
  auto function = func::FuncOp::create(builder_, location, "main", builder_.getFunctionType(*types, {}));
  Block *entry = function.addEntryBlock();
  builder_.setInsertionPointToStart(entry);
  Scope scope;
  scope.opsets = &opsets_;
  llvm::BitVector constants(inputs.size());
  for (auto [i, input] : llvm::enumerate(inputs)) {
    scope.values[input->name()] = entry->getArgument(i);
    auto constant = options_.constantInputs.find(input->name());
    if (constant != options_.constantInputs.end()) {
      constants.set(i);
      scope.values[input->name()] = nn::ConstantOp::create(builder_, location, constant->second);
      if (constant->second.getType() != (*types)[i])
        diagnostics_.error(fmt::format("input '{}'", input->name()),
                           "its constant is not of the type that the model states");
    }
    entry->getArgument(i).setLoc(NameLoc::get(builder_.getStringAttr(input->name())));
    function.setArgAttr(i, nn::NNDialect::nameAttr, builder_.getStringAttr(input->name()));
  }
  importGraph(graph, scope);
  returnOutputs(graph, scope, function);
  flushUnsupported();
  if (diagnostics_.errorCount() != before)
    return {};
  for (Operation &operation : llvm::make_early_inc_range(llvm::reverse(*entry)))
    if (isOpTriviallyDead(&operation))
      operation.erase();
  if (failed(function.eraseArguments(constants)))
    llvm_unreachable("nothing uses the argument of a constant input");
  return module;
}

bool Importer::checkOpsets() {
  auto version = opsets_.find("");
  if (version == opsets_.end() || (version->second >= oldestOpset && version->second <= newestOpset))
    return true;
  diagnostics_.error("", fmt::format("the model uses opset {} of ai.onnx", version->second),
                     fmt::format("opsets {} to {} are read", oldestOpset, newestOpset),
                     "convert it with onnx.version_converter, or export it with another opset");
  return false;
}

std::optional<SmallVector<Type>>
Importer::inputTypes(const std::vector<const onnx::ValueInfoProto *> &inputs) {
  std::vector<ModelInput> described;
  SmallVector<Type> elements;
  bool good = true;
  for (const onnx::ValueInfoProto *input : inputs) {
    described.push_back(describeInput(*input));
    Type element = elementType(input->type().tensor_type().elem_type(), &context_);
    elements.push_back(element);
    if (element)
      continue;
    good = false;
    bool isTensor = input->type().has_tensor_type();
    diagnostics_.error(fmt::format("input '{}'", input->name()),
                       isTensor ? fmt::format("elements of type {} are not supported", described.back().type)
                                : "only tensors are supported",
                       "", isTensor ? "" : "export the model with tensors as its inputs");
  }
  auto shapes = bindShapes(described, options_.shapes, diagnostics_);
  if (!good || !shapes)
    return std::nullopt;
  SmallVector<Type> types;
  for (auto [shape, element] : llvm::zip(*shapes, elements))
    types.push_back(RankedTensorType::get(shape, element));
  return types;
}

void Importer::returnOutputs(const onnx::GraphProto &graph, Scope &scope, Operation *operation) {
  auto function = cast<func::FuncOp>(operation);
  SmallVector<Value> results;
  for (const onnx::ValueInfoProto &output : graph.output()) {
    std::optional<Value> value = lookup(output.name(), scope);
    if (!value)
      diagnostics_.error(fmt::format("output '{}'", output.name()), "nothing in the graph computes it");
    if (!value || !*value) // Reported above, or where its node was.
      return;
    results.push_back(*value);
  }
  func::ReturnOp::create(builder_, function.getLoc(), results);
  function.setFunctionType(
      builder_.getFunctionType(function.getArgumentTypes(), TypeRange(ValueRange(results))));
  for (auto [i, output] : llvm::enumerate(graph.output()))
    function.setResultAttr(i, nn::NNDialect::nameAttr, builder_.getStringAttr(output.name()));
}

void Importer::importGraph(const onnx::GraphProto &graph, Scope &scope) {
  for (const onnx::TensorProto &tensor : graph.initializer())
    scope.initializers[tensor.name()] = &tensor;
  for (const onnx::SparseTensorProto &tensor : graph.sparse_initializer())
    diagnostics_.error(fmt::format("initializer '{}'", tensor.values().name()),
                       "sparse tensors are not supported", "", "store it as a dense tensor");
  for (const onnx::NodeProto &node : graph.node())
    importNode(node, scope);
}

std::string Importer::where(const onnx::NodeProto &node) const {
  if (!expanding_)
    return fmt::format("node '{}' ({})", displayName(node), node.op_type());
  return fmt::format("node '{}' ({}), in its function body {}", displayName(*expanding_),
                     expanding_->op_type(), node.op_type());
}

Location Importer::locationOf(const onnx::NodeProto &node) {
  return NameLoc::get(builder_.getStringAttr(displayName(expanding_ ? *expanding_ : node)));
}

void Importer::importNode(const onnx::NodeProto &node, Scope &scope) {
  SmallVector<Value> inputs;
  bool poisoned = false;
  for (const std::string &name : node.input()) {
    std::optional<Value> value = name.empty() ? Value() : lookup(name, scope);
    if (!value)
      diagnostics_.error(where(node), fmt::format("its operand '{}' is computed by no earlier node", name),
                         "", "the graph must be in topological order: export the model again");
    poisoned |= !value || (!name.empty() && !*value);
    inputs.push_back(value.value_or(Value()));
  }
  for (const std::string &name : node.output())
    if (!name.empty())
      scope.values[name] = Value();

  const onnx::OpSchema *schema = schemaOf(node, *scope.opsets);
  Node view(node, schema ? schema->SinceVersion() : 1, inputs, builder_, locationOf(node), options_.evaluator,
            errors_);
  try {
    // An operator that cannot be imported is reported even where an operand is missing already: all of them
    // at once.
    bool isKnown = localFunction(node) ||
                   (normalized(node.domain()).empty() && importsWithoutHandler(node.op_type())) ||
                   findHandler(normalized(node.domain()), node.op_type(), static_cast<int>(view.since())) ||
                   (schema && (schema->HasFunction() || schema->HasContextDependentFunction()));
    if (!isKnown)
      return reportUnsupported(node, *scope.opsets, "");
    if (poisoned)
      return;
    if (schema)
      schema->Verify(node);
    if (!importBySomeWay(node, scope, view, schema))
      return;
  } catch (const NodeReported &) {
    return;
  } catch (const NodeFailure &failure) {
    return diagnostics_.error(where(node), failure.reason);
  } catch (const NodeDeclined &declined) {
    return reportUnsupported(node, *scope.opsets, declined.reason);
  } catch (const std::exception &invalid) { // onnx: not what the operator's schema allows.
    return diagnostics_.error(where(node), "it is not valid ONNX", invalid.what(), "export the model again");
  }
  for (auto [name, value] : llvm::zip(node.output(), view.results())) {
    if (name.empty())
      continue;
    if (!value)
      diagnostics_.error(where(node), fmt::format("its output '{}' is not supported", name));
    scope.values[name] = value;
  }
}

bool Importer::importBySomeWay(const onnx::NodeProto &node, Scope &scope, Node &view,
                               const onnx::OpSchema *schema) {
  std::string domain = normalized(node.domain());
  if (const onnx::FunctionProto *function = localFunction(node)) {
    importFunction(*function, node, view, nullptr);
    return true;
  }
  if (domain.empty() && node.op_type() == "Constant")
    return importConstant(view), true;
  if (domain.empty() && node.op_type() == "If")
    return importIf(view, scope), true;
  Handler handler = findHandler(domain, node.op_type(), static_cast<int>(view.since()));
  std::string reason;
  if (handler) {
    try {
      return handler(view), true;
    } catch (const NodeDeclined &declined) {
      reason = declined.reason;
    }
  }
  if (schema && importBySchemaFunction(node, scope, view, *schema))
    return true;
  throw NodeDeclined{reason};
}

void Importer::importConstant(Node &view) {
  if (const onnx::AttributeProto *value = view.attribute("value")) {
    Value constant = tensorValue(value->t(), locationOf(view.proto()));
    if (!constant)
      throw NodeReported();
    return view.result(0, constant);
  }
  auto scalar = [&](Type element) { return RankedTensorType::get({}, element); };
  if (const onnx::AttributeProto *value = view.attribute("value_int"))
    return view.result(0, view.integersConstant({value->i()}, {}));
  if (view.attribute("value_ints")) {
    Ints values = view.integers("value_ints");
    return view.result(0, view.integersConstant(values, {static_cast<int64_t>(values.size())}));
  }
  if (const onnx::AttributeProto *value = view.attribute("value_float"))
    return view.result(0, view.constant(DenseElementsAttr::get(scalar(builder_.getF32Type()), value->f())));
  if (const onnx::AttributeProto *value = view.attribute("value_floats")) {
    SmallVector<float> values(value->floats().begin(), value->floats().end());
    auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, builder_.getF32Type());
    return view.result(0, view.constant(DenseElementsAttr::get(type, ArrayRef<float>(values))));
  }
  view.fail("a constant of strings or a sparse one is not supported");
}

void Importer::importIf(Node &view, Scope &scope) {
  bool condition = view.constantInteger(0) != 0;
  const onnx::AttributeProto *branch = view.attribute(condition ? "then_branch" : "else_branch");
  if (!branch || !branch->has_g())
    view.fail("it has no branch for its condition");
  if (++depth_ > maximumDepth)
    view.fail("branches and functions nest more than " + Twine(maximumDepth) + " deep");
  Scope inner;
  inner.parent = &scope;
  inner.opsets = scope.opsets;
  size_t before = diagnostics_.errorCount() + unsupported_.size();
  importGraph(branch->g(), inner);
  --depth_;
  for (auto [i, output] : llvm::enumerate(branch->g().output())) {
    std::optional<Value> value = lookup(output.name(), inner);
    if (!value)
      view.fail("its branch does not compute '" + output.name() + "'");
    view.result(i, *value);
  }
  if (diagnostics_.errorCount() + unsupported_.size() != before)
    throw NodeReported();
}

const onnx::FunctionProto *Importer::localFunction(const onnx::NodeProto &node) const {
  for (const onnx::FunctionProto &function : file_.model().functions())
    if (function.name() == node.op_type() && normalized(function.domain()) == normalized(node.domain()) &&
        function.overload() == node.overload())
      return &function;
  return nullptr;
}

bool Importer::importBySchemaFunction(const onnx::NodeProto &node, Scope &scope, Node &view,
                                      const onnx::OpSchema &schema) {
  auto version = static_cast<int>(scope.opsets->at(normalized(node.domain())));
  if (schema.HasFunction())
    if (const onnx::FunctionProto *function = schema.GetFunction(version)) {
      importFunction(*function, node, view, &schema);
      return true;
    }
  if (!schema.HasContextDependentFunction())
    return false;
  std::vector<onnx::TypeProto> types;
  for (Value input : view.inputs())
    types.push_back(input ? typeProto(Node::typeOf(input)) : onnx::TypeProto());
  onnx::FunctionProto function;
  if (!schema.BuildContextDependentFunction(onnx::FunctionBodyBuildContextImpl(node, types), function,
                                            version))
    return false;
  importFunction(function, node, view, &schema);
  return true;
}

void Importer::importFunction(const onnx::FunctionProto &function, const onnx::NodeProto &call, Node &view,
                              const onnx::OpSchema *schema) {
  if (++depth_ > maximumDepth)
    view.fail("branches and functions nest more than " + Twine(maximumDepth) + " deep");
  std::map<std::string, const onnx::AttributeProto *> attributes;
  if (schema)
    for (const auto &[name, attribute] : schema->attributes())
      if (!attribute.default_value.name().empty())
        attributes[name] = &attribute.default_value;
  for (const onnx::AttributeProto &attribute : function.attribute_proto())
    attributes[attribute.name()] = &attribute;
  for (const onnx::AttributeProto &attribute : call.attribute())
    attributes[attribute.name()] = &attribute;

  Opsets opsets = opsetsOf(function.opset_import());
  Scope inner;
  inner.opsets = &opsets;
  for (auto [i, name] : llvm::enumerate(function.input()))
    inner.values[name] = view.inputOrNull(i);
  // An absent optional operand is absent inside too.
  std::set<std::string> absent;
  for (auto [i, name] : llvm::enumerate(function.input()))
    if (!view.has(i))
      absent.insert(name);

  const onnx::NodeProto *outer = std::exchange(expanding_, expanding_ ? expanding_ : &call);
  size_t before = diagnostics_.errorCount() + unsupported_.size();
  for (const onnx::NodeProto &original : function.node()) {
    onnx::NodeProto node = original;
    bindAttributes(node.mutable_attribute(), attributes);
    for (std::string &name : *node.mutable_input())
      if (absent.contains(name))
        name.clear();
    importNode(node, inner);
  }
  expanding_ = outer;
  --depth_;
  for (auto [i, name] : llvm::enumerate(function.output()))
    view.result(i, inner.values.lookup(name));
  if (diagnostics_.errorCount() + unsupported_.size() != before)
    throw NodeReported();
}

std::optional<Value> Importer::lookup(StringRef name, Scope &scope) {
  for (Scope *level = &scope; level; level = const_cast<Scope *>(level->parent)) {
    if (auto found = level->values.find(name); found != level->values.end())
      return found->second;
    if (auto found = level->initializers.find(name); found != level->initializers.end()) {
      Value value = tensorValue(*found->second, NameLoc::get(builder_.getStringAttr(name)));
      level->values[name] = value;
      return value;
    }
  }
  return std::nullopt;
}

Value Importer::tensorValue(const onnx::TensorProto &tensor, Location location) {
  if (badTensors_.contains(&tensor))
    return {};
  size_t before = diagnostics_.errorCount();
  TypedAttr value = tensorAttribute(tensor);
  if (!value) {
    badTensors_.insert(&tensor);
    if (diagnostics_.errorCount() == before)
      diagnostics_.error(fmt::format("initializer '{}'", tensor.name()),
                         "its data has not the size that its shape needs", "", "export the model again");
    return {};
  }
  return nn::ConstantOp::create(builder_, location, value);
}

TypedAttr Importer::tensorAttribute(const onnx::TensorProto &tensor) {
  Type element = elementType(tensor.data_type(), &context_);
  if (!element) {
    diagnostics_.error(
        fmt::format("initializer '{}'", tensor.name()),
        fmt::format("elements of type {} are not supported", onnxTypeName(tensor.data_type())));
    return {};
  }
  Ints shape;
  int64_t count = 1;
  for (int64_t size : tensor.dims()) {
    shape.push_back(size);
    if (size < 0 || __builtin_mul_overflow(count, size, &count) || count > (int64_t{1} << 56))
      return {};
  }
  auto type = RankedTensorType::get(shape, element);
  // Large data that is still here has no bytes in the file to point at: ONNX's int32_data and int64_data are
  // coded.
  if (tensor.data_location() != onnx::TensorProto::EXTERNAL)
    return denseFromTensor(type, tensor);
  auto bytes = static_cast<uint64_t>(nn::byteSize(type));
  std::optional<DataRange> range = file_.external(tensor, bytes, diagnostics_);
  if (!range)
    return {};
  if (static_cast<int64_t>(bytes) >= nn::NNDialect::handleBytes)
    return nn::ExternalAttr::get(&context_, range->path, static_cast<int64_t>(range->offset), type);
  return denseFromBytes(type, file_.bytes(*range));
}

void Importer::reportUnsupported(const onnx::NodeProto &node, const Opsets &opsets,
                                 const std::string &reason) {
  std::string domain = normalized(node.domain());
  auto version = opsets.find(domain);
  std::string what =
      version == opsets.end()
          ? fmt::format("operator {} of domain '{}', which the model does not import, is not supported",
                        node.op_type(), spelledDomain(domain))
          : fmt::format("operator {} of {} opset {} is not supported", node.op_type(), spelledDomain(domain),
                        version->second);
  std::string name = displayName(expanding_ ? *expanding_ : node);
  for (Unsupported &entry : unsupported_)
    if (entry.what == what && entry.reason == reason)
      return entry.nodes.push_back(name);
  unsupported_.push_back({what, reason, {name}});
}

void Importer::flushUnsupported() {
  constexpr size_t shown = 8;
  for (const Unsupported &entry : unsupported_) {
    std::string where = entry.nodes.size() == 1 ? "node " : "nodes ";
    for (size_t i = 0; i < std::min(entry.nodes.size(), shown); ++i)
      where += (i ? ", '" : "'") + entry.nodes[i] + "'";
    if (entry.nodes.size() > shown)
      where += fmt::format(" and {} more", entry.nodes.size() - shown);
    diagnostics_.error(where, entry.what, entry.reason);
  }
  unsupported_.clear();
}

OwningOpRef<ModuleOp> importModel(const std::string &path, const ImportOptions &options, MLIRContext &context,
                                  Diagnostics &diagnostics) {
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
  std::optional<ModelFile> file = ModelFile::open(path, diagnostics);
  if (!file)
    return {};
  return Importer(*file, options, context, diagnostics).run(FileLineColLoc::get(&context, path, 0, 0));
}

std::optional<std::vector<ModelInput>> modelInputs(const std::string &path, Diagnostics &diagnostics) {
  std::optional<ModelFile> file = ModelFile::open(path, diagnostics);
  if (!file)
    return std::nullopt;
  std::vector<ModelInput> inputs;
  for (const onnx::ValueInfoProto *input : realInputs(file->model().graph()))
    inputs.push_back(describeInput(*input));
  return inputs;
}

} // namespace npuc::importer
