// npuc compare: where a device departs from the interpreter, or two ways to quantize from floats, layer by
// layer.
#include "tools/npuc/Command.h"
#include "tools/npuc/CompiledModel.h"
#include "tools/npuc/ModelOptions.h"
#include "tools/npuc/Steps.h"

#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/pipeline/Layers.h"
#include "compiler/quantize/Report.h"
#include "tools/npurun/RunArtifact.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <iostream>

namespace npuc::tool {
namespace {

struct Options {
  ModelOptions model;
  std::string inputs, device;
  std::optional<double> tolerance;
  std::vector<std::string> between; ///< Two settings, or none.
  bool json = false;
};

struct Difference {
  double error = 0;  ///< max |y - r| / max |r|
  double cosine = 1; ///< Of the two as vectors.
};

/// How far `y` is from `r`. Where neither is finite and both are equal there is no difference.
Difference difference(std::span<const double> y, std::span<const double> r) {
  double greatest = 0, scale = 0, dot = 0, yy = 0, rr = 0;
  for (size_t i = 0; i < r.size(); ++i) {
    if (y[i] == r[i] && !std::isfinite(r[i]))
      continue;
    double apart = std::abs(y[i] - r[i]);
    greatest = apart <= greatest ? greatest : apart; // NaN stays.
    scale = std::max(scale, std::abs(r[i]));
    dot += y[i] * r[i];
    yy += y[i] * y[i];
    rr += r[i] * r[i];
  }
  return {greatest == 0 ? 0
          : scale > 0   ? greatest / scale
                        : greatest,
          yy * rr > 0 ? dot / std::sqrt(yy * rr) : yy == rr};
}

/// The elements as numbers; `like` tells bf16, which files hold as 16-bit integers, from these. Beyond
/// `limit` they are `limit`.
std::vector<double> numbers(ThreadPool &pool, const Array &array, const Array &like, double limit) {
  Array typed = array;
  if (array.type == ElementType::U16 && like.type == ElementType::F32)
    typed.type = ElementType::BF16;
  interpret::HostTensor tensor = interpret::cast(pool, interpret::fromArray(typed), ElementType::F64);
  std::vector<double> values(tensor.data<double>(), tensor.data<double>() + tensor.count());
  for (double &value : values)
    if (std::isfinite(value))
      value = std::clamp(value, -limit, limit);
  return values;
}

struct Row {
  pipeline::Layer layer;
  std::vector<int64_t> shape;
  Difference difference;
};

/// What the artifact runs on, and its name: the one asked for, or the artifact's own; where this machine has
/// no GPU its simulator, with the reason.
struct Chosen {
  npurt::Device device;
  std::string name, why;
};

Chosen chooseDevice(const Options &options, const npurt::Artifact &artifact) {
  npurt_device_options deviceOptions{};
  deviceOptions.size = sizeof deviceOptions;
  deviceOptions.threads = options.model.compile.threads;
  const std::string name = options.device.empty() ? artifact.device() : options.device;
  try {
    return {npurt::Device(name, &deviceOptions), name, ""};
  } catch (const npurt::Error &error) {
    if (name != "cuda" || !options.device.empty())
      throw;
    std::string why = error.what(); // "error: …", and a hint in another line.
    why = why.substr(0, why.find('\n'));
    return {npurt::Device("ptx-sim", &deviceOptions), "ptx-sim", why.substr(why.find(": ") + 2)};
  }
}

nlohmann::ordered_json toJson(const Options &options, const Chosen &chosen, const std::vector<Row> &rows,
                              double tolerance, const Row *first) {
  nlohmann::ordered_json out;
  auto toRow = [](const Row &row) {
    return nlohmann::ordered_json{{"operation", row.layer.operation},
                                  {"node", row.layer.node},
                                  {"shape", row.shape},
                                  {"relative_error", row.difference.error},
                                  {"cosine", row.difference.cosine}};
  };
  out["schema_version"] = 1;
  out["model"] = options.model.model;
  out["target"] = options.model.compile.target;
  out["device"] = chosen.name;
  out["tolerance"] = tolerance;
  out["first_departure"] = first ? toRow(*first) : nlohmann::ordered_json();
  out["layers"] = nlohmann::ordered_json::array();
  for (const Row &row : rows)
    out["layers"].push_back(toRow(row));
  return out;
}

std::string text(const Chosen &chosen, const std::vector<Row> &rows, double tolerance) {
  std::string out = chosen.why.empty() ? ""
                                       : fmt::format("on {}, the simulator, since there is no GPU: {}\n",
                                                     chosen.name, chosen.why);
  out += fmt::format("{:>9} {:>10}  {:<18} {:<16} {}\n", "error", "cosine", "operation", "shape", "node");
  for (const Row &row : rows)
    out += fmt::format("{:>9.2e} {:>10.7f}{} {:<18} {:<16} {}\n", row.difference.error, row.difference.cosine,
                       row.difference.error <= tolerance ? ' ' : '!', row.layer.operation,
                       fmt::format("{}", fmt::join(row.shape, "x")), row.layer.node);
  return out;
}

bool compareModel(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  std::optional<std::vector<NamedArray>> inputs = readArrays(options.inputs, d);
  if (!inputs || !options.model.finish(*inputs, d) ||
      !checkFiles(options.model.writtenFiles(), options.model.files(), d))
    return false;
  std::unique_ptr<pipeline::Compilation> compilation = import(options.model.model, options.model.compile, d);
  if (!compilation)
    return false;
  std::vector<pipeline::Layer> layers = pipeline::exposeLayers(compilation->module());
  auto main = *compilation->module().getOps<mlir::func::FuncOp>().begin();
  interpret::Interpreter interpreter(main, {.threads = options.model.compile.threads});
  std::optional<std::vector<NamedArray>> expected = interpreter.run(*inputs, d);
  if (!expected || !lower(*compilation, compilation->programLevel(), d) ||
      !options.model.write(*compilation, d))
    return false;
  bool isFp16 =
      compilation->module()
          .walk([](mlir::Operation *op) {
            return llvm::any_of(op->getOperandTypes(),
                                [](mlir::Type type) { return mlir::getElementTypeOrSelf(type).isF16(); })
                       ? mlir::WalkResult::interrupt()
                       : mlir::WalkResult::advance();
          })
          .wasInterrupted();
  std::optional<CompiledModel> compiled = CompiledModel::make(*compilation, true, d);
  if (!compiled)
    return false;
  Chosen chosen = chooseDevice(options, compiled->artifact());
  npurt::Session run(chosen.device, compiled->artifact().program());
  std::vector<NamedArray> found = outputsOf(run, std::move(*inputs));

  double tolerance = options.tolerance.value_or(isFp16 ? 1e-2 : 5e-2);
  double limit = isFp16 ? 65504 : std::numeric_limits<double>::max();
  std::vector<Row> rows;
  for (pipeline::Layer &layer : layers) {
    const Array &r = (*expected)[layer.result].array, &y = found[layer.result].array;
    rows.push_back({std::move(layer), r.shape,
                    difference(numbers(interpreter.threads(), y, r, limit),
                               numbers(interpreter.threads(), r, r, limit))});
  }
  auto first =
      std::ranges::find_if(rows, [&](const Row &row) { return !(row.difference.error <= tolerance); });
  const Row *departure = first == rows.end() ? nullptr : &*first;
  std::cout << (options.json ? toJson(options, chosen, rows, tolerance, departure).dump(2) + '\n'
                             : text(chosen, rows, tolerance));
  if (departure)
    d.error(fmt::format("node '{}' ({})", departure->layer.node, departure->layer.operation),
            fmt::format("{} departs from the interpreter here first", options.model.compile.target),
            fmt::format("the relative error is {:.2e}, allowed is {:.0e}", departure->difference.error,
                        tolerance));
  return !departure;
}

/// What a setting, a format or a precision table's file, does to the model on the inputs.
std::optional<quantize::Report> reportOf(const Options &options, const std::string &setting,
                                         const std::vector<NamedArray> &inputs, Diagnostics &diagnostics) {
  pipeline::Options own = options.model.compile;
  own.precision = pipeline::Precision::Int8;
  own.report = true;
  own.reportInputs = inputs;
  if (quantize::formatFromText(setting)) {
    own.format = setting;
  } else {
    std::optional<std::string> text = contentOf(setting, diagnostics);
    if (!text) {
      diagnostics.error("--between " + setting, "is neither a format nor the file of a precision table",
                        fmt::format("formats are {}", fmt::join(quantize::formatNames(), ", ")));
      return std::nullopt;
    }
    own.precisionTable = *text;
    own.precisionTableFile = setting;
  }
  std::unique_ptr<pipeline::Compilation> compilation = import(options.model.model, own, diagnostics);
  if (!compilation || !compilation->quantize(diagnostics))
    return std::nullopt;
  return *compilation->report();
}

bool compareSettings(Options &options, Session &session) {
  Diagnostics &d = session.diagnostics;
  std::optional<std::vector<NamedArray>> inputs = readArrays(options.inputs, d);
  if (!inputs || !options.model.finish(*inputs, d))
    return false;
  const std::string &nameA = options.between[0], &nameB = options.between[1];
  std::optional<quantize::Report> a = reportOf(options, nameA, *inputs, d),
                                  b = reportOf(options, nameB, *inputs, d);
  if (!a || !b)
    return false;
  std::cout << (options.json ? compareReportsJson(nameA, *a, nameB, *b)
                             : compareReports(nameA, *a, nameB, *b));
  return true;
}

} // namespace

Command addCompare(CLI::App &tool) {
  CLI::App *app = tool.add_subcommand(
      "compare", "finds the first layer where a device departs from the interpreter; exit code 1 if "
                 "one does; or compares two ways to quantize with floats");
  auto options = std::make_shared<Options>();
  options->model.add(*app);
  options->model.addTarget(*app);
  app->add_option("--inputs", options->inputs, "a .npz or .npy file with an array for each input")
      ->required();
  app->add_option("--device", options->device,
                  "what to run on: npu-sim, or for a GPU cuda or its simulator ptx-sim; by default npu-sim, "
                  "or cuda if there "
                  "is a GPU and else ptx-sim");
  app->add_option("--tolerance", options->tolerance,
                  "greatest max |y - r| / max |r| of a layer; 0.01 for fp16, 0.05 for others by default");
  app->add_option(
         "--between", options->between,
         "instead: two formats of --precision, or files of precision tables, to compare with floats on "
         "the inputs, ranges from --calibration; of each operator SQNR in dB and cosine, alone "
         "(isolated) and with all before it (accumulated)")
      ->expected(2);
  app->add_flag("--json", options->json, "the table as JSON");
  app->callback([options] {
    if (options->between.empty() && options->model.compile.target.empty())
      throw CLI::RequiredError("--target");
  });
  return {app, [options](Session &session) {
            return options->between.empty() ? compareModel(*options, session)
                                            : compareSettings(*options, session);
          }};
}

} // namespace npuc::tool
