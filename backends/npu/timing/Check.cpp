#include "backends/npu/timing/Check.h"

#include "backends/npu/timing/Cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace npuc::timing {
namespace {

using isa::Command;
using isa::Opcode;
using isa::View;

bool inPool(uint64_t first, uint64_t count, size_t size) {
  return first <= size && count <= size - first;
}

std::string poolFault(const isa::Program &program, const Command &c) {
  const bool inside = inPool(c.firstOperand, c.operandCount, program.operands.size()) &&
                      inPool(c.firstInstruction, c.instructionCount, program.instructions.size()) &&
                      inPool(c.firstWait, c.waitCount, program.waits.size()) &&
                      inPool(c.firstMulticast, c.multicastCount, program.multicast.size()) &&
                      c.source < program.sources.size();
  return inside ? ""
                : "names operands, instructions, waits, cores or a source that the program does not have";
}

std::string semaphoreFault(const isa::Program &program, const Command &c) {
  for (const isa::Wait &wait : program.waitsOf(c))
    if (wait.semaphore >= program.semaphores)
      return fmt::format("waits for semaphore {} of {}", wait.semaphore, program.semaphores);
  if (c.signal != isa::none && c.signal >= program.semaphores)
    return fmt::format("signals semaphore {} of {}", c.signal, program.semaphores);
  return {};
}

std::string registerFault(const isa::Program &program, int16_t reg) {
  if (reg == isa::noRegister || (reg >= 0 && static_cast<size_t>(reg) < program.registers.size()))
    return {};
  return fmt::format("names register {} of {}", reg, program.registers.size());
}

std::string viewFault(const isa::Program &program, const Machine &machine, const View &view) {
  if (view.rank > isa::maxRank)
    return fmt::format("has an operand of rank {}", view.rank);
  for (unsigned d = 0; d < view.rank; ++d)
    if (view.dims[d].size < 0)
      return "has an operand with a negative size";
  for (int16_t reg : {view.baseRegister, view.boundRegister})
    if (std::string fault = registerFault(program, reg); !fault.empty())
      return fault;
  if (view.boundRegister != isa::noRegister && view.boundDim >= view.rank)
    return fmt::format("bounds dimension {} of an operand of rank {}", view.boundDim, view.rank);
  if (view.space == isa::Space::Dram && view.buffer >= program.buffers.size())
    return fmt::format("names DRAM buffer {} of {}", view.buffer, program.buffers.size());
  if (view.space == isa::Space::Scratchpad && view.buffer >= machine.cores)
    return fmt::format("names the scratchpad of core {} of {}", view.buffer, machine.cores);
  if (view.space == isa::Space::Shared && !machine.target.has_shared())
    return "names shared memory, which the target does not have";
  return {};
}

// Operand counts and ranks that the extraction of work relies on.
std::string shapeFault(const isa::Program &program, const Machine &machine, const Command &c) {
  auto operands = program.operandsOf(c);
  auto wants = [&](size_t count, isa::Engine engine) {
    return operands.size() == count && c.engine == engine;
  };
  bool ok = true;
  switch (c.opcode) {
  case Opcode::Copy:
    ok =
        (wants(2, isa::Engine::Dma) || wants(2, isa::Engine::Matrix)) && operands[0].rank == operands[1].rank;
    break;
  case Opcode::Fill:
    ok = wants(1, isa::Engine::Dma);
    break;
  case Opcode::Gather:
  case Opcode::Scatter: {
    ok = wants(3, isa::Engine::Dma);
    if (!ok)
      break;
    const View &table = operands[c.opcode == Opcode::Gather ? 0 : 2],
               &dense = operands[c.opcode == Opcode::Gather ? 2 : 0];
    ok = table.rank >= 1 && table.dims[0].size > 0 && operands[1].rank + table.rank - 1 == dense.rank;
    break;
  }
  case Opcode::Contract:
    ok = wants(3, isa::Engine::Matrix) && operands[0].rank == c.rankBatch + c.rankM + c.rankK &&
         operands[1].rank == c.rankBatch + c.rankK + c.rankN &&
         operands[2].rank == c.rankBatch + c.rankM + c.rankN;
    break;
  case Opcode::Vector:
    ok = c.engine == isa::Engine::Vector;
    for (const isa::VectorInstruction &i : program.instructionsOf(c)) {
      const isa::VectorOpInfo &info = isa::info(i.op);
      ok &= (info.dst != isa::Field::Operand || i.dst < operands.size()) &&
            (info.a != isa::Field::Operand || i.a < operands.size()) &&
            (info.b != isa::Field::Operand || i.b < operands.size());
    }
    break;
  case Opcode::Barrier:
    ok = c.engine <= isa::Engine::Dma;
    break;
  }
  if (!ok)
    return "has operands that do not fit its opcode and engine";
  for (uint16_t core : program.multicastOf(c))
    if (core >= machine.cores)
      return fmt::format("multicasts to core {} of {}", core, machine.cores);
  return {};
}

std::string fault(const isa::Program &program, const Machine &machine, const Command &c) {
  if (std::string f = poolFault(program, c); !f.empty())
    return f;
  if (std::string f = semaphoreFault(program, c); !f.empty())
    return f;
  if (std::string f = registerFault(program, c.predicateRegister); !f.empty())
    return f;
  for (const View &view : program.operandsOf(c))
    if (std::string f = viewFault(program, machine, view); !f.empty())
      return f;
  if (std::string f = shapeFault(program, machine, c); !f.empty())
    return f;
  // A barrier stands in a DMA queue like any command, so its class and queue count too.
  return unsupported(machine, program, c);
}

} // namespace

bool check(const isa::Program &program, const Machine &machine, std::span<const int64_t> registers,
           Diagnostics &diagnostics) {
  const size_t before = diagnostics.errorCount();
  if (program.streams.size() > machine.cores)
    diagnostics.error(program.name, fmt::format("has commands for {} cores", program.streams.size()),
                      fmt::format("{} has {}", machine.target.name(), machine.cores),
                      "compile it for this target");
  if (registers.size() > program.registers.size())
    diagnostics.error(program.name, fmt::format("was given {} register values", registers.size()),
                      fmt::format("it has {} registers", program.registers.size()));
  for (size_t i = 0; i < std::min(registers.size(), program.registers.size()); ++i) {
    const isa::Register &reg = program.registers[i];
    if (registers[i] < reg.least || registers[i] > reg.greatest)
      diagnostics.error(program.name, fmt::format("register {} was given {}", reg.name, registers[i]),
                        fmt::format("it goes from {} to {}", reg.least, reg.greatest));
  }
  for (size_t core = 0; core < program.streams.size() && core < machine.cores; ++core) {
    std::set<std::string> seen;
    for (size_t i = 0; i < program.streams[core].size(); ++i) {
      std::string what = fault(program, machine, program.streams[core][i]);
      if (!what.empty() && seen.insert(what).second)
        diagnostics.error(fmt::format("core {} command {}", core, i), what);
    }
  }
  return diagnostics.errorCount() == before;
}

} // namespace npuc::timing
