// npuc run: a model on the host.
#include "tools/npuc/Command.h"
#include "tools/npuc/ModelOptions.h"

#include "compiler/interpret/Interpreter.h"

namespace npuc::tool {
namespace {

struct Options {
  ModelOptions model;
  std::string inputs, outputs, device = "interpreter";
};

bool interpret(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  std::optional<std::vector<NamedArray>> arrays = readArrays(options.inputs, d);
  if (!arrays || !options.model.finish(*arrays, d))
    return false;
  std::unique_ptr<pipeline::Compilation> compilation =
      pipeline::Compilation::import(options.model.model, options.model.compile, d);
  if (!compilation)
    return false;
  auto main = *compilation->module().getOps<mlir::func::FuncOp>().begin();
  interpret::Interpreter interpreter(main, {.threads = options.model.compile.threads});
  std::optional<std::vector<NamedArray>> results = interpreter.run(*arrays, d);
  return results && (options.outputs.empty() || writeNpz(options.outputs, *results, d));
}

} // namespace

Command addRun(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand("run", "runs a model on the host");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  app->add_option("--inputs", options->inputs,
                  "the inputs, an .npz file with arrays named as the model's inputs")
      ->required();
  app->add_option("--outputs", options->outputs, "the .npz file to write");
  app->add_option("--device", options->device, "what runs it: interpreter")
      ->check(CLI::IsMember({"interpreter"}));
  return {app, [options](Session &session) { return interpret(*options, session); }};
}

} // namespace npuc::tool
