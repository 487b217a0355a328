#include "backends/npu/schedule/Plan.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <numeric>
#include <ranges>
#include <set>
#include <tuple>

namespace npuc::schedule {
namespace {

int64_t roundUp(int64_t value, int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

} // namespace

Lists transpose(const Lists &lists, size_t size) {
  Lists result;
  result.first.assign(size + 1, 0);
  for (uint32_t item : lists.items)
    ++result.first[item + 1];
  std::partial_sum(result.first.begin(), result.first.end(), result.first.begin());
  result.items.resize(lists.items.size());
  std::vector<size_t> next(result.first.begin(), result.first.end() - 1);
  for (uint32_t i = 0; i + 1 < lists.first.size(); ++i)
    for (uint32_t item : lists[i])
      result.items[next[item]++] = i;
  return result;
}

uint32_t memoryCount(const Limits &limits) {
  return 2 * limits.cores + 1;
}

uint32_t memoryOf(const Limits &limits, const VirtualBuffer &buffer) {
  switch (buffer.space) {
  case isa::Space::Scratchpad:
    return buffer.core;
  case isa::Space::Accumulator:
    return limits.cores + buffer.core;
  case isa::Space::Shared:
    return 2 * limits.cores;
  case isa::Space::Dram:
    return isa::none;
  }
  return isa::none;
}

MemoryUse memoryAt(const Limits &limits, uint32_t memory) {
  MemoryUse result;
  result.space = memory < limits.cores       ? isa::Space::Scratchpad
                 : memory < 2 * limits.cores ? isa::Space::Accumulator
                                             : isa::Space::Shared;
  result.core = memory == 2 * limits.cores ? 0 : memory % limits.cores;
  result.capacity = limits.memory(result.space).bytes;
  return result;
}

Plan::Plan(const Problem &problem, Order order) : problem(problem) {
  const Dependences dependences(problem.graph);
  for (uint32_t i = 0; i < problem.graph.operations.size(); ++i) {
    const auto list = dependences.predecessors(i);
    predecessors.items.insert(predecessors.items.end(), list.begin(), list.end());
    predecessors.close();
  }
  findChoices();
  orderSequence(order);
  findLives();
  findNeed();
  findWork();
}

std::vector<uint32_t> Plan::orderByConsumer() const {
  const TileGraph &graph = problem.graph;
  const auto count = static_cast<uint32_t>(graph.operations.size());
  // Cores stay in step: one step is the same operation on several of them, and its operations stay together.
  // (Else a core's work would come far before another's that shares its transfers, whose room would be taken
  // for as long.)
  std::vector<uint32_t> stepOf(count), firstOf;
  auto isSame = [&](const isa::Command &a, const isa::Command &b) {
    return std::tie(a.engine, a.opcode, a.source) == std::tie(b.engine, b.opcode, b.source);
  };
  for (uint32_t i = 0; i < count; ++i) {
    if (i == 0 || !isSame(graph.operations[i], graph.operations[i - 1]) ||
        graph.cores[i] <= graph.cores[i - 1])
      firstOf.push_back(i);
    stepOf[i] = static_cast<uint32_t>(firstOf.size()) - 1;
  }
  const auto steps = static_cast<uint32_t>(firstOf.size());
  firstOf.push_back(count);
  // What each step needs, what takes longest first.
  Lists needs;
  std::vector<int64_t> done(steps);
  std::vector<bool> isNeeded(steps);
  for (uint32_t s = 0; s < steps; ++s) {
    const size_t begin = needs.items.size();
    int64_t longest = 0;
    for (uint32_t i = firstOf[s]; i < firstOf[s + 1]; ++i) {
      longest = std::max(longest, choicesOf(i).front().price.cycles);
      for (uint32_t p : predecessors[i])
        if (stepOf[p] != s)
          needs.items.push_back(stepOf[p]);
    }
    const auto first = needs.items.begin() + static_cast<ptrdiff_t>(begin);
    std::sort(first, needs.items.end(),
              [&](uint32_t a, uint32_t b) { return std::pair(-done[a], a) < std::pair(-done[b], b); });
    needs.items.erase(std::unique(first, needs.items.end()), needs.items.end());
    needs.close();
    for (uint32_t need : needs[s])
      isNeeded[need] = true;
    done[s] = longest + (needs[s].empty() ? 0 : done[needs[s].front()]);
  }
  std::vector<uint32_t> order;
  order.reserve(count);
  std::vector<bool> isFound(steps);
  struct Visit {
    uint32_t step;
    size_t next;
  };
  std::vector<Visit> path;
  auto enter = [&](uint32_t step) {
    if (!isFound[step])
      path.push_back({step, 0});
    isFound[step] = true;
  };
  for (uint32_t s = 0; s < steps; ++s) {
    if (isNeeded[s])
      continue;
    enter(s);
    while (!path.empty()) {
      Visit &at = path.back();
      if (at.next < needs[at.step].size()) {
        enter(needs[at.step][at.next++]);
        continue;
      }
      for (uint32_t i = firstOf[at.step]; i < firstOf[at.step + 1]; ++i)
        order.push_back(i);
      path.pop_back();
    }
  }
  return order;
}

void Plan::moveAhead(std::vector<uint32_t> &order) const {
  const TileGraph &graph = problem.graph;
  auto isTransfer = [&](uint32_t i) { return graph.operations[i].engine == isa::Engine::Dma; };
  auto cycles = [&](uint32_t i) { return choicesOf(i).front().price.cycles; };
  // When each would start if engines ran in this order and transfers took no time.
  std::vector<int64_t> latest(order.size()), finish(order.size());
  std::vector<std::array<int64_t, 2>> free(problem.limits.cores); // the matrix and vector engines
  for (uint32_t i : order) {
    for (uint32_t p : predecessors[i])
      latest[i] = std::max(latest[i], finish[p]);
    finish[i] = latest[i];
    if (isTransfer(i))
      continue;
    int64_t &engine = free[graph.cores[i]][graph.operations[i].engine == isa::Engine::Vector];
    latest[i] = std::max(latest[i], engine);
    engine = finish[i] = latest[i] + cycles(i);
  }
  // When it must start for that. A transfer counts twice: it may wait for others.
  for (uint32_t i : std::views::reverse(order))
    for (uint32_t p : predecessors[i])
      latest[p] = std::min(latest[p], latest[i] - cycles(p) * (isTransfer(p) ? 2 : 1));
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return latest[i]; });
}

void Plan::orderSequence(Order how) {
  const auto count = static_cast<uint32_t>(problem.graph.operations.size());
  std::vector<uint32_t> order;
  if (how != Order::Written) {
    order = orderByConsumer();
    if (how != Order::ByConsumer)
      moveAhead(order);
  } else {
    order.resize(count);
    std::iota(order.begin(), order.end(), 0);
  }
  std::vector<uint32_t> firstSuccessor(count, isa::none); // its place in `order`
  for (uint32_t at = count; at-- > 0;)
    for (uint32_t p : predecessors[order[at]])
      firstSuccessor[p] = at;
  auto isLoad = [&](uint32_t i) {
    return problem.graph.operations[i].engine == isa::Engine::Dma && predecessors[i].empty() &&
           firstSuccessor[i] != isa::none;
  };
  // A counting sort by where each is to stand; a load before the operation that it is for.
  std::vector<uint32_t> starts(count + 1);
  auto place = [&](uint32_t at) { return isLoad(order[at]) ? firstSuccessor[order[at]] : at; };
  for (uint32_t at = 0; at < count; ++at)
    ++starts[place(at) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  sequence.resize(count);
  position.resize(count);
  for (uint32_t at = 0; at < count; ++at)
    sequence[position[order[at]] = starts[place(at)]++] = order[at];
  turn = position;
  if (how == Order::VectorWritten)
    for (uint32_t i = 0; i < count; ++i)
      if (problem.graph.operations[i].engine == isa::Engine::Vector)
        turn[i] = i;
}

void Plan::findLives() {
  const TileGraph &graph = problem.graph;
  lives.resize(graph.buffers.size());
  const GraphAccesses accesses(graph);
  for (uint32_t i = 0; i < graph.operations.size(); ++i) {
    const size_t begin = buffers.items.size();
    accesses.visit(i, [&](uint32_t buffer, const isa::View &, bool) {
      if (graph.buffers[buffer].space != isa::Space::Dram)
        buffers.items.push_back(buffer);
    });
    std::sort(buffers.items.begin() + begin, buffers.items.end());
    buffers.items.erase(std::unique(buffers.items.begin() + begin, buffers.items.end()), buffers.items.end());
    buffers.close();
    for (uint32_t b : buffers[i]) {
      Life &life = lives[b];
      life.first = std::min(life.first, position[i]);
      life.last = std::max(life.last, position[i]);
      ++life.users;
    }
  }
  uint32_t groupCount = 0;
  for (const VirtualBuffer &b : graph.buffers)
    if (b.group != isa::none)
      groupCount = std::max(groupCount, b.group + 1);
  std::vector<uint32_t> groupFirst(groupCount, isa::none);
  Lists groupOf;
  for (uint32_t b = 0; b < lives.size(); ++b) {
    const VirtualBuffer &buffer = graph.buffers[b];
    if (lives[b].isUsed() && buffer.group != isa::none) {
      groupOf.items.push_back(buffer.group);
      groupFirst[buffer.group] = std::min(groupFirst[buffer.group], lives[b].first);
    }
    groupOf.close();
  }
  groups = transpose(groupOf, groupCount);
  for (uint32_t b = 0; b < lives.size(); ++b) {
    const VirtualBuffer &buffer = graph.buffers[b];
    Life &life = lives[b];
    if (!life.isUsed())
      continue;
    const MemoryLimit &memory = problem.limits.memory(buffer.space);
    life.memory = memoryOf(problem.limits, buffer);
    life.bytes = roundUp(std::max<int64_t>(buffer.bytes, 1), memory.alignment);
    life.alignment = std::max(buffer.alignment, memory.alignment);
    if (buffer.group != isa::none)
      life.first = groupFirst[buffer.group];
  }
}

void Plan::findWork() {
  std::vector<std::array<int64_t, 2>> work(problem.limits.cores); // of the matrix and vector engines
  int64_t most = 0;
  for (uint32_t i : sequence) {
    workBefore.push_back(most);
    const isa::Engine engine = problem.graph.operations[i].engine;
    if (engine == isa::Engine::Dma)
      continue;
    int64_t &busy = work[problem.graph.cores[i]][engine == isa::Engine::Vector];
    busy += choicesOf(i).front().price.cycles;
    most = std::max(most, busy);
  }
}

void Plan::findNeed() {
  struct Event {
    uint32_t position, buffer;
  };
  const auto memories = memoryCount(problem.limits);
  std::vector<std::vector<Event>> starts(memories), ends(memories);
  for (uint32_t b = 0; b < lives.size(); ++b)
    if (lives[b].isUsed()) {
      starts[lives[b].memory].push_back({lives[b].first, b});
      ends[lives[b].memory].push_back({lives[b].last, b});
    }
  need.resize(memories);
  for (uint32_t m = 0; m < memories; ++m) {
    auto byPosition = [](const Event &a, const Event &b) {
      return std::pair(a.position, a.buffer) < std::pair(b.position, b.buffer);
    };
    std::sort(starts[m].begin(), starts[m].end(), byPosition);
    std::sort(ends[m].begin(), ends[m].end(), byPosition);
    int64_t alive = 0;
    size_t ended = 0;
    for (const Event &start : starts[m]) {
      for (; ends[m][ended].position < start.position; ++ended)
        alive -= lives[ends[m][ended].buffer].bytes;
      lives[start.buffer].turn = static_cast<uint32_t>(need[m].size());
      need[m].push_back(alive += lives[start.buffer].bytes);
    }
  }
  for (uint32_t i = 0; i < problem.graph.operations.size(); ++i)
    std::sort(
        buffers.items.begin() + buffers.first[i], buffers.items.begin() + buffers.first[i + 1],
        [&](uint32_t a, uint32_t b) { return std::pair(lives[a].turn, a) < std::pair(lives[b].turn, b); });
}

void Plan::findChoices() {
  const TileGraph &graph = problem.graph;
  std::vector<uint32_t> owners;
  firstChoice.push_back(0);
  for (uint32_t i = 0; i < graph.operations.size(); ++i) {
    const isa::Command &command = graph.operations[i];
    uint32_t classes = 1;
    if (command.engine == isa::Engine::Dma) {
      owners.clear();
      for (const isa::View &view : graph.operandsOf(command))
        owners.push_back(graph.buffers[view.buffer].core);
      classes = problem.limits.dmaClasses(graph, command, graph.cores[i], owners);
    }
    for (uint8_t c = 0; classes != 0; ++c, classes >>= 1)
      if (classes & 1)
        choices.push_back({c, problem.cost.price(graph, i, c)});
    firstChoice.push_back(choices.size());
  }
}

std::span<const uint32_t> Plan::placedWith(const uint32_t &buffer) const {
  const uint32_t group = problem.graph.buffers[buffer].group;
  return group == isa::none ? std::span(&buffer, 1) : groups[group];
}

bool fits(const Plan &plan, Diagnostics &diagnostics) {
  const TileGraph &graph = plan.problem.graph;
  bool result = true;
  // Cores that run the same part of the program lack the same bytes: one of them is told.
  std::set<std::pair<std::string, isa::Space>> told;
  for (uint32_t m = 0; m < plan.need.size(); ++m) {
    const MemoryUse memory = memoryAt(plan.problem.limits, m);
    const auto worst = std::max_element(plan.need[m].begin(), plan.need[m].end());
    if (worst == plan.need[m].end() || *worst <= memory.capacity)
      continue;
    const auto turn = static_cast<uint32_t>(worst - plan.need[m].begin());
    const auto life = std::find_if(plan.lives.begin(), plan.lives.end(), [&](const Plan::Life &one) {
      return one.isUsed() && one.memory == m && one.turn == turn;
    });
    const isa::Command &command = graph.operations[plan.sequence[life->first]];
    result = false;
    const std::string where =
        command.source < graph.sources.size() ? graph.sources[command.source] : graph.name;
    if (!told.emplace(where, memory.space).second)
      continue;
    diagnostics.error(where,
                      fmt::format("its working set does not fit in the {} of core {}",
                                  isa::name(memory.space), memory.core),
                      fmt::format("{} bytes are needed at once and {} are there", *worst, memory.capacity),
                      "a smaller batch or sequence length needs less");
  }
  return result;
}

int64_t lowerBound(const Plan &plan) {
  const TileGraph &graph = plan.problem.graph;
  const Limits &limits = plan.problem.limits;
  std::vector<int64_t> done(graph.operations.size());
  std::vector<std::array<int64_t, 3>> work(limits.cores); // matrix, vector, DMA of all classes
  std::array<int64_t, 3> shared{};
  int64_t bound = 0;
  for (uint32_t i : plan.sequence) {
    const auto choices = plan.choicesOf(i);
    Price least = choices.front().price;
    for (const Plan::Choice &choice : choices) {
      least.cycles = std::min(least.cycles, choice.price.cycles);
      for (size_t s = 0; s < shared.size(); ++s)
        least.shared[s] = std::min(least.shared[s], choice.price.shared[s]);
    }
    for (uint32_t p : plan.predecessors[i])
      done[i] = std::max(done[i], done[p]);
    done[i] += least.cycles;
    bound = std::max(bound, done[i]);
    work[graph.cores[i]][static_cast<size_t>(graph.operations[i].engine)] += least.cycles;
    for (size_t s = 0; s < shared.size(); ++s)
      shared[s] += least.shared[s];
  }
  for (auto [matrix, vector, dma] : work) {
    const int64_t queues = queuesPerCore(limits) - 2;
    bound = std::max({bound, matrix, vector, queues > 0 ? (dma + queues - 1) / queues : 0});
  }
  return std::max(bound, *std::max_element(shared.begin(), shared.end()));
}

} // namespace npuc::schedule
