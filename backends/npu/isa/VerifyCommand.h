// Parts of the verifier, each a question about one command. The command's pool indices are in range.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"
#include "support/Diagnostic.h"

namespace npuc::isa::verifier {

/// Reports, up to a limit.
struct Report {
  Diagnostics &diagnostics;
  const Program &program;
  size_t errors = 0;

  void error(std::string where, std::string what, std::string why, std::string hint = {});
  /// "program 'encoder', core 2, command 17 (copy, 'layer.0/query')".
  std::string place(uint32_t core, size_t index) const;
};

struct Context {
  const Program &program;
  const target::TargetDescription &target;
  Report &report;
  uint32_t core;
  size_t index;
  const Command &command;
  bool failed = false;

  std::span<const View> operands() const { return program.operandsOf(command); }
  void error(std::string what, std::string why, std::string hint = {});
};

/// The engine runs this opcode with this many operands, each in a memory that it reaches, over a route of the
/// target.
void checkPlacement(Context &context);
/// Each view: rank, sizes, types, registers, and that it stays in its memory.
void checkViews(Context &context);
/// The operands' shapes, bounds and types agree.
void checkShapes(Context &context);
/// Instructions of a Vector command: registers, types, functions that the target has.
void checkVectorProgram(Context &context);

/// Every wait is reached. Semaphores and queues are in range.
void checkProgress(const Program &program, const target::TargetDescription &target, Report &report);

} // namespace npuc::isa::verifier
