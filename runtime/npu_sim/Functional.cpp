#include "runtime/npu_sim/Functional.h"

#include "runtime/npu_sim/Execute.h"
#include "runtime/npu_sim/Order.h"
#include "runtime/npu_sim/Parallel.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>

namespace npuc::npu_sim {
namespace {

using isa::Command;
using isa::Engine;
using isa::Opcode;
using isa::Space;
using isa::View;

struct Free {
  void operator()(std::byte *p) const { std::free(p); }
};

/// A memory with bytes of its own, zero until written; pages that are not touched take no room.
struct OwnedMemory : Memory {
  std::unique_ptr<std::byte, Free> storage;

  OwnedMemory(std::string name, int64_t bytes, bool checks) {
    this->name = std::move(name);
    this->bytes = bytes;
    storage.reset(static_cast<std::byte *>(std::calloc(static_cast<size_t>(bytes) + 64, 1)));
    if (!storage)
      throw std::bad_alloc();
    data = storage.get();
    if (checks)
      written.assign(static_cast<size_t>(bytes + 63) / 64, 0);
  }
};

std::optional<target::DataType> dataType(ElementType a, ElementType b) {
  if (bitWidth(b) == 4)
    return target::INT4;
  switch (a) {
  case ElementType::I8:
    return target::INT8;
  case ElementType::U8:
    return target::UINT8;
  default:
    return std::nullopt;
  }
}

int64_t coreCount(const target::Topology &t) {
  return int64_t{t.devices()} * t.clusters_per_device() * t.cores_per_cluster();
}

} // namespace

struct Functional::Implementation {
  const isa::Program &program;
  const FunctionalOptions options;
  const Kernels &kernels;
  target::MatrixEngine matrix;
  std::vector<CommandId> order;
  int64_t scratchpadBytes, sharedBytes, accumulatorBytes; ///< What the target has.

  std::vector<OwnedMemory> scratchpads, accumulators, shared;
  std::vector<Memory> dram;
  std::vector<int64_t> registers;
  std::vector<Scratch> scratch; ///< One for each thread.

  Implementation(const isa::Program &program, const target::TargetDescription &target,
                 const FunctionalOptions &options, std::vector<CommandId> order);

  void reset(std::span<const std::span<std::byte>> buffers, std::span<const int64_t> values);
  bool skipped(const Command &c) const {
    return c.predicateRegister != isa::noRegister && registers[c.predicateRegister] <= c.predicateBound;
  }
  Memory &memoryOf(const View &view, const Command &command, uint32_t core, unsigned number);
  Operand resolve(const View &view, const Command &command, uint32_t core, unsigned number);
  /// Operands of a command and what it touches; empty if its predicate is false.
  Task prepare(CommandId id);
  void execute(const Task &task, Scratch &scratch);
  void executeCopy(const Command &command, std::span<const Operand> operands);
  Contraction contraction(const Command &command, std::span<const Operand> operands) const;
};

Functional::Implementation::Implementation(const isa::Program &program,
                                           const target::TargetDescription &target,
                                           const FunctionalOptions &options, std::vector<CommandId> order)
    : program(program), options(options), kernels(npu_sim::kernels(options.simd)), matrix(target.matrix()),
      order(std::move(order)) {
  unsigned widest = 32;
  for (const target::Accumulator &a : matrix.accumulators())
    widest = std::max(widest, a.bits());
  scratchpadBytes = static_cast<int64_t>(target.scratchpad().bytes());
  sharedBytes = static_cast<int64_t>(target.shared().bytes());
  accumulatorBytes = static_cast<int64_t>(matrix.accumulator_elements()) *
                     target.topology().slices_per_core() * (widest > 32 ? 8 : 4);
  // Only what the program can reach is made; an access beyond that is one beyond the memory.
  const size_t cores =
      std::max<size_t>(program.streams.size(), static_cast<size_t>(coreCount(target.topology())));
  std::vector<int64_t> scratchpadEnds(cores, 0), accumulatorEnds(cores, 0);
  int64_t sharedEnd = 0;
  auto reachTo = [&](int64_t &end, const isa::ByteRange &range, int64_t limit) {
    end = std::max(end, std::min(range.end, limit));
  };
  for (const auto &stream : program.streams)
    for (const Command &command : stream)
      for (unsigned o = 0; o < command.operandCount; ++o) {
        const View &view = program.operandsOf(command)[o];
        const std::optional<isa::ByteRange> range = isa::reach(view, program.registers);
        if (!range || (view.space != Space::Dram && view.space != Space::Shared && view.buffer >= cores))
          continue;
        if (view.space == Space::Shared)
          reachTo(sharedEnd, *range, sharedBytes);
        else if (view.space == Space::Accumulator)
          reachTo(accumulatorEnds[view.buffer], *range, accumulatorBytes);
        else if (view.space == Space::Scratchpad && (command.multicastCount == 0 || o == 0))
          reachTo(scratchpadEnds[view.buffer], *range, scratchpadBytes);
        else if (view.space == Space::Scratchpad)
          for (uint16_t core : program.multicastOf(command))
            if (core < cores)
              reachTo(scratchpadEnds[core], *range, scratchpadBytes);
      }
  for (size_t core = 0; core < cores; ++core) {
    scratchpads.emplace_back(fmt::format("core {}'s scratchpad", core), scratchpadEnds[core], options.checks);
    accumulators.emplace_back(fmt::format("core {}'s accumulator", core), accumulatorEnds[core],
                              options.checks);
  }
  shared.emplace_back("shared memory", sharedEnd, options.checks);
  for (const isa::Buffer &buffer : program.buffers) {
    Memory memory;
    memory.name = fmt::format("buffer '{}'", buffer.name);
    memory.bytes = buffer.bytes;
    memory.readOnly = buffer.role == isa::Role::Constant || buffer.role == isa::Role::Input;
    if (options.checks && (buffer.role == isa::Role::Workspace || buffer.role == isa::Role::Output))
      memory.written.assign(static_cast<size_t>(buffer.bytes + 63) / 64, 0);
    dram.push_back(std::move(memory));
  }
  scratch.resize(std::max(1u, options.threads));
}

void Functional::Implementation::reset(std::span<const std::span<std::byte>> buffers,
                                       std::span<const int64_t> values) {
  registers.assign(values.begin(), values.end());
  for (size_t b = 0; b < dram.size(); ++b) {
    dram[b].data = buffers[b].data();
    std::fill(dram[b].written.begin(), dram[b].written.end(), 0);
  }
  for (auto *memories : {&scratchpads, &accumulators, &shared})
    for (OwnedMemory &memory : *memories) {
      std::fill(memory.written.begin(), memory.written.end(), 0);
      if (!options.checks)
        std::memset(memory.data, 0, static_cast<size_t>(memory.bytes));
    }
}

Memory &Functional::Implementation::memoryOf(const View &view, const Command &command, uint32_t core,
                                             unsigned number) {
  auto beyond = [&](const std::string &what) {
    throw Failure{fmt::format("operand {} is beyond the {} engine's reach", number, name(command.engine)),
                  fmt::format("it lies in {}", what), "this is a fault of whatever wrote the program"};
  };
  const bool dma = command.engine == Engine::Dma;
  switch (view.space) {
  case Space::Dram:
    if (!dma || view.buffer >= dram.size())
      beyond(fmt::format("DRAM buffer {}", view.buffer));
    return dram[view.buffer];
  case Space::Shared:
    if (!dma)
      beyond("shared memory");
    return shared[0];
  case Space::Scratchpad:
    if (view.buffer >= scratchpads.size() || (!dma && view.buffer != core))
      beyond(fmt::format("core {}'s scratchpad", view.buffer));
    return scratchpads[view.buffer];
  case Space::Accumulator:
    if (dma || view.buffer != core || (command.engine == Engine::Vector && !matrix.chained_to_vector()))
      beyond(fmt::format("core {}'s accumulator", view.buffer));
    return accumulators[core];
  }
  beyond("no memory");
  std::abort();
}

Operand Functional::Implementation::resolve(const View &view, const Command &command, uint32_t core,
                                            unsigned number) {
  Operand out;
  out.memory = &memoryOf(view, command, core, number);
  out.type = view.type;
  out.rank = view.rank;
  out.base = view.base;
  if (view.baseRegister != isa::noRegister)
    out.base += registers[view.baseRegister] * view.registerScale;
  for (unsigned d = 0; d < view.rank; ++d) {
    out.size[d] = view.dims[d].size;
    out.stride[d] = view.dims[d].stride;
  }
  if (view.boundRegister != isa::noRegister)
    out.size[view.boundDim] =
        std::clamp<int64_t>(registers[view.boundRegister] - view.boundOffset, 0, out.size[view.boundDim]);
  const isa::Access access = isa::access(program, command, number);
  if (access.writes && out.memory->readOnly)
    throw Failure{fmt::format("operand {} would write {}", number, out.memory->name),
                  "constants and inputs are only read", "this is a fault of whatever wrote the program"};
  const isa::ByteRange hull = out.hull();
  // A multicast's destination is looked up in each core's scratchpad.
  const bool multicast = command.multicastCount > 0 && number == 1;
  for (size_t i = 0; i < (multicast ? command.multicastCount : 1u); ++i) {
    const Memory &memory = multicast ? scratchpads[program.multicastOf(command)[i]] : *out.memory;
    if (hull.begin != hull.end && (hull.begin < 0 || hull.end > memory.bytes))
      throw Failure{fmt::format("operand {} reaches outside {}", number, memory.name),
                    fmt::format("it takes bytes {:#x} to {:#x}; the program may use {:#x}", hull.begin,
                                hull.end - 1, memory.bytes),
                    "this is a fault of whatever wrote the program"};
  }
  return out;
}

Task Functional::Implementation::prepare(CommandId id) {
  const Command &command = program.streams[id.core][id.index];
  Task task{id, &command, {}, {}};
  if (command.opcode == Opcode::Barrier || skipped(command))
    return task;
  const auto views = program.operandsOf(command);
  for (unsigned o = 0; o < views.size(); ++o) {
    task.operands.push_back(resolve(views[o], command, id.core, o));
    const Operand &operand = task.operands.back();
    const isa::ByteRange hull = operand.hull();
    if (hull.begin == hull.end)
      continue;
    const bool writes = isa::access(program, command, o).writes;
    if (command.multicastCount > 0 && o == 1)
      for (uint16_t core : program.multicastOf(command))
        task.touches.push_back({&scratchpads[core], hull.begin >> 6, (hull.end - 1) >> 6, true});
    else
      task.touches.push_back({operand.memory, hull.begin >> 6, (hull.end - 1) >> 6, writes});
  }
  return task;
}

Contraction Functional::Implementation::contraction(const Command &command,
                                                    std::span<const Operand> operands) const {
  Contraction out{command.rankBatch, command.rankM, command.rankN, command.rankK, command.accumulate, 0};
  if (!options.checks || isFloat(operands[0].type))
    return out;
  out.accumulatorBits = bitWidth(operands[2].type);
  if (const auto type = dataType(operands[0].type, operands[1].type))
    for (const target::Accumulator &a : matrix.accumulators())
      if (a.operand() == *type)
        out.accumulatorBits = std::min(out.accumulatorBits, a.bits());
  return out;
}

void Functional::Implementation::executeCopy(const Command &command, std::span<const Operand> operands) {
  checkWritten(operands[0], 0);
  if (command.multicastCount == 0) {
    copy(operands[0], operands[1]);
    markWritten(operands[1]);
    return;
  }
  for (uint16_t core : program.multicastOf(command)) {
    Operand destination = operands[1];
    destination.memory = &scratchpads[core];
    copy(operands[0], destination);
    markWritten(destination);
  }
}

void Functional::Implementation::execute(const Task &task, Scratch &scratch) {
  const Command &command = *task.command;
  const std::span<const Operand> operands = task.operands;
  if (operands.empty())
    return;
  if (command.opcode == Opcode::Copy)
    return executeCopy(command, operands);
  // What a gather takes of its table and a scatter puts into its destination is looked at row by row.
  for (unsigned o = 0; o < operands.size(); ++o)
    if (isa::access(program, command, o).reads && !(command.opcode == Opcode::Gather && o == 0))
      checkWritten(operands[o], o);
  switch (command.opcode) {
  case Opcode::Fill:
    fill(operands[0], command.immediate, kernels);
    break;
  case Opcode::Gather:
    gather(operands[0], operands[1], operands[2]);
    break;
  case Opcode::Scatter:
    return scatter(operands[0], operands[1], operands[2]);
  case Opcode::Contract:
    contract(contraction(command, operands), operands[0], operands[1], operands[2], kernels, scratch);
    break;
  case Opcode::Vector:
    runVector(program.instructionsOf(command), operands, program.operandsOf(command), kernels, scratch);
    break;
  case Opcode::Copy:
  case Opcode::Barrier:
    return;
  }
  for (unsigned o = 0; o < operands.size(); ++o)
    if (isa::access(program, command, o).writes)
      markWritten(operands[o]);
}

Functional::Functional(std::unique_ptr<Implementation> implementation)
    : implementation(std::move(implementation)) {}
Functional::Functional(Functional &&) noexcept = default;
Functional &Functional::operator=(Functional &&) noexcept = default;
Functional::~Functional() = default;

std::optional<Functional> Functional::create(const isa::Program &program,
                                             const target::TargetDescription &target,
                                             const FunctionalOptions &options, Diagnostics &diagnostics) {
  std::optional<std::vector<CommandId>> order = orderCommands(program, diagnostics);
  if (!order)
    return std::nullopt;
  return Functional(std::make_unique<Implementation>(program, target, options, std::move(*order)));
}

bool Functional::run(std::span<const std::span<std::byte>> buffers, std::span<const int64_t> registers,
                     Diagnostics &diagnostics, const std::atomic<bool> *cancelled) {
  Implementation &self = *implementation;
  const isa::Program &program = self.program;
  const size_t errors = diagnostics.errorCount();
  if (buffers.size() != program.buffers.size())
    diagnostics.error(program.name, fmt::format("{} buffers are given where the program has {}",
                                                buffers.size(), program.buffers.size()));
  if (registers.size() != program.registers.size())
    diagnostics.error(program.name, fmt::format("{} register values are given where the program has {}",
                                                registers.size(), program.registers.size()));
  for (size_t b = 0; b < std::min(buffers.size(), program.buffers.size()); ++b)
    if (buffers[b].size() < static_cast<size_t>(program.buffers[b].bytes))
      diagnostics.error(
          program.name, fmt::format("buffer '{}' is too small", program.buffers[b].name),
          fmt::format("{} bytes are given, {} are needed", buffers[b].size(), program.buffers[b].bytes));
  for (size_t r = 0; r < std::min(registers.size(), program.registers.size()); ++r) {
    const isa::Register &declared = program.registers[r];
    if (registers[r] < declared.least || registers[r] > declared.greatest)
      diagnostics.error(
          program.name, fmt::format("register '{}' is out of its bounds", declared.name),
          fmt::format("{} is not in {} to {}", registers[r], declared.least, declared.greatest));
  }
  if (diagnostics.errorCount() != errors)
    return false;
  self.reset(buffers, registers);
  auto execute = [&](const Task &task, unsigned thread) { self.execute(task, self.scratch[thread]); };
  auto prepare = [&](CommandId id) { return self.prepare(id); };
  const Outcome outcome = runTasks(self.order, prepare, execute, self.options.threads, cancelled);
  if (outcome.cancelled)
    diagnostics.error(program.name, "the launch was cancelled");
  if (outcome.failure)
    diagnostics.error(describe(program, outcome.failedAt), outcome.failure->what, outcome.failure->why,
                      outcome.failure->hint);
  return !outcome.cancelled && !outcome.failure;
}

} // namespace npuc::npu_sim
