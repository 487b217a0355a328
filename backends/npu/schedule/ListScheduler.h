// One attempt to schedule a plan: events in predicted time.
#pragma once

#include "backends/npu/schedule/Plan.h"

#include <limits>

namespace npuc::schedule {

/// A half-open interval of any clock.
using Span = std::pair<int64_t, int64_t>;

struct Timeline {
  std::vector<Slot> slots;       ///< Of each operation.
  std::vector<uint8_t> dmaClass; ///< Of each operation.
  std::vector<uint32_t> order;   ///< Operations as they start.
  /// Of each on-chip buffer: when it gets room, and when the last operation that uses it is done.
  std::vector<Span> lives;
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
  /// If set, buffers have addresses already, and these predecessors keep those that share bytes apart.
  const Lists *predecessors = nullptr;
};

/// When each operation runs, if in each memory the buffers that live at once have room, wherever they lie.
Timeline listSchedule(const Plan &plan, const Attempt &attempt);

} // namespace npuc::schedule
