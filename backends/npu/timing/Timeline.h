// What the simulator found: when each command ran, what it waited for, and what the machine did in all.
#pragma once

#include "backends/npu/timing/Cost.h"
#include "backends/npu/timing/Dram.h"

#include <array>
#include <cstdint>
#include <vector>

namespace npuc::timing {

/// Cycles of the core's clock, from the launch's end (the first command is fetched at 0).
struct CommandTime {
  uint64_t dispatch = 0; ///< It stands in its engine's queue.
  uint64_t front = 0;    ///< It is the next of its engine: dispatched, and the one before it is done.
  uint64_t start = 0;    ///< Its waits hold too; the engine begins.
  uint64_t end = 0;
  /// The engine's idle time before `front`: because the command processor stood before a full queue, and
  /// because it had not come to this command yet. From front to start the command waits for semaphores.
  uint64_t queueFull = 0, notDispatched = 0;
  /// The command whose signal it waited for last; isa::none if it did not wait once it was at the front.
  uint32_t waitedCore = isa::none, waitedCommand = isa::none;
  uint32_t engine = 0; ///< In Timeline::engines.
  Bound bound = Bound::Nothing;

  uint64_t busy() const { return end - start; }
  uint64_t semaphoreWait() const { return start - front; }
};

struct EngineTime {
  uint32_t core = 0;
  isa::Engine engine = isa::Engine::Matrix;
  uint8_t dmaClass = 0, queue = 0;
  uint64_t commands = 0;
  uint64_t busy = 0;
  uint64_t semaphoreWait = 0, queueFull = 0, notDispatched = 0;
};

/// Joules.
struct EnergyUse {
  double matrix = 0, vector = 0, scratchpad = 0, shared = 0, network = 0, dram = 0;
  double idle = 0; ///< Of the board, over the whole time.
  double total() const { return matrix + vector + scratchpad + shared + network + dram + idle; }
};

/// A quantity over time: values[i] belongs to [i · bucket, (i + 1) · bucket) cycles. At most 1,024 buckets.
struct Series {
  uint64_t bucket = 64;
  std::vector<double> values;
  void add(double cycle, double value);
};

struct Timeline {
  std::vector<std::vector<CommandTime>> commands; ///< As Program::streams.
  std::vector<EngineTime> engines; ///< Those that have commands, by core, engine, class and queue.
  uint64_t cycles = 0;             ///< Until the last command has ended.
  double launchMilliseconds = 0;
  double milliseconds = 0; ///< Launch and cycles.

  DramModel::Statistics dram;
  double dramBytesPerCycle = 0; ///< Achieved: bytes of bursts over `cycles`.
  double dramPeakBytesPerCycle = 0;
  Series dramBytes;

  std::array<uint64_t, elementTypeCount> multiplyAdds{}; ///< By the type whose rate they ran at.
  uint64_t vectorOperations = 0; ///< Instructions × points, without operand accesses and constants.
  uint64_t scratchpadBytes = 0, sharedBytes = 0, networkBytes = 0;
  uint64_t peakScratchpadBytes = 0; ///< Greatest address + 1 that an operand names, of all cores.
  EnergyUse energy;
};

} // namespace npuc::timing
