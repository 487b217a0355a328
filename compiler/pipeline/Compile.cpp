#include "compiler/pipeline/Compile.h"

#include "backends/npu/codegen/Expand.h"
#include "backends/npu/codegen/NpuPrices.h"
#include "backends/npu/codegen/Passes.h"
#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/isa/Verify.h"
#include "backends/npu/schedule/GraphText.h"
#include "backends/npu/schedule/PackConstants.h"
#include "backends/npu/schedule/TimingCost.h"
#include "backends/npu/schedule/VerifyGraph.h"
#include "backends/npu/schedule/VerifySchedule.h"
#include "backends/npu/target/Capability.h"
#include "backends/npu/target/Target.h"
#include "compiler/import/Import.h"
#include "compiler/interpret/ConstantReader.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/lower/FastForms.h"
#include "compiler/lower/Lower.h"
#include "compiler/pipeline/Check.h"
#include "compiler/pipeline/Dialects.h"
#include "compiler/pipeline/PlanReport.h"
#include "compiler/pipeline/Remarks.h"
#include "compiler/pipeline/Work.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Decide.h"
#include "compiler/quantize/Export.h"
#include "compiler/quantize/Grams.h"
#include "compiler/quantize/Quantize.h"
#include "compiler/quantize/Sensitivity.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NN.h"
#include "dialects/nn/Transforms/Passes.h"
#include "dialects/npu/IR/Npu.h"
#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Writer.h"
#include "support/File.h"
#include "support/ThreadPool.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace npuc::pipeline {
namespace {

constexpr std::string_view precisions[] = {"fp16", "bf16", "int8"};
constexpr std::string_view levels[] = {"nn", "linalg", "tiled", "npu", "graph", "isa"};

template <typename T>
std::optional<T> find(std::span<const std::string_view> names, std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return static_cast<T>(i);
  return std::nullopt;
}

std::string whereOf(Location location) {
  std::string name;
  location->walk([&](Location part) {
    if (auto file = dyn_cast<FileLineColLoc>(part); file && file.getLine() > 0)
      name = file.getFilename().str() + ":" + std::to_string(file.getLine()) + ":" +
             std::to_string(file.getColumn());
    auto named = dyn_cast<NameLoc>(part);
    if (!named)
      return WalkResult::advance();
    name = "node '" + named.getName().str() + "'";
    return WalkResult::interrupt();
  });
  return name;
}

/// What the model itself declares of an input or output whose elements were narrowed, and which values fit.
void describeHost(func::FuncOp function, unsigned argument, artifact::Buffer &buffer) {
  if (auto declared = function.getArgAttrOfType<TypeAttr>(argument, lower::narrowedAttr))
    buffer.set_host_type(std::string(name(*interpret::elementTypeOf(declared.getValue()))));
  auto range = function.getArgAttrOfType<DenseI64ArrayAttr>(argument, "nn.range");
  if (!range)
    return;
  buffer.set_has_range(true);
  buffer.set_least(range[0]);
  buffer.set_greatest(range[1]);
}

bool describeWork(const timing::WorkFacts &work, const target::TargetDescription &target,
                  artifact::Statistics &statistics, Diagnostics &diagnostics) {
  std::optional<timing::LowerBound> bound = timing::lowerBound(work, target, diagnostics);
  if (!bound)
    return false;
  statistics.set_multiply_add_cycles(bound->multiplyAddCycles);
  statistics.set_vector_cycles(bound->vectorCycles);
  statistics.set_dram_cycles(bound->dramCycles);
  return true;
}

bool isQuantized(func::FuncOp function) {
  return llvm::any_of(function.front(),
                      [](Operation &op) { return mlir::isa<nn::QuantizeOp, nn::DequantizeOp>(op); });
}

/// What recovers meaning of each node on its own.
void buildNodePipeline(PassManager &passes) {
  OpPassManager &functions = passes.nest<func::FuncOp>();
  auto clean = [&] {
    functions.addPass(createCanonicalizerPass());
    functions.addPass(createCSEPass());
  };
  clean();
  functions.addPass(nn::createNNSimplify());
  functions.addPass(nn::createNNRecoverLinear());
  functions.addPass(nn::createNNNarrowIntegers());
  clean();
}

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

/// MLIR's errors as ours while it lives.
class Forward {
public:
  Forward(MLIRContext &context, Diagnostics &diagnostics)
      : handler(&context, [&diagnostics](mlir::Diagnostic &d) {
          if (d.getSeverity() == DiagnosticSeverity::Error)
            diagnostics.error(whereOf(d.getLocation()), d.str());
          return success();
        }) {}

private:
  ScopedDiagnosticHandler handler;
};

} // namespace

std::string_view name(Precision precision) {
  return precisions[static_cast<size_t>(precision)];
}
std::optional<Precision> precisionFromName(std::string_view name) {
  return find<Precision>(precisions, name);
}
std::vector<std::string> precisionNames() {
  return {std::begin(precisions), std::end(precisions)};
}
std::string_view name(Level level) {
  return levels[static_cast<size_t>(level)];
}
std::optional<Level> levelFromName(std::string_view name) {
  return find<Level>(levels, name);
}
std::vector<std::string> levelNames() {
  return {std::begin(levels), std::end(levels)};
}

struct Compilation::State {
  std::string model;
  Options options;
  ThreadPool pool;
  std::vector<Diagnostic> remarks; // Before the context, which adds to it.
  interpret::ConstantReader constants{pool};
  MLIRContext context{dialects(), MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
  Level level = Level::Nn;
  target::TargetDescription target;
  std::map<std::string, GroupPlan> groups;
  int64_t expectedCycles = 0; ///< Of the groups, one after another.
  schedule::TileGraph graph;
  schedule::Packings packings;
  std::optional<schedule::Solution> solution;
  timing::WorkFacts work;
  bool quantized = false;
  bool own = false; ///< Quantized when it came.
  std::vector<quantize::InFloat> stayedFloat;
  quantize::Decision decision;
  /// By operation, types and format.
  std::map<std::string, std::optional<double>> timesAlone;
  bool quantizationDone = false;

  explicit State(const Options &options) : options(options), pool(options.threads) {
    context.loadAllAvailableDialects();
  }

  func::FuncOp main() { return *module->getOps<func::FuncOp>().begin(); }

  bool tellRemarks(Diagnostics &diagnostics);
  bool loadTarget(Diagnostics &diagnostics);
  bool toNn(Diagnostics &diagnostics);
  bool toLinalg(Diagnostics &diagnostics);
  bool toTiled();
  bool toNpu();
  bool toGraph(Diagnostics &diagnostics);
  bool toIsa(Diagnostics &diagnostics);
  std::optional<FloatType> floatType(Diagnostics &diagnostics);
  bool checkCalibration(bool wanted, Diagnostics &diagnostics);
  bool quantizeFloats(Diagnostics &diagnostics);
  bool quantizeMain(Diagnostics &diagnostics);
  std::optional<double> timeAlone(Operation *op, const quantize::OperatorFormat &format);
  bool clean();
};

bool Compilation::State::toNn(Diagnostics &diagnostics) {
  importer::ImportOptions import;
  import.shapes = options.shapes;
  import.evaluator = interpret::foldingEvaluator(pool);
  module = importer::importModel(model, import, context, diagnostics);
  if (!module)
    return false;
  PassManager passes(&context);
  if (options.byNodes)
    buildNodePipeline(passes);
  else
    nn::buildRecoverPipeline(passes);
  return succeeded(passes.run(*module));
}

/// The type that floats are stored in: one that the target's matrix engine multiplies, or fp16 where nothing
/// is left to multiply, since vector engines load and store it.
std::optional<FloatType> Compilation::State::floatType(Diagnostics &diagnostics) {
  bool fp16 = target::matrixType(target, ElementType::F16),
       bf16 = target::matrixType(target, ElementType::BF16);
  Builder builder(&context);
  bool chosen = options.precision && *options.precision != Precision::Int8;
  bool wantsFp16 = chosen ? *options.precision == Precision::Fp16 : fp16;
  if (wantsFp16 ? fp16 : bf16)
    return wantsFp16 ? FloatType(builder.getF16Type()) : FloatType(builder.getBF16Type());
  if (fp16 || bf16) {
    diagnostics.error("target " + target.name(), "cannot multiply " + std::string(name(*options.precision)),
                      "its matrix engine has " + std::string(fp16 ? "fp16" : "bf16"),
                      "--precision=" + std::string(fp16 ? "fp16" : "bf16"));
    return std::nullopt;
  }
  if (stayedFloat.empty() && !chosen)
    return builder.getF16Type();
  if (!quantized)
    diagnostics.error("target " + target.name(), "cannot multiply floats",
                      "its matrix engine is for integers only",
                      "--precision=int8 --calibration=FILE.npz quantizes the model");
  for (const quantize::InFloat &left : stayedFloat)
    if (quantized)
      diagnostics.error(left.node, "stays in floats, which target " + target.name() + " cannot multiply",
                        left.reason);
  return std::nullopt;
}

bool Compilation::State::tellRemarks(Diagnostics &diagnostics) {
  return options.remarks.empty() || collectRemarks(context, options.remarks, remarks, diagnostics);
}

bool Compilation::State::loadTarget(Diagnostics &diagnostics) {
  if (options.target.empty())
    return true;
  std::optional<target::TargetDescription> description =
      target::load(options.target, options.targetOptions, diagnostics);
  if (description)
    target = std::move(*description);
  return description.has_value();
}

bool Compilation::State::checkCalibration(bool wanted, Diagnostics &diagnostics) {
  own = isQuantized(main());
  if (own && !options.calibration.empty())
    diagnostics.error("--calibration", "the model is quantized already",
                      "its own scales are used as they are", "leave the option out");
  else if (own && wanted)
    diagnostics.warning("--precision=" + options.format, "changes nothing: the model is quantized already",
                        "its own scales are used as they are", "leave the option out");
  if (wanted && !own && options.calibration.empty())
    diagnostics.error("--precision=" + options.format, "needs to know the ranges of the model's values", "",
                      "--calibration=FILE.npz, with arrays named as the model's inputs");
  return !diagnostics.hasErrors();
}

/// Quantizes a model of floats: what its multiplications see on the samples, formats and factors, integers.
bool Compilation::State::quantizeFloats(Diagnostics &diagnostics) {
  quantize::SamplesInMemory samples(quantize::samplesOf(main(), options.calibration, diagnostics));
  std::vector<std::string> formats = formatsOf(target, !options.target.empty());
  if (!llvm::is_contained(formats, options.format))
    diagnostics.error("--precision=" + options.format, "target " + target.name() + " has no such format",
                      fmt::format("it has {}", fmt::join(formats, ", ")));
  if (!options.precisionTable.empty())
    if (auto rows =
            quantize::parsePrecisionTable(options.precisionTable, options.precisionTableFile, diagnostics))
      quantize::applyPrecisionTable(main(), *rows, options.precisionTableFile, formats, diagnostics);
  if (diagnostics.hasErrors())
    return false;
  quantize::Grams grams;
  quantize::CalibrationOptions calibration{.threads = options.threads,
                                           .observers = {.visitor = grams.visitor()}};
  std::optional<quantize::Statistics> statistics =
      quantize::observe(main(), samples, calibration, diagnostics);
  if (!statistics)
    return false;
  grams.finish(pool);
  quantize::setRanges(main(), *statistics);
  std::optional<quantize::Decision> decided = quantize::decideFormats(
      main(), *statistics, constants, {*quantize::formatFromText(options.format), formats});
  if (!decided)
    return false;
  decision = std::move(*decided);
  decision.steps.insert(decision.steps.begin(), fmt::format("ranges of {} samples", samples.count()));
  auto gramOf = [&](nn::LinearOp linear, std::span<const float> factors) {
    return grams.of(statistics->index(linear, 0), factors);
  };
  if (options.minCosine || options.maxSlowdown) {
    auto timeOf = [&](Operation *op, const quantize::OperatorFormat &format) {
      return timeAlone(op, format);
    };
    quantize::MixedOptions mixed{.minCosine = options.minCosine,
                                 .maxSlowdown = options.maxSlowdown,
                                 .available = formats,
                                 .threads = options.threads};
    if (!quantize::mixFormats(main(), samples, constants, gramOf, timeOf, mixed, decision, diagnostics))
      return false;
  }
  decision.steps.push_back("weights of linears rounded by GPTQ");
  return succeeded(quantize::insertQuantization(main(), constants, gramOf));
}

/// The cycles of a multiplication that is compiled on its own in a format, with its operands and result in
/// DRAM; nothing if it does not compile so.
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

/// Makes multiplications of integers what --precision or the model itself asks for.
bool Compilation::State::quantizeMain(Diagnostics &diagnostics) {
  PassManager passes(&context);
  passes.addPass(nn::createNNInlineSegments());
  if (failed(passes.run(*module)))
    return false;
  quantizationDone = true;
  bool wanted = options.precision == Precision::Int8;
  const target::Accumulator *sums =
      options.target.empty() ? nullptr : target::accumulator(target, ElementType::I8);
  if (wanted && options.format == "int8" && !options.target.empty() &&
      !target::check(target::CapabilityId::MatrixType, target, {.type = ElementType::I8}, "--precision=int8",
                     diagnostics))
    return false;
  if (!checkCalibration(wanted, diagnostics) || (wanted && !own && !quantizeFloats(diagnostics)))
    return false;
  quantized = own || wanted;
  if (quantized && sums) {
    auto kind = static_cast<quantize::Requantization>(target.numbers().requantization() -
                                                      target::Numbers::FLOAT_SCALE);
    if (failed(quantize::foldQuantization(main(), kind, constants)) || !clean() ||
        failed(quantize::boundSums(main(), sums->bits(), constants)))
      return false;
  }
  if (!options.target.empty())
    stayedFloat = quantize::inFloat(main());
  for (const quantize::InFloat &left : quantized ? stayedFloat : std::vector<quantize::InFloat>())
    remark::missed(NameLoc::get(StringAttr::get(&context, left.node)),
                   remark::RemarkOpts::name("stays in floats").category("quantize"))
        << remark::reason("{0}", left.reason);
  return true;
}

bool Compilation::State::clean() {
  PassManager passes(&context);
  passes.nest<func::FuncOp>().addPass(createCanonicalizerPass());
  passes.nest<func::FuncOp>().addPass(createCSEPass());
  return succeeded(passes.run(*module));
}

bool Compilation::State::toLinalg(Diagnostics &diagnostics) {
  if (!quantizationDone && !quantizeMain(diagnostics))
    return false;
  std::optional<FloatType> type = floatType(diagnostics);
  if (!type)
    return false;
  // The integers of others are rounded from floats of 32 bits, unless fewer are asked for.
  bool exact = own && (!options.precision || *options.precision == Precision::Int8);
  lower::setFloatType(main(), *type, exact ? lower::Narrowed::Multiplied : lower::Narrowed::All);
  std::vector<Obstacle> obstacles = obstaclesOf(main(), target);
  for (const Obstacle &obstacle : obstacles)
    report(obstacle, diagnostics);
  if (!obstacles.empty())
    return false;
  work = countWork(main());
  if (failed(lower::lowerToLinalg(main())))
    return false;
  bool fasterInF16 = !exact && target::peakVectorOpsPerCycle(target, ElementType::F16) >
                                   target::peakVectorOpsPerCycle(target, ElementType::F32);
  lower::useFastForms(main(), fasterInF16 ? FloatType(mlir::Float16Type::get(&context)) : FloatType());
  return true;
}

bool Compilation::State::toTiled() {
  tile::planTiles(tile::formGroups(main()), *codegen::npuPrices(target));
  groups = groupPlans(main());
  main().walk([&](Operation *op) {
    if (auto cycles = op->getAttrOfType<IntegerAttr>(tile::cyclesAttr))
      expectedCycles += cycles.getInt();
  });
  return succeeded(tile::applyTiles(main()));
}

bool Compilation::State::toNpu() {
  codegen::placeTensors(main(), target);
  return succeeded(codegen::promoteOperands(main(), target)) && succeeded(codegen::bufferize(*module)) &&
         succeeded(codegen::mapToEngines(main())) && succeeded(mlir::verify(*module));
}

bool Compilation::State::toGraph(Diagnostics &diagnostics) {
  FailureOr<schedule::TileGraph> expanded = codegen::expand(main(), target);
  if (failed(expanded))
    return false;
  graph = std::move(*expanded);
  packings = schedule::packConstants(graph);
  return schedule::verify(graph, schedule::limitsOf(target), diagnostics);
}

bool Compilation::State::toIsa(Diagnostics &diagnostics) {
  timing::Machine machine(target);
  schedule::Limits limits = schedule::limitsOf(target);
  schedule::TimingCost cost(machine, graph);
  solution = schedule::schedule({graph, limits, cost}, diagnostics);
  if (solution) {
    remark::analysis(main().getLoc(), remark::RemarkOpts::name("scheduled").category("schedule"))
        << remark::add("{0} commands in {1} cycles", graph.operations.size(), solution->cycles)
        << remark::add("{0} cycles expected of the groups one after another", expectedCycles);
  }
  return solution && isa::verifyProgram(solution->program, target, diagnostics) &&
         schedule::verifySchedule(graph, solution->program, solution->commands, limits, diagnostics);
}

Compilation::Compilation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Compilation::~Compilation() = default;
Level Compilation::level() const {
  return state_->level;
}
ModuleOp Compilation::module() const {
  return *state_->module;
}
const std::vector<Diagnostic> &Compilation::remarks() const {
  return state_->remarks;
}
const schedule::Solution &Compilation::solution() const {
  return *state_->solution;
}
const target::TargetDescription &Compilation::target() const {
  return state_->target;
}

std::unique_ptr<Compilation> Compilation::import(const std::string &model, const Options &options,
                                                 Diagnostics &diagnostics) {
  auto state = std::make_unique<State>(options);
  state->model = model;
  Forward forward(state->context, diagnostics);
  bool hasTarget = state->tellRemarks(diagnostics) & state->loadTarget(diagnostics);
  if (!state->toNn(diagnostics) || !hasTarget)
    return nullptr;
  return std::unique_ptr<Compilation>(new Compilation(std::move(state)));
}

/// The level that a module's text stands at: that of the lowest dialect in it.
static std::optional<Level> levelOf(ModuleOp module) {
  std::optional<Level> level;
  module.walk([&](Operation *op) {
    if (llvm::isa_and_nonnull<npu::NpuDialect>(op->getDialect()))
      level = Level::Npu;
    else if (llvm::isa_and_nonnull<nn::NNDialect>(op->getDialect()) && !level)
      level = Level::Nn;
  });
  return level;
}

std::unique_ptr<Compilation> Compilation::resume(const std::string &file, const Options &options,
                                                 Diagnostics &diagnostics) {
  auto state = std::make_unique<State>(options);
  state->model = file;
  Forward forward(state->context, diagnostics);
  if (!state->tellRemarks(diagnostics) || !state->loadTarget(diagnostics) ||
      !MappedFile::open(file, diagnostics))
    return nullptr;
  state->module = parseSourceFile<ModuleOp>(file, ParserConfig(&state->context));
  if (!state->module)
    return nullptr;
  std::optional<Level> level = levelOf(*state->module);
  if (!level) {
    diagnostics.error(file, "it holds no level that can be read back",
                      "it has operations of neither nn nor npu",
                      "--dump-dir writes 0-nn.mlir and 3-npu.mlir");
    return nullptr;
  }
  state->level = *level;
  return std::unique_ptr<Compilation>(new Compilation(std::move(state)));
}

bool Compilation::lowerTo(Level level, Diagnostics &diagnostics) {
  Forward forward(state_->context, diagnostics);
  while (state_->level < level) {
    Level next = static_cast<Level>(static_cast<int>(state_->level) + 1);
    bool done = false;
    switch (next) {
    case Level::Nn:
      break;
    case Level::Linalg:
      done = state_->toLinalg(diagnostics);
      break;
    case Level::Tiled:
      done = state_->toTiled();
      break;
    case Level::Npu:
      done = state_->toNpu();
      break;
    case Level::Graph:
      done = state_->toGraph(diagnostics);
      break;
    case Level::Isa:
      done = state_->toIsa(diagnostics);
      break;
    }
    if (!done)
      return false;
    state_->level = next;
  }
  return true;
}

std::string Compilation::text(bool withNodes) const {
  if (state_->level == Level::Graph)
    return schedule::print(state_->graph);
  if (state_->level == Level::Isa)
    return isa::print(state_->solution->program);
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags;
  flags.enableDebugInfo(withNodes);
  state_->module->print(stream, flags);
  return text;
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

std::string Compilation::quantization() const {
  if (!state_->quantized)
    return "";
  double all = 0;
  for (double count : state_->work.multiplyAdds)
    all += count;
  double integers = state_->work.multiplyAdds[static_cast<size_t>(ElementType::I8)];
  std::string text;
  for (const std::string &step : state_->decision.steps)
    text += "quantization: " + step + "\n";
  if (all > 0)
    text += fmt::format("int8: {:.1f} % of the multiply-adds\n", 100 * integers / all);
  for (const quantize::InFloat &left : state_->stayedFloat)
    text += fmt::format("in floats: {} ({}): {}\n", left.node, left.operation, left.reason);
  return text;
}

std::optional<std::vector<std::byte>> Compilation::constant(uint32_t buffer, Diagnostics &diagnostics) const {
  // The program's first buffers are the function's arguments.
  func::FuncOp function = state_->main();
  auto value = function.getArgAttrOfType<TypedAttr>(buffer, lower::valueAttr);
  interpret::HostTensor tensor =
      state_->constants.read(value, state_->solution->program.buffers[buffer].name, diagnostics);
  if (!tensor)
    return std::nullopt;
  std::span<const std::byte> bytes(tensor.raw(), tensor.bytes());
  if (const std::vector<isa::View> &packing = state_->packings[buffer]; !packing.empty())
    return schedule::packed(bytes, packing);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

bool Compilation::readsConstantsFrom(const std::string &path) const {
  bool found = false;
  func::FuncOp function = state_->main();
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto value = function.getArgAttrOfType<TypedAttr>(i, lower::valueAttr))
      value.walk([&](nn::ExternalAttr part) {
        std::error_code none;
        found |= std::filesystem::equivalent(path, part.getPath().str(), none);
      });
  return found;
}

bool Compilation::write(const std::string &path, bool withConstants, Diagnostics &diagnostics) const {
  if (withConstants && readsConstantsFrom(path)) {
    diagnostics.error(path, "would overwrite the model's weights", "", "name another file");
    return false;
  }
  std::optional<artifact::Writer> writer = artifact::Writer::toFile(path, diagnostics);
  return writer && fill(*writer, withConstants, diagnostics);
}

std::optional<std::string> Compilation::encode(bool withConstants, Diagnostics &diagnostics) const {
  artifact::Writer writer = artifact::Writer::toMemory();
  if (!fill(writer, withConstants, diagnostics))
    return std::nullopt;
  return writer.bytes();
}

bool Compilation::fill(artifact::Writer &writer, bool withConstants, Diagnostics &diagnostics) const {
  const isa::Program &program = state_->solution->program;
  artifact::Manifest manifest;
  manifest.set_model(state_->model.substr(state_->model.find_last_of('/') + 1));
  *manifest.mutable_target() = state_->target;
  manifest.set_without_constants(!withConstants);
  artifact::EntryPoint &entry = *manifest.add_entry_points();
  entry.set_name(program.name);
  std::string streams = isa::encodeStreams(program);
  std::optional<uint32_t> section =
      writer.add(artifact::STREAMS, program.name, std::as_bytes(std::span(streams)), diagnostics);
  if (!section)
    return false;
  entry.set_streams(*section);
  func::FuncOp function = state_->main();
  for (uint32_t i = 0; i < program.buffers.size(); ++i) {
    entry.add_buffers(i);
    artifact::Buffer &buffer = *manifest.add_buffers();
    buffer = artifact::fromProgram(program.buffers[i]);
    if (i < function.getNumArguments())
      describeHost(function, i, buffer);
    if (program.buffers[i].role != isa::Role::Constant || !withConstants)
      continue;
    std::optional<std::vector<std::byte>> bytes = constant(i, diagnostics);
    if (!bytes)
      return false;
    std::optional<uint32_t> at = writer.add(artifact::CONSTANTS, buffer.name(), *bytes, diagnostics);
    if (!at)
      return false;
    buffer.set_section(*at);
  }
  if (!describeWork(state_->work, state_->target, *entry.mutable_statistics(), diagnostics))
    return false;
  entry.mutable_statistics()->set_predicted_cycles(state_->solution->cycles);
  describePlan(state_->graph, *state_->solution, state_->groups, entry);
  return writer.finish(std::move(manifest), diagnostics);
}

} // namespace npuc::pipeline
