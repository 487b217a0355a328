// What a schedule must keep to on a machine: memories, engines' queues, routes, semaphores.
#pragma once

#include "backends/npu/schedule/TileGraph.h"
#include "backends/npu/target/target.pb.h"

namespace npuc::schedule {

struct MemoryLimit {
  int64_t bytes = 0;
  uint32_t alignment = 1; ///< Of every buffer's address.
};

struct DmaLimit {
  uint32_t queues = 1; ///< Per core.
  bool multicast = false, gatherScatter = false;
  /// Bit 4 · source + destination, each Dram 0, Shared 1, the core's own scratchpad 2, another core's 3.
  uint16_t routes = 0;
};

struct Limits {
  uint32_t cores = 1;
  /// Bytes of one core's scratchpad and accumulator memory (4 for each of its elements, 8 where an
  /// accumulator has more than 32 bits), of shared memory, and of DRAM that is not the driver's.
  MemoryLimit scratchpad, accumulator, shared, dram;
  std::vector<DmaLimit> dma;
  uint32_t semaphores = 1; ///< Of the device.
  uint32_t queueDepth = 1; ///< Commands that an engine's queue holds, with the running one.
  int64_t dispatchCycles = 0, signalCycles = 0, remoteSignalCycles = 0;

  const MemoryLimit &memory(isa::Space space) const;
  /// A bit for each class that can run the command from `core`'s stream. `owner[i]` is the core of operand
  /// i's buffer where that is a scratchpad.
  uint32_t dmaClasses(const isa::Pools &pools, const isa::Command &command, uint32_t core,
                      std::span<const uint32_t> owner) const;
};

Limits limitsOf(const target::TargetDescription &target);

/// The queues of a core are numbered: matrix, vector, then each DMA class's.
uint32_t queuesPerCore(const Limits &limits);
uint32_t queueOf(const Limits &limits, const isa::Command &command);

} // namespace npuc::schedule
