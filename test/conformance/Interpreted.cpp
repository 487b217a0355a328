#include "test/conformance/OnnxTest.h"
#include "test/conformance/TestData.h"

#include "compiler/import/Import.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "support/ThreadPool.h"

#include <cmath>
#include <fmt/format.h>

namespace npuc::conformance {
namespace {

namespace fs = std::filesystem;
using interpret::HostTensor;

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

/// What is wrong with the data set in `folder`, or nothing. `imported` tells whether it was only the run that
/// failed.
std::string runSet(const fs::path &path, const TestModel &model, const fs::path &folder, Constants constants,
                   ThreadPool &pool, bool &imported) {
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
    if (isConstant(constants, input.value))
      options.constantInputs[input.name] = input.value;
    else
      arguments.push_back(input);
  }
  Diagnostics diagnostics;
  mlir::OwningOpRef<mlir::ModuleOp> module = importer::importModel(path, options, context, diagnostics);
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

class InterpreterRunner : public Runner {
public:
  Outcome run(const fs::path &folder) override {
    Outcome outcome;
    std::optional<TestModel> model = readModel(folder);
    if (!model) {
      outcome.message = "the test's files cannot be read";
      return outcome;
    }
    for (Constants constants : {Constants::None, Constants::Integers, Constants::All}) {
      bool imported = false;
      for (const fs::path &data : model->dataSets)
        if (outcome.message = runSet(folder / "model.onnx", *model, data, constants, pool_, imported);
            !outcome.message.empty())
          break;
      outcome.passed = outcome.message.empty();
      outcome.constantInputs = outcome.passed && constants != Constants::None;
      if (outcome.passed || imported)
        break;
    }
    return outcome;
  }

private:
  ThreadPool pool_{1};
};

} // namespace

std::unique_ptr<Runner> interpreterRunner() {
  return std::make_unique<InterpreterRunner>();
}

} // namespace npuc::conformance
