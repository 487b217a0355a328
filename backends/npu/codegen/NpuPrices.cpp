#include "backends/npu/codegen/NpuPrices.h"

#include "backends/npu/codegen/VectorProgram.h"
#include "backends/npu/timing/Cost.h"
#include "compiler/tile/Plan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <map>
#include <numeric>

using namespace mlir;
using namespace npuc;
using linalg::LinalgOp;

namespace {

class NpuPrices : public tile::Prices {
public:
  explicit NpuPrices(const target::TargetDescription &target) : machine(target) {
    cores = machine.cores;
    scratchpadBytes = int64_t(target.scratchpad().bytes());
    lanesN = target.matrix().lanes_n();
    lanesK = target.matrix().lanes_k();
    hasShared = target.has_shared();
    queues = 0;
    for (const target::DmaClass &dma : target.dma()) {
      queues += dma.queues_per_core();
      multicast |= dma.multicast();
    }
    accumulatorElements = int64_t(target.matrix().accumulator_elements()) * machine.slices;
  }

  double compute(LinalgOp op, ArrayRef<int64_t> extents) const override {
    if (tile::isMovement(op) || !op.getBlock()->getOps<tensor::ExtractOp>().empty())
      return 0; // Transfers.
    return tile::isContraction(op) ? contraction(op, extents) : formula(op, extents);
  }

  double transfer(tile::Place place, int64_t bytes) const override {
    timing::Transfer work;
    work.bytes = work.engineBytes = bytes;
    work.source.space = place == tile::Place::Dram     ? isa::Space::Dram
                        : place == tile::Place::Shared ? isa::Space::Shared
                                                       : isa::Space::Scratchpad;
    work.source.runBytes = work.destination.runBytes = bytes;
    work.destination.space = isa::Space::Scratchpad;
    work.crossesCores = place == tile::Place::OtherCore;
    work.hops = work.crossesCores;
    isa::Command command;
    command.opcode = isa::Opcode::Copy;
    command.engine = isa::Engine::Dma;
    command.dmaClass = classFor(place);
    return timing::transferCost(machine, command, work).cycles;
  }

  double dram(int64_t bytes) const override {
    return double(bytes) / (double(machine.target.dram().channels()) *
                            machine.target.dram().bytes_per_cycle() * machine.dramCyclesPerCycle);
  }

private:
  double contraction(LinalgOp op, ArrayRef<int64_t> extents) const {
    FailureOr<SmallVector<npu::LoopRole>> roles = npu::loopRoles(op.getIndexingMapsArray());
    FailureOr<ElementType> a = elementTypeOf(op.getDpsInputs()[0]), b = elementTypeOf(op.getDpsInputs()[1]),
                           sum = elementTypeOf(op.getDpsInits()[0]);
    if (failed(roles) || failed(a) || failed(b) || failed(sum))
      return 0; // No command has this form, which lowering to one says.
    timing::Contraction work;
    work.a = *a, work.b = *b, work.sum = *sum;
    for (auto [role, extent] : llvm::zip_equal(*roles, extents))
      (role == npu::LoopRole::Batch ? work.batch
       : role == npu::LoopRole::M   ? work.m
       : role == npu::LoopRole::N   ? work.n
                                    : work.k) *= extent;
    // Two blocks' sums, one being worked on while the other is read.
    work.sumsInScratchpad = !machine.target.matrix().chained_to_vector() ||
                            2 * work.batch * work.m * work.n > accumulatorElements;
    if (machine.matrixStepCycles[static_cast<size_t>(machine.contractionType(work.a, work.b))] <= 0)
      return 0; // The engine lacks the type, which the program's verifier says.
    auto [known, isNew] =
        contractions.try_emplace({work.batch, work.m, work.n, work.k, int64_t(work.a), int64_t(work.b)}, 0);
    if (isNew)
      known->second = timing::contractCost(machine, work).cycles;
    return known->second;
  }

  double formula(LinalgOp op, ArrayRef<int64_t> extents) const {
    std::vector<isa::VectorInstruction> program = codegen::instructionsOf(*op.getBlock());
    timing::VectorWork work;
    work.instructions = program;
    work.points = std::accumulate(extents.begin(), extents.end(), int64_t(1), std::multiplies<>());
    auto read = [&](OpOperand &operand, bool once) {
      AffineMap map = op.getMatchingIndexingMap(&operand);
      int64_t points = 1;
      bool inner = true; // Broadcast along the innermost loops so far.
      for (int loop = int(extents.size()) - 1; loop >= 0; --loop) {
        inner &= !map.isFunctionOfDim(loop);
        if (once ? map.isFunctionOfDim(loop) : !inner)
          points *= extents[loop];
      }
      work.bytes += llvm::divideCeil(points * getElementTypeOrSelf(operand.get()).getIntOrFloatBitWidth(), 8);
      return points;
    };
    for (OpOperand *input : op.getDpsInputOperands())
      read(*input, false);
    for (OpOperand &init : op.getDpsInitsMutable())
      work.outputs = read(init, true);
    return timing::vectorCost(machine, work).cycles;
  }

  static FailureOr<ElementType> elementTypeOf(Value value) {
    return codegen::elementType(getElementTypeOrSelf(value));
  }

  /// The class that moves most bytes of those that can move between `place` and a scratchpad.
  uint8_t classFor(tile::Place place) const {
    target::Space end = place == tile::Place::Dram     ? target::DRAM
                        : place == tile::Place::Shared ? target::SHARED
                                                       : target::REMOTE_SCRATCHPAD;
    int best = 0;
    double rate = -1;
    for (int i = 0; i < machine.target.dma_size(); ++i)
      for (const target::DmaClass::Route &route : machine.target.dma(i).routes())
        if (route.source() == end && route.destination() == target::SCRATCHPAD &&
            machine.target.dma(i).bytes_per_cycle() > rate)
          best = i, rate = machine.target.dma(i).bytes_per_cycle();
    return uint8_t(best);
  }

  timing::Machine machine;
  int64_t accumulatorElements = 0;
  mutable std::map<std::array<int64_t, 6>, double> contractions;
};

} // namespace

std::unique_ptr<tile::Prices> codegen::npuPrices(const target::TargetDescription &target) {
  return std::make_unique<NpuPrices>(target);
}
