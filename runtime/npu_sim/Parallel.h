// Runs commands in a given order, or several at once as long as that makes no difference.
#pragma once

#include "runtime/npu_sim/Memory.h"
#include "runtime/npu_sim/Order.h"

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace npuc::npu_sim {

/// Blocks of 64 bytes, first to last, that a command may read or write.
struct Touch {
  const Memory *memory;
  int64_t first, last;
  bool writes;
};

/// A command with its operands resolved; without operands it does nothing.
struct Task {
  CommandId id;
  const isa::Command *command = nullptr;
  std::vector<Operand> operands;
  std::vector<Touch> touches;
};

struct Outcome {
  std::optional<Failure> failure; ///< The first in the order.
  CommandId failedAt;
  bool cancelled = false;
};

/// Prepares (in order, one at a time) and executes each command, on up to `threads` threads; both may throw
/// Failure. A command starts when all commands before it that touch a block of memory that it touches, one of
/// the two writing, are done: so results and the failure that is reported are those of one thread, even of a
/// program with races.
Outcome runTasks(std::span<const CommandId> order, const std::function<Task(CommandId)> &prepare,
                 const std::function<void(const Task &, unsigned thread)> &execute, unsigned threads,
                 const std::atomic<bool> *cancelled);

} // namespace npuc::npu_sim
