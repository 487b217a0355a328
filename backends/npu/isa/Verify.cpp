#include "backends/npu/isa/Verify.h"

#include "backends/npu/isa/VerifyCommand.h"
#include "backends/npu/target/Target.h"

#include <bit>
#include <fmt/format.h>

namespace npuc::isa {
namespace verifier {

void Report::error(std::string where, std::string what, std::string why, std::string hint) {
  if (++errors <= 100)
    diagnostics.error(std::move(where), std::move(what), std::move(why), std::move(hint));
}

std::string Report::place(uint32_t core, size_t index) const {
  const Command &c = program.streams[core][index];
  std::string source = c.source < program.sources.size() ? program.sources[c.source] : "";
  return fmt::format("program '{}', core {}, command {} ({}{})", program.name, core, index, name(c.opcode),
                     source.empty() ? "" : ", '" + source + "'");
}

void Context::error(std::string what, std::string why, std::string hint) {
  failed = true;
  report.error(report.place(core, index), std::move(what), std::move(why), std::move(hint));
}

namespace {

// A count against the target's limit.
void checkLimit(Report &report, const char *what, uint64_t count, uint64_t limit, const char *hint) {
  if (count > limit)
    report.error(fmt::format("program '{}'", report.program.name), fmt::format("too many {}", what),
                 fmt::format("the program has {}, the target {}", count, limit), hint);
}

// Bytes of a dense array, or nothing if 64 bits do not hold them.
std::optional<int64_t> denseBytes(const Buffer &buffer) {
  int64_t bits = bitWidth(buffer.type);
  for (int64_t size : buffer.shape)
    if (size < 0 || __builtin_mul_overflow(bits, size, &bits))
      return std::nullopt;
  return bits / 8 + (bits % 8 != 0);
}

void checkBuffers(const Program &program, const target::TargetDescription &target, Report &report) {
  const uint64_t usable = target::usableDramBytes(target);
  uint64_t total = 0;
  for (const Buffer &buffer : program.buffers) {
    std::string where = fmt::format("program '{}', buffer '{}'", program.name, buffer.name);
    auto bytes = denseBytes(buffer);
    if (!bytes || buffer.bytes < *bytes)
      report.error(where, "the buffer is smaller than its shape",
                   fmt::format("it has {} bytes, {}[{}] needs {}", buffer.bytes, npuc::name(buffer.type),
                               fmt::join(buffer.shape, "x"),
                               bytes ? std::to_string(*bytes) : "more than 2^63"));
    if (!std::has_single_bit(buffer.alignment))
      report.error(where, "the buffer's alignment is no power of two",
                   fmt::format("it is {}", buffer.alignment));
    if (buffer.bytes > 0 && __builtin_add_overflow(total, uint64_t(buffer.bytes), &total))
      total = std::numeric_limits<uint64_t>::max();
  }
  if (total > usable)
    report.error(fmt::format("program '{}'", program.name), "the buffers do not fit in the target's DRAM",
                 fmt::format("they need {} bytes, there are {}", total, usable),
                 "compile a smaller model or shorter shapes, or for a target with more memory");
}

void checkRegisters(const Program &program, Report &report) {
  for (const Register &r : program.registers)
    if (r.least > r.greatest)
      report.error(fmt::format("program '{}', register '{}'", program.name, r.name),
                   "the register's range is empty", fmt::format("from {} to {}", r.least, r.greatest));
}

template <typename T>
bool inPool(const std::vector<T> &pool, uint32_t first, uint32_t count) {
  return first <= pool.size() && count <= pool.size() - first;
}

bool checkPools(const Program &p, const Command &c) {
  return inPool(p.operands, c.firstOperand, c.operandCount) &&
         inPool(p.instructions, c.firstInstruction, c.instructionCount) &&
         inPool(p.waits, c.firstWait, c.waitCount) &&
         inPool(p.multicast, c.firstMulticast, c.multicastCount) && c.source < p.sources.size();
}

void checkSynchronization(Context &context) {
  const Program &p = context.program;
  auto check = [&](uint32_t semaphore) {
    if (semaphore >= p.semaphores)
      context.error("the command names a semaphore that the program does not have",
                    fmt::format("semaphore {} of {}", semaphore, p.semaphores));
  };
  for (const Wait &w : p.waitsOf(context.command))
    check(w.semaphore);
  if (context.command.signal != none)
    check(context.command.signal);
  const int16_t predicate = context.command.predicateRegister;
  if (predicate != noRegister && (predicate < 0 || static_cast<size_t>(predicate) >= p.registers.size()))
    context.error("the predicate names a register that the program does not have",
                  fmt::format("register {} of {}", predicate, p.registers.size()));
}

void checkCommand(Context &context) {
  if (!checkPools(context.program, context.command))
    return context.error("the command points beyond the program's pools",
                         "an operand, instruction, wait, core or source");
  checkSynchronization(context);
  checkPlacement(context);
  if (!context.failed)
    checkViews(context);
  if (!context.failed)
    checkShapes(context);
  if (!context.failed && context.command.opcode == Opcode::Vector)
    checkVectorProgram(context);
}

} // namespace
} // namespace verifier

bool verifyProgram(const Program &program, const target::TargetDescription &target,
                   Diagnostics &diagnostics) {
  verifier::Report report{diagnostics, program};
  const char *another = "the program was compiled for another target";
  verifier::checkLimit(report, "cores", program.streams.size(), target::coreCount(target), another);
  verifier::checkLimit(report, "semaphores", program.semaphores, target.control().semaphores(), another);
  verifier::checkLimit(report, "registers", program.registers.size(), target.control().registers(), another);
  verifier::checkBuffers(program, target, report);
  verifier::checkRegisters(program, report);
  for (uint32_t core = 0; core < program.streams.size(); ++core)
    for (size_t i = 0; i < program.streams[core].size(); ++i) {
      verifier::Context context{program, target, report, core, i, program.streams[core][i]};
      verifier::checkCommand(context);
    }
  if (report.errors == 0)
    verifier::checkProgress(program, target, report);
  return report.errors == 0;
}

bool verifyBuffers(const Program &program, const target::TargetDescription &target,
                   Diagnostics &diagnostics) {
  verifier::Report report{diagnostics, program};
  verifier::checkBuffers(program, target, report);
  return report.errors == 0;
}

} // namespace npuc::isa
