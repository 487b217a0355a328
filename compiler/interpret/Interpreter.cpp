#include "compiler/interpret/Interpreter.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/kernels/Cast.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseSet.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::interpret {
namespace {

std::string nameOf(mlir::DictionaryAttr attributes, const char *fallback, unsigned index) {
  auto name = attributes ? attributes.getAs<mlir::StringAttr>(nn::NNDialect::nameAttr) : mlir::StringAttr();
  return name ? name.str() : fallback + std::to_string(index);
}

std::string shapeText(const Shape &shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

bool hasNumPyType(ElementType type) {
  return bitWidth(type) >= 8 && (!isSmallFloat(type) || type == ElementType::F16);
}

} // namespace

/// When values of a function are dead.
struct Interpreter::Plan {
  /// For each operation of the block, in order: the values that nobody uses after it.
  std::vector<std::vector<mlir::Value>> dead;
};

Interpreter::Interpreter(mlir::func::FuncOp function, const InterpreterOptions &options)
    : function_(function), options_(options), pool_(options.threads), constants_(pool_) {}

const Interpreter::Plan &Interpreter::planOf(mlir::func::FuncOp function) {
  std::shared_ptr<const Plan> &plan = plans_[function];
  if (plan)
    return *plan;
  auto made = std::make_shared<Plan>();
  llvm::DenseSet<mlir::Value> seen;
  mlir::Block &block = function.getBody().front();
  for (mlir::Operation &operation : llvm::reverse(block)) {
    std::vector<mlir::Value> &dead = made->dead.emplace_back();
    for (mlir::Value operand : operation.getOperands())
      if (seen.insert(operand).second)
        dead.push_back(operand);
    for (mlir::Value result : operation.getResults())
      if (seen.insert(result).second)
        dead.push_back(result);
  }
  std::reverse(made->dead.begin(), made->dead.end());
  plan = made;
  return *plan;
}

HostTensor Interpreter::constant(mlir::Operation *operation, Diagnostics &diagnostics) {
  mlir::TypedAttr value = llvm::cast<nn::ConstantOp>(operation).getValue();
  auto found = kept_.find(value);
  if (found != kept_.end())
    return found->second;
  HostTensor tensor = constants_.read(value, nodeName(operation), diagnostics);
  bool isView = llvm::isa<nn::ExternalAttr>(value);
  if (tensor && !isView && keptBytes_ + tensor.bytes() <= options_.keptConstantBytes) {
    keptBytes_ += tensor.bytes();
    kept_[value] = tensor;
  }
  return tensor;
}

std::optional<std::vector<HostTensor>>
Interpreter::runOperation(mlir::Operation *operation, llvm::ArrayRef<HostTensor> operands,
                          llvm::SmallVectorImpl<mlir::Operation *> &calls, const Observer &observer,
                          Diagnostics &diagnostics) {
  if (auto call = llvm::dyn_cast<mlir::func::CallOp>(operation)) {
    auto callee = mlir::SymbolTable::lookupNearestSymbolFrom<mlir::func::FuncOp>(call, call.getCalleeAttr());
    calls.push_back(call);
    auto results = runFunction(callee, operands, calls, observer, diagnostics);
    calls.pop_back();
    return results;
  }
  std::optional<std::vector<HostTensor>> results;
  if (llvm::isa<nn::ConstantOp>(operation)) {
    if (HostTensor value = constant(operation, diagnostics))
      results = {std::move(value)};
  } else {
    results = evaluate(operation, operands, pool_, constants_, diagnostics);
  }
  if (results && observer)
    observer({operation, calls, operands, *results});
  return results;
}

std::optional<std::vector<HostTensor>>
Interpreter::runFunction(mlir::func::FuncOp function, llvm::ArrayRef<HostTensor> arguments,
                         llvm::SmallVectorImpl<mlir::Operation *> &calls, const Observer &observer,
                         Diagnostics &diagnostics) {
  const Plan &plan = planOf(function);
  mlir::Block &block = function.getBody().front();
  llvm::DenseMap<mlir::Value, HostTensor> values;
  for (auto [argument, tensor] : llvm::zip(block.getArguments(), arguments))
    values[argument] = tensor;
  for (auto [operation, dead] : llvm::zip(block, plan.dead)) {
    llvm::SmallVector<HostTensor, 4> operands;
    for (mlir::Value operand : operation.getOperands())
      operands.push_back(values.at(operand));
    if (llvm::isa<mlir::func::ReturnOp>(operation))
      return std::vector<HostTensor>(operands.begin(), operands.end());
    auto results = runOperation(&operation, operands, calls, observer, diagnostics);
    if (!results)
      return std::nullopt;
    for (auto [value, tensor] : llvm::zip(operation.getResults(), *results))
      values[value] = tensor;
    for (mlir::Value value : dead)
      values.erase(value);
  }
  llvm_unreachable("the verifier asks for a return at the end");
}

std::optional<std::vector<HostTensor>> Interpreter::run(llvm::ArrayRef<HostTensor> arguments,
                                                        Diagnostics &diagnostics, const Observer &observer) {
  llvm::SmallVector<mlir::Operation *> calls;
  return runFunction(function_, arguments, calls, observer, diagnostics);
}

namespace {

/// Every element of an array of I64 is within the range; the error names the first that is not.
bool isInRange(const Array &array, int64_t least, int64_t greatest, const std::string &where,
               Diagnostics &diagnostics) {
  HostTensor tensor = fromArray(array);
  std::span<const int64_t> values(tensor.data<int64_t>(), static_cast<size_t>(tensor.count()));
  auto outside =
      std::find_if(values.begin(), values.end(), [&](int64_t v) { return v < least || v > greatest; });
  if (outside == values.end())
    return true;
  diagnostics.error(where,
                    "element " + std::to_string(outside - values.begin()) + " is " + std::to_string(*outside),
                    "the model takes " + std::to_string(least) + " to " + std::to_string(greatest));
  return false;
}

} // namespace

/// What the model declares where `narrowed` says it, else `own`.
ElementType declaredType(mlir::Attribute narrowed, ElementType own) {
  auto declared = llvm::dyn_cast_or_null<mlir::TypeAttr>(narrowed);
  return declared ? *elementTypeOf(declared.getValue()) : own;
}

GivenArray givenArray(mlir::func::FuncOp function, unsigned argument) {
  auto type = llvm::cast<mlir::RankedTensorType>(function.getArgumentTypes()[argument]);
  ElementType declared = declaredType(function.getArgAttr(argument, "nn.narrowed"), elementTypeOf(type));
  return {nameOf(function.getArgAttrDict(argument), "argument", argument),
          hasNumPyType(declared) ? declared : ElementType::F32, shapeOf(type)};
}

std::optional<std::vector<HostTensor>> bindArguments(mlir::func::FuncOp function,
                                                     std::span<const NamedArray> inputs, ThreadPool &pool,
                                                     Diagnostics &diagnostics) {
  std::vector<HostTensor> bound(function.getNumArguments());
  std::vector<std::string> names;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    names.push_back(givenArray(function, i).name);
  size_t before = diagnostics.errorCount();
  for (const NamedArray &input : inputs) {
    auto found = std::find(names.begin(), names.end(), input.name);
    if (found == names.end()) {
      std::string wanted;
      for (const std::string &name : names)
        wanted += (wanted.empty() ? "'" : ", '") + name + "'";
      std::string near = nearest(input.name, names);
      diagnostics.error("input '" + input.name + "'", "the model has no input of this name",
                        "its inputs are " + wanted, near.empty() ? "" : "did you mean '" + near + "'?");
      continue;
    }
    auto index = static_cast<unsigned>(found - names.begin());
    auto type = llvm::cast<mlir::RankedTensorType>(function.getArgumentTypes()[index]);
    // Integers that were narrowed are the model's own outside.
    auto range = function.getArgAttrOfType<mlir::DenseI64ArrayAttr>(index, "nn.range");
    ElementType element = elementTypeOf(type),
                wanted = declaredType(function.getArgAttr(index, "nn.narrowed"), element),
                given = givenArray(function, index).type;
    std::string where = "input '" + input.name + "'";
    if (input.array.type != given)
      diagnostics.error(where, "its type is " + std::string(name(input.array.type)),
                        "the model wants " + std::string(name(wanted)),
                        "store the array as " + std::string(name(given)));
    if (input.array.shape != shapeOf(type))
      diagnostics.error(where, "its shape is " + shapeText(input.array.shape),
                        "the model wants " + shapeText(shapeOf(type)));
    if (input.array.type == given && input.array.shape == shapeOf(type) &&
        (!range || isInRange(input.array, range[0], range[1], where, diagnostics)))
      bound[index] = cast(pool, fromArray(input.array), element);
  }
  for (unsigned i = 0; i < names.size(); ++i) {
    auto type = llvm::cast<mlir::RankedTensorType>(function.getArgumentTypes()[i]);
    bool given = std::any_of(inputs.begin(), inputs.end(),
                             [&](const NamedArray &input) { return input.name == names[i]; });
    if (given)
      continue;
    diagnostics.error(
        "input '" + names[i] + "'", "it is missing",
        "the model wants " +
            std::string(name(declaredType(function.getArgAttr(i, "nn.narrowed"), elementTypeOf(type)))) +
            " of shape " + shapeText(shapeOf(type)));
  }
  if (diagnostics.errorCount() != before)
    return std::nullopt;
  return bound;
}

std::optional<std::vector<NamedArray>> Interpreter::run(std::span<const NamedArray> inputs,
                                                        Diagnostics &diagnostics, const Observer &observer) {
  std::optional<std::vector<HostTensor>> arguments = bindArguments(function_, inputs, pool_, diagnostics);
  if (!arguments)
    return std::nullopt;
  std::optional<std::vector<HostTensor>> results = run(llvm::ArrayRef(*arguments), diagnostics, observer);
  if (!results)
    return std::nullopt;
  std::vector<NamedArray> outputs;
  for (auto [i, result] : llvm::enumerate(*results)) {
    ElementType declared =
        declaredType(function_.getResultAttr(static_cast<unsigned>(i), "nn.narrowed"), result.type());
    HostTensor plain = cast(pool_, result, hasNumPyType(declared) ? declared : ElementType::F32);
    outputs.push_back(
        {nameOf(function_.getResultAttrDict(static_cast<unsigned>(i)), "result", static_cast<unsigned>(i)),
         toArray(plain)});
  }
  return outputs;
}

} // namespace npuc::interpret
