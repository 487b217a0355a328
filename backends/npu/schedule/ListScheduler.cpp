#include "backends/npu/schedule/ListScheduler.h"

#include "backends/npu/schedule/Memory.h"

#include <algorithm>
#include <queue>

namespace npuc::schedule {
namespace {

template <typename T>
using LeastFirst = std::priority_queue<T, std::vector<T>, std::greater<T>>;

// Room in the on-chip memories and who waits for it.
class Memories {
public:
  Memories(const Plan &plan, const Attempt &attempt, const int64_t &now, std::vector<Span> &lives)
      : plan_(plan), now_(now), lives_(lives), isPlaced_(plan.lives.size()), users_(plan.lives.size()) {
    const uint32_t count = memoryCount(plan.problem.limits);
    for (uint32_t m = 0; m < count; ++m) {
      const int64_t capacity = memoryAt(plan.problem.limits, m).capacity;
      free_.push_back(capacity);
      reservations_.emplace_back(plan.need[m], capacity,
                                 static_cast<int64_t>(double(capacity) * attempt.aheadShare));
    }
    for (size_t b = 0; b < users_.size(); ++b)
      users_[b] = plan.lives[b].users;
    waiting_.resize(count);
    isChanged_.resize(count);
  }

  /// Gives the operation's buffers room; otherwise none of them, and it waits until there may be some.
  bool admit(uint32_t operation) {
    const uint32_t memory = place(operation);
    if (memory == isa::none)
      return true;
    waiting_[memory].push({plan_.position[operation], operation});
    return false;
  }

  /// `end`: what it uses lives until then.
  void finish(uint32_t operation, int64_t end) {
    for (uint32_t b : plan_.buffers[operation]) {
      lives_[b].second = std::max(lives_[b].second, end);
      if (--users_[b] == 0) {
        reservations_[plan_.lives[b].memory].release(plan_.lives[b].turn);
        free_[plan_.lives[b].memory] += plan_.lives[b].bytes;
        markChanged(plan_.lives[b].memory);
      }
    }
  }

  /// Admits those who waited and now find room: calls onAdmitted for each.
  template <typename OnAdmitted>
  void admitWaiting(OnAdmitted onAdmitted) {
    while (!changed_.empty()) {
      const uint32_t memory = changed_.back();
      changed_.pop_back();
      isChanged_[memory] = false;
      serve(memory, onAdmitted);
    }
  }

private:
  using Waiting = std::pair<uint32_t, uint32_t>; // position, operation

  template <typename OnAdmitted>
  void serve(uint32_t memory, OnAdmitted &onAdmitted) {
    while (!waiting_[memory].empty()) {
      const Waiting head = waiting_[memory].top();
      const uint32_t other = place(head.second);
      if (other == memory)
        return;
      waiting_[memory].pop();
      if (other == isa::none)
        onAdmitted(head.second);
      else
        waiting_[other].push(head);
    }
  }

  void markChanged(uint32_t memory) {
    if (!waiting_[memory].empty() && !isChanged_[memory]) {
      isChanged_[memory] = true;
      changed_.push_back(memory);
    }
  }

  // Returns the memory whose line it waits in, `none` if all is placed.
  uint32_t place(uint32_t operation) {
    placedNow_.clear();
    for (const uint32_t &leader : plan_.buffers[operation]) {
      if (isPlaced_[leader])
        continue;
      for (uint32_t b : plan_.placedWith(leader)) {
        const Plan::Life &life = plan_.lives[b];
        const bool isTurn =
            waiting_[life.memory].empty() || waiting_[life.memory].top().first >= plan_.position[operation];
        if (!isTurn || free_[life.memory] < life.bytes ||
            !reservations_[life.memory].admits(life.turn, life.bytes)) {
          undo();
          return life.memory;
        }
        reservations_[life.memory].place(life.turn, life.bytes);
        free_[life.memory] -= life.bytes;
        isPlaced_[b] = true;
        lives_[b].first = now_;
        placedNow_.push_back(b);
      }
    }
    for (uint32_t b : placedNow_)
      markChanged(plan_.lives[b].memory);
    return isa::none;
  }

  void undo() {
    for (; !placedNow_.empty(); placedNow_.pop_back()) {
      const uint32_t b = placedNow_.back();
      reservations_[plan_.lives[b].memory].undo(plan_.lives[b].turn);
      free_[plan_.lives[b].memory] += plan_.lives[b].bytes;
      isPlaced_[b] = false;
    }
  }

  const Plan &plan_;
  const int64_t &now_;
  std::vector<Span> &lives_;
  std::vector<Reservation> reservations_;
  std::vector<int64_t> free_; // bytes of each memory
  std::vector<bool> isPlaced_, isChanged_;
  std::vector<uint32_t> users_;              // that are not done
  std::vector<LeastFirst<Waiting>> waiting_; // for each memory
  std::vector<uint32_t> changed_, placedNow_;
};

class ListScheduler {
public:
  ListScheduler(const Plan &plan, const Attempt &attempt)
      : plan_(plan), graph_(plan.problem.graph), limits_(plan.problem.limits), attempt_(attempt),
        predecessors_(attempt.predecessors ? *attempt.predecessors : plan.predecessors),
        successors_(transpose(predecessors_, graph_.operations.size())),
        memories_(plan, attempt, now_, result_.lives) {
    const size_t count = graph_.operations.size();
    result_.slots.resize(count);
    result_.dmaClass.resize(count);
    result_.lives.resize(plan.lives.size());
    result_.order.reserve(count);
    missing_.resize(count);
    earliest_.resize(count);
    isDone_.resize(count);
    cores_.resize(limits_.cores);
    for (Core &core : cores_)
      core.free.resize(queuesPerCore(limits_));
    uint32_t queue = 2;
    for (const DmaLimit &dma : limits_.dma) {
      firstQueue_.push_back(queue);
      queue += dma.queues;
    }
  }

  Timeline run() {
    for (uint32_t i = 0; i < missing_.size(); ++i)
      missing_[i] = static_cast<uint32_t>(predecessors_[i].size());
    for (uint32_t i : plan_.sequence)
      if (missing_[i] == 0)
        arrive(i);
    while (true) {
      settle();
      if (events_.empty())
        break;
      now_ = events_.top().time;
      while (!events_.empty() && events_.top().time == now_) {
        const Event event = events_.top();
        events_.pop();
        if (event.isFinish)
          finish(event.operation);
        else
          arrive(event.operation);
      }
    }
    // Those that dispatch holds back start later than some that were chosen after them.
    std::stable_sort(result_.order.begin(), result_.order.end(),
                     [&](uint32_t a, uint32_t b) { return result_.slots[a].start < result_.slots[b].start; });
    return std::move(result_);
  }

private:
  struct Event {
    int64_t time;
    uint32_t position;
    uint32_t operation;
    bool isFinish;
    friend bool operator>(const Event &a, const Event &b) {
      return std::tie(a.time, a.position) > std::tie(b.time, b.position);
    }
  };
  using Ready = std::pair<uint32_t, uint32_t>; // turn, operation
  /// Operations that may run on one set of queues: an engine, or some DMA classes.
  struct Line {
    uint32_t key = 0;
    LeastFirst<Ready> ready;
    bool isStuck = false; // until a queue of the core is free again
  };
  struct Core {
    std::vector<Line> lines;
    std::vector<int64_t> free; // when each queue is
    int64_t dispatched = 0;
    bool isChanged = false;
  };
  struct Start {
    uint32_t queue = 0;
    int64_t finish = 0;
    const Plan::Choice *choice = nullptr;
  };

  // Starts all that can start now.
  void settle() {
    memories_.admitWaiting([&](uint32_t i) { enqueue(i); });
    for (uint32_t core : changed_) {
      cores_[core].isChanged = false;
      dispatch(cores_[core]);
    }
    changed_.clear();
  }

  void arrive(uint32_t i) {
    if (isEarly(i))
      early_.push({plan_.position[i], i});
    else if (attempt_.predecessors || memories_.admit(i))
      enqueue(i);
  }

  bool isEarly(uint32_t i) const {
    return predecessors_[i].empty() &&
           plan_.workBefore[plan_.position[i]] - attempt_.horizon > plan_.workBefore[oldest_];
  }

  void advance(uint32_t i) {
    isDone_[plan_.position[i]] = true;
    while (oldest_ + 1 < isDone_.size() && isDone_[oldest_])
      ++oldest_;
    while (!early_.empty() && !isEarly(early_.top().second)) {
      const uint32_t load = early_.top().second;
      early_.pop();
      arrive(load);
    }
  }

  uint32_t lineKey(uint32_t i) const {
    const isa::Engine engine = graph_.operations[i].engine;
    if (engine != isa::Engine::Dma)
      return static_cast<uint32_t>(engine);
    uint32_t classes = 0;
    for (const Plan::Choice &choice : plan_.choicesOf(i))
      classes |= 1u << choice.dmaClass;
    return 4 + classes;
  }

  void enqueue(uint32_t i) {
    Core &core = cores_[graph_.cores[i]];
    const uint32_t key = lineKey(i);
    auto line =
        std::find_if(core.lines.begin(), core.lines.end(), [&](const Line &l) { return l.key == key; });
    if (line == core.lines.end()) {
      core.lines.push_back({key, {}, false});
      line = core.lines.end() - 1;
    }
    line->ready.push({plan_.turn[i], i});
    markChanged(graph_.cores[i]);
  }

  void markChanged(uint32_t core) {
    if (!cores_[core].isChanged)
      changed_.push_back(core);
    cores_[core].isChanged = true;
  }

  // The first in order of all lines starts, if the queue that would finish it first is idle.
  void dispatch(Core &core) {
    for (Line &line : core.lines)
      line.isStuck = false;
    while (true) {
      Line *next = nullptr;
      for (Line &line : core.lines)
        if (!line.isStuck && !line.ready.empty() && (!next || line.ready.top() < next->ready.top()))
          next = &line;
      if (!next)
        return;
      const uint32_t i = next->ready.top().second;
      const Start best = bestStart(core, i);
      next->isStuck = core.free[best.queue] > now_;
      if (next->isStuck)
        continue;
      next->ready.pop();
      start(core, i, best);
    }
  }

  Start bestStart(const Core &core, uint32_t i) const {
    Start best;
    auto consider = [&](uint32_t queue, const Plan::Choice &choice) {
      const int64_t finish = std::max(now_, core.free[queue]) + choice.price.cycles;
      if (!best.choice || finish < best.finish)
        best = {queue, finish, &choice};
    };
    const isa::Engine engine = graph_.operations[i].engine;
    for (const Plan::Choice &choice : plan_.choicesOf(i)) {
      if (engine != isa::Engine::Dma) {
        consider(static_cast<uint32_t>(engine), choice);
        continue;
      }
      const uint32_t queues = limits_.dma[choice.dmaClass].queues;
      const bool several = queues > 1, isLoad = predecessors_[i].empty();
      const uint32_t first = several && isLoad && attempt_.queues != Queues::Any ? 1 : 0;
      const uint32_t end = several && !isLoad && attempt_.queues == Queues::Apart ? 1 : queues;
      for (uint32_t q = first; q < end; ++q)
        consider(firstQueue_[choice.dmaClass] + q, choice);
    }
    return best;
  }

  void start(Core &core, uint32_t i, const Start &chosen) {
    const Price &price = chosen.choice->price;
    // The core's nth command cannot be dispatched before the n − 1 before it.
    const int64_t begin = std::max(now_, core.dispatched++ * limits_.dispatchCycles);
    int64_t end = begin + price.cycles;
    for (size_t s = 0; s < shared_.size(); ++s)
      if (price.shared[s] > 0) {
        shared_[s] = std::max(shared_[s], begin) + price.shared[s];
        end = std::max(end, shared_[s]);
      }
    core.free[chosen.queue] = end;
    result_.slots[i] = {chosen.queue, begin, end};
    result_.dmaClass[i] = chosen.choice->dmaClass;
    result_.order.push_back(i);
    result_.cycles = std::max(result_.cycles, end);
    events_.push({end, plan_.position[i], i, true});
  }

  void finish(uint32_t i) {
    markChanged(graph_.cores[i]);
    // What takes no time must not share bytes with what others have at that moment.
    if (!attempt_.predecessors)
      memories_.finish(i, std::max(now_, result_.slots[i].start + 1));
    advance(i);
    for (uint32_t s : successors_[i]) {
      earliest_[s] = std::max(earliest_[s], now_ + signalDelay(i, s));
      if (--missing_[s] > 0)
        continue;
      if (earliest_[s] > now_)
        events_.push({earliest_[s], plan_.position[s], s, false});
      else
        arrive(s);
    }
  }

  int64_t signalDelay(uint32_t from, uint32_t to) const {
    if (graph_.cores[from] != graph_.cores[to])
      return limits_.remoteSignalCycles;
    const isa::Engine engine = graph_.operations[from].engine;
    return engine == graph_.operations[to].engine && engine != isa::Engine::Dma ? 0 : limits_.signalCycles;
  }

  const Plan &plan_;
  const TileGraph &graph_;
  const Limits &limits_;
  const Attempt &attempt_;
  const Lists &predecessors_;
  const Lists successors_;
  Timeline result_;
  Memories memories_;
  int64_t now_ = 0;
  std::vector<uint32_t> missing_; // predecessors that are not done
  std::vector<bool> isDone_;      // by position
  uint32_t oldest_ = 0;           // position of the first operation that is not done
  LeastFirst<Ready> early_;       // loads that wait for their time
  std::vector<int64_t> earliest_; // when the signals of those that are done have arrived
  std::vector<Core> cores_;
  std::vector<uint32_t> firstQueue_; // of each DMA class
  std::vector<uint32_t> changed_;
  std::array<int64_t, 3> shared_{}; // until when each shared resource is taken
  LeastFirst<Event> events_;
};

} // namespace

Timeline listSchedule(const Plan &plan, const Attempt &attempt) {
  return ListScheduler(plan, attempt).run();
}

} // namespace npuc::schedule
