#include "test/conformance/OnnxTest.h"

#include "compiler/import/Import.h"
#include "compiler/import/Types.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"

#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <onnx/onnx_pb.h>

namespace npuc::conformance {
namespace {

namespace fs = std::filesystem;
using interpret::HostTensor;

/// Which inputs are imported as constants.
enum class Constants : uint8_t { None, Integers, All };

std::string oneLine(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

template <typename Proto>
std::optional<Proto> readProto(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  Proto proto;
  if (!in || !proto.ParseFromIstream(&in))
    return std::nullopt;
  return proto;
}

struct NamedTensor {
  std::string name;
  mlir::DenseElementsAttr value;
};

/// The tensors in `folder`/PREFIX_0.pb, …, one for each of `names`; nothing if one is not a tensor that nn
/// has.
std::optional<std::vector<NamedTensor>> readTensors(const fs::path &folder, const char *prefix,
                                                    const std::vector<std::string> &names,
                                                    mlir::MLIRContext &context) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < names.size(); ++i) {
    fs::path path = folder / fmt::format("{}_{}.pb", prefix, i);
    if (!fs::exists(path))
      continue; // an optional input that is left out
    auto proto = readProto<onnx::TensorProto>(path);
    mlir::Type element = proto ? importer::elementType(proto->data_type(), &context) : mlir::Type();
    if (!element)
      return std::nullopt;
    std::vector<int64_t> shape(proto->dims().begin(), proto->dims().end());
    auto type = mlir::RankedTensorType::get(shape, element);
    mlir::DenseElementsAttr value = importer::denseFromTensor(type, *proto);
    if (!value)
      return std::nullopt;
    tensors.push_back({names[i], value});
  }
  return tensors;
}

/// As ONNX compares: floats within 1e-7 + 1e-3 · |expected|, anything else exactly. Empty, or what differs.
std::string difference(const HostTensor &actual, const HostTensor &expected, ThreadPool &pool) {
  if (actual.type() != expected.type())
    return fmt::format("type {} instead of {}", name(actual.type()), name(expected.type()));
  if (actual.shape() != expected.shape())
    return fmt::format("shape [{}] instead of [{}]", fmt::join(actual.shape(), ", "),
                       fmt::join(expected.shape(), ", "));
  if (!isFloat(actual.type())) {
    for (size_t i = 0; i < actual.bytes(); ++i)
      if (actual.raw()[i] != expected.raw()[i])
        return fmt::format("element {} differs", i / interpret::itemSize(actual.type()));
    return "";
  }
  HostTensor y = interpret::cast(pool, actual, ElementType::F64),
             r = interpret::cast(pool, expected, ElementType::F64);
  for (int64_t i = 0; i < y.count(); ++i) {
    double a = y.data<double>()[i], e = r.data<double>()[i];
    bool same = std::isnan(e) ? std::isnan(a) : a == e || std::abs(a - e) <= 1e-7 + 1e-3 * std::abs(e);
    if (!same)
      return fmt::format("element {} is {} instead of {}", i, a, e);
  }
  return "";
}

struct Model {
  fs::path path;
  std::vector<std::string> inputs, outputs;
};

/// What is wrong with the data set in `folder`, or nothing. `imported` tells whether it was only the run that
/// failed.
std::string runSet(const Model &model, const fs::path &folder, Constants constants, ThreadPool &pool,
                   bool &imported) {
  imported = false;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  importer::ImportOptions options;
  options.evaluator = interpret::foldingEvaluator(pool);
  // Reading constants needs the context's types only; what cannot be read is reported by the import, with its
  // reason.
  auto inputs = readTensors(folder, "input", model.inputs, context);
  std::vector<NamedTensor> arguments;
  for (const NamedTensor &input : inputs ? *inputs : std::vector<NamedTensor>()) {
    options.shapes[input.name] = input.value.getType().getShape().vec();
    bool integer = input.value.getElementType().isInteger();
    if (constants == Constants::All || (constants == Constants::Integers && integer))
      options.constantInputs[input.name] = input.value;
    else
      arguments.push_back(input);
  }
  Diagnostics diagnostics;
  mlir::OwningOpRef<mlir::ModuleOp> module = importer::importModel(model.path, options, context, diagnostics);
  if (!module)
    return oneLine(diagnostics.text());
  if (!inputs)
    return "the data has a type that nn lacks";
  auto outputs = readTensors(folder, "output", model.outputs, context);
  if (!outputs)
    return "the data has a type that nn lacks";
  imported = true;
  std::vector<HostTensor> tensors;
  for (const NamedTensor &argument : arguments)
    tensors.push_back(interpret::fromElements(argument.value));
  auto function = module->lookupSymbol<mlir::func::FuncOp>("main");
  if (function.getNumArguments() != tensors.size())
    return fmt::format("the function takes {} arguments instead of {}", function.getNumArguments(),
                       tensors.size());
  interpret::InterpreterOptions interpreterOptions;
  interpreterOptions.threads = 1;
  interpret::Interpreter interpreter(function, interpreterOptions);
  auto results = interpreter.run(llvm::ArrayRef(tensors), diagnostics);
  if (!results)
    return oneLine(diagnostics.text());
  if (results->size() != outputs->size())
    return fmt::format("{} outputs instead of {}", results->size(), outputs->size());
  for (size_t i = 0; i < results->size(); ++i)
    if (std::string what = difference((*results)[i], interpret::fromElements((*outputs)[i].value), pool);
        !what.empty())
      return fmt::format("output '{}': {}", (*outputs)[i].name, what);
  return "";
}

std::string runWith(const Model &model, const fs::path &folder, Constants constants, ThreadPool &pool,
                    bool &imported) {
  for (int set = 0; fs::exists(folder / fmt::format("test_data_set_{}", set)); ++set)
    if (std::string what =
            runSet(model, folder / fmt::format("test_data_set_{}", set), constants, pool, imported);
        !what.empty())
      return what;
  return "";
}

} // namespace

Outcome TestRunner::run(const fs::path &folder) {
  auto start = std::chrono::steady_clock::now();
  Outcome outcome;
  Model model{folder / "model.onnx", {}, {}};
  auto proto = readProto<onnx::ModelProto>(model.path);
  if (!proto || !fs::exists(folder / "test_data_set_0")) {
    outcome.message = "the test's files cannot be read";
    return outcome;
  }
  for (const auto &input : proto->graph().input())
    model.inputs.push_back(input.name());
  for (const auto &output : proto->graph().output())
    model.outputs.push_back(output.name());
  for (Constants constants : {Constants::None, Constants::Integers, Constants::All}) {
    bool imported = false;
    std::string what = runWith(model, folder, constants, pool_, imported);
    outcome.message = what;
    outcome.passed = what.empty();
    outcome.constantInputs = outcome.passed && constants != Constants::None;
    if (outcome.passed || imported)
      break;
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

} // namespace npuc::conformance
