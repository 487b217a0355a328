#include "backends/cuda/time/BlockTime.h"

#include "backends/npu/target/Target.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/PostOrderIterator.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/InstrTypes.h"

#include <algorithm>
#include <cmath>

using namespace llvm;

namespace npuc::cuda {
namespace {

class InOrder {
public:
  InOrder(const target::TargetDescription &target, const Instructions &instructions, const LoopInfo &loops,
          function_ref<uint64_t(const Loop &)> trips, const std::vector<bool> &inL2, double warps)
      : target(target), instructions(instructions), loops(loops), trips(trips), inL2(inL2), warps(warps) {}

  double run(const Function &function) {
    ReversePostOrderTraversal<const Function *> blocks(&function);
    order.assign(blocks.begin(), blocks.end());
    runBlocks(nullptr);
    return now;
  }

private:
  /// The blocks of a loop, or of the function, once; of loops in it all times.
  void runBlocks(const Loop *around) {
    for (const BasicBlock *block : order) {
      const Loop *loop = loops.getLoopFor(block);
      if (loop == around) {
        runBlock(*block);
      } else if (loop && loop->getParentLoop() == around && loop->getHeader() == block) {
        runLoop(*loop);
      }
    }
  }

  /// Twice; the others are as long as the second time.
  void runLoop(const Loop &loop) {
    const uint64_t times = trips(loop);
    runBlocks(&loop);
    if (times == 1)
      return;
    const double first = now;
    runBlocks(&loop);
    const double rest = (now - first) * double(times - 2);
    now += rest;
    tensorFree += rest;
    for (double &copy : copies)
      copy += rest;
    for (const BasicBlock *block : loop.blocks())
      for (const Instruction &instruction : *block)
        if (auto found = ready.find(&instruction); found != ready.end())
          found->second += rest;
  }

  /// From a barrier or a branch to the next instructions go in the order that suits: each when its operands
  /// are there, all of them in the time that they take to be issued.
  void runBlock(const BasicBlock &block) {
    begin(now);
    for (const Instruction &instruction : block)
      issue(instruction);
    now = end();
  }
  void begin(double at) {
    start = last = at;
    issued = floats = integers = 0;
  }
  double end() const { return std::max(last, start + std::max({issued, floats, integers})); }

  void issue(const Instruction &instruction) {
    const Cost cost = instructions.costOf(instruction);
    double at = start;
    // A loop's next time gets what its last one left.
    for (const Value *operand : instruction.operands())
      if (auto found = ready.find(operand); found != ready.end())
        at = std::max(at, found->second);
    if (cost.instructions == 0) {
      ready[&instruction] = at;
      return;
    }
    const target::Gpu &gpu = target.gpu();
    double latency = gpu.instruction_latency_cycles();
    issued += cost.instructions * warps;
    switch (cost.pipe) {
    case Pipe::Tensor: {
      const MultiplyAdds sums = multiplyAddsOf(instruction);
      at = std::max(at, tensorFree);
      tensorFree = at + double(sums.count) * warps * target::sliceCount(target) /
                            target::peakMacsPerCycle(target, sums.type);
      last = std::max(last, tensorFree);
      latency = gpu.matrix_latency_cycles();
      break;
    }
    case Pipe::Floats:
      floats += cost.instructions * lanesTake(ElementType::F32);
      break;
    case Pipe::Integers:
      integers += cost.instructions * lanesTake(ElementType::I32);
      break;
    case Pipe::Shared:
      latency = target.scratchpad().latency_cycles();
      break;
    case Pipe::Global:
      latency = latencyOf(globalAccessOf(instruction).pointer);
      break;
    case Pipe::Copy:
      copied = std::max(copied, at + latencyOf(globalAccessOf(instruction).pointer));
      break;
    case Pipe::Commit:
      copies.push_back(copied);
      break;
    case Pipe::Barrier:
      begin(end());
      at = start;
      break;
    case Pipe::Wait: {
      // All copies but those of the last few groups.
      const auto *call = dyn_cast<CallBase>(&instruction);
      const auto *left =
          call && call->arg_size() > 0 ? dyn_cast<ConstantInt>(call->getArgOperand(0)) : nullptr;
      const size_t running = left ? left->getZExtValue() : 0;
      double arrived = end();
      if (copies.size() > running)
        arrived = std::max(arrived, copies[copies.size() - 1 - running]);
      begin(arrived);
      at = start;
      break;
    }
    case Pipe::Other:
      break;
    }
    last = std::max(last, at + 1);
    ready[&instruction] = at + latency + std::max(0.0, cost.instructions - 1);
  }

  /// Cycles in which a slice's lanes do an instruction of its warps.
  double lanesTake(ElementType type) const {
    return warps * 32 * target::sliceCount(target) / target::peakVectorOpsPerCycle(target, type);
  }

  double latencyOf(const Value *pointer) const {
    const std::optional<unsigned> argument = argumentOf(pointer);
    const bool isNear = argument && *argument < inL2.size() && inL2[*argument] && target.has_shared();
    return isNear ? target.shared().latency_cycles() : target.dram().latency_cycles();
  }

  const target::TargetDescription &target;
  const Instructions &instructions;
  const LoopInfo &loops;
  function_ref<uint64_t(const Loop &)> trips;
  const std::vector<bool> &inL2;
  std::vector<const BasicBlock *> order;
  double warps; ///< Of the block in a slice.
  double now = 0, tensorFree = 0, copied = 0;
  /// Since the last barrier or branch: when that was, when the last began, and how long the issue, floats and
  /// integers take.
  double start = 0, last = 0, issued = 0, floats = 0, integers = 0;
  DenseMap<const Value *, double> ready;
  std::vector<double> copies; ///< When each group of them is there.
};

} // namespace

double BlockTimes::cyclesOf(const Function &function, const LoopInfo &loops,
                            function_ref<uint64_t(const Loop &)> trips, unsigned warps,
                            const std::vector<bool> &inL2) const {
  return InOrder(target, instructions, loops, trips, inL2,
                 std::ceil(double(warps) / target.topology().slices_per_core()))
      .run(function);
}

} // namespace npuc::cuda
