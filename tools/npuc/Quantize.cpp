// npuc quantize: a model of floats to a model of integers that others run too.
#include "tools/npuc/Command.h"
#include "tools/npuc/ModelOptions.h"
#include "tools/npuc/Steps.h"
#include "tools/npurun/RunArtifact.h"

#include "compiler/quantize/Export.h"

#include <fmt/format.h>

namespace npuc::tool {
namespace {

struct Options {
  ModelOptions model;
  std::string output;
};

bool quantizeModel(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  options.model.compile.precision = pipeline::Precision::Int8;
  options.model.compile.byNodes = true;
  bool good = options.model.finish({}, d);
  std::vector<NamedFile> written = options.model.writtenFiles();
  written.push_back({"--output", options.output});
  if (!checkFiles(written, options.model.files(), d) || !good)
    return false;
  Progress progress; // Its line goes with it.
  std::unique_ptr<pipeline::Compilation> compilation = import(options.model.model, options.model.compile, d);
  if (!compilation)
    return false;
  std::optional<quantize::Exported> exported = compilation->exportQuantized(options.output, d);
  if (!exported || !options.model.write(*compilation, d))
    return false;
  std::string text = fmt::format("quantized: {} multiplications\n", exported->quantized);
  for (const quantize::InFloat &left : exported->inFloat)
    text += fmt::format("in floats: {} ({}): {}\n", left.node, left.operation, left.reason);
  return writeText("", text, d);
}

} // namespace

Command addQuantize(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "quantize", "quantizes a model of floats to an ONNX model with QuantizeLinear and DequantizeLinear");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  options->model.addCalibration(*app);
  app->add_option("-o,--output", options->output,
                  "the .onnx file to write; weights lie beside it, in OUTPUT.data, if they do with MODEL")
      ->required();
  app->callback([app] {
    if (app->count("--calibration") + app->count("--calibration-table") == 0)
      throw CLI::RequiredError("--calibration");
  });
  return {app, [options](Session &session) { return quantizeModel(*options, session); }};
}

} // namespace npuc::tool
