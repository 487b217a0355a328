// The machine's clock: runs a program's commands as events, without their data.
//
// Each core's command processor fetches (command_bytes at fetch_bytes_per_cycle, ahead) and dispatches
// (dispatch_cycles each, in order) into the engines' queues, each of queue_depth commands, the running one
// counted; at a full queue it stands still. An engine runs its queue in order, one command at a time, each
// when its waits hold. A signal is seen signal_cycles after its command's end on the same core,
// remote_signal_cycles after it on others.
//
// Matrix and vector commands take what Cost.h says. A DMA command takes its start-up, then moves its data in
// packets that queue for what they share with others (Fabric.h), then the latency of the way.
#pragma once

#include "backends/npu/timing/Timeline.h"
#include "support/Diagnostic.h"

namespace npuc::timing {

struct SimulationOptions {
  /// Registers' values at launch; the greatest that a register may have where none is given.
  std::vector<int64_t> registers;
};

/// Runs `program` on `target`. Deterministic. Nothing, with errors, if the program does not fit the target
/// (more cores, a data type, function, DMA class or queue that it lacks, an index out of range) or cannot
/// advance: then each error is a command that waits, with the semaphore's value and who would raise it.
std::optional<Timeline> simulate(const isa::Program &program, const target::TargetDescription &target,
                                 const SimulationOptions &options, Diagnostics &diagnostics);

} // namespace npuc::timing
