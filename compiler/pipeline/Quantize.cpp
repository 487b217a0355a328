// The step of a compilation from multiplications of floats to those of integers.
#include "backends/npu/target/Capability.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Simulator.h"
#include "compiler/pipeline/Integers.h"
#include "compiler/pipeline/State.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/ChooseRanges.h"
#include "compiler/quantize/Export.h"
#include "compiler/quantize/Grams.h"
#include "compiler/quantize/Guards.h"
#include "compiler/quantize/Raise.h"
#include "compiler/quantize/SampleFiles.h"
#include "compiler/quantize/Sensitivity.h"
#include "dialects/nn/IR/NN.h"
#include "dialects/nn/Transforms/Passes.h"

#include <fmt/format.h>

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace npuc::pipeline {
namespace {

/// The formats that a target multiplies in, by its types; without a target, all.
std::vector<std::string> formatsOf(const target::TargetDescription &target, bool hasTarget) {
  std::vector<std::string> formats;
  auto has = [&](ElementType type) { return !hasTarget || target::matrixType(target, type) != nullptr; };
  bool floats = has(ElementType::F16) || has(ElementType::BF16);
  for (const std::string &name : quantize::formatNames()) {
    quantize::Activations kind = quantize::formatFromText(name)->activations;
    if (kind == quantize::Activations::Float
            ? floats
            : has(kind == quantize::Activations::Fp8 ? ElementType::F8E4M3 : ElementType::I8))
      formats.push_back(name);
  }
  return formats;
}

/// How many rows of each linear's input are kept: since it matters how well the inputs are known for which
/// weights are rounded, more where these are coarse, but of a large model fewer, so that all take no more
/// than 256 MiB, or 1 GiB.
size_t rowsToKeep(const quantize::Statistics &statistics, bool isCoarse) {
  size_t channels = 0, bytes = size_t{isCoarse ? 1024U : 256U} << 20;
  for (const quantize::TensorStatistics &tensor : statistics.tensors())
    channels += tensor.isLinearInput ? tensor.channels() : 0;
  return std::clamp<size_t>(bytes / (sizeof(float) * std::max<size_t>(1, channels)), 128,
                            isCoarse ? 2048 : 1024);
}

/// Whether some multiplication has a format whose weights are coarse.
bool hasCoarseWeights(func::FuncOp function, const std::string &format) {
  return quantize::formatFromText(format)->hasCoarseWeights() ||
         llvm::any_of(function.front(),
                      [](Operation &op) { return quantize::formatOf(&op).hasCoarseWeights(); });
}

} // namespace

bool Compilation::State::checkCalibration(bool wanted, Diagnostics &diagnostics) {
  own = isQuantized(main());
  bool hasSamples = !options.calibration.empty(), hasTable = !options.calibrationTable.empty();
  if (own && (hasSamples || hasTable))
    diagnostics.error(hasSamples ? "--calibration" : "--calibration-table", "the model is quantized already",
                      "its own scales are used as they are", "leave the option out");
  else if (own && wanted)
    diagnostics.warning("--precision=" + options.format, "changes nothing: the model is quantized already",
                        "its own scales are used as they are", "leave the option out");
  if (wanted && !own && !hasSamples && !hasTable)
    diagnostics.error("--precision=" + options.format, "needs to know the ranges of the model's values", "",
                      "--calibration=FILE.npz, with arrays named as the model's inputs");
  if (!hasSamples && (options.minCosine || options.maxSlowdown))
    diagnostics.error(options.minCosine ? "--min-cosine" : "--max-slowdown", "needs samples to measure on",
                      "", "--calibration=FILE.npz, with arrays named as the model's inputs");
  if (options.maxLoss && !wanted)
    diagnostics.error("--max-loss", "is about multiplications of integers",
                      "there is no --precision for them", "--precision=int8");
  else if (options.maxLoss && *options.maxLoss < 1 && !hasSamples)
    diagnostics.error("--max-loss", "needs samples to measure on", "",
                      "--calibration=FILE.npz, with arrays named as the model's inputs");
  if (target.has_gpu() && (options.minCosine || options.maxSlowdown))
    diagnostics.error(
        options.minCosine ? "--min-cosine" : "--max-slowdown",
        "cannot choose formats for target " + target.name(),
        "the times of formats come from a simulator of the target, and GPUs have one that knows no time",
        "choose formats by --precision or --precision-table; npuc compare --between compares their errors");
  if (options.report && own)
    diagnostics.error("--quantization-report", "the model is quantized already",
                      "what its floats were is not known");
  else if (options.report && !wanted)
    diagnostics.error("--quantization-report", "is about multiplications of integers",
                      "there is no --precision for them", "--precision=int8");
  else if (options.report && !hasSamples && options.reportInputs.empty())
    diagnostics.error("--quantization-report", "needs samples to measure on", "",
                      "--calibration=FILE.npz, with arrays named as the model's inputs");
  return !diagnostics.hasErrors();
}

struct Compilation::State::Given {
  quantize::Statistics statistics; ///< Nothing counted yet.
  std::optional<quantize::SampleFiles> samples = {};
  quantize::CalibrationTable table = {};
};

std::optional<Compilation::State::Given>
Compilation::State::readGiven(const std::vector<std::string> &formats, Diagnostics &diagnostics) {
  Given given{.statistics = quantize::Statistics(main())};
  if (!options.calibration.empty())
    given.samples =
        quantize::SampleFiles::open(quantize::sampleInputs(main()), options.calibration, diagnostics);
  if (!llvm::is_contained(formats, options.format))
    diagnostics.error("--precision=" + options.format, "target " + target.name() + " has no such format",
                      fmt::format("it has {}", fmt::join(formats, ", ")));
  if (!options.precisionTable.empty())
    if (auto rows =
            quantize::parsePrecisionTable(options.precisionTable, options.precisionTableFile, diagnostics))
      quantize::applyPrecisionTable(main(), *rows, options.precisionTableFile, formats, diagnostics);
  if (!options.calibrationTable.empty())
    if (auto table = quantize::CalibrationTable::parse(options.calibrationTable, options.calibrationTableFile,
                                                       diagnostics)) {
      quantize::checkTable(*table, options.calibrationTableFile, given.statistics,
                           !options.calibration.empty(), diagnostics);
      given.table = std::move(*table);
    }
  if (diagnostics.hasErrors())
    return std::nullopt;
  return given;
}

bool Compilation::State::quantizeFloats(Diagnostics &diagnostics) {
  std::vector<std::string> formats = formatsOf(target, !options.target.empty());
  std::optional<Given> given = readGiven(formats, diagnostics);
  if (!given)
    return false;
  quantize::Statistics &statistics = given->statistics;
  quantize::Guards guards;
  size_t count = given->samples ? given->samples->count() : 0;
  if (given->samples) {
    quantize::CalibrationOptions calibration{.threads = options.threads};
    calibration.observers.reservoirRows = rowsToKeep(statistics, hasCoarseWeights(main(), options.format));
    calibration.onSample = [&](size_t sample, std::span<const NamedArray> inputs) {
      guards.see(inputs);
      tell(fmt::format("calibrating: sample {} of {}", sample + 1, count));
    };
    std::optional<quantize::Statistics> seen =
        quantize::observe(main(), *given->samples, calibration, diagnostics);
    if (!seen)
      return false;
    statistics = std::move(*seen);
    decision.steps.push_back(fmt::format("ranges of {} samples", count));
  }
  tell("choosing formats and ranges");
  std::optional<quantize::Decision> decided = quantize::decideFormats(
      main(), statistics, constants, {*quantize::formatFromText(options.format), formats});
  if (!decided)
    return false;
  std::optional<quantize::ChosenRanges> chosen =
      quantize::chooseRanges(main(), statistics, given->table, constants, options.ranges);
  if (!chosen)
    return false;
  decision.rows = std::move(decided->rows);
  llvm::append_range(decision.steps, decided->steps);
  if (!given->table.entries.empty())
    decision.steps.push_back(fmt::format("ranges of {} tensors from {}", given->table.entries.size(),
                                         options.calibrationTableFile));
  if (given->samples)
    guards.warn(chosen->guarded(statistics), diagnostics);
  ranges = std::move(chosen->table);
  auto gramOf = [&](nn::LinearOp linear, std::span<const float> factors) {
    return quantize::gramMatrix(statistics.of(linear, 0), factors, pool);
  };
  if (options.minCosine || options.maxSlowdown) {
    auto timeOf = [&](Operation *op, const quantize::OperatorFormat &format) {
      return timeAlone(op, format);
    };
    quantize::MixedOptions mixed{.minCosine = options.minCosine,
                                 .maxSlowdown = options.maxSlowdown,
                                 .available = formats,
                                 .threads = options.threads};
    if (!quantize::mixFormats(main(), *given->samples, constants, gramOf, timeOf, mixed, decision,
                              diagnostics))
      return false;
  }
  quantize::RoundedWeights rounded;
  double mostLoss = options.maxLoss.value_or(quantize::mostLossOf(*quantize::formatFromText(options.format)));
  if (given->samples && !options.minCosine && !options.maxSlowdown && mostLoss < 1) {
    quantize::RaiseOptions raise{
        .mostLoss = mostLoss, .available = formats, .threads = options.threads, .progress = options.progress};
    if (!quantize::raiseFormats(main(), *given->samples, constants, gramOf, rounded, raise, decision,
                                diagnostics))
      return false;
  }
  tell("rounding weights");
  std::optional<quantize::FloatReference> floats;
  if (options.report)
    floats.emplace(main());
  return succeeded(quantize::insertQuantization(main(), constants, gramOf, &rounded)) &&
         (!floats || measureReport(*floats, *given, diagnostics));
}

bool Compilation::State::measureReport(const quantize::FloatReference &floats, const Given &given,
                                       Diagnostics &diagnostics) {
  constexpr size_t measured = 4; // Of the samples: each runs twice.
  tell("measuring what quantization does");
  quantize::SamplesInMemory asked({options.reportInputs});
  const quantize::Samples &samples =
      options.reportInputs.empty() ? static_cast<const quantize::Samples &>(*given.samples) : asked;
  reported = floats.measure(main(), samples, measured, given.statistics, ranges, decision.rows, constants,
                            options.threads, diagnostics);
  if (!reported)
    return false;
  reported->model = model;
  reported->target = target.name();
  reported->steps = decision.steps;
  return true;
}

std::optional<double> Compilation::State::timeAlone(Operation *op, const quantize::OperatorFormat &format) {
  std::string key = fmt::format("{} {}", op->getName().getStringRef().str(), quantize::text(format));
  llvm::raw_string_ostream(key) << op->getOperandTypes() << op->getResultTypes();
  auto [found, isNew] = timesAlone.try_emplace(key);
  if (!isNew)
    return found->second;
  // In a context of its own, since lowering works on whole modules; it goes there as text.
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(op->getLoc());
  builder.setInsertionPointToStart(scratch->getBody());
  auto function = func::FuncOp::create(builder, op->getLoc(), "alone", builder.getFunctionType({}, {}));
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToStart(block);
  IRMapping known;
  for (Value operand : op->getOperands()) {
    if (known.contains(operand))
      continue;
    if (Operation *constant = operand.getDefiningOp<nn::ConstantOp>())
      builder.clone(*constant, known);
    else
      known.map(operand, block->addArgument(operand.getType(), operand.getLoc()));
  }
  Operation *copy = builder.clone(*op, known);
  copy->setAttr(quantize::formatAttr, builder.getStringAttr(quantize::text(format)));
  func::ReturnOp::create(builder, op->getLoc(), copy->getResults());
  function.setType(builder.getFunctionType(block->getArgumentTypes(), copy->getResultTypes()));
  for (unsigned i = 0; i < block->getNumArguments(); ++i)
    function.setArgAttr(i, nn::NNDialect::nameAttr, builder.getStringAttr(fmt::format("x{}", i)));
  function.setResultAttr(0, nn::NNDialect::nameAttr, builder.getStringAttr("y"));
  std::string text;
  llvm::raw_string_ostream(text) << *scratch;

  Options alone;
  alone.target = options.target;
  alone.threads = options.threads;
  // As the whole has them: what stays in floats is stored in 16 bits.
  if (target::matrixType(target, ElementType::F16))
    alone.precision = Precision::Fp16;
  else if (target::matrixType(target, ElementType::BF16))
    alone.precision = Precision::Bf16;
  auto state = std::make_unique<State>(alone);
  state->target = target;
  state->module = parseSourceString<ModuleOp>(text, ParserConfig(&state->context));
  Diagnostics none; // What it cannot do is the answer.
  if (!state->module || failed(quantize::insertQuantization(state->main(), state->constants)))
    return std::nullopt;
  Compilation compilation(std::move(state));
  if (compilation.lowerTo(Level::Isa, none))
    found->second = static_cast<double>(compilation.solution().cycles);
  return found->second;
}

bool Compilation::State::quantizeMain(Diagnostics &diagnostics) {
  PassManager passes(&context);
  passes.addPass(nn::createNNInlineSegments());
  if (failed(passes.run(*module)))
    return false;
  quantizationDone = true;
  bool wanted = options.precision == Precision::Int8;
  if (wanted && options.format == "int8" && !options.target.empty() &&
      !target::check(target::CapabilityId::MatrixType, target, {.type = ElementType::I8}, "--precision=int8",
                     diagnostics))
    return false;
  if (!wanted && !own && !options.calibration.empty())
    diagnostics.warning("--calibration", "tells ranges that nothing needs",
                        "no --precision of integers is given",
                        "give --precision=int8 too, or leave the option out");
  if (!checkCalibration(wanted, diagnostics) || (wanted && !own && !quantizeFloats(diagnostics)))
    return false;
  quantized = own || wanted;
  if (quantized && !options.target.empty() && failed(foldIntegers(main(), target, constants)))
    return false;
  if (!options.target.empty())
    stayedFloat = quantize::inFloat(main());
  if (reported)
    reported->inFloat = stayedFloat;
  for (const quantize::InFloat &left : quantized ? stayedFloat : std::vector<quantize::InFloat>())
    remark::missed(NameLoc::get(StringAttr::get(&context, left.node)),
                   remark::RemarkOpts::name("stays in floats").category("quantize"))
        << remark::reason("{0}", left.reason);
  return true;
}

std::optional<quantize::Exported> Compilation::exportQuantized(const std::string &path,
                                                               Diagnostics &diagnostics) {
  Forward forward(state_->context, diagnostics);
  if (isQuantized(state_->main())) {
    diagnostics.error(state_->model, "is quantized already",
                      "it has operators that make integers of floats, or floats of integers",
                      "give the model of floats that it was made from");
    return std::nullopt;
  }
  if (!state_->quantizeFloats(diagnostics))
    return std::nullopt;
  std::vector<quantize::ExportedNode> nodes = quantize::exportedNodes(state_->main(), state_->constants);
  if (diagnostics.hasErrors())
    return std::nullopt;
  return quantize::exportModel(state_->model, nodes, state_->constants, state_->context, path, diagnostics);
}

bool Compilation::quantize(Diagnostics &diagnostics) {
  Forward forward(state_->context, diagnostics);
  return state_->quantizeMain(diagnostics);
}

std::string Compilation::precisionTable() const {
  return state_->decision.rows.empty() ? "" : quantize::printPrecisionTable(state_->decision.rows);
}

std::string Compilation::calibrationTable() const {
  return state_->ranges.entries.empty() ? "" : state_->ranges.text();
}

const quantize::Report *Compilation::report() const {
  return state_->reported ? &*state_->reported : nullptr;
}

void Compilation::addSaved() {
  State &state = *state_;
  quantize::Report &report = *state.reported;
  if (state.target.has_gpu()) {
    report.whyNotSaved = "what a GPU takes is measured on one, by npurun";
    return;
  }
  if (!target::matrixType(state.target, ElementType::F16) &&
      !target::matrixType(state.target, ElementType::BF16)) {
    report.whyNotSaved = "target " + state.target.name() + " multiplies no floats";
    return;
  }
  state.tell("compiling in floats");
  Options options;
  options.target = state.options.target;
  options.targetOptions = state.options.targetOptions;
  options.shapes = state.options.shapes;
  options.threads = state.options.threads;
  Diagnostics found; // What stands in the way is said in the report.
  std::unique_ptr<Compilation> floats = import(state.model, options, found);
  if (floats && floats->lowerTo(Level::Isa, found)) {
    auto own = timing::simulate(state.solution->program, state.target, {}, found),
         other = timing::simulate(floats->solution().program, state.target, {}, found);
    if (own && other)
      report.saved = {own->milliseconds, own->energy.total(), other->milliseconds, other->energy.total()};
  }
  if (!report.saved)
    report.whyNotSaved = "the model in floats does not compile: " + found.text();
}

std::string Compilation::quantization() const {
  if (!state_->quantized)
    return "";
  double all = 0;
  for (double count : state_->work.multiplyAdds)
    all += count;
  std::string text;
  for (const std::string &step : state_->decision.steps)
    text += "quantization: " + step + "\n";
  for (ElementType type : {ElementType::I8, ElementType::I4})
    if (double count = state_->work.multiplyAdds[static_cast<size_t>(type)];
        all > 0 && (count > 0 || type == ElementType::I8))
      text += fmt::format("{}: {:.1f} % of the multiply-adds\n",
                          type == ElementType::I8 ? "int8" : "int8 by int4", 100 * count / all);
  for (const quantize::InFloat &left : state_->stayedFloat)
    text += fmt::format("in floats: {} ({}): {}\n", left.node, left.operation, left.reason);
  return text;
}

} // namespace npuc::pipeline
