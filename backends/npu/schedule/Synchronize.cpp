#include "backends/npu/schedule/Synchronize.h"

#include "backends/npu/schedule/LiveAccesses.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::schedule {
namespace {

class Synchronizer {
public:
  Synchronizer(isa::Program &program, std::span<const CommandRef> order, const Limits &limits)
      : program_(program), order_(order), accesses_(program) {
    // Only queues that are used have a clock's component.
    std::vector<uint32_t> number(program.streams.size() * queuesPerCore(limits), isa::none);
    steps_.reserve(order.size());
    for (CommandRef ref : order) {
      uint32_t &queue = number[ref.core * queuesPerCore(limits) + queueOf(limits, command(ref))];
      if (queue == isa::none) {
        queue = static_cast<uint32_t>(length_.size());
        length_.push_back(0);
      }
      steps_.push_back({queue, ++length_[queue], 0});
    }
    clocks_.resize(length_.size()); // snapshot 0: nothing is known
    snapshot_.resize(length_.size());
  }

  uint32_t run() {
    findWaits();
    return number();
  }

private:
  struct Step {
    uint32_t queue = 0;
    uint32_t count = 0;    // commands of the queue that are done when this one is
    uint32_t snapshot = 0; // what is known to be done when it starts, but of its own queue
    bool signals = false;
  };
  struct Edge {
    uint32_t from, to; // in `order`
  };

  isa::Command &command(CommandRef ref) const { return program_.streams[ref.core][ref.index]; }
  uint32_t *clock(uint32_t snapshot) { return clocks_.data() + size_t(snapshot) * length_.size(); }

  void findWaits() {
    std::vector<LiveAccesses> live(accesses_.memories());
    std::vector<uint32_t> candidates;
    for (uint32_t i = 0; i < order_.size(); ++i) {
      const auto list = accesses_.of(command(order_[i]));
      candidates.clear();
      for (const ProgramAccesses::Access &access : list)
        live[access.memory].visitConflicts(access.bytes, access.write, [&](uint32_t other) {
          if (steps_[other].queue != steps_[i].queue)
            candidates.push_back(other);
        });
      for (const ProgramAccesses::Access &access : list)
        live[access.memory].add({access.bytes, i, steps_[i].queue}, access.write);
      // The latest first: none follows from an earlier one.
      std::sort(candidates.begin(), candidates.end(), std::greater<>());
      wait(i, candidates);
    }
  }

  void wait(uint32_t i, std::span<const uint32_t> candidates) {
    const size_t queues = length_.size();
    Step &step = steps_[i];
    bool isOwn = false; // the snapshot is this command's alone
    for (uint32_t other : candidates) {
      const Step &before = steps_[other];
      if (clock(snapshot_[step.queue])[before.queue] >= before.count)
        continue;
      edges_.push_back({other, i});
      steps_[other].signals = true;
      if (!isOwn) {
        const auto fresh = static_cast<uint32_t>(clocks_.size() / queues);
        clocks_.resize(clocks_.size() + queues);
        std::copy_n(clock(snapshot_[step.queue]), queues, clock(fresh));
        snapshot_[step.queue] = fresh;
        isOwn = true;
      }
      uint32_t *mine = clock(snapshot_[step.queue]);
      const uint32_t *theirs = clock(before.snapshot);
      for (size_t q = 0; q < queues; ++q)
        mine[q] = std::max(mine[q], theirs[q]);
      mine[before.queue] = std::max(mine[before.queue], before.count);
    }
    step.snapshot = snapshot_[step.queue];
  }

  // Semaphores for the queues that signal, values for their signals, and the waits. Returns the number of
  // semaphores.
  uint32_t number() {
    uint32_t semaphores = 0;
    std::vector<uint32_t> semaphore(length_.size(), isa::none), raised(length_.size()), value(order_.size());
    for (uint32_t i = 0; i < order_.size(); ++i) {
      const Step &step = steps_[i];
      isa::Command &c = command(order_[i]);
      c.signal = isa::none;
      if (!step.signals)
        continue;
      if (semaphore[step.queue] == isa::none)
        semaphore[step.queue] = semaphores++;
      c.signal = semaphore[step.queue];
      value[i] = ++raised[step.queue];
    }
    program_.waits.clear();
    program_.waits.reserve(edges_.size());
    size_t next = 0;
    for (uint32_t i = 0; i < order_.size(); ++i) {
      isa::Command &c = command(order_[i]);
      c.firstWait = static_cast<uint32_t>(program_.waits.size());
      for (; next < edges_.size() && edges_[next].to == i; ++next)
        program_.waits.push_back({semaphore[steps_[edges_[next].from].queue], value[edges_[next].from]});
      c.waitCount = static_cast<uint16_t>(program_.waits.size() - c.firstWait);
    }
    program_.semaphores = semaphores;
    return semaphores;
  }

  isa::Program &program_;
  std::span<const CommandRef> order_;
  ProgramAccesses accesses_;
  std::vector<Step> steps_;        // of each command in order
  std::vector<uint32_t> length_;   // commands of each queue
  std::vector<uint32_t> clocks_;   // snapshots, each a count for every queue
  std::vector<uint32_t> snapshot_; // the latest of each queue
  std::vector<Edge> edges_;
};

} // namespace

ProgramAccesses::ProgramAccesses(const isa::Program &program)
    : program_(program), isWritten_(memories(), true) {
  std::vector<bool> written(memories());
  for (const std::vector<isa::Command> &stream : program.streams)
    for (const isa::Command &command : stream)
      for (const Access &access : of(command))
        if (access.write)
          written[access.memory] = true;
  isWritten_ = std::move(written);
}

uint32_t ProgramAccesses::memories() const {
  return static_cast<uint32_t>(program_.buffers.size() + 2 * program_.streams.size() + 1);
}

uint32_t ProgramAccesses::memoryOf(const isa::View &view) const {
  const auto dram = static_cast<uint32_t>(program_.buffers.size()),
             cores = static_cast<uint32_t>(program_.streams.size());
  switch (view.space) {
  case isa::Space::Dram:
    return view.buffer;
  case isa::Space::Scratchpad:
    return dram + view.buffer;
  case isa::Space::Accumulator:
    return dram + cores + view.buffer;
  case isa::Space::Shared:
    break;
  }
  return dram + 2 * cores;
}

std::span<const ProgramAccesses::Access> ProgramAccesses::of(const isa::Command &command) {
  accesses_.clear();
  const auto operands = program_.operandsOf(command);
  for (unsigned i = 0; i < operands.size(); ++i) {
    const isa::Access access = isa::access(program_, command, i);
    if (!access.writes && !(access.reads && isWritten_[memoryOf(operands[i])]))
      continue;
    const Footprint bytes = footprint(operands[i], program_.registers);
    if (access.writes && command.multicastCount > 0)
      for (uint16_t core : program_.multicastOf(command))
        accesses_.push_back({static_cast<uint32_t>(program_.buffers.size()) + core, bytes, true});
    else
      accesses_.push_back({memoryOf(operands[i]), bytes, access.writes});
  }
  return accesses_;
}

bool synchronize(isa::Program &program, std::span<const CommandRef> order, const Limits &limits,
                 Diagnostics &diagnostics) {
  const uint32_t semaphores = Synchronizer(program, order, limits).run();
  if (semaphores <= limits.semaphores)
    return true;
  diagnostics.error(
      program.name, "the device has too few semaphores",
      fmt::format("{} queues signal and there are {} semaphores", semaphores, limits.semaphores),
      "use fewer cores");
  return false;
}

} // namespace npuc::schedule
