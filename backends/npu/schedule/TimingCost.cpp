#include "backends/npu/schedule/TimingCost.h"

#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Cost.h"

#include <cmath>

namespace npuc::schedule {
namespace {

int64_t cycles(double value) {
  return static_cast<int64_t>(std::ceil(value));
}

// Peak bandwidth but for refreshes.
double dramBytesPerCycle(const timing::Machine &machine) {
  const target::Dram &dram = machine.target.dram();
  return target::dramBytesPerCycle(machine.target) *
         (dram.t_refi() > 0 ? 1 - double(dram.t_rfc()) / dram.t_refi() : 1);
}

} // namespace

TimingCost::TimingCost(const timing::Machine &machine, const TileGraph &graph) : machine_(machine) {
  for (const VirtualBuffer &buffer : graph.buffers)
    owners_.push_back(buffer.core);
  for (const isa::Register &r : graph.registers)
    registers_.push_back(r.greatest);
}

Price TimingCost::price(const TileGraph &graph, uint32_t operation, uint8_t dmaClass) const {
  isa::Command command = graph.operations[operation];
  Price price;
  if (command.engine != isa::Engine::Dma) {
    price.cycles =
        cycles(timing::cost(machine_, graph, command, registers_, graph.cores[operation], owners_).cycles);
    return price;
  }
  command.dmaClass = dmaClass;
  const timing::Transfer work =
      timing::transfer(machine_, graph, command, graph.cores[operation], registers_, owners_);
  price.cycles = cycles(timing::transferCost(machine_, command, work).cycles);
  const auto ends = graph.operandsOf(command);
  const bool hasSource = command.opcode != isa::Opcode::Fill;
  auto bytesIn = [&](isa::Space space) {
    return double(work.bytes) * ((hasSource && ends.front().space == space) + (ends.back().space == space));
  };
  price.shared[Price::Dram] = cycles(bytesIn(isa::Space::Dram) / dramBytesPerCycle(machine_));
  price.shared[Price::Network] =
      cycles(double(work.bytes) * work.sends / machine_.target.network().bytes_per_cycle());
  if (machine_.target.has_shared())
    price.shared[Price::SharedMemory] =
        cycles(bytesIn(isa::Space::Shared) / machine_.target.shared().bytes_per_cycle());
  return price;
}

} // namespace npuc::schedule
