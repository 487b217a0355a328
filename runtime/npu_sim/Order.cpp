#include "runtime/npu_sim/Order.h"

#include <algorithm>
#include <deque>
#include <fmt/format.h>
#include <map>
#include <tuple>

namespace npuc::npu_sim {
namespace {

struct Queue {
  uint32_t core = 0;
  std::vector<uint32_t> commands; ///< Indices in the core's stream.
  size_t next = 0;

  bool done() const { return next == commands.size(); }
};

std::vector<Queue> makeQueues(const isa::Program &program) {
  std::vector<Queue> queues;
  for (uint32_t core = 0; core < program.streams.size(); ++core) {
    std::map<std::tuple<isa::Engine, uint8_t, uint8_t>, size_t> known;
    const auto &stream = program.streams[core];
    for (uint32_t i = 0; i < stream.size(); ++i) {
      auto [at, isNew] =
          known.try_emplace({stream[i].engine, stream[i].dmaClass, stream[i].queue}, queues.size());
      if (isNew)
        queues.push_back({core, {}, 0});
      queues[at->second].commands.push_back(i);
    }
  }
  return queues;
}

class Simulation {
public:
  explicit Simulation(const isa::Program &program)
      : program(program), queues(makeQueues(program)), counts(program.semaphores),
        sleepers(program.semaphores) {}

  std::vector<CommandId> run() {
    std::vector<CommandId> order;
    order.reserve(program.commandCount());
    for (size_t q = 0; q < queues.size(); ++q)
      ready.push_back(q);
    while (!ready.empty()) {
      size_t q = ready.front();
      ready.pop_front();
      const isa::Command &command = head(queues[q]);
      if (const isa::Wait *wait = unmet(command)) {
        sleepers[wait->semaphore].push_back(q);
        continue;
      }
      order.push_back({queues[q].core, queues[q].commands[queues[q].next++]});
      if (command.signal != isa::none)
        signal(command.signal);
      if (!queues[q].done())
        ready.push_back(q);
    }
    return order;
  }

  /// One line for each queue that has not come to its end.
  std::string blocked() const {
    constexpr size_t most = 8;
    std::string text;
    size_t count = 0;
    for (const Queue &queue : queues) {
      if (queue.done() || ++count > most)
        continue;
      const isa::Wait &wait = *unmet(head(queue));
      text +=
          fmt::format("{}{} waits for semaphore {} to reach {}, which is at {}; {}", text.empty() ? "" : "; ",
                      describe(program, {queue.core, queue.commands[queue.next]}), wait.semaphore, wait.value,
                      counts[wait.semaphore], whoSignals(wait.semaphore));
    }
    if (count > most)
      text += fmt::format("; and {} more queues wait", count - most);
    return text;
  }

private:
  const isa::Program &program;
  std::vector<Queue> queues;
  std::vector<uint32_t> counts;
  std::vector<std::vector<size_t>> sleepers; ///< Queues that wait, by semaphore.
  std::deque<size_t> ready;

  const isa::Command &head(const Queue &queue) const {
    return program.streams[queue.core][queue.commands[queue.next]];
  }

  const isa::Wait *unmet(const isa::Command &command) const {
    for (const isa::Wait &wait : program.waitsOf(command))
      if (counts[wait.semaphore] < wait.value)
        return &wait;
    return nullptr;
  }

  void signal(uint32_t semaphore) {
    ++counts[semaphore];
    std::vector<size_t> woken;
    woken.swap(sleepers[semaphore]);
    for (size_t q : woken)
      if (unmet(head(queues[q])) && unmet(head(queues[q]))->semaphore == semaphore)
        sleepers[semaphore].push_back(q);
      else
        ready.push_back(q);
  }

  std::string whoSignals(uint32_t semaphore) const {
    for (const Queue &queue : queues)
      for (size_t i = queue.next; i < queue.commands.size(); ++i)
        if (program.streams[queue.core][queue.commands[i]].signal == semaphore)
          return fmt::format("the next to signal it is {}",
                             describe(program, {queue.core, queue.commands[i]}));
    return "no command that is left signals it";
  }
};

} // namespace

std::string describe(const isa::Program &program, CommandId id) {
  const isa::Command &command = program.streams[id.core][id.index];
  std::string source = command.source < program.sources.size() ? program.sources[command.source] : "";
  return fmt::format("core {}, command {} ({}{}{})", id.core, id.index, name(command.opcode),
                     source.empty() ? "" : " of ", source);
}

std::optional<std::vector<CommandId>> orderCommands(const isa::Program &program, Diagnostics &diagnostics) {
  Simulation simulation(program);
  std::vector<CommandId> order = simulation.run();
  if (order.size() == program.commandCount())
    return order;
  diagnostics.error(program.name, "the program cannot come to its end", simulation.blocked(),
                    "this is a fault of whatever wrote the program");
  return std::nullopt;
}

} // namespace npuc::npu_sim
