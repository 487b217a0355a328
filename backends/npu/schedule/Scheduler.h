// From a tile graph to a program: when each operation runs and on which queue, where each buffer lies, and
// who waits for whom.
//
// List scheduling by predicted time. An operation whose predecessors are done asks for room for the buffers
// that it is the first to touch, and starts as soon as it has it and a queue of its engine is idle; so
// waiting for bytes that others still use is part of what is timed. Where several could start, the first in
// sequential order does, in which a load of what is there from the beginning stands just before its first
// consumer. Loads, and whatever else can run ahead, are admitted only if everything that comes before them in
// sequential order still finds its room afterwards (Reservation in Memory.h): bytes can therefore not run
// out. Only then are addresses found, for lifetimes that are known (Packing.h). Should no timeline's buffers
// fit, the sequential lifetimes are packed, and a schedule is made that keeps to those addresses.
//
// Each core's stream is in the order of the operations' starts. Every dependence goes forward in the one
// order of all starts, so the least unfinished command of that order always stands at the head of its queue
// with its waits fulfilled: no queue depth deadlocks.
#pragma once

#include "backends/npu/schedule/Limits.h"

#include <array>
#include <functional>

namespace npuc::schedule {

/// What one operation takes, in cycles of the core's clock.
struct Price {
  enum Shared : uint8_t { Dram, Network, SharedMemory };
  int64_t cycles = 0; ///< If nothing else runs.
  /// For how long it would take the whole of what all cores share: that much is not there for others.
  std::array<int64_t, 3> shared{};
};

class CostModel {
public:
  virtual ~CostModel() = default;
  /// Of graph.operations[operation], if it is for DMA in class `dmaClass`.
  virtual Price price(const TileGraph &graph, uint32_t operation, uint8_t dmaClass) const = 0;
};

struct Problem {
  const TileGraph &graph;
  const Limits &limits;
  const CostModel &cost;
  /// What a program takes, if that can be told better than by the prices of its operations (null): of several
  /// schedules, that of least cycles is taken. Nothing: it cannot run.
  std::function<std::optional<int64_t>(const isa::Program &)> measure = {};
};

/// A command of a program: streams[core][index].
struct CommandRef {
  uint32_t core = 0, index = 0;
  friend auto operator<=>(const CommandRef &, const CommandRef &) = default;
};

/// When an operation is predicted to run.
struct Slot {
  uint32_t queue = 0; ///< As queueOf().
  int64_t start = 0, finish = 0;
};

struct MemoryUse {
  isa::Space space = isa::Space::Scratchpad;
  uint32_t core = 0;
  int64_t peak = 0; ///< Bytes up to the end of the highest buffer; DRAM: of the workspace.
  int64_t bound =
      0; ///< Bytes alive at once in sequential order; DRAM: in predicted time. No placement takes less.
  int64_t capacity = 0;
};

struct Solution {
  isa::Program program;
  std::vector<CommandRef> commands; ///< Of each operation.
  std::vector<uint32_t> order;      ///< Operations in the order of their starts.
  std::vector<Slot> timeline;       ///< Of each operation.
  std::vector<int64_t> addresses;   ///< Of each virtual buffer; DRAM: in its buffer of the program.
  std::vector<MemoryUse> memories;  ///< Those that are used.
  int64_t cycles = 0;               ///< Predicted.
  int64_t lowerBound = 0;           ///< No schedule of this graph at these prices is shorter.
  bool packedBeforehand = false;    ///< Addresses were found for the sequential lifetimes.
};

/// Schedules a graph that verify() accepts, or says for each memory that cannot hold what must live at once:
/// the operation, the bytes needed and the bytes there. The same problem always has the same solution.
std::optional<Solution> schedule(const Problem &problem, Diagnostics &diagnostics);

} // namespace npuc::schedule
