// Schedules for people to read.
#pragma once

#include "backends/npu/schedule/Scheduler.h"

namespace npuc::schedule {

/// Predicted cycles beside their lower bound; each memory's peak beside its own; and for each queue that is
/// used a line of `width` cells of equal time, '#' at least half busy, '-' less, '.' idle, with the share of
/// time that it is busy:
///
///   cycles 320, lower bound 300; addresses found while scheduling; 5 waits, 4 signals
///   scratchpad 0: 512 of 4096 bytes, lower bound 384
///   core 0 matrix  ...####-...  41%
///   core 0 dma0.1  ###-.......  30%
std::string report(const Solution &solution, const Limits &limits, unsigned width = 64);

/// One line for each operation, in the order of their starts: start, finish, core, queue, the command and its
/// source.
std::string listing(const Solution &solution, const Limits &limits);

} // namespace npuc::schedule
