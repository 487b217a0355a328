// An order of a program's commands that honours its queues and semaphores. It depends on nothing but the
// program: waits and signals do not look at data, registers or predicates.
#pragma once

#include "backends/npu/isa/Program.h"
#include "support/Diagnostic.h"

#include <optional>
#include <vector>

namespace npuc::npu_sim {

/// A command of a core's stream.
struct CommandId {
  uint32_t core = 0, index = 0;
  friend bool operator==(const CommandId &, const CommandId &) = default;
};

/// All commands in an order in which a machine could run them one by one; cores and queues take turns. An
/// error that says who waits for whom if the program cannot come to its end.
std::optional<std::vector<CommandId>> orderCommands(const isa::Program &program, Diagnostics &diagnostics);

/// "core 1, command 12 (contract)".
std::string describe(const isa::Program &program, CommandId id);

} // namespace npuc::npu_sim
