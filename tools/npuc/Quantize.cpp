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
  bool good = options.model.finish({}, d);
  if (!checkFiles({{"--output", options.output}}, options.model.files(), d) || !good)
    return false;
  options.model.compile.precision = pipeline::Precision::Int8;
  options.model.compile.byNodes = true;
  std::unique_ptr<pipeline::Compilation> compilation = import(options.model.model, options.model.compile, d);
  if (!compilation)
    return false;
  std::optional<quantize::Exported> exported = compilation->exportQuantized(options.output, d);
  if (!exported)
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
  app->get_option("--calibration")->required();
  app->add_option("-o,--output", options->output,
                  "the .onnx file to write; weights lie beside it, in OUTPUT.data, if they do with MODEL")
      ->required();
  return {app, [options](Session &session) { return quantizeModel(*options, session); }};
}

} // namespace npuc::tool
