#include "test/conformance/OnnxTest.h"
#include "test/conformance/TestData.h"

#include "compiler/import/Import.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"

#include <fmt/format.h>

namespace npuc::conformance {
namespace {

namespace fs = std::filesystem;
using interpret::HostTensor;

/// As ONNX compares.
constexpr Tolerance tolerance{.absolute = 1e-7, .relative = 1e-3};

class InterpreterRunner : public DataSetRunner {
  std::string runSet(const TestModel &model, const fs::path &data, Constants constants, bool &imported,
                     bool &) override {
    imported = false;
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    importer::ImportOptions options;
    options.evaluator = interpret::foldingEvaluator(pool);
    // Reading constants needs the context's types only; what cannot be read is reported by the import, with
    // its reason.
    auto inputs = readTensors(data, "input", model.inputs, context);
    std::vector<NamedTensor> arguments;
    for (const NamedTensor &input : inputs ? *inputs : std::vector<NamedTensor>()) {
      options.shapes[input.name] = input.value.getType().getShape().vec();
      if (isConstant(constants, input.value))
        options.constantInputs[input.name] = input.value;
      else
        arguments.push_back(input);
    }
    Diagnostics diagnostics;
    mlir::OwningOpRef<mlir::ModuleOp> module =
        importer::importModel(model.path, options, context, diagnostics);
    if (!module)
      return oneLine(diagnostics.text());
    if (!inputs)
      return "the data has a type that nn lacks";
    auto outputs = readTensors(data, "output", model.outputs, context);
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
      if (std::string what =
              difference((*results)[i], interpret::fromElements((*outputs)[i].value), tolerance, pool);
          !what.empty())
        return fmt::format("output '{}': {}", (*outputs)[i].name, what);
    return "";
  }
};

} // namespace

std::unique_ptr<Runner> interpreterRunner() {
  return std::make_unique<InterpreterRunner>();
}

} // namespace npuc::conformance
