// Waits and signals that keep the order of all accesses that conflict.
#pragma once

#include "backends/npu/schedule/Footprint.h"
#include "backends/npu/schedule/Scheduler.h"

namespace npuc::schedule {

/// The bytes that a program's commands touch. Memories are numbered: DRAM buffers, the cores' scratchpads,
/// their accumulators, shared memory. Reads of DRAM buffers and memories that nothing writes are left out.
class ProgramAccesses {
public:
  explicit ProgramAccesses(const isa::Program &program);
  struct Access {
    uint32_t memory = 0;
    Footprint bytes;
    bool write = false;
  };
  /// Valid until the next call.
  std::span<const Access> of(const isa::Command &command);
  uint32_t memories() const;

private:
  uint32_t memoryOf(const isa::View &view) const;

  const isa::Program &program_;
  std::vector<bool> isWritten_;
  std::vector<Access> accesses_;
};

/// Replaces all waits and signals of the program, which has the commands of `order` placed and in streams,
/// each stream's in this order. For each two commands that touch the same bytes, one of them writing, the
/// later one starts after the earlier one is done: by the order of their queue (a queue runs one command at a
/// time), or by waiting for its queue's semaphore, a count of those completions that someone waits for. A
/// wait that follows from others is left out (vector clocks). False with an error if the device has fewer
/// semaphores than queues that signal.
bool synchronize(isa::Program &program, std::span<const CommandRef> order, const Limits &limits,
                 Diagnostics &diagnostics);

} // namespace npuc::schedule
