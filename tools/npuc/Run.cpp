// npuc run: a model from its file to its outputs, on the host's interpreter or compiled, on a device.
#include "tools/npuc/Command.h"
#include "tools/npuc/CompiledModel.h"
#include "tools/npuc/ModelOptions.h"
#include "tools/npuc/Steps.h"

#include "compiler/interpret/Interpreter.h"
#include "tools/npurun/RunArtifact.h"

namespace npuc::tool {
namespace {

constexpr const char *interpreter = "interpreter";

struct Options {
  ModelOptions model;
  RunOptions run;

  /// What the run is about, with shapes bound.
  std::unique_ptr<pipeline::Compilation> import(const std::vector<NamedArray> &inputs, Diagnostics &d) {
    bool good = model.finish(inputs, d);
    if (!run.checkFiles(model.files(), d) || !checkFiles(model.writtenFiles(), model.files(), d) || !good)
      return nullptr;
    return tool::import(model.model, model.compile, d);
  }
};

bool interpret(Options &options, const std::vector<NamedArray> &inputs, Diagnostics &d) {
  std::unique_ptr<pipeline::Compilation> compilation = options.import(inputs, d);
  if (!compilation)
    return false;
  bool quantized = options.model.compile.precision == pipeline::Precision::Int8;
  {
    Progress progress; // Its line goes with it.
    if (quantized && !compilation->quantize(d))
      return false;
  }
  if (!options.model.write(*compilation, d) || !writeText("", compilation->quantization(), d))
    return false;
  auto main = *compilation->module().getOps<mlir::func::FuncOp>().begin();
  interpret::Interpreter runner(main, {.threads = options.model.compile.threads});
  std::optional<std::vector<NamedArray>> results = runner.run(inputs, d);
  return results && (options.run.outputs.empty() || writeNpz(options.run.outputs, *results, d));
}

bool runCompiled(Options &options, const std::vector<NamedArray> &inputs, Diagnostics &d) {
  std::unique_ptr<pipeline::Compilation> compilation = options.import(inputs, d);
  if (!compilation || !lower(*compilation, compilation->programLevel(), d) ||
      !options.model.write(*compilation, d))
    return false;
  std::optional<CompiledModel> compiled = CompiledModel::make(*compilation, !options.run.timingOnly, d);
  if (!compiled)
    return false;
  compilation.reset();
  options.run.threads = options.model.compile.threads;
  runArtifact(compiled->artifact(), options.model.model, options.run);
  return true;
}

bool runModel(Options &options, Session &session) {
  std::vector<NamedArray> inputs;
  if (!options.run.inputs.empty()) {
    std::optional<std::vector<NamedArray>> read = readArrays(options.run.inputs, session.diagnostics);
    if (!read)
      return false;
    inputs = std::move(*read);
  }
  return options.run.device == interpreter ? interpret(options, inputs, session.diagnostics)
                                           : runCompiled(options, inputs, session.diagnostics);
}

} // namespace

Command addRun(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "run", "runs a model: on the host, or with --target compiled in memory, on a device");
  auto options = std::make_shared<Options>();
  options->run.device.clear();
  options->model.add(*app);
  options->model.addTarget(*app);
  options->run.add(*app);
  app->add_option("--device", options->run.device,
                  "what to run on: interpreter (the default without --target), npu-sim, or for a GPU cuda or "
                  "its simulator ptx-sim; by "
                  "default npu-sim or cuda, as the target is");
  app->callback([options] {
    bool hasTarget = !options->model.compile.target.empty();
    if (!hasTarget && options->run.device.empty())
      options->run.device = interpreter;
    bool onHost = options->run.device == interpreter;
    const RunOptions &run = options->run;
    if (!onHost && !hasTarget)
      throw CLI::RequiredError("--target");
    if (onHost &&
        (run.timingOnly || run.json || run.repeat != 1 || !run.profile.empty() || !run.report.empty()))
      throw CLI::ValidationError(
          "--timing-only, --repeat, --profile, --report and --json need a --target; the interpreter "
          "has no time");
    if (onHost && run.inputs.empty())
      throw CLI::RequiredError("--inputs");
  });
  return {app, [options](Session &session) { return runModel(*options, session); }};
}

} // namespace npuc::tool
