#include "backends/cuda/time/Count.h"

#include "backends/cuda/time/BlockTime.h"
#include "backends/cuda/time/Instructions.h"
#include "backends/cuda/time/Warp.h"

#include "llvm/ADT/PostOrderIterator.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/CFG.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include "llvm/Transforms/Vectorize/LoadStoreVectorizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace llvm;

namespace npuc::cuda {
namespace {

/// Warps of the launch, and iterations of a loop, that stand for all: those of so few are all looked at.
constexpr uint64_t greatestWarps = 16, greatestIterations = 16;
constexpr uint64_t sectorBytes = 32;
/// What ptxas takes beside what is alive, as for what it loads early, and at least. Measured on the kernels
/// of some models.
constexpr unsigned otherRegisters = 3, leastRegisters = 12;

/// The sectors that a request of a warp touches.
uint64_t sectorsOf(const MemoryAccess &access, uint32_t lanes, Warp &warp) {
  if (access.copied)
    if (const auto &bytes = warp.of(access.copied))
      for (unsigned lane = 0; lane < 32; ++lane)
        if ((*bytes)[lane] == 0)
          lanes &= ~(uint32_t{1} << lane);
  const auto &addresses = warp.of(access.pointer);
  if (!addresses) // Gathered: each lane elsewhere.
    return unsigned(popcount(lanes)) * divideCeil(access.bytes, sectorBytes);
  SmallVector<uint64_t, 64> sectors;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      for (uint64_t sector = (*addresses)[lane] / sectorBytes,
                    last = ((*addresses)[lane] + access.bytes - 1) / sectorBytes;
           sector <= last; ++sector)
        sectors.push_back(sector);
  llvm::sort(sectors);
  return uint64_t(std::unique(sectors.begin(), sectors.end()) - sectors.begin());
}

/// The axes of the grid that a value depends on.
unsigned axesOf(const Value *value, DenseMap<const Value *, unsigned> &known) {
  const auto *user = dyn_cast<User>(value);
  if (!user)
    return 0;
  if (auto found = known.find(value); found != known.end())
    return found->second;
  known[value] = 0; // Where it depends on itself.
  unsigned axes = 0;
  if (const auto *call = dyn_cast<IntrinsicInst>(value))
    axes = call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_ctaid_x   ? 1
           : call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_ctaid_y ? 2
           : call->getIntrinsicID() == Intrinsic::nvvm_read_ptx_sreg_ctaid_z ? 4
                                                                             : 0;
  for (const Value *operand : user->operands())
    axes |= axesOf(operand, known);
  return known[value] = axes;
}

unsigned registersOf(const Type *type, const DataLayout &layout) {
  if (type->isVoidTy() || type->isIntegerTy(1) || type->isLabelTy() || type->isTokenTy() ||
      type->isMetadataTy())
    return 0;
  return unsigned((layout.getTypeStoreSize(const_cast<Type *>(type)).getFixedValue() + 3) / 4);
}

/// Registers of the values that are alive at once, at most.
unsigned registersAlive(const Function &function) {
  const DataLayout &layout = function.getParent()->getDataLayout();
  auto isValue = [](const Value *value) { return llvm::isa<Instruction>(value); };
  DenseMap<const BasicBlock *, SmallPtrSet<const Value *, 32>> aliveAtStart;
  unsigned most = 0;
  auto walk = [&](const BasicBlock &block) {
    SmallPtrSet<const Value *, 32> alive;
    for (const BasicBlock *next : successors(&block)) {
      for (const Value *value : aliveAtStart[next])
        alive.insert(value);
      for (const PHINode &phi : next->phis()) {
        alive.erase(&phi);
        if (const Value *incoming = phi.getIncomingValueForBlock(&block); isValue(incoming))
          alive.insert(incoming);
      }
    }
    unsigned now = 0;
    for (const Value *value : alive)
      now += registersOf(value->getType(), layout);
    most = std::max(most, now);
    for (const Instruction &instruction : reverse(block)) {
      if (alive.erase(&instruction))
        now -= registersOf(instruction.getType(), layout);
      if (llvm::isa<PHINode>(instruction)) {
        alive.insert(&instruction);
        continue;
      }
      for (const Value *operand : instruction.operands())
        if (isValue(operand) && alive.insert(operand).second)
          now += registersOf(operand->getType(), layout);
      most = std::max(most, now);
    }
    const size_t before = aliveAtStart[&block].size();
    aliveAtStart[&block] = std::move(alive);
    return aliveAtStart[&block].size() != before;
  };
  for (bool changes = true; changes;) {
    changes = false;
    for (const BasicBlock *block : post_order(&function))
      changes |= walk(*block);
  }
  return most;
}

/// `index`-th of `count` that stand for `all`: one of each `count`-th part, at places in them that are spread
/// too, so that not all are the first warp of a block.
uint64_t spread(uint64_t index, uint64_t count, uint64_t all) {
  if (count >= all)
    return index % all;
  const double within = std::fmod(double(index) * std::numbers::phi, 1.0);
  return std::min(all - 1, uint64_t((double(index) + within) * double(all) / double(count)));
}

} // namespace

struct Counter::State {
  std::unique_ptr<Module> module;
  Instructions instructions;
  BlockTimes times;
  LoopAnalysisManager loopAnalyses;
  FunctionAnalysisManager functionAnalyses;
  CGSCCAnalysisManager graphAnalyses;
  ModuleAnalysisManager moduleAnalyses;

  State(const Module &given, TargetMachine &machine, const target::TargetDescription &target)
      : module(CloneModule(given)), instructions(target), times(target) {
    PassBuilder builder(&machine);
    builder.registerModuleAnalyses(moduleAnalyses);
    builder.registerCGSCCAnalyses(graphAnalyses);
    builder.registerFunctionAnalyses(functionAnalyses);
    builder.registerLoopAnalyses(loopAnalyses);
    builder.crossRegisterProxies(loopAnalyses, functionAnalyses, graphAnalyses, moduleAnalyses);
    // As on the way to PTX: neighbouring loads and stores become one.
    ModulePassManager passes;
    passes.addPass(createModuleToFunctionPassAdaptor(LoadStoreVectorizerPass()));
    passes.run(*module, moduleAnalyses);
  }

  Function &kernel(const std::string &name) { return *module->getFunction(name); }
  LoopInfo &loops(Function &function) { return functionAnalyses.getResult<LoopAnalysis>(function); }
  ScalarEvolution &evolution(Function &function) {
    return functionAnalyses.getResult<ScalarEvolutionAnalysis>(function);
  }
  /// Kernels' loops run a number of times that is known.
  uint64_t trips(Function &function, const Loop &loop) {
    ScalarEvolution &scalars = evolution(function);
    unsigned exactly = scalars.getSmallConstantTripCount(&loop);
    return std::max(1u, exactly ? exactly : scalars.getSmallConstantMaxTripCount(&loop));
  }
};

Counter::Counter(const Module &module, TargetMachine &machine, const target::TargetDescription &target)
    : state(std::make_unique<State>(module, machine, target)) {}
Counter::~Counter() = default;

Work Counter::count(const std::string &kernel, const Geometry &geometry) {
  Function &function = state->kernel(kernel);
  LoopInfo &loops = state->loops(function);
  ScalarEvolution &evolution = state->evolution(function);
  const uint64_t warps = geometry.blocks() * geometry.warps(), sampled = std::min(warps, greatestWarps);
  uint64_t iterations = 1;
  DenseMap<const Loop *, uint64_t> trips;
  for (const Loop *loop : loops.getLoopsInPreorder()) {
    trips[loop] = state->trips(function, *loop);
    iterations = std::max(iterations, std::min(trips[loop], greatestIterations));
  }

  Work work;
  work.arguments.resize(function.arg_size());
  work.registers = std::max(registersAlive(function) + otherRegisters, leastRegisters);
  // What a warp does on average, of the sampled ones.
  const double each = double(warps) / double(sampled * iterations);
  std::array<double, elementTypeCount> multiplyAdds{};
  DenseMap<const Value *, unsigned> axes;
  for (uint64_t sample = 0; sample < sampled * iterations; ++sample) {
    const uint64_t warpIndex = spread(sample / iterations, sampled, warps),
                   block = warpIndex / geometry.warps();
    Place place;
    place.grid = geometry.grid;
    place.block = {unsigned(block % geometry.grid[0]), unsigned(block / geometry.grid[0] % geometry.grid[1]),
                   unsigned(block / geometry.grid[0] / geometry.grid[1])};
    place.firstThread = unsigned(warpIndex % geometry.warps()) * 32;
    place.threads = geometry.threads;
    place.iteration = [&](const Loop &loop) { return spread(sample % iterations, iterations, trips[&loop]); };
    Warp warp(function, loops, evolution, place);
    for (BasicBlock &code : function) {
      const uint32_t lanes = warp.lanesIn(&code);
      if (lanes == 0)
        continue;
      double times = each;
      for (const Loop *loop = loops.getLoopFor(&code); loop; loop = loop->getParentLoop())
        times *= double(trips[loop]);
      for (Instruction &instruction : code) {
        const Cost cost = state->instructions.costOf(instruction);
        work.instructions += cost.instructions * times;
        if (cost.pipe == Pipe::Floats)
          work.floats += cost.instructions * times;
        if (cost.pipe == Pipe::Integers)
          work.integers += cost.instructions * times;
        if (cost.pipe == Pipe::Tensor) {
          const MultiplyAdds sums = multiplyAddsOf(instruction);
          multiplyAdds[static_cast<size_t>(sums.type)] += double(sums.count) * times;
        }
        work.sharedBytes += double(sharedBytesOf(instruction) * unsigned(popcount(lanes))) * times;
        const MemoryAccess access = globalAccessOf(instruction);
        std::optional<unsigned> argument = access.pointer ? argumentOf(access.pointer) : std::nullopt;
        if (!argument)
          continue;
        Traffic &traffic = work.arguments[*argument];
        const double bytes = double(sectorsOf(access, lanes, warp) * sectorBytes) * times;
        (access.written ? traffic.written : traffic.read) += bytes;
        traffic.axes |= axesOf(access.pointer, axes);
      }
    }
  }
  for (size_t i = 0; i < elementTypeCount; ++i)
    work.multiplyAdds[i] = uint64_t(multiplyAdds[i] + 0.5);
  return work;
}

double Counter::blockCycles(const std::string &kernel, const Geometry &geometry,
                            const std::vector<bool> &inL2) {
  Function &function = state->kernel(kernel);
  return state->times.cyclesOf(
      function, state->loops(function), [&](const Loop &loop) { return state->trips(function, loop); },
      geometry.warps(), inL2);
}

} // namespace npuc::cuda
