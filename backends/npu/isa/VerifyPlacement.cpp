// Which engine runs what, where its operands are, and that views stay in their memories.
#include "backends/npu/isa/VerifyCommand.h"
#include "backends/npu/target/Target.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::isa::verifier {
namespace {

struct Form {
  unsigned leastOperands, greatestOperands;
};

Form formOf(Opcode opcode) {
  switch (opcode) {
  case Opcode::Copy:
    return {2, 2};
  case Opcode::Fill:
    return {1, 1};
  case Opcode::Gather:
  case Opcode::Scatter:
  case Opcode::Contract:
    return {3, 3};
  case Opcode::Vector:
    return {1, 255};
  case Opcode::Barrier:
    return {0, 0};
  }
  return {0, 0};
}

bool runs(Engine engine, Opcode opcode) {
  if (opcode == Opcode::Barrier)
    return true;
  switch (engine) {
  case Engine::Matrix:
    return opcode == Opcode::Contract || opcode == Opcode::Copy;
  case Engine::Vector:
    return opcode == Opcode::Vector;
  case Engine::Dma:
    return opcode == Opcode::Copy || opcode == Opcode::Fill || opcode == Opcode::Gather ||
           opcode == Opcode::Scatter;
  }
  return false;
}

bool isOwn(const Context &context, const View &view, Space space) {
  return view.space == space && view.buffer == context.core;
}

std::string placeOf(const View &view) {
  return fmt::format("{}[{}]", name(view.space), view.buffer);
}

void checkOwn(Context &context, unsigned operand, bool accumulatorToo) {
  const View &view = context.operands()[operand];
  if (isOwn(context, view, Space::Scratchpad) || (accumulatorToo && isOwn(context, view, Space::Accumulator)))
    return;
  context.error(fmt::format("the {} engine does not reach operand {}", name(context.command.engine), operand),
                fmt::format("it is in {}; the engine of core {} reaches its own scratchpad{}", placeOf(view),
                            context.core, accumulatorToo ? " and accumulator" : ""),
                "copy it with a DMA command first");
}

void checkMatrix(Context &context) {
  if (context.command.opcode == Opcode::Barrier)
    return;
  if (context.command.opcode == Opcode::Copy) {
    if (!isOwn(context, context.operands()[0], Space::Accumulator) ||
        !isOwn(context, context.operands()[1], Space::Scratchpad))
      context.error("the matrix engine copies only from its accumulator to its core's scratchpad",
                    fmt::format("this copy is from {} to {}", placeOf(context.operands()[0]),
                                placeOf(context.operands()[1])));
    return;
  }
  checkOwn(context, 0, false);
  checkOwn(context, 1, false);
  checkOwn(context, 2, true);
}

void checkVector(Context &context) {
  const auto &engine = context.target.vector();
  for (unsigned i = 0; i < context.operands().size(); ++i)
    checkOwn(context, i, context.target.matrix().chained_to_vector());
  if (context.operands().size() > engine.operands())
    context.error("the command has more operands than the vector engine",
                  fmt::format("{} of {}", context.operands().size(), engine.operands()));
}

bool hasRoute(const target::DmaClass &dma, std::optional<target::Space> source, target::Space destination) {
  return std::ranges::any_of(dma.routes(), [&](const target::DmaClass::Route &route) {
    return route.destination() == destination && (!source || route.source() == *source);
  });
}

void checkMulticast(Context &context, const target::DmaClass &dma) {
  const View &destination = context.operands().back();
  if (!dma.multicast())
    context.error("the DMA class does not multicast", fmt::format("class '{}'", dma.name()),
                  "copy to each core with a command of its own");
  if (context.command.opcode != Opcode::Copy || destination.space != Space::Scratchpad)
    context.error("only a copy to scratchpads multicasts",
                  fmt::format("this is a {} to {}", name(context.command.opcode), placeOf(destination)));
  for (uint16_t core : context.program.multicastOf(context.command))
    if (core >= target::coreCount(context.target))
      context.error("the multicast goes to a core that the target does not have",
                    fmt::format("core {} of {}", core, target::coreCount(context.target)));
}

void checkDma(Context &context) {
  const Command &c = context.command;
  if (c.dmaClass >= context.target.dma_size())
    return context.error("the target does not have this DMA class",
                         fmt::format("class {} of {}", c.dmaClass, context.target.dma_size()));
  const target::DmaClass &dma = context.target.dma(c.dmaClass);
  if (c.queue >= dma.queues_per_core())
    return context.error(
        "the DMA class does not have this queue",
        fmt::format("queue {} of {} of class '{}'", c.queue, dma.queues_per_core(), dma.name()));
  if (c.opcode == Opcode::Barrier)
    return;
  for (unsigned i = 0; i < context.operands().size(); ++i)
    if (context.operands()[i].space == Space::Accumulator)
      return context.error("DMA does not reach accumulators", fmt::format("operand {}", i),
                           "drain them with a copy on the matrix engine");
  if ((c.opcode == Opcode::Gather || c.opcode == Opcode::Scatter) && !dma.gather_scatter())
    context.error("the DMA class neither gathers nor scatters", fmt::format("class '{}'", dma.name()));
  auto spaceOf = [&](const View &view) { return *target::space(view.space, view.buffer == context.core); };
  const bool multicasts = c.multicastCount > 0;
  if (multicasts)
    checkMulticast(context, dma);
  std::optional<target::Space> source;
  if (c.opcode != Opcode::Fill)
    source = spaceOf(context.operands()[0]);
  // A multicast reaches every core over the route to the scratchpad.
  const target::Space destination = multicasts ? target::SCRATCHPAD : spaceOf(context.operands().back());
  if (!hasRoute(dma, source, destination))
    context.error("the DMA class has no such route",
                  fmt::format("class '{}' does not go from {} to {}", dma.name(),
                              source ? target::Space_Name(*source) : "anywhere",
                              target::Space_Name(destination)));
}

// Bytes of the memory that the view is in; nothing, with an error, if the target or the program has no such
// memory.
std::optional<int64_t> memoryBytes(Context &context, const View &view, const std::string &label) {
  const target::TargetDescription &target = context.target;
  const uint32_t cores = target::coreCount(target);
  auto missing = [&](std::string why) {
    context.error(label + " is in a memory that does not exist", std::move(why));
    return std::nullopt;
  };
  switch (view.space) {
  case Space::Dram:
    if (view.buffer >= context.program.buffers.size())
      return missing(fmt::format("DRAM buffer {} of {}", view.buffer, context.program.buffers.size()));
    return context.program.buffers[view.buffer].bytes;
  case Space::Shared:
    if (!target.has_shared() || view.buffer != 0)
      return missing(target.has_shared() ? "there is one shared memory, number 0"
                                         : "the target has no shared memory");
    return static_cast<int64_t>(target.shared().bytes());
  case Space::Scratchpad:
    if (view.buffer >= cores)
      return missing(fmt::format("the scratchpad of core {} of {}", view.buffer, cores));
    return static_cast<int64_t>(target.scratchpad().bytes());
  case Space::Accumulator:
    if (view.buffer >= cores)
      return missing(fmt::format("the accumulator of core {} of {}", view.buffer, cores));
    const auto elements = target.matrix().accumulator_elements() * target.topology().slices_per_core();
    const bool isWide =
        std::ranges::any_of(target.matrix().accumulators(), [](const auto &a) { return a.bits() > 32; });
    return static_cast<int64_t>(elements * (isWide ? 8 : 4));
  }
  return std::nullopt;
}

// In 4-bit types only the innermost dimension, or in a contraction B's last k, may start within a byte;
// elsewhere elements do not cross their own size.
void checkElementAlignment(Context &context, const View &view, unsigned operand, const std::string &label) {
  const unsigned bits = bitWidth(view.type);
  if (bits < 8) {
    const Command &command = context.command;
    const bool isB = command.opcode == Opcode::Contract && operand == 1;
    const unsigned endK = command.rankBatch + command.rankK;
    for (unsigned d = 0; d < view.rank; ++d)
      if (view.dims[d].stride % 2 != 0 &&
          !((d + 1 == view.rank || (isB && d + 1 == endK)) && view.dims[d].stride == 1))
        context.error(
            label + " has a stride that starts within a byte",
            fmt::format("dimension {} of {} elements has stride {}", d, npuc::name(view.type),
                        view.dims[d].stride),
            "only the innermost stride, or that of a contraction's last k, may be 1, others are even");
    return;
  }
  const int64_t bytes = bits / 8;
  if (view.base % bytes != 0 || (view.baseRegister != noRegister && view.registerScale % bytes != 0))
    context.error(label + " is not aligned to its elements",
                  fmt::format("base {} and register scale {} against elements of {} bytes", view.base,
                              view.registerScale, bytes));
}

void checkView(Context &context, unsigned operand) {
  const View &view = context.operands()[operand];
  const std::string label = fmt::format("operand {}", operand);
  if (view.rank > maxRank || view.rank > context.target.control().address_dimensions())
    return context.error(label + " has more dimensions than the target's addresses",
                         fmt::format("{} of {}", view.rank, context.target.control().address_dimensions()));
  for (const Dim &d : view.shape())
    if (d.size < 1)
      return context.error(label + " has no element", fmt::format("a dimension of size {}", d.size),
                           "a command that may have nothing to do has a bound or a predicate");
  if (view.boundRegister != noRegister && view.boundDim >= view.rank)
    context.error(label + " bounds a dimension that it does not have",
                  fmt::format("dimension {} of {}", view.boundDim, view.rank));
  if (view.space == Space::Accumulator && view.type != ElementType::I32 && view.type != ElementType::I64 &&
      view.type != ElementType::F32)
    context.error(label + " is no type of sums",
                  fmt::format("accumulators hold i32, i64 or f32, not {}", npuc::name(view.type)));
  checkElementAlignment(context, view, operand, label);
  auto bytes = memoryBytes(context, view, label);
  if (!bytes)
    return;
  auto range = reach(view, context.program.registers);
  if (!range)
    return context.error(label + " has no address",
                         "a register does not exist, or an address does not fit in 64 bits");
  if (range->begin < 0 || range->end > *bytes)
    context.error(label + " leaves its memory",
                  fmt::format("it touches bytes {} to {} of {}, which has {}", range->begin, range->end - 1,
                              placeOf(view), *bytes));
  if (view.space == Space::Dram && access(context.program, context.command, operand).writes)
    if (const Buffer &b = context.program.buffers[view.buffer];
        b.role == Role::Constant || b.role == Role::Input)
      context.error(label + " writes what is read only",
                    fmt::format("buffer '{}' is of role {}", b.name, name(b.role)));
}

} // namespace

void checkPlacement(Context &context) {
  const Command &c = context.command;
  if (!runs(c.engine, c.opcode))
    return context.error("this engine does not run this command",
                         fmt::format("{} on {}", name(c.opcode), name(c.engine)));
  const auto [least, greatest] = formOf(c.opcode);
  if (c.operandCount < least || c.operandCount > greatest)
    return context.error("the command has the wrong number of operands",
                         fmt::format("{} takes {}, not {}", name(c.opcode), least, c.operandCount));
  if (c.instructionCount && c.opcode != Opcode::Vector)
    context.error("only a vector command has instructions",
                  fmt::format("{} has {}", name(c.opcode), c.instructionCount));
  if (c.multicastCount && c.engine != Engine::Dma)
    context.error("only DMA multicasts", fmt::format("this is on {}", name(c.engine)));
  switch (c.engine) {
  case Engine::Matrix:
    return checkMatrix(context);
  case Engine::Vector:
    return checkVector(context);
  case Engine::Dma:
    return checkDma(context);
  }
}

void checkViews(Context &context) {
  for (unsigned i = 0; i < context.operands().size(); ++i)
    checkView(context, i);
  // The destination of a multicast is at the same address in scratchpads of one size, so its own check covers
  // them all.
}

} // namespace npuc::isa::verifier
