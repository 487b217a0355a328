#include "backends/npu/schedule/Limits.h"

#include <algorithm>

namespace npuc::schedule {
namespace {

unsigned routeEnd(target::Space space) {
  switch (space) {
  case target::DRAM:
    return 0;
  case target::SHARED:
    return 1;
  case target::SCRATCHPAD:
    return 2;
  default:
    return 3;
  }
}

unsigned routeEnd(const isa::View &view, uint32_t owner, uint32_t core) {
  if (view.space == isa::Space::Dram)
    return 0;
  if (view.space == isa::Space::Shared)
    return 1;
  return owner == core ? 2 : 3;
}

} // namespace

const MemoryLimit &Limits::memory(isa::Space space) const {
  switch (space) {
  case isa::Space::Shared:
    return shared;
  case isa::Space::Scratchpad:
    return scratchpad;
  case isa::Space::Accumulator:
    return accumulator;
  case isa::Space::Dram:
    return dram;
  }
  return dram;
}

uint32_t Limits::dmaClasses(const isa::Pools &pools, const isa::Command &command, uint32_t core,
                            std::span<const uint32_t> owner) const {
  const auto operands = pools.operandsOf(command);
  if (operands.empty())
    return 0;
  const size_t last = operands.size() - 1;
  const bool indexed = command.opcode == isa::Opcode::Gather || command.opcode == isa::Opcode::Scatter;
  const unsigned destination = command.multicastCount > 0 ? 2 : routeEnd(operands[last], owner[last], core);
  uint16_t wanted = 0;
  if (command.opcode == isa::Opcode::Fill)
    wanted = static_cast<uint16_t>(0x1111u << destination);
  else
    wanted = static_cast<uint16_t>(1u << (4 * routeEnd(operands[0], owner[0], core) + destination));
  uint32_t result = 0;
  for (size_t i = 0; i < dma.size(); ++i)
    if ((dma[i].routes & wanted) != 0 && (dma[i].multicast || command.multicastCount == 0) &&
        (dma[i].gatherScatter || !indexed))
      result |= 1u << i;
  return result;
}

Limits limitsOf(const target::TargetDescription &target) {
  Limits limits;
  const target::Topology &topology = target.topology();
  limits.cores = topology.devices() * topology.clusters_per_device() * topology.cores_per_cluster();
  limits.scratchpad = {static_cast<int64_t>(target.scratchpad().bytes()), target.scratchpad().alignment()};
  const auto &accumulators = target.matrix().accumulators();
  const bool isWide =
      std::any_of(accumulators.begin(), accumulators.end(), [](auto &one) { return one.bits() > 32; });
  limits.accumulator.alignment = isWide ? 8 : 4;
  limits.accumulator.bytes = static_cast<int64_t>(target.matrix().accumulator_elements() *
                                                  topology.slices_per_core() * limits.accumulator.alignment);
  if (target.has_shared())
    limits.shared = {static_cast<int64_t>(target.shared().bytes()), target.shared().alignment()};
  limits.dram = {static_cast<int64_t>(target.dram().bytes() - target.dram().reserved_bytes()),
                 target.dram().burst_bytes()};
  for (const target::DmaClass &one : target.dma()) {
    DmaLimit dma{one.queues_per_core(), one.multicast(), one.gather_scatter()};
    for (const target::DmaClass::Route &route : one.routes())
      dma.routes |=
          static_cast<uint16_t>(1u << (4 * routeEnd(route.source()) + routeEnd(route.destination())));
    limits.dma.push_back(dma);
  }
  limits.semaphores = target.control().semaphores();
  limits.queueDepth = target.control().queue_depth();
  limits.dispatchCycles = target.control().dispatch_cycles();
  limits.signalCycles = target.control().signal_cycles();
  limits.remoteSignalCycles = target.control().remote_signal_cycles();
  return limits;
}

uint32_t queuesPerCore(const Limits &limits) {
  uint32_t queues = 2;
  for (const DmaLimit &dma : limits.dma)
    queues += dma.queues;
  return queues;
}

uint32_t queueOf(const Limits &limits, const isa::Command &command) {
  if (command.engine == isa::Engine::Matrix)
    return 0;
  if (command.engine == isa::Engine::Vector)
    return 1;
  uint32_t queue = 2 + command.queue;
  for (uint8_t i = 0; i < command.dmaClass && i < limits.dma.size(); ++i)
    queue += limits.dma[i].queues;
  return queue;
}

} // namespace npuc::schedule
