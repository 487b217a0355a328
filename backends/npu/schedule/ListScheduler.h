// One attempt to schedule a plan: events in predicted time.
#pragma once

#include "backends/npu/schedule/Plan.h"

#include <limits>

namespace npuc::schedule {

struct Timeline {
  std::vector<Slot> slots;        ///< Of each operation.
  std::vector<uint8_t> dmaClass;  ///< Of each operation.
  std::vector<uint32_t> order;    ///< Operations as they start; all of them if the attempt went through.
  std::vector<int64_t> addresses; ///< Of each on-chip buffer.
  int64_t cycles = 0;
};

constexpr int64_t noHorizon = std::numeric_limits<int64_t>::max();

/// Which of a DMA class's queues, if it has several, have what. A queue is in order: transfers of what was
/// computed would wait for a long load that nobody needs yet, all the longer if many cores load at once.
enum class Queues : uint8_t {
  Any,         ///< All have all.
  FirstIsKept, ///< Loads of what is there from the beginning leave the first to what was computed.
  Apart,       ///< And that has no other.
};

struct Attempt {
  /// At most this part of a memory is used ahead of its turn.
  double aheadShare = 1;
  /// What is there from the beginning is loaded when at most so many cycles of work (Plan::workBefore) are
  /// left to do before it is needed.
  int64_t horizon = noHorizon;
  Queues queues = Queues::Any;
  /// If set, buffers have these addresses, and `predecessors` keeps those that share bytes apart.
  const std::vector<int64_t> *addresses = nullptr;
  const Lists *predecessors = nullptr;
};

/// Stops early, with fewer operations in `order`, if a buffer finds no hole although nothing runs any more.
Timeline listSchedule(const Plan &plan, const Attempt &attempt);

} // namespace npuc::schedule
