#include "runtime/npu_sim/Parallel.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace npuc::npu_sim {
namespace {

/// Commands under way at once; more find more that may run side by side but take longer to compare.
constexpr size_t window = 48;

bool conflict(const Task &a, const Task &b) {
  for (const Touch &x : a.touches)
    for (const Touch &y : b.touches)
      if (x.memory == y.memory && (x.writes || y.writes) && x.first <= y.last && y.first <= x.last)
        return true;
  return false;
}

class Pool {
public:
  Pool(std::span<const CommandId> order, const std::function<Task(CommandId)> &prepare,
       const std::function<void(const Task &, unsigned)> &execute, const std::atomic<bool> *cancelled)
      : order(order), prepare(prepare), execute(execute), cancelled(cancelled) {}

  void work(unsigned thread) {
    std::unique_lock lock(mutex);
    for (;;) {
      if (Slot *slot = takeReady()) {
        lock.unlock();
        std::optional<Failure> failure;
        try {
          execute(slot->task, thread);
        } catch (Failure &f) {
          failure = std::move(f);
        }
        lock.lock();
        finish(*slot, std::move(failure));
      } else if (!issue()) {
        if (active == 0)
          return;
        changed.wait(lock);
      }
    }
  }

  Outcome outcome;

private:
  struct Slot {
    Task task;
    size_t position = 0; ///< In the order.
    size_t waitsFor = 0; ///< Earlier commands in the window.
    std::vector<Slot *> followers;
    enum class State : uint8_t { Free, Waiting, Ready, Running } state = State::Free;
  };

  std::span<const CommandId> order;
  const std::function<Task(CommandId)> &prepare;
  const std::function<void(const Task &, unsigned)> &execute;
  const std::atomic<bool> *cancelled;

  std::mutex mutex;
  std::condition_variable changed;
  std::array<Slot, window> slots;
  size_t next = 0, active = 0;
  size_t failedPosition = SIZE_MAX;

  bool stopped() const { return outcome.failure || outcome.cancelled; }

  /// The oldest command that may run.
  Slot *takeReady() {
    Slot *best = nullptr;
    for (Slot &slot : slots)
      if (slot.state == Slot::State::Ready && (!best || slot.position < best->position))
        best = &slot;
    if (best)
      best->state = Slot::State::Running;
    return best;
  }

  /// Takes the next command into the window; false if there is none, or no room.
  bool issue() {
    if (cancelled && cancelled->load(std::memory_order_relaxed) && next < order.size())
      outcome.cancelled = true;
    if (stopped() || next == order.size() || active == window)
      return false;
    Slot &slot =
        *std::find_if(slots.begin(), slots.end(), [](const Slot &s) { return s.state == Slot::State::Free; });
    slot.position = next;
    try {
      slot.task = prepare(order[next]);
    } catch (Failure &f) {
      fail(next, std::move(f));
      return false;
    }
    ++next;
    if (slot.task.operands.empty())
      return true;
    slot.waitsFor = 0;
    for (Slot &other : slots)
      if (other.state != Slot::State::Free && conflict(slot.task, other.task)) {
        other.followers.push_back(&slot);
        ++slot.waitsFor;
      }
    slot.state = slot.waitsFor ? Slot::State::Waiting : Slot::State::Ready;
    ++active;
    if (slot.state == Slot::State::Ready)
      changed.notify_one();
    return true;
  }

  void finish(Slot &slot, std::optional<Failure> failure) {
    if (failure)
      fail(slot.position, std::move(*failure));
    for (Slot *follower : slot.followers)
      if (--follower->waitsFor == 0)
        follower->state = Slot::State::Ready;
    slot.followers.clear();
    slot.state = Slot::State::Free;
    --active;
    changed.notify_all();
  }

  void fail(size_t position, Failure failure) {
    if (position >= failedPosition)
      return;
    failedPosition = position;
    outcome.failure = std::move(failure);
    outcome.failedAt = order[position];
  }
};

Outcome runInOrder(std::span<const CommandId> order, const std::function<Task(CommandId)> &prepare,
                   const std::function<void(const Task &, unsigned)> &execute,
                   const std::atomic<bool> *cancelled) {
  Outcome outcome;
  for (CommandId id : order) {
    if (cancelled && cancelled->load(std::memory_order_relaxed)) {
      outcome.cancelled = true;
      return outcome;
    }
    try {
      execute(prepare(id), 0);
    } catch (Failure &failure) {
      outcome.failure = std::move(failure);
      outcome.failedAt = id;
      return outcome;
    }
  }
  return outcome;
}

} // namespace

Outcome runTasks(std::span<const CommandId> order, const std::function<Task(CommandId)> &prepare,
                 const std::function<void(const Task &, unsigned)> &execute, unsigned threads,
                 const std::atomic<bool> *cancelled) {
  if (threads <= 1)
    return runInOrder(order, prepare, execute, cancelled);
  Pool pool(order, prepare, execute, cancelled);
  std::vector<std::thread> helpers;
  for (unsigned t = 1; t < threads; ++t)
    helpers.emplace_back([&, t] { pool.work(t); });
  pool.work(0);
  for (std::thread &helper : helpers)
    helper.join();
  return pool.outcome;
}

} // namespace npuc::npu_sim
