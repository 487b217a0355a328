// Proofs about finished programs, from the program alone or beside the graph that it was made from.
#pragma once

#include "backends/npu/schedule/Scheduler.h"

namespace npuc::schedule {

/// What a program guarantees about the order of its commands, whatever each of them takes.
class HappensBefore {
public:
  /// Runs the program without time: cores dispatch in order into queues of the limits' depth, queues run in
  /// order, one command at a time, a command waits for its semaphores. Errors: a semaphore that does not
  /// exist or that more than one queue raises; commands that can never start, each with what it waits for.
  /// After an error nothing else is defined.
  HappensBefore(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics);

  bool isSound() const { return sound_; }
  /// All commands in an order in which they may run.
  const std::vector<CommandRef> &order() const { return order_; }
  /// `a` is always done before `b` starts.
  bool before(CommandRef a, CommandRef b) const;

private:
  struct Step {
    uint32_t queue = 0;
    uint32_t count = 0;    // its number in the queue, from 1
    uint32_t snapshot = 0; // of clocks_
  };
  const Step &step(CommandRef ref) const { return steps_[first_[ref.core] + ref.index]; }
  Step &step(CommandRef ref) { return steps_[first_[ref.core] + ref.index]; }

  bool findSignals(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics);
  bool run(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics);
  void findClocks(const isa::Program &program);

  bool sound_ = false;
  uint32_t queues_ = 0;
  std::vector<size_t> first_; // of each core's commands in steps_
  std::vector<Step> steps_;
  std::vector<std::vector<CommandRef>> signals_; // of each semaphore, in the order of its queue
  std::vector<CommandRef> order_;
  std::vector<uint32_t> clocks_; // snapshots: how many commands of each queue are done
};

/// Proves of a program, for every timing of its commands: it cannot deadlock; each two commands that touch
/// the same byte, one of them writing, run in one order; no command leaves a buffer or memory. isa's verifier
/// has accepted the program. Adds an error for each fault, at most 100.
bool verifyRaces(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics);

/// Proves that the program computes what the graph says: verifyRaces; each operation is there once, unchanged
/// but for its place, each buffer at one address that its alignment, group and memory allow; each dependence
/// of the graph holds; and buffers that share bytes live one after the other.
bool verifySchedule(const TileGraph &graph, const isa::Program &program, std::span<const CommandRef> commands,
                    const Limits &limits, Diagnostics &diagnostics);

} // namespace npuc::schedule
