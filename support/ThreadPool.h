// Threads that share the work of one loop at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace npuc {

class ThreadPool {
public:
  /// `threads` counts the calling thread too; 0 means one for each core.
  explicit ThreadPool(unsigned threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned threads() const;

  /// Calls body(i) once for each i in [0, count), in any order and on any of the threads, and returns when
  /// all are done. Called from within a body, it runs in that thread alone. Calls from several threads take
  /// turns. Bodies do not throw. For results that do not depend on the number of threads, let each i write
  /// outputs of its own.
  void run(int64_t count, const std::function<void(int64_t)> &body);

private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace npuc
