#include "backends/npu/schedule/Scheduler.h"

#include "backends/npu/schedule/ListScheduler.h"
#include "backends/npu/schedule/LiveAccesses.h"
#include "backends/npu/schedule/Packing.h"
#include "backends/npu/schedule/Synchronize.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::schedule {
namespace {

// Where buffers lie.
struct Placement {
  std::vector<int64_t> addresses; // of each buffer
  std::vector<int64_t> peaks;     // of each memory: the end of its highest buffer
  bool fits = true;
};

// Packs the buffers, which live for these spans; `climbs`: however long that takes.
Placement placeBuffers(const Plan &plan, const std::vector<Span> &spans, bool climbs) {
  PackingProblem problem;
  if (!climbs)
    problem.climbing = 0;
  problem.memories = memoryCount(plan.problem.limits);
  std::vector<uint32_t> itemOf(plan.lives.size(), isa::none);
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
    problem.items[itemOf[b]].lives.push_back({life.memory, spans[b].first, spans[b].second});
  }
  for (uint32_t m = 0; m < problem.memories; ++m)
    problem.enough.push_back(memoryAt(plan.problem.limits, m).capacity);
  PackingSolution solution = pack(problem);
  Placement result{std::vector<int64_t>(plan.lives.size()), std::move(solution.peaks)};
  for (uint32_t m = 0; m < problem.memories; ++m)
    result.fits &= plan.need[m].empty() || result.peaks[m] <= problem.enough[m];
  for (size_t b = 0; b < itemOf.size(); ++b)
    if (itemOf[b] != isa::none)
      result.addresses[b] = solution.addresses[itemOf[b]];
  return result;
}

// In sequential order.
std::optional<Placement> placeInOrder(const Plan &plan, Diagnostics &diagnostics) {
  std::vector<Span> spans;
  for (const Plan::Life &life : plan.lives)
    spans.emplace_back(life.first, int64_t(life.last) + 1);
  Placement placement = placeBuffers(plan, spans, true);
  for (uint32_t m = 0; m < placement.peaks.size() && !placement.fits; ++m) {
    const MemoryUse memory = memoryAt(plan.problem.limits, m);
    if (!plan.need[m].empty() && placement.peaks[m] > memory.capacity)
      diagnostics.error(plan.problem.graph.name,
                        fmt::format("no placement of its buffers in the {} of core {} was found",
                                    isa::name(memory.space), memory.core),
                        fmt::format("{} bytes are needed, the least possible is {}, and {} are there",
                                    placement.peaks[m], std::ranges::max(plan.need[m]), memory.capacity),
                        "use smaller tiles");
  }
  return placement.fits ? std::optional(std::move(placement)) : std::nullopt;
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

// Attempts differ in how far loads run ahead: in the work that is left to do before they are needed, and in
// the part of a memory that they may fill. Too little and engines wait for loads; too much and what is needed
// next finds no room. They also differ in whether loads may take all queues, and in the
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
  std::vector<int64_t> addresses; // of each buffer
  bool packedBeforehand = false;
};

size_t hashOf(const std::vector<uint32_t> &order) {
  return std::hash<std::string_view>()(
      {reinterpret_cast<const char *>(order.data()), order.size() * sizeof(uint32_t)});
}

// Of each plan's attempts the shortest ones, several if the program can be measured; those predicted to be
// shorter first.
std::vector<Candidate> findTimelines(std::span<const Plan> plans, Diagnostics &diagnostics) {
  const Plan &written = plans.front();
  const size_t count = written.problem.graph.operations.size();
  const int64_t bound = lowerBound(written);
  // Where each class has one queue, all are the same.
  const bool hasQueues =
      std::ranges::any_of(written.problem.limits.dma, [](const DmaLimit &dma) { return dma.queues > 1; });
  // Timelines are quick to make and large to keep, and slow to find addresses for.
  struct Listed {
    size_t plan;
    int64_t cycles;
    size_t order;
    Attempt how;
  };
  std::vector<Listed> listed;
  std::vector<int64_t> shortest(plans.size(), std::numeric_limits<int64_t>::max());
  size_t left = 1 + attemptedOperations / (count + 1);
  for (int64_t horizon : horizons)
    for (double share : aheadShares)
      for (Queues queues : {Queues::Any, Queues::Apart, Queues::FirstIsKept})
        for (size_t plan = 0; plan < plans.size(); ++plan)
          if (left > 0 && (hasQueues || queues == Queues::Any) && shortest[plan] > bound) {
            const Attempt how{share, horizon, queues};
            const Timeline timeline = listSchedule(plans[plan], how);
            const Listed next{plan, timeline.cycles, hashOf(timeline.order), how};
            auto isSame = [&](const Listed &other) {
              return std::tie(other.plan, other.cycles, other.order) ==
                     std::tie(next.plan, next.cycles, next.order);
            };
            if (!std::ranges::any_of(listed, isSame))
              listed.push_back(next);
            shortest[plan] = std::min(shortest[plan], next.cycles);
            --left;
          }
  std::ranges::stable_sort(listed, {}, &Listed::cycles);

  const size_t most =
      written.problem.measure ? std::min(measuredPrograms, 1 + measuredOperations / (count + 1)) : 1;
  std::vector<size_t> tried(plans.size()), fitting(plans.size());
  std::vector<Candidate> result;
  auto attempt = [&](size_t plan, const Attempt &how) {
    Timeline timeline = listSchedule(plans[plan], how);
    Placement placement = placeBuffers(plans[plan], timeline.lives, false);
    ++tried[plan];
    fitting[plan] += placement.fits;
    if (placement.fits)
      result.push_back({&plans[plan], std::move(timeline), std::move(placement.addresses)});
  };
  for (const Listed &next : listed)
    if (fitting[next.plan] < most && (tried[next.plan] < 2 * most || fitting[next.plan] == 0))
      attempt(next.plan, next.how);
  if (result.empty())
    attempt(0, {0, noHorizon});
  if (result.empty())
    if (std::optional<Placement> placement = placeInOrder(written, diagnostics)) {
      const Lists predecessors = predecessorsByAddress(written, placement->addresses);
      result.push_back({&written, listSchedule(written, {0, noHorizon, Queues::Any, &predecessors}),
                        std::move(placement->addresses), true});
    }
  return result;
}

// Turns the timeline into a program.
class Emitter {
public:
  explicit Emitter(Candidate candidate)
      : plan_(*candidate.plan), graph_(plan_.problem.graph), limits_(plan_.problem.limits) {
    solution_.order = std::move(candidate.timeline.order);
    solution_.timeline = std::move(candidate.timeline.slots);
    solution_.cycles = candidate.timeline.cycles;
    solution_.addresses = std::move(candidate.addresses);
    solution_.packedBeforehand = candidate.packedBeforehand;
    dmaClass_ = std::move(candidate.timeline.dmaClass);
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
        Emitter(std::move(candidate)).run(failures.hasErrors() ? unused : failures);
    if (!solution)
      continue;
    const std::optional<int64_t> cycles =
        problem.measure ? problem.measure(solution->program) : solution->cycles;
    if (best && (!cycles || (least && *cycles >= *least)))
      continue;
    least = cycles;
    best = std::move(solution);
    best->lowerBound = lowerBound(plan);
  }
  if (!best)
    for (const Diagnostic &failure : failures.all())
      diagnostics.add(failure);
  return best;
}

} // namespace npuc::schedule
