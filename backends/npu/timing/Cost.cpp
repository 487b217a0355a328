#include "backends/npu/timing/Cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace npuc::timing {
namespace {

using isa::VectorOp;

int64_t ceilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Keeps the greatest of several times and what it belongs to.
struct Greatest {
  double cycles = 0;
  Bound bound = Bound::Nothing;
  void add(double value, Bound of) {
    if (value > cycles) {
      cycles = value;
      bound = of;
    }
  }
};

/// `work` cycles side by side with each other after `fill` cycles: bound by what is longer.
Cost finish(const Greatest &work, double fill, Bound fillBound, double scratchpadBytes = 0) {
  return {std::ceil(work.cycles + fill), fill > work.cycles ? fillBound : work.bound, scratchpadBytes};
}

/// Bytes (or, scattered, elements) that a slice's scratchpad gives an engine of `rate` bytes a cycle.
double operandCycles(const Machine &machine, double bytes, double elements, double rate, bool scattered) {
  const target::Scratchpad &pad = machine.target.scratchpad();
  const double accesses = double(pad.banks()) * pad.ports();
  return scattered ? elements / accesses : bytes / std::min(rate, accesses * pad.bank_bytes());
}

/// A contraction's part of one slice, and how many slices share A and B.
struct Split {
  int64_t batch, m, n;
  int64_t sharersA, sharersB;
};

Cost sliceCost(const Machine &machine, const Contraction &work, const Split &split) {
  const target::MatrixEngine &engine = machine.target.matrix();
  const target::Scratchpad &pad = machine.target.scratchpad();
  const auto type = static_cast<size_t>(machine.contractionType(work.a, work.b));
  const int64_t lanesK = machine.matrixLanesK[type];
  const double step = machine.matrixStepCycles[type];
  const bool weightsStay = engine.stationary() == target::MatrixEngine::WEIGHTS;

  const int64_t blocksM = ceilDiv(split.m, engine.lanes_m()), blocksN = ceilDiv(split.n, engine.lanes_n()),
                blocksK = ceilDiv(work.k, lanesK);
  const double elementsA = double(engine.lanes_m()) * lanesK, elementsB = double(lanesK) * engine.lanes_n();
  const double blockA = elementsA * bitWidth(work.a) / 8, blockB = elementsB * bitWidth(work.b) / 8;

  int64_t reuse = std::clamp<int64_t>(engine.stream_reuse(), 1, blocksN);
  if (weightsStay) {
    const double room = double(engine.stationary_bytes()) / (engine.stationary_double_buffered() ? 2 : 1);
    reuse = std::clamp<int64_t>(static_cast<int64_t>(room / blockB), 1, reuse);
  }
  const double steps = double(split.batch) * blocksM * blocksN * blocksK;
  const double fetches = double(split.batch) * blocksM * blocksK * ceilDiv(blocksN, reuse);

  Greatest busy;
  busy.add(steps * step, Bound::Compute);
  busy.add(operandCycles(machine, fetches * blockA, fetches * elementsA, engine.stream_bytes_per_cycle(),
                         work.scatteredA),
           Bound::Operands);
  double hops = 0;
  if (machine.slices > 1) {
    // A slice keeps an even share of each operand; the rest comes from other slices.
    const double needA = double(split.batch) * split.m * work.k,
                 needB = double(split.batch) * work.k * split.n;
    const double shareA = double(work.batch) * work.m * work.k / machine.slices,
                 shareB = double(work.batch) * work.k * work.n / machine.slices;
    const double bytes = std::max(0.0, needA - shareA) * bitWidth(work.a) / 8 +
                         std::max(0.0, needB - shareB) * bitWidth(work.b) / 8;
    if (pad.slice_bytes_per_cycle() > 0)
      busy.add(bytes / pad.slice_bytes_per_cycle(), Bound::SliceExchange);
    hops = double(std::max(split.sharersA, split.sharersB) - 1) * pad.slice_hop_cycles();
  }
  const double slicesUsed = double(ceilDiv(work.batch, split.batch)) * split.sharersA * split.sharersB;
  double tail = 0, sumBytes = 0;
  if (work.sumsInScratchpad) {
    const double sums = double(split.batch) * split.m * split.n;
    busy.add(sums * (work.accumulate ? 2 : 1) / engine.drain_elements_per_cycle(), Bound::Drain);
    tail = double(engine.lanes_m()) * engine.lanes_n() / engine.drain_elements_per_cycle();
    sumBytes = sums * (work.accumulate ? 2 : 1) * bitWidth(work.sum) / 8;
  }

  const double latency = engine.latency_cycles() + double(pad.latency_cycles()) + tail + hops;
  const double readsB = weightsStay ? double(split.batch) * blocksK * blocksN : steps;
  const double bytes = slicesUsed * (fetches * blockA + readsB * blockB + sumBytes);
  if (!weightsStay) {
    busy.add(operandCycles(machine, steps * blockB, steps * elementsB, engine.weight_bytes_per_cycle(),
                           work.scatteredB),
             Bound::Operands);
    return finish(busy, latency, Bound::Latency, bytes);
  }
  const double groups = double(split.batch) * blocksK * ceilDiv(blocksN, reuse);
  const double loads = double(split.batch) * blocksK * blocksN *
                       std::max<double>(engine.stationary_load_cycles(),
                                        operandCycles(machine, blockB, elementsB,
                                                      engine.weight_bytes_per_cycle(), work.scatteredB));
  if (!engine.stationary_double_buffered()) {
    busy.bound = loads > busy.cycles ? Bound::StationaryLoad : busy.bound;
    busy.cycles += loads;
    return finish(busy, latency, Bound::Latency, bytes);
  }
  // load + (groups - 1) * max(load, work) + work, of which the greater part stands in `busy`.
  const double load = loads / groups, each = busy.cycles / groups;
  if (load > each)
    busy = {each + loads - load, Bound::StationaryLoad};
  return finish(busy, latency + load, load > latency ? Bound::StationaryLoad : Bound::Latency, bytes);
}

/// Bytes of DRAM bursts that a side touches, the activations that it needs at least, and the channels it
/// reaches.
double dramCycles(const Machine &machine, const Side &side) {
  const target::Dram &dram = machine.target.dram();
  const double runs = double(side.runs());
  const double bytes = runs * ceilDiv(side.runBytes, dram.burst_bytes()) * dram.burst_bytes();
  const double pieces = double(ceilDiv(side.runBytes, dram.interleave_bytes()));
  const double channels = std::min<double>(dram.channels(), runs * pieces);
  const double span = double(dram.channels()) * dram.row_bytes();
  double activations = bytes / dram.row_bytes();
  const bool apart =
      side.rows > 0 || (side.rank > 0 && std::abs(double(side.loops[side.rank - 1].stride)) >= span);
  if (apart)
    activations = std::max(activations, runs * std::min<double>(pieces, dram.channels()));
  const double between =
      std::max({double(dram.t_rrd()), dram.t_faw() / 4.0, double(dram.t_ras() + dram.t_rp()) / dram.banks()});
  const double refresh = dram.t_refi() > 0 ? double(dram.t_rfc()) / dram.t_refi() : 0;
  return std::max(bytes / dram.bytes_per_cycle(), activations * between) / channels / (1 - refresh) /
         machine.dramCyclesPerCycle;
}

double spaceLatency(const Machine &machine, isa::Space space) {
  const target::Dram &dram = machine.target.dram();
  switch (space) {
  case isa::Space::Dram:
    return dram.latency_cycles() + (dram.t_rcd() + dram.t_cl()) / machine.dramCyclesPerCycle;
  case isa::Space::Shared:
    return machine.target.shared().latency_cycles();
  default:
    return machine.target.scratchpad().latency_cycles();
  }
}

std::string missingFunction(const Machine &machine, const isa::VectorInstruction &instruction) {
  if (machine.vectorRate[static_cast<size_t>(machine.laneType(instruction.type))] <= 0)
    return fmt::format("the vector engine does not compute in {}", name(instruction.type));
  if (instruction.op == VectorOp::Table)
    return machine.target.vector().table_ports() > 0 ? "" : "the vector engine has no look-up table";
  if (machine.functionRate[static_cast<size_t>(instruction.op)] <= 0)
    return fmt::format("the vector engine has no {}", isa::name(instruction.op));
  return {};
}

} // namespace

std::string_view name(Bound bound) {
  static constexpr std::array<std::string_view, boundCount> names = {
      "nothing",        "latency",         "compute", "stationary_load", "operands",
      "slice_exchange", "drain",           "tables",  "program_load",    "startup",
      "dma_engine",     "scratchpad_port", "network", "shared_memory",   "dram"};
  return names[static_cast<size_t>(bound)];
}

Cost contractCost(const Machine &machine, const Contraction &work) {
  if (work.batch <= 0 || work.m <= 0 || work.n <= 0 || work.k <= 0)
    return {double(machine.target.matrix().latency_cycles()), Bound::Latency, 0};
  const int64_t slices = machine.slices;
  const int64_t blocksM = ceilDiv(work.m, machine.target.matrix().lanes_m()),
                blocksN = ceilDiv(work.n, machine.target.matrix().lanes_n());
  Cost best{-1, Bound::Nothing, 0};
  for (int64_t sb = 1; sb <= std::min(slices, work.batch); ++sb) {
    // Only splits that give the slices fewer batches than the last one did are worth a look.
    if (sb > 1 && ceilDiv(work.batch, sb) == ceilDiv(work.batch, sb - 1))
      continue;
    for (int64_t sm = 1; sm <= std::min(slices / sb, blocksM); ++sm) {
      if (sm > 1 && ceilDiv(blocksM, sm) == ceilDiv(blocksM, sm - 1))
        continue;
      const int64_t most = std::min(slices / (sb * sm), blocksN);
      const int64_t perSlice = ceilDiv(blocksN, most), sn = ceilDiv(blocksN, perSlice);
      const Split split{ceilDiv(work.batch, sb),
                        std::min<int64_t>(work.m, ceilDiv(blocksM, sm) * machine.target.matrix().lanes_m()),
                        std::min<int64_t>(work.n, perSlice * machine.target.matrix().lanes_n()), sn, sm};
      const Cost cost = sliceCost(machine, work, split);
      if (best.cycles < 0 || cost.cycles < best.cycles)
        best = cost;
    }
  }
  return best;
}

Cost drainCost(const Machine &machine, int64_t elements) {
  Greatest busy;
  busy.add(double(ceilDiv(elements, machine.slices)) / machine.target.matrix().drain_elements_per_cycle(),
           Bound::Drain);
  return finish(busy, machine.target.scratchpad().latency_cycles(), Bound::Latency, 4.0 * double(elements));
}

Cost vectorCost(const Machine &machine, const VectorWork &work, bool loadProgram) {
  const target::VectorEngine &engine = machine.target.vector();
  const double load = loadProgram ? engine.program_load_cycles() : 0;
  if (work.points <= 0)
    return {load + engine.latency_cycles(), Bound::Latency, 0};
  const int64_t points = ceilDiv(work.points, machine.slices);
  double compute = 0, slowest = 0, lookups = 0;
  uint32_t inGroup = 0;
  for (const isa::VectorInstruction &i : work.instructions) {
    lookups += i.op == VectorOp::Table;
    if (!takesLanes(i.op))
      continue;
    const double lanes = engine.lanes() * machine.vectorRate[static_cast<size_t>(machine.laneType(i.type))];
    const double cycles = std::ceil(points / lanes) / machine.functionRate[static_cast<size_t>(i.op)];
    slowest = std::max(slowest, cycles);
    if (++inGroup == engine.chained_stages()) {
      compute += slowest;
      slowest = inGroup = 0;
    }
  }
  // Without the chain sums go to the scratchpad first, 4 bytes each, and are read from there.
  const bool chained = machine.target.matrix().chained_to_vector();
  const double drain =
      double(work.accumulatorElements) / machine.slices / machine.target.matrix().drain_elements_per_cycle();
  const double bytes = double(work.bytes) + (chained ? 0 : 4.0 * double(work.accumulatorElements));
  Greatest busy;
  busy.add(compute + slowest, Bound::Compute);
  busy.add(operandCycles(machine, bytes / machine.slices, 0, engine.bytes_per_cycle(), false) +
               operandCycles(machine, 0, double(work.scattered) / machine.slices, 1, true),
           Bound::Operands);
  if (lookups > 0)
    busy.add(points * lookups / engine.table_ports(), Bound::Tables);
  if (chained)
    busy.add(drain, Bound::Drain);
  const double latency = engine.latency_cycles() + double(machine.target.scratchpad().latency_cycles());
  const double sharers = double(machine.slices) / std::clamp<int64_t>(work.outputs, 1, machine.slices);
  const double combine = work.outputs < work.points
                             ? (std::ceil(sharers) - 1) * machine.target.scratchpad().slice_hop_cycles()
                             : 0;
  return finish(busy, load + latency + combine + (chained ? 0 : drain),
                load > latency + combine ? Bound::ProgramLoad : Bound::Latency,
                bytes + (chained ? 0 : 4.0 * double(work.accumulatorElements)));
}

Cost transferCost(const Machine &machine, const isa::Command &command, const Transfer &work) {
  const target::DmaClass &dma = machine.target.dma(command.dmaClass);
  const target::Network &network = machine.target.network();
  const target::SharedMemory &shared = machine.target.shared();
  const double startup = dma.startup_cycles() + double(work.descriptors - 1) * dma.descriptor_cycles();
  double latency = spaceLatency(machine, work.destination.space) + double(work.hops) * network.hop_cycles() +
                   double(work.clusterHops) * network.cluster_hop_cycles();
  if (!work.fill)
    latency += spaceLatency(machine, work.source.space);
  if (work.indexBytes > 0)
    latency += spaceLatency(machine, work.indexSpace);
  if (work.bytes == 0)
    return {std::ceil(startup + latency), Bound::Startup, 0};

  Greatest busy;
  const double bytes = double(work.bytes), sent = bytes * work.sends;
  busy.add(double(work.engineBytes) * work.sends / dma.bytes_per_cycle(), Bound::DmaEngine);
  const bool sourcePad = !work.fill && work.source.space == isa::Space::Scratchpad;
  const bool destinationPad = work.destination.space == isa::Space::Scratchpad;
  const bool local = (sourcePad || work.fill) && destinationPad && !work.crossesCores;
  if (sourcePad || destinationPad)
    busy.add((sourcePad && destinationPad && local ? 2 * bytes : sent) /
                 machine.target.scratchpad().dma_bytes_per_cycle(),
             Bound::ScratchpadPort);
  if (!local) {
    const double perCore = sourcePad || destinationPad ? network.bytes_per_cycle_per_core() : HUGE_VAL;
    busy.add(sent / std::min<double>(network.bytes_per_cycle(), perCore), Bound::Network);
  }
  for (const Side *side : {&work.source, &work.destination}) {
    if (work.fill && side == &work.source)
      continue;
    if (side->space == isa::Space::Shared)
      busy.add(sent / std::min(shared.bytes_per_cycle(), shared.bytes_per_cycle_per_core()),
               Bound::SharedMemory);
    if (side->space == isa::Space::Dram)
      busy.add(dramCycles(machine, *side) * work.sends, Bound::Dram);
  }
  return finish(busy, startup + latency, startup > latency ? Bound::Startup : Bound::Latency);
}

Cost cost(const Machine &machine, const isa::Pools &pools, const isa::Command &command,
          std::span<const int64_t> registers, uint32_t core, std::span<const uint32_t> cores) {
  if (!isActive(command, registers) || command.opcode == isa::Opcode::Barrier)
    return {};
  switch (command.engine) {
  case isa::Engine::Matrix:
    if (command.opcode == isa::Opcode::Contract)
      return contractCost(machine, contraction(pools, command, registers));
    return drainCost(machine, resolve(pools.operandsOf(command)[0], registers).elements());
  case isa::Engine::Vector:
    return vectorCost(machine, vectorWork(pools, command, registers));
  case isa::Engine::Dma:
    return transferCost(machine, command, transfer(machine, pools, command, core, registers, cores));
  }
  return {};
}

std::string unsupported(const Machine &machine, const isa::Pools &pools, const isa::Command &command) {
  auto operands = pools.operandsOf(command);
  switch (command.engine) {
  case isa::Engine::Matrix: {
    if (command.opcode != isa::Opcode::Contract)
      return {};
    const ElementType type = machine.contractionType(operands[0].type, operands[1].type);
    if (machine.matrixStepCycles[static_cast<size_t>(type)] <= 0)
      return fmt::format("the matrix engine does not contract {} with {}", name(operands[0].type),
                         name(operands[1].type));
    return {};
  }
  case isa::Engine::Vector:
    for (const isa::VectorInstruction &i : pools.instructionsOf(command))
      if (std::string missing = missingFunction(machine, i); !missing.empty())
        return missing;
    return {};
  case isa::Engine::Dma:
    if (command.dmaClass >= static_cast<uint32_t>(machine.target.dma_size()))
      return fmt::format("there is no DMA class {}; the target has {}", command.dmaClass,
                         machine.target.dma_size());
    if (command.queue >= machine.target.dma(command.dmaClass).queues_per_core())
      return fmt::format("DMA class {} has no queue {}", machine.target.dma(command.dmaClass).name(),
                         command.queue);
    return {};
  }
  return {};
}

} // namespace npuc::timing
