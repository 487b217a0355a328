#include "support/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace npuc {
namespace {

thread_local bool insideBody = false;

} // namespace

struct ThreadPool::State {
  std::mutex callers; ///< Held by the one call of `run` that uses the workers.
  std::mutex mutex;   ///< Guards what follows but `next`.
  std::condition_variable wake, finished;
  const std::function<void(int64_t)> *body = nullptr;
  int64_t count = 0;
  uint64_t round = 0; ///< Rises with each loop, so that a worker takes part in it once.
  unsigned busy = 0;
  bool stop = false;
  std::atomic<int64_t> next = 0;
  std::vector<std::thread> workers;

  void takeShare(const std::function<void(int64_t)> &body, int64_t count) {
    insideBody = true;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(i);
    insideBody = false;
  }

  void work() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || round != seen; });
      if (stop)
        return;
      seen = round;
      if (!body)
        continue; // the loop was over before this worker woke
      ++busy;
      const auto *mine = body;
      int64_t size = count;
      lock.unlock();
      takeShare(*mine, size);
      lock.lock();
      if (--busy == 0)
        finished.notify_one();
    }
  }
};

ThreadPool::ThreadPool(unsigned threads) : state_(std::make_unique<State>()) {
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  for (unsigned i = 1; i < threads; ++i)
    state_->workers.emplace_back([this] { state_->work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread &worker : state_->workers)
    worker.join();
}

unsigned ThreadPool::threads() const {
  return static_cast<unsigned>(state_->workers.size()) + 1;
}

void ThreadPool::run(int64_t count, const std::function<void(int64_t)> &body) {
  State &s = *state_;
  if (count <= 1 || s.workers.empty() || insideBody) {
    for (int64_t i = 0; i < count; ++i)
      body(i);
    return;
  }
  std::lock_guard caller(s.callers);
  {
    std::lock_guard lock(s.mutex);
    s.body = &body;
    s.count = count;
    s.next.store(0, std::memory_order_relaxed);
    ++s.round;
  }
  s.wake.notify_all();
  s.takeShare(body, count);
  std::unique_lock lock(s.mutex);
  s.body = nullptr;
  s.finished.wait(lock, [&] { return s.busy == 0; });
}

} // namespace npuc
