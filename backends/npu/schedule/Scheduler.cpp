#include "backends/npu/schedule/Scheduler.h"

#include "backends/npu/schedule/ListScheduler.h"
#include "backends/npu/schedule/LiveAccesses.h"
#include "backends/npu/schedule/Packing.h"
#include "backends/npu/schedule/Synchronize.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::schedule {
namespace {

// Addresses for lifetimes in sequential order.
struct Packed {
  std::vector<int64_t> addresses;
  Lists predecessors; // with those that keep apart what shares bytes
};

PackingProblem sequentialLives(const Plan &plan, std::vector<uint32_t> &itemOf) {
  PackingProblem problem;
  problem.memories = memoryCount(plan.problem.limits);
  itemOf.assign(plan.lives.size(), isa::none);
  for (uint32_t b = 0; b < plan.lives.size(); ++b) {
    const Plan::Life &life = plan.lives[b];
    if (!life.isUsed())
      continue;
    const uint32_t leader = plan.placedWith(b).front();
    if (itemOf[leader] == isa::none) {
      itemOf[leader] = static_cast<uint32_t>(problem.items.size());
      problem.items.push_back({life.bytes, life.alignment, {}});
    }
    itemOf[b] = itemOf[leader];
    problem.items[itemOf[b]].lives.push_back({life.memory, life.first, int64_t(life.last) + 1});
  }
  return problem;
}

// Predecessors by bytes of memory, whichever buffers have them, in sequential order. (A buffer's uses keep
// their order, for its address is its own from its first to its last.)
Lists predecessorsByAddress(const Plan &plan, const std::vector<int64_t> &addresses) {
  const TileGraph &graph = plan.problem.graph;
  const uint32_t onChip = memoryCount(plan.problem.limits);
  GraphAccesses accesses(graph);
  std::vector<LiveAccesses> live(onChip + graph.dram.size());
  std::vector<std::vector<uint32_t>> found(graph.operations.size());
  for (uint32_t i : plan.sequence) {
    std::vector<BufferAccess> placed;
    for (BufferAccess access : accesses.of(i)) {
      const VirtualBuffer &buffer = graph.buffers[access.buffer];
      const bool isDram = buffer.space == isa::Space::Dram;
      access.bytes.low += isDram ? 0 : addresses[access.buffer];
      access.bytes.high += isDram ? 0 : addresses[access.buffer];
      access.buffer = isDram ? onChip + buffer.dram : plan.lives[access.buffer].memory;
      placed.push_back(access);
    }
    for (const BufferAccess &access : placed)
      live[access.buffer].visitConflicts(access.bytes, access.write,
                                         [&](uint32_t other) { found[i].push_back(other); });
    for (const BufferAccess &access : placed)
      live[access.buffer].add({access.bytes, i}, access.write);
  }
  Lists result;
  for (std::vector<uint32_t> &list : found) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    result.items.insert(result.items.end(), list.begin(), list.end());
    result.close();
  }
  return result;
}

std::optional<Packed> packSequential(const Plan &plan, Diagnostics &diagnostics) {
  std::vector<uint32_t> itemOf;
  PackingProblem problem = sequentialLives(plan, itemOf);
  for (uint32_t m = 0; m < problem.memories; ++m)
    problem.enough.push_back(memoryAt(plan.problem.limits, m).capacity);
  const PackingSolution solution = pack(problem);
  const auto bounds = lowerBounds(problem);
  bool fit = true;
  for (uint32_t m = 0; m < problem.memories; ++m) {
    const MemoryUse memory = memoryAt(plan.problem.limits, m);
    if (plan.need[m].empty() || solution.peaks[m] <= memory.capacity)
      continue;
    fit = false;
    diagnostics.error(plan.problem.graph.name,
                      fmt::format("no placement of its buffers in the {} of core {} was found",
                                  isa::name(memory.space), memory.core),
                      fmt::format("{} bytes are needed, the least possible is {}, and {} are there",
                                  solution.peaks[m], bounds[m], memory.capacity),
                      "use smaller tiles");
  }
  if (!fit)
    return std::nullopt;
  Packed packed;
  packed.addresses.resize(plan.lives.size());
  for (size_t b = 0; b < itemOf.size(); ++b)
    if (itemOf[b] != isa::none)
      packed.addresses[b] = solution.addresses[itemOf[b]];
  packed.predecessors = predecessorsByAddress(plan, packed.addresses);
  return packed;
}

// Attempts differ in how far loads run ahead: in the work that is left to do before they are needed, and in
// the part of a memory that they may fill. Too little and engines wait for loads; too much and what is needed
// next finds no room, or only in pieces. They also differ in whether loads may take all queues, and in the
// sequential order.
constexpr std::array<int64_t, 6> horizons = {16384, 32768, 8192, noHorizon, 65536, 4096};
constexpr std::array<double, 4> aheadShares = {1.0, 0.5, 0.75, 0.25};
// Operations that all attempts place: of a large graph fewer are made, the most promising ones.
constexpr size_t attemptedOperations = 4'000'000;

// Of each order, as many programs are measured at most: the shortest by what they are predicted to take.
constexpr size_t measuredPrograms = 4;
// Operations of those programs: of a large graph fewer are measured.
constexpr size_t measuredOperations = 100'000;

struct Candidate {
  const Plan *plan = nullptr;
  Timeline timeline;
  bool packedBeforehand = false;
};

/// Of each plan's attempts the shortest ones, several if the program can be measured;
/// those predicted to be shorter first.
std::vector<Candidate> findTimelines(std::span<const Plan> plans, Diagnostics &diagnostics) {
  const Plan &written = plans.front();
  const size_t count = written.problem.graph.operations.size();
  const size_t most =
      written.problem.measure ? std::min(measuredPrograms, 1 + measuredOperations / (count + 1)) : 1;
  const int64_t bound = lowerBound(written);
  auto isShorter = [](const Candidate &a, const Candidate &b) {
    return a.timeline.cycles < b.timeline.cycles;
  };
  std::vector<std::vector<Candidate>> found(plans.size()); // of each plan, in order
  auto attempt = [&](size_t plan, const Attempt &how) {
    Candidate next{&plans[plan], listSchedule(plans[plan], how), how.addresses != nullptr};
    std::vector<Candidate> &best = found[plan];
    auto isSame = [&](const Candidate &other) {
      return other.timeline.cycles == next.timeline.cycles && other.timeline.order == next.timeline.order;
    };
    if (next.timeline.order.size() != count || std::ranges::any_of(best, isSame))
      return;
    best.insert(std::upper_bound(best.begin(), best.end(), next, isShorter), std::move(next));
    if (best.size() > most)
      best.pop_back();
  };
  auto isShortest = [&](const std::vector<Candidate> &best) {
    return best.size() == most && best.back().timeline.cycles <= bound;
  };
  // Where each class has one queue, all are the same.
  const bool hasQueues =
      std::ranges::any_of(written.problem.limits.dma, [](const DmaLimit &dma) { return dma.queues > 1; });
  size_t left = 1 + attemptedOperations / (count + 1);
  for (int64_t horizon : horizons)
    for (double share : aheadShares)
      for (Queues queues : {Queues::Any, Queues::Apart, Queues::FirstIsKept})
        for (size_t plan = 0; plan < plans.size(); ++plan)
          if (left > 0 && (hasQueues || queues == Queues::Any) && !isShortest(found[plan])) {
            attempt(plan, {share, horizon, queues});
            --left;
          }
  auto isFound = [&] { return std::ranges::any_of(found, [](auto &best) { return !best.empty(); }); };
  if (!isFound())
    attempt(0, {0, noHorizon});
  if (!isFound())
    if (const auto packed = packSequential(written, diagnostics))
      attempt(0, {0, noHorizon, Queues::Any, &packed->addresses, &packed->predecessors});
  std::vector<Candidate> result;
  for (std::vector<Candidate> &best : found)
    std::ranges::move(best, std::back_inserter(result));
  std::ranges::stable_sort(result, isShorter);
  return result;
}

// Turns the timeline into a program.
class Emitter {
public:
  Emitter(const Plan &plan, Timeline timeline)
      : plan_(plan), graph_(plan.problem.graph), limits_(plan.problem.limits) {
    solution_.order = std::move(timeline.order);
    solution_.timeline = std::move(timeline.slots);
    solution_.addresses = std::move(timeline.addresses);
    solution_.cycles = timeline.cycles;
    dmaClass_ = std::move(timeline.dmaClass);
  }

  std::optional<Solution> run(Diagnostics &diagnostics) {
    isa::Program &program = solution_.program;
    static_cast<isa::Pools &>(program) = graph_;
    program.name = graph_.name;
    program.registers = graph_.registers;
    emitBuffers();
    emitStreams();
    for (isa::View &view : program.operands)
      place(view);
    std::vector<CommandRef> order;
    order.reserve(solution_.order.size());
    for (uint32_t i : solution_.order)
      order.push_back(solution_.commands[i]);
    measureMemories();
    if (!checkDram(diagnostics) || !synchronize(program, order, limits_, diagnostics))
      return std::nullopt;
    return std::move(solution_);
  }

private:
  bool isWorkspace(const VirtualBuffer &b) const {
    return b.space == isa::Space::Dram && graph_.dram[b.dram].role == isa::Role::Workspace;
  }

  // Workspaces become one buffer, packed by their lives in predicted time, so that none waits for another's
  // bytes.
  void emitBuffers() {
    programBuffer_.resize(graph_.dram.size());
    for (size_t i = 0; i < graph_.dram.size(); ++i) {
      if (graph_.dram[i].role == isa::Role::Workspace)
        continue;
      programBuffer_[i] = static_cast<uint32_t>(solution_.program.buffers.size());
      solution_.program.buffers.push_back(graph_.dram[i]);
    }
    PackingProblem problem;
    std::vector<uint32_t> itemOf(graph_.buffers.size(), isa::none), buffers;
    const GraphAccesses accesses(graph_);
    for (uint32_t i : solution_.order)
      accesses.visit(i, [&](uint32_t buffer, const isa::View &, bool) {
        const VirtualBuffer &b = graph_.buffers[buffer];
        if (!isWorkspace(b))
          return;
        const Slot &slot = solution_.timeline[i];
        if (itemOf[buffer] == isa::none) {
          itemOf[buffer] = static_cast<uint32_t>(problem.items.size());
          buffers.push_back(buffer);
          const int64_t alignment =
              std::max({b.alignment, graph_.dram[b.dram].alignment, limits_.dram.alignment});
          problem.items.push_back({b.bytes, alignment, {{0, slot.start, slot.finish}}});
        }
        PackingProblem::Life &life = problem.items[itemOf[buffer]].lives.front();
        life.begin = std::min(life.begin, slot.start);
        life.end = std::max({life.end, slot.finish, slot.start + 1});
      });
    if (buffers.empty())
      return;
    const PackingSolution packed = pack(problem);
    isa::Buffer workspace;
    workspace.name = "workspace";
    workspace.bytes = packed.peaks[0];
    workspace.shape = {workspace.bytes};
    for (size_t i = 0; i < buffers.size(); ++i) {
      const VirtualBuffer &b = graph_.buffers[buffers[i]];
      solution_.addresses[buffers[i]] = packed.addresses[i];
      programBuffer_[b.dram] = static_cast<uint32_t>(solution_.program.buffers.size());
      workspace.alignment = std::max<uint32_t>(workspace.alignment, problem.items[i].alignment);
    }
    solution_.program.buffers.push_back(workspace);
    MemoryUse use{isa::Space::Dram, 0, workspace.bytes, lowerBounds(problem)[0], limits_.dram.bytes};
    solution_.memories.push_back(use);
  }

  void emitStreams() {
    solution_.program.streams.resize(limits_.cores);
    solution_.commands.resize(graph_.operations.size());
    for (uint32_t i : solution_.order) {
      std::vector<isa::Command> &stream = solution_.program.streams[graph_.cores[i]];
      solution_.commands[i] = {graph_.cores[i], static_cast<uint32_t>(stream.size())};
      stream.push_back(graph_.operations[i]);
      isa::Command &command = stream.back();
      if (command.engine != isa::Engine::Dma)
        continue;
      command.dmaClass = dmaClass_[i];
      command.queue = 0;
      command.queue = static_cast<uint8_t>(solution_.timeline[i].queue - queueOf(limits_, command));
    }
  }

  void place(isa::View &view) const {
    if (view.buffer >= graph_.buffers.size())
      return; // of no operation
    const VirtualBuffer &b = graph_.buffers[view.buffer];
    view.base += solution_.addresses[view.buffer];
    view.buffer = b.space == isa::Space::Dram ? programBuffer_[b.dram] : b.core;
  }

  void measureMemories() {
    std::vector<int64_t> peaks(memoryCount(limits_));
    for (uint32_t b = 0; b < plan_.lives.size(); ++b)
      if (plan_.lives[b].isUsed())
        peaks[plan_.lives[b].memory] =
            std::max(peaks[plan_.lives[b].memory], solution_.addresses[b] + plan_.lives[b].bytes);
    for (uint32_t m = 0; m < peaks.size(); ++m) {
      if (plan_.need[m].empty())
        continue;
      MemoryUse use = memoryAt(limits_, m);
      use.peak = peaks[m];
      use.bound = *std::max_element(plan_.need[m].begin(), plan_.need[m].end());
      solution_.memories.push_back(use);
    }
  }

  bool checkDram(Diagnostics &diagnostics) const {
    int64_t bytes = 0;
    for (const isa::Buffer &b : solution_.program.buffers)
      bytes += b.bytes;
    if (bytes <= limits_.dram.bytes)
      return true;
    diagnostics.error(graph_.name, "its buffers do not fit in device memory",
                      fmt::format("{} bytes are needed and {} are there", bytes, limits_.dram.bytes));
    return false;
  }

  const Plan &plan_;
  const TileGraph &graph_;
  const Limits &limits_;
  Solution solution_;
  std::vector<uint8_t> dmaClass_;
  std::vector<uint32_t> programBuffer_; // of each DRAM buffer of the graph
};

} // namespace

std::optional<Solution> schedule(const Problem &problem, Diagnostics &diagnostics) {
  std::vector<Plan> plans;
  plans.emplace_back(problem);
  if (!fits(plans.front(), diagnostics))
    return std::nullopt;
  Diagnostics unused;
  for (Order order : {Order::ByConsumer, Order::Ahead, Order::VectorWritten}) {
    plans.emplace_back(problem, order);
    if (!fits(plans.back(), unused))
      plans.pop_back();
  }
  std::optional<Solution> best;
  std::optional<int64_t> least;
  Diagnostics failures;
  for (Candidate &candidate : findTimelines(plans, diagnostics)) {
    const Plan &plan = *candidate.plan;
    std::optional<Solution> solution =
        Emitter(plan, std::move(candidate.timeline)).run(failures.hasErrors() ? unused : failures);
    if (!solution)
      continue;
    const std::optional<int64_t> cycles =
        problem.measure ? problem.measure(solution->program) : solution->cycles;
    if (best && (!cycles || (least && *cycles >= *least)))
      continue;
    least = cycles;
    best = std::move(solution);
    best->lowerBound = lowerBound(plan);
    best->packedBeforehand = candidate.packedBeforehand;
  }
  if (!best)
    for (const Diagnostic &failure : failures.all())
      diagnostics.add(failure);
  return best;
}

} // namespace npuc::schedule
