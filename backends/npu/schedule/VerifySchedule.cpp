#include "backends/npu/schedule/VerifySchedule.h"

#include "backends/npu/schedule/Dependences.h"
#include "backends/npu/schedule/LiveAccesses.h"
#include "backends/npu/schedule/Synchronize.h"

#include <algorithm>
#include <deque>
#include <fmt/format.h>

namespace npuc::schedule {
namespace {

constexpr unsigned mostErrors = 100;

const isa::Command &commandAt(const isa::Program &program, CommandRef ref) {
  return program.streams[ref.core][ref.index];
}

std::string describe(const isa::Program &program, CommandRef ref) {
  const isa::Command &command = commandAt(program, ref);
  const std::string source = command.source < program.sources.size() ? program.sources[command.source] : "";
  return fmt::format("core {} command {} ({}{}{})", ref.core, ref.index, isa::name(command.opcode),
                     source.empty() ? "" : ", ", source);
}

// Runs a program without time.
class Machine {
public:
  Machine(const isa::Program &program, const Limits &limits)
      : program_(program), limits_(limits), perCore_(queuesPerCore(limits)), next_(program.streams.size()),
        queues_(program.streams.size() * perCore_), raised_(program.semaphores),
        waiting_(program.semaphores) {}

  std::vector<CommandRef> run() {
    std::vector<CommandRef> order;
    for (uint32_t core = 0; core < next_.size(); ++core)
      dispatch(core);
    while (!ready_.empty()) {
      const uint32_t queue = ready_.front();
      ready_.pop_front();
      const CommandRef ref = queues_[queue].front();
      queues_[queue].pop_front();
      order.push_back(ref);
      const isa::Command &command = commandAt(program_, ref);
      if (command.signal != isa::none) {
        ++raised_[command.signal];
        for (uint32_t other : std::exchange(waiting_[command.signal], {}))
          examine(other);
      }
      if (!queues_[queue].empty())
        examine(queue);
      dispatch(ref.core);
    }
    return order;
  }

  std::vector<CommandRef> heads() const {
    std::vector<CommandRef> result;
    for (const std::deque<CommandRef> &queue : queues_)
      if (!queue.empty())
        result.push_back(queue.front());
    return result;
  }
  const isa::Wait *unfulfilled(CommandRef ref) const {
    for (const isa::Wait &wait : program_.waitsOf(commandAt(program_, ref)))
      if (raised_[wait.semaphore] < wait.value)
        return &wait;
    return nullptr;
  }
  uint32_t raised(uint32_t semaphore) const { return raised_[semaphore]; }

private:
  void dispatch(uint32_t core) {
    const std::vector<isa::Command> &stream = program_.streams[core];
    while (next_[core] < stream.size()) {
      const uint32_t queue = core * perCore_ + queueOf(limits_, stream[next_[core]]);
      if (queues_[queue].size() >= limits_.queueDepth)
        return;
      queues_[queue].push_back({core, next_[core]++});
      if (queues_[queue].size() == 1)
        examine(queue);
    }
  }

  // The queue has a new head, or its head may have what it waited for.
  void examine(uint32_t queue) {
    if (const isa::Wait *wait = unfulfilled(queues_[queue].front()))
      waiting_[wait->semaphore].push_back(queue);
    else
      ready_.push_back(queue);
  }

  const isa::Program &program_;
  const Limits &limits_;
  const uint32_t perCore_;
  std::vector<uint32_t> next_; // of each core's stream
  std::vector<std::deque<CommandRef>> queues_;
  std::vector<uint32_t> raised_;
  std::vector<std::vector<uint32_t>> waiting_; // queues whose head waits for the semaphore
  std::deque<uint32_t> ready_;                 // queues whose head can run
};

class Races {
public:
  Races(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics)
      : program_(program), limits_(limits), diagnostics_(diagnostics) {}

  bool run() {
    checkBounds();
    if (errors_ > 0)
      return false;
    const HappensBefore happens(program_, limits_, diagnostics_);
    if (!happens.isSound())
      return false;
    findRaces(happens);
    return errors_ == 0;
  }

private:
  void report(CommandRef ref, std::string what, std::string why) {
    if (errors_++ < mostErrors)
      diagnostics_.error(describe(program_, ref), std::move(what), std::move(why));
  }

  void checkBounds() {
    for (uint32_t core = 0; core < program_.streams.size(); ++core)
      for (uint32_t i = 0; i < program_.streams[core].size(); ++i)
        for (const isa::View &view : program_.operandsOf(program_.streams[core][i])) {
          const bool isDram = view.space == isa::Space::Dram;
          const int64_t bytes =
              isDram ? program_.buffers[view.buffer].bytes : limits_.memory(view.space).bytes;
          const auto range = isa::reach(view, program_.registers);
          if (!range || range->begin < 0 || range->end > bytes)
            report({core, i}, fmt::format("an operand leaves the {}", isa::name(view.space)),
                   fmt::format("it reaches byte {} of {}", range ? range->end : -1, bytes));
        }
  }

  // In an order in which the program may run: whatever conflicts with a later access must be known to come
  // before it.
  void findRaces(const HappensBefore &happens) {
    ProgramAccesses accesses(program_);
    std::vector<LiveAccesses> live(accesses.memories());
    const std::vector<CommandRef> &order = happens.order();
    for (uint32_t i = 0; i < order.size() && errors_ < mostErrors; ++i) {
      const auto list = accesses.of(commandAt(program_, order[i]));
      for (const ProgramAccesses::Access &access : list)
        live[access.memory].visitConflicts(access.bytes, access.write, [&](uint32_t other) {
          if (!happens.before(order[other], order[i]))
            report(order[i], "nothing orders it with another command that touches the same bytes",
                   fmt::format("{}; around byte {} of memory {}", describe(program_, order[other]),
                               access.bytes.low, access.memory));
        });
      for (const ProgramAccesses::Access &access : list)
        live[access.memory].add({access.bytes, i}, access.write);
    }
  }

  const isa::Program &program_;
  const Limits &limits_;
  Diagnostics &diagnostics_;
  unsigned errors_ = 0;
};

// The program beside its graph.
class Comparison {
public:
  Comparison(const TileGraph &graph, const isa::Program &program, std::span<const CommandRef> commands,
             const Limits &limits, Diagnostics &diagnostics)
      : graph_(graph), program_(program), commands_(commands), limits_(limits), diagnostics_(diagnostics) {}

  bool run() {
    checkCommands();
    if (errors_ == 0)
      checkAddresses();
    if (errors_ > 0)
      return false;
    const HappensBefore happens(program_, limits_, diagnostics_);
    if (!happens.isSound())
      return false;
    checkDependences(happens);
    checkLives(happens.order());
    return errors_ == 0;
  }

private:
  struct Placement {
    bool isKnown = false;
    uint32_t memory = 0; // View::buffer in the program
    int64_t address = 0;
  };

  void report(const std::string &where, std::string what, std::string why = {}) {
    if (errors_++ < mostErrors)
      diagnostics_.error(where, std::move(what), std::move(why));
  }

  void checkCommands() {
    std::vector<CommandRef> sorted(commands_.begin(), commands_.end());
    std::sort(sorted.begin(), sorted.end());
    const bool isRepeated = std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    if (commands_.size() != graph_.operations.size() || program_.commandCount() != commands_.size() ||
        isRepeated)
      return report(
          program_.name, "the program does not have each operation once",
          fmt::format("{} operations, {} commands", graph_.operations.size(), program_.commandCount()));
    placements_.resize(graph_.buffers.size());
    for (uint32_t i = 0; i < commands_.size(); ++i) {
      const CommandRef ref = commands_[i];
      if (ref.core != graph_.cores[i] || ref.core >= program_.streams.size() ||
          ref.index >= program_.streams[ref.core].size())
        report(fmt::format("operation {}", i), "it is on another core than the graph says");
      else
        checkCommand(i, ref);
    }
  }

  void checkCommand(uint32_t i, CommandRef ref) {
    const isa::Command &asked = graph_.operations[i], &found = commandAt(program_, ref);
    const bool same =
        asked.opcode == found.opcode && asked.engine == found.engine &&
        asked.accumulate == found.accumulate && asked.rankBatch == found.rankBatch &&
        asked.rankM == found.rankM && asked.rankN == found.rankN && asked.rankK == found.rankK &&
        asked.predicateRegister == found.predicateRegister && asked.predicateBound == found.predicateBound &&
        isa::sameImmediate(asked.immediate, found.immediate) && asked.operandCount == found.operandCount &&
        std::ranges::equal(graph_.instructionsOf(asked), program_.instructionsOf(found)) &&
        std::ranges::equal(graph_.multicastOf(asked), program_.multicastOf(found));
    if (!same)
      return report(describe(program_, ref), fmt::format("it is not operation {} of the graph", i));
    const auto before = graph_.operandsOf(asked), after = program_.operandsOf(found);
    for (size_t o = 0; o < before.size(); ++o)
      checkView(ref, before[o], after[o]);
  }

  void checkView(CommandRef ref, const isa::View &asked, const isa::View &found) {
    isa::View moved = found;
    moved.base = asked.base;
    moved.buffer = asked.buffer;
    if (moved != asked)
      return report(describe(program_, ref), "an operand is not the one of the graph");
    Placement &placement = placements_[asked.buffer];
    if (!placement.isKnown)
      placement = {true, found.buffer, found.base - asked.base};
    else if (placement.memory != found.buffer || placement.address != found.base - asked.base)
      report(describe(program_, ref), fmt::format("buffer {} has two addresses", asked.buffer),
             fmt::format("{} and {}", placement.address, found.base - asked.base));
  }

  void checkAddresses() {
    for (uint32_t b = 0; b < graph_.buffers.size(); ++b)
      if (placements_[b].isKnown && graph_.buffers[b].group != isa::none)
        groupAddress_[graph_.buffers[b].group] = placements_[b].address;
    for (uint32_t b = 0; b < graph_.buffers.size(); ++b) {
      const VirtualBuffer &buffer = graph_.buffers[b];
      Placement &placement = placements_[b];
      const auto group = groupAddress_.find(buffer.group);
      if (!placement.isKnown && group != groupAddress_.end()) // named by multicasts alone
        placement = {true, buffer.core, group->second};
      if (!placement.isKnown)
        continue;
      const std::string where = fmt::format("buffer {}", b);
      if (group != groupAddress_.end() && group->second != placement.address)
        report(where, fmt::format("its group {} has two addresses", buffer.group));
      const bool isDram = buffer.space == isa::Space::Dram;
      const int64_t alignment =
          isDram ? buffer.alignment : std::max(buffer.alignment, limits_.memory(buffer.space).alignment);
      const int64_t bytes =
          isDram ? program_.buffers[placement.memory].bytes : limits_.memory(buffer.space).bytes;
      if (placement.address < 0 || placement.address + buffer.bytes > bytes ||
          placement.address % alignment != 0)
        report(where, fmt::format("its address is not allowed in the {}", isa::name(buffer.space)),
               fmt::format("address {}, {} bytes of {}, alignment {}", placement.address, buffer.bytes, bytes,
                           alignment));
      if (!isDram && placement.memory != buffer.core)
        report(where, "it is in another core's memory",
               fmt::format("core {} for {}", placement.memory, buffer.core));
      if (isDram)
        checkDram(where, graph_.dram[buffer.dram], placement);
    }
  }

  void checkDram(const std::string &where, const isa::Buffer &asked, const Placement &placement) {
    const isa::Buffer &found = program_.buffers[placement.memory];
    const bool same = asked.role == isa::Role::Workspace ? found.role == isa::Role::Workspace
                                                         : asked == found && placement.address == 0;
    if (!same)
      report(where, "it is another DRAM buffer than the graph says",
             fmt::format("{} for {}", found.name, asked.name));
  }

  void checkDependences(const HappensBefore &happens) {
    const Dependences dependences(graph_);
    for (uint32_t i = 0; i < commands_.size(); ++i)
      for (uint32_t p : dependences.predecessors(i))
        if (!happens.before(commands_[p], commands_[i]))
          report(describe(program_, commands_[i]), "it may start before what it depends on is done",
                 describe(program_, commands_[p]));
  }

  // Of two buffers that share bytes, one must have them first and the other afterwards. What conflicts runs
  // in one order (verifyRaces), so any order in which the program may run shows which.
  void checkLives(const std::vector<CommandRef> &order) {
    std::vector<size_t> first{0};
    for (const auto &stream : program_.streams)
      first.push_back(first.back() + stream.size());
    std::vector<uint32_t> operationOf(first.back()); // of each command, stream after stream
    for (uint32_t i = 0; i < commands_.size(); ++i)
      operationOf[first[commands_[i].core] + commands_[i].index] = i;
    uses_.resize(graph_.buffers.size());
    for (uint32_t at = 0; at < order.size(); ++at) {
      const uint32_t operation = operationOf[first[order[at].core] + order[at].index];
      for (const BufferAccess &access : accesses_.of(operation))
        uses_[access.buffer].push_back({at, operation});
    }
    std::vector<uint32_t> byBegin;
    for (uint32_t b = 0; b < uses_.size(); ++b)
      if (!uses_[b].empty() && graph_.buffers[b].bytes > 0)
        byBegin.push_back(b);
    std::sort(byBegin.begin(), byBegin.end(),
              [&](uint32_t a, uint32_t b) { return uses_[a].front().at < uses_[b].front().at; });
    std::map<std::pair<isa::Space, uint32_t>, IntervalMap<uint32_t>> byAddress;
    for (uint32_t b : byBegin) {
      const int64_t low = placements_[b].address, high = low + graph_.buffers[b].bytes;
      auto &map = byAddress[{graph_.buffers[b].space, placements_[b].memory}];
      map.visitOverlaps(low, high, [&](uint32_t other) {
        if (uses_[other].back().at < uses_[b].front().at)
          return true; // all its uses are over
        if (!takeTurns(other, b))
          report(fmt::format("buffer {}", b),
                 fmt::format("it shares bytes with buffer {} while both live", other),
                 fmt::format("bytes {} to {} of the {}", low, high, isa::name(graph_.buffers[b].space)));
        return false;
      });
      map.insert(low, high, b);
    }
  }

  // Whether all uses of `a` that touch bytes of uses of `b` come before those, or all after.
  bool takeTurns(uint32_t a, uint32_t b) {
    const auto left = placedUses(a), right = placedUses(b);
    bool before = false, after = false;
    for (const PlacedUse &x : left)
      for (const PlacedUse &y : right)
        if ((x.write || y.write) && overlap(x.bytes, y.bytes))
          (x.at < y.at ? before : after) = true;
    return !(before && after);
  }

  struct Use {
    uint32_t at, operation;
  };
  struct PlacedUse {
    uint32_t at;
    bool write;
    Footprint bytes;
  };
  std::vector<PlacedUse> placedUses(uint32_t buffer) {
    std::vector<PlacedUse> result;
    for (size_t i = 0; i < uses_[buffer].size(); ++i) {
      const Use use = uses_[buffer][i];
      if (i > 0 && uses_[buffer][i - 1].at == use.at)
        continue; // the same operation's next operand
      for (const BufferAccess &access : accesses_.of(use.operation))
        if (access.buffer == buffer) {
          result.push_back({use.at, access.write, access.bytes});
          result.back().bytes.low += placements_[buffer].address;
          result.back().bytes.high += placements_[buffer].address;
        }
    }
    return result;
  }

  const TileGraph &graph_;
  const isa::Program &program_;
  std::span<const CommandRef> commands_;
  const Limits &limits_;
  Diagnostics &diagnostics_;
  GraphAccesses accesses_{graph_};
  std::vector<Placement> placements_;
  std::map<uint32_t, int64_t> groupAddress_;
  std::vector<std::vector<Use>> uses_; // of each buffer, in the order in which they run
  unsigned errors_ = 0;
};

} // namespace

HappensBefore::HappensBefore(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics) {
  queues_ = static_cast<uint32_t>(program.streams.size()) * queuesPerCore(limits);
  std::vector<uint32_t> length(queues_);
  for (uint32_t core = 0; core < program.streams.size(); ++core) {
    first_.push_back(steps_.size());
    for (const isa::Command &command : program.streams[core]) {
      const uint32_t queue = core * queuesPerCore(limits) + queueOf(limits, command);
      steps_.push_back({queue, ++length[queue], 0});
    }
  }
  sound_ = findSignals(program, limits, diagnostics) && run(program, limits, diagnostics);
  if (sound_)
    findClocks(program);
}

bool HappensBefore::findSignals(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics) {
  bool sound = program.semaphores <= limits.semaphores;
  if (!sound)
    diagnostics.error(program.name, "the device has too few semaphores",
                      fmt::format("{} are used and {} are there", program.semaphores, limits.semaphores));
  signals_.resize(program.semaphores);
  for (uint32_t core = 0; core < program.streams.size(); ++core)
    for (uint32_t i = 0; i < program.streams[core].size(); ++i) {
      const CommandRef ref{core, i};
      const isa::Command &command = commandAt(program, ref);
      const auto waits = program.waitsOf(command);
      const bool exists = (command.signal == isa::none || command.signal < program.semaphores) &&
                          std::ranges::all_of(waits, [&](const isa::Wait &wait) {
                            return wait.semaphore < program.semaphores;
                          });
      if (!exists) {
        diagnostics.error(describe(program, ref), "a semaphore does not exist");
        sound = false;
      } else if (command.signal != isa::none) {
        auto &list = signals_[command.signal];
        if (!list.empty() && step(list.back()).queue != step(ref).queue) {
          diagnostics.error(describe(program, ref),
                            fmt::format("semaphore {} is raised by two queues", command.signal),
                            "its value would not say which commands are done");
          sound = false;
        }
        list.push_back(ref);
      }
    }
  return sound;
}

bool HappensBefore::run(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics) {
  Machine machine(program, limits);
  order_ = machine.run();
  if (order_.size() == steps_.size())
    return true;
  for (CommandRef ref : machine.heads()) {
    const isa::Wait *wait = machine.unfulfilled(ref);
    const auto &signals = signals_[wait->semaphore];
    const std::string who = wait->value > signals.size()
                                ? "which nothing raises so far"
                                : "raised by " + describe(program, signals[wait->value - 1]);
    diagnostics.error(describe(program, ref), "it can never start",
                      fmt::format("it waits for {} of semaphore {}, which stays at {}, {}", wait->value,
                                  wait->semaphore, machine.raised(wait->semaphore), who));
  }
  return false;
}

void HappensBefore::findClocks(const isa::Program &program) {
  clocks_.resize(queues_); // snapshot 0: nothing is known
  std::vector<uint32_t> latest(queues_);
  for (CommandRef ref : order_) {
    Step &mine = step(ref);
    const auto waits = program.waitsOf(commandAt(program, ref));
    if (!waits.empty()) {
      const auto fresh = static_cast<uint32_t>(clocks_.size() / queues_);
      clocks_.resize(clocks_.size() + queues_);
      uint32_t *clock = clocks_.data() + size_t(fresh) * queues_;
      std::copy_n(clocks_.data() + size_t(latest[mine.queue]) * queues_, queues_, clock);
      for (const isa::Wait &wait : waits) {
        if (wait.value == 0)
          continue;
        const Step &other = step(signals_[wait.semaphore][wait.value - 1]);
        const uint32_t *theirs = clocks_.data() + size_t(other.snapshot) * queues_;
        for (uint32_t q = 0; q < queues_; ++q)
          clock[q] = std::max(clock[q], theirs[q]);
        clock[other.queue] = std::max(clock[other.queue], other.count);
      }
      latest[mine.queue] = fresh;
    }
    mine.snapshot = latest[mine.queue];
  }
}

bool HappensBefore::before(CommandRef a, CommandRef b) const {
  const Step &x = step(a), &y = step(b);
  if (x.queue == y.queue)
    return x.count < y.count;
  return clocks_[size_t(y.snapshot) * queues_ + x.queue] >= x.count;
}

bool verifyRaces(const isa::Program &program, const Limits &limits, Diagnostics &diagnostics) {
  return Races(program, limits, diagnostics).run();
}

bool verifySchedule(const TileGraph &graph, const isa::Program &program, std::span<const CommandRef> commands,
                    const Limits &limits, Diagnostics &diagnostics) {
  const bool ordered = verifyRaces(program, limits, diagnostics);
  return Comparison(graph, program, commands, limits, diagnostics).run() && ordered;
}

} // namespace npuc::schedule
