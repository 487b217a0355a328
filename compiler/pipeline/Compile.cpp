#include "compiler/pipeline/Compile.h"

#include "backends/npu/codegen/Expand.h"
#include "backends/npu/codegen/NpuPrices.h"
#include "backends/npu/codegen/Passes.h"
#include "backends/npu/isa/Encoding.h"
#include "backends/npu/isa/Text.h"
#include "backends/npu/isa/Verify.h"
#include "backends/npu/schedule/GraphText.h"
#include "backends/npu/schedule/TimingCost.h"
#include "backends/npu/schedule/VerifyGraph.h"
#include "backends/npu/schedule/VerifySchedule.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Simulator.h"
#include "compiler/import/Import.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/lower/FastForms.h"
#include "compiler/lower/Lower.h"
#include "compiler/pipeline/Check.h"
#include "compiler/pipeline/Remarks.h"
#include "compiler/pipeline/State.h"
#include "compiler/tile/Plan.h"
#include "dialects/nn/IR/NN.h"
#include "dialects/nn/Transforms/Passes.h"
#include "dialects/npu/IR/Npu.h"
#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Writer.h"
#include "support/File.h"

#include <filesystem>

#include "mlir/IR/Remarks.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace npuc::pipeline {
namespace {

constexpr std::string_view precisions[] = {"fp16", "bf16", "int8"};
constexpr std::string_view levels[] = {"nn", "linalg", "tiled", "npu", "graph", "isa", "ptx"};

template <typename T>
std::optional<T> find(std::span<const std::string_view> names, std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return static_cast<T>(i);
  return std::nullopt;
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

void describe(const cuda::Prediction &prediction, const cuda::Work &work, artifact::Prediction &described) {
  described.set_microseconds(prediction.microseconds);
  described.set_bound(std::string(cuda::name(prediction.bound)));
  described.set_registers(prediction.registers);
  described.set_blocks_per_core(prediction.blocksPerCore);
  described.set_tensor_multiply_adds(work.tensorMultiplyAdds());
  described.set_instructions(static_cast<uint64_t>(work.instructions));
  described.set_dram_bytes(static_cast<uint64_t>(work.dramBytes));
  described.set_l2_bytes(static_cast<uint64_t>(work.l2Bytes()));
  described.set_shared_bytes(static_cast<uint64_t>(work.sharedBytes));
}

void describeLaunches(const cuda::Program &program, llvm::ArrayRef<cuda::Prediction> predictions,
                      double clockGhz, artifact::EntryPoint &entry) {
  double microseconds = 0;
  for (auto [launch, prediction] : llvm::zip_equal(program.launches, predictions)) {
    microseconds += prediction.microseconds;
    artifact::KernelLaunch &described = *entry.add_launches();
    describe(prediction, launch.work, *described.mutable_prediction());
    described.set_kernel(launch.kernel);
    described.set_source(launch.source);
    described.set_shared_bytes(launch.sharedBytes);
    for (unsigned axis = 0; axis < 3; ++axis) {
      described.add_grid(launch.grid[axis]);
      described.add_block(launch.block[axis]);
    }
    for (const cuda::Argument &argument : launch.arguments) {
      artifact::KernelArgument &pointer = *described.add_arguments();
      pointer.set_buffer(argument.buffer);
      pointer.set_offset(argument.offset);
    }
  }
  entry.mutable_statistics()->set_predicted_cycles(microseconds * clockGhz * 1e3);
}

void describeAssembled(const cuda::Assembled &assembled, artifact::EntryPoint &entry) {
  entry.set_assembler(assembled.version);
  for (const cuda::AssembledKernel &kernel : assembled.kernels) {
    artifact::Kernel &described = *entry.add_kernels();
    described.set_name(kernel.name);
    described.set_registers(kernel.registers);
    described.set_spilled_bytes(kernel.spilledBytes);
    described.set_shared_bytes(kernel.sharedBytes);
  }
}

void warnOfSpills(const cuda::Program &program, const cuda::Assembled &assembled, Diagnostics &diagnostics) {
  for (const cuda::AssembledKernel &kernel : assembled.kernels) {
    if (kernel.spilledBytes == 0)
      continue;
    auto launch =
        llvm::find_if(program.launches, [&](const cuda::Launch &one) { return one.kernel == kernel.name; });
    diagnostics.warning(launch == program.launches.end() ? "" : launch->source,
                        "kernel '" + kernel.name + "' keeps in memory what its registers cannot hold",
                        "ptxas gives a thread " + std::to_string(kernel.registers) +
                            " registers and spills " + std::to_string(kernel.spilledBytes) +
                            " bytes, stores and loads");
  }
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

} // namespace

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
    pipeline::report(obstacle, diagnostics);
  if (!obstacles.empty())
    return false;
  work = countWork(main());
  if (failed(lower::lowerToLinalg(main())))
    return false;
  if (target.has_gpu())
    return true;
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
  if (failed(codegen::promoteOperands(main(), target)) || failed(codegen::bufferize(*module)) ||
      failed(codegen::mapToEngines(main())))
    return false;
  codegen::joinColumns(main(), target);
  return succeeded(mlir::verify(*module));
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
  auto measure = [&](const isa::Program &program) -> std::optional<int64_t> {
    Diagnostics unused;
    auto timeline = timing::simulate(program, target, {}, unused);
    return timeline ? std::optional(static_cast<int64_t>(timeline->cycles)) : std::nullopt;
  };
  solution = schedule::schedule({graph, limits, cost, measure}, diagnostics);
  if (solution) {
    remark::analysis(main().getLoc(), remark::RemarkOpts::name("scheduled").category("schedule"))
        << remark::add("{0} commands in {1} cycles", graph.operations.size(), solution->cycles)
        << remark::add("{0} cycles expected of the groups one after another", expectedCycles);
  }
  return solution && isa::verifyProgram(solution->program, target, diagnostics) &&
         schedule::verifySchedule(graph, solution->program, solution->commands, limits, diagnostics);
}

bool Compilation::State::toPtx(Diagnostics &diagnostics) {
  FailureOr<cuda::Program> program = cuda::generate(main(), target);
  if (failed(program))
    return false;
  kernels = std::move(*program);
  std::vector<cuda::AssembledKernel> known;
  if (!options.ptxas.empty()) {
    assembled = cuda::assemble(options.ptxas, kernels->ptx, target.gpu().compute_capability(), diagnostics);
    if (!assembled)
      return false;
    warnOfSpills(*kernels, *assembled, diagnostics);
    known = assembled->kernels;
  }
  predictions = cuda::predict(*kernels, known, target);
  return true;
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
  bool hasRemarks = state->tellRemarks(diagnostics), hasTarget = state->loadTarget(diagnostics);
  if (!state->toNn(diagnostics) || !hasRemarks || !hasTarget)
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

Level Compilation::programLevel() const {
  return state_->target.has_gpu() ? Level::Ptx : Level::Isa;
}

Level Compilation::nextLevel() const {
  bool leaves = state_->target.has_gpu() && state_->level == Level::Linalg;
  return leaves ? Level::Ptx : static_cast<Level>(static_cast<int>(state_->level) + 1);
}

bool Compilation::hasLevel(Level level, Diagnostics &diagnostics) const {
  bool isGpu = state_->target.has_gpu();
  if (level <= Level::Linalg || isGpu == (level == Level::Ptx))
    return true;
  diagnostics.error("target " + state_->target.name(), "has no level '" + std::string(name(level)) + "'",
                    isGpu ? "a program for a GPU goes from linalg to ptx" : "only programs for GPUs are PTX");
  return false;
}

bool Compilation::lowerTo(Level level, Diagnostics &diagnostics) {
  Forward forward(state_->context, diagnostics);
  if (!hasLevel(level, diagnostics))
    return false;
  while (state_->level < level) {
    Level next = nextLevel();
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
    case Level::Ptx:
      done = state_->toPtx(diagnostics);
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
  if (state_->level == Level::Ptx)
    return state_->kernels->ptx;
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags;
  flags.enableDebugInfo(withNodes);
  state_->module->print(stream, flags);
  return text;
}

std::string_view Compilation::cubin() const {
  return state_->assembled ? std::string_view(state_->assembled->cubin) : std::string_view();
}

const std::vector<isa::Buffer> &Compilation::buffers() const {
  return state_->kernels ? state_->kernels->buffers : state_->solution->program.buffers;
}

std::optional<std::vector<std::byte>> Compilation::constant(uint32_t buffer, Diagnostics &diagnostics) const {
  // The program's first buffers are the function's arguments.
  func::FuncOp function = state_->main();
  auto value = function.getArgAttrOfType<TypedAttr>(buffer, lower::valueAttr);
  interpret::HostTensor tensor = state_->constants.read(value, buffers()[buffer].name, diagnostics);
  if (!tensor)
    return std::nullopt;
  Array packed;
  if (bitWidth(tensor.type()) < 8)
    packed = interpret::toArray(tensor);
  std::span<const std::byte> bytes = bitWidth(tensor.type()) < 8 ? std::span<const std::byte>(packed.data)
                                                                 : std::span(tensor.raw(), tensor.bytes());
  if (!state_->packings.empty() && !state_->packings[buffer].empty())
    return schedule::packed(bytes, state_->packings[buffer]);
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
  artifact::Manifest manifest;
  manifest.set_model(state_->model.substr(state_->model.find_last_of('/') + 1));
  *manifest.mutable_target() = state_->target;
  manifest.set_without_constants(!withConstants);
  artifact::EntryPoint &entry = *manifest.add_entry_points();
  entry.set_name(state_->kernels ? std::string("main") : state_->solution->program.name);
  std::string program =
      state_->kernels ? state_->kernels->ptx : isa::encodeStreams(state_->solution->program);
  std::optional<uint32_t> section = writer.add(state_->kernels ? artifact::PTX : artifact::STREAMS,
                                               entry.name(), std::as_bytes(std::span(program)), diagnostics);
  if (!section)
    return false;
  if (state_->kernels) {
    entry.set_ptx(*section);
    describeLaunches(*state_->kernels, state_->predictions, state_->target.clock_ghz(), entry);
    if (state_->assembled)
      describeAssembled(*state_->assembled, entry);
  } else {
    entry.set_streams(*section);
    entry.mutable_statistics()->set_predicted_cycles(state_->solution->cycles);
    describePlan(state_->graph, *state_->solution, state_->groups, entry);
  }
  func::FuncOp function = state_->main();
  for (uint32_t i = 0; i < buffers().size(); ++i) {
    entry.add_buffers(i);
    artifact::Buffer &buffer = *manifest.add_buffers();
    buffer = artifact::fromProgram(buffers()[i]);
    if (i < function.getNumArguments())
      describeHost(function, i, buffer);
    if (buffers()[i].role != isa::Role::Constant || !withConstants)
      continue;
    std::optional<std::vector<std::byte>> bytes = constant(i, diagnostics);
    if (!bytes)
      return false;
    std::optional<uint32_t> at = writer.add(artifact::CONSTANTS, buffer.name(), *bytes, diagnostics);
    if (!at)
      return false;
    buffer.set_section(*at);
  }
  return describeWork(state_->work, state_->target, *entry.mutable_statistics(), diagnostics) &&
         writer.finish(std::move(manifest), diagnostics);
}

} // namespace npuc::pipeline
