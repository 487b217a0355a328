// Shows that every wait is reached, by running the program with nothing but its queues and semaphores.
//
// A command that may start stays able to until it does: semaphores only rise, and nothing else takes its
// place in its queue. So every order of events ends in the same state, and running one of them shows whether
// any can get stuck.
#include "backends/npu/isa/VerifyCommand.h"

#include <deque>
#include <fmt/format.h>
#include <functional>
#include <queue>

namespace npuc::isa::verifier {
namespace {

struct Queue {
  uint32_t core = 0;
  std::deque<uint32_t> commands; // dispatched and not done; the first may run
};

class Progress {
public:
  Progress(const Program &program, const target::TargetDescription &target, Report &report)
      : program_(program), target_(target), report_(report), values_(program.semaphores),
        waiting_(program.semaphores), next_(program.streams.size()) {
    uint32_t queues = 2;
    for (const auto &dma : target.dma()) {
      firstQueue_.push_back(queues);
      queues += dma.queues_per_core();
    }
    queuesPerCore_ = queues;
    queues_.resize(queues * program.streams.size());
    for (size_t i = 0; i < queues_.size(); ++i)
      queues_[i].core = static_cast<uint32_t>(i / queues);
  }

  void run() {
    for (uint32_t core = 0; core < program_.streams.size(); ++core)
      dispatch(core);
    while (!ready_.empty()) {
      uint32_t queue = ready_.back();
      ready_.pop_back();
      advance(queue);
    }
    if (finished_ < program_.commandCount())
      explain();
  }

private:
  const Command &command(const Queue &queue) const {
    return program_.streams[queue.core][queue.commands.front()];
  }

  uint32_t queueOf(uint32_t core, const Command &c) const {
    uint32_t queue = c.engine == Engine::Matrix   ? 0
                     : c.engine == Engine::Vector ? 1
                                                  : firstQueue_[c.dmaClass] + c.queue;
    return core * queuesPerCore_ + queue;
  }

  // The command processor: in stream order, until a queue is full.
  void dispatch(uint32_t core) {
    const std::vector<Command> &stream = program_.streams[core];
    for (size_t &i = next_[core]; i < stream.size(); ++i) {
      uint32_t number = queueOf(core, stream[i]);
      Queue &queue = queues_[number];
      if (queue.commands.size() == target_.control().queue_depth())
        return;
      queue.commands.push_back(static_cast<uint32_t>(i));
      if (queue.commands.size() == 1)
        ready_.push_back(number);
    }
  }

  const Wait *unmet(const Command &c) const {
    for (const Wait &w : program_.waitsOf(c))
      if (values_[w.semaphore] < w.value)
        return &w;
    return nullptr;
  }

  // Runs one command of the queue, or notes what it waits for.
  void advance(uint32_t number) {
    Queue &queue = queues_[number];
    if (queue.commands.empty())
      return;
    const Command &c = command(queue);
    if (const Wait *wait = unmet(c))
      return waiting_[wait->semaphore].push({wait->value, number});
    queue.commands.pop_front();
    ++finished_;
    if (c.signal != none)
      raise(c.signal);
    if (!queue.commands.empty())
      ready_.push_back(number);
    dispatch(queue.core); // makes the queue ready itself if it was left empty
  }

  void raise(uint32_t semaphore) {
    ++values_[semaphore];
    auto &waiting = waiting_[semaphore];
    while (!waiting.empty() && waiting.top().first <= values_[semaphore]) {
      ready_.push_back(waiting.top().second);
      waiting.pop();
    }
  }

  void explain() {
    std::vector<uint64_t> signals(program_.semaphores);
    for (const std::vector<Command> &stream : program_.streams)
      for (const Command &c : stream)
        if (c.signal != none)
          ++signals[c.signal];
    for (const Queue &queue : queues_) {
      if (queue.commands.empty())
        continue;
      const Wait &wait = *unmet(command(queue));
      std::string why = fmt::format("semaphore {} stops at {} and never reaches {}: ", wait.semaphore,
                                    values_[wait.semaphore], wait.value);
      if (signals[wait.semaphore] < wait.value)
        why += fmt::format("the whole program signals it {} times", signals[wait.semaphore]);
      else
        why += "the next to signal it is " + nextSignal(wait.semaphore) + ", which itself never runs";
      report_.error(report_.place(queue.core, queue.commands.front()), "the command waits for ever",
                    std::move(why));
    }
  }

  // The first command, by core, that would signal the semaphore and has not run.
  std::string nextSignal(uint32_t semaphore) const {
    for (uint32_t core = 0; core < program_.streams.size(); ++core) {
      const std::vector<Command> &stream = program_.streams[core];
      for (size_t i = 0; i < stream.size(); ++i)
        if (stream[i].signal == semaphore && !isDone(core, i))
          return fmt::format("core {}, command {} ({})", core, i, name(stream[i].opcode));
    }
    return "none";
  }

  bool isDone(uint32_t core, size_t index) const {
    if (index >= next_[core])
      return false;
    const Queue &queue = queues_[queueOf(core, program_.streams[core][index])];
    return queue.commands.empty() || index < queue.commands.front();
  }

  using Waiting = std::pair<uint32_t, uint32_t>; // value, queue
  using Heap = std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>>;

  const Program &program_;
  const target::TargetDescription &target_;
  Report &report_;
  std::vector<uint32_t> values_;
  std::vector<Heap> waiting_;
  std::vector<size_t> next_; // of each core: the first command not dispatched
  std::vector<uint32_t> firstQueue_;
  uint32_t queuesPerCore_ = 0;
  std::vector<Queue> queues_;
  std::vector<uint32_t> ready_; // queues whose first command may be able to run
  size_t finished_ = 0;
};

} // namespace

void checkProgress(const Program &program, const target::TargetDescription &target, Report &report) {
  Progress(program, target, report).run();
}

} // namespace npuc::isa::verifier
