#include "backends/npu/schedule/VerifyGraph.h"

#include "backends/npu/schedule/Dependences.h"
#include "backends/npu/schedule/LiveAccesses.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace npuc::schedule {
namespace {

using isa::Space;

class GraphVerifier {
public:
  GraphVerifier(const TileGraph &graph, const Limits &limits, Diagnostics &diagnostics)
      : graph_(graph), limits_(limits), diagnostics_(diagnostics) {}

  bool run() {
    checkBuffers();
    if (graph_.cores.size() != graph_.operations.size())
      report(graph_.name, "the graph does not say on which core each operation is",
             fmt::format("{} operations, {} cores", graph_.operations.size(), graph_.cores.size()));
    if (errors_ > 0)
      return false;
    checkGroups();
    for (uint32_t i = 0; i < graph_.operations.size() && errors_ < most; ++i)
      checkOperation(i);
    if (errors_ == 0)
      checkWrittenBeforeRead();
    return errors_ == 0;
  }

private:
  static constexpr unsigned most = 100;

  void report(std::string where, std::string what, std::string why) {
    if (errors_++ < most)
      diagnostics_.error(std::move(where), std::move(what), std::move(why));
  }
  std::string place(uint32_t operation) const {
    const isa::Command &command = graph_.operations[operation];
    const std::string source = command.source < graph_.sources.size() ? graph_.sources[command.source] : "";
    return fmt::format("{}{}operation {} ({})", source, source.empty() ? "" : ", ", operation,
                       isa::name(command.opcode));
  }

  void checkBuffers() {
    std::vector<bool> named(graph_.dram.size());
    for (size_t i = 0; i < graph_.buffers.size(); ++i)
      checkBuffer(graph_.buffers[i], fmt::format("{}, buffer {}", graph_.name, i), named);
  }

  void checkBuffer(const VirtualBuffer &b, const std::string &where, std::vector<bool> &named) {
    if (b.bytes < 0 || !std::has_single_bit(b.alignment))
      report(where, "size or alignment is not allowed",
             fmt::format("{} bytes, alignment {}", b.bytes, b.alignment));
    const bool perCore = b.space == Space::Scratchpad || b.space == Space::Accumulator;
    if (b.core >= (perCore ? limits_.cores : 1))
      report(where, "the core does not exist", fmt::format("core {} of {}", b.core, limits_.cores));
    if (b.group != isa::none && b.space != Space::Scratchpad)
      report(where, "only scratchpad buffers are in groups", fmt::format("it is in {}", isa::name(b.space)));
    if ((b.space == Space::Dram) != (b.dram != isa::none)) {
      report(where, "a buffer names a DRAM buffer if and only if it is in DRAM", "");
    } else if (b.space == Space::Dram) {
      if (b.dram >= graph_.dram.size() || graph_.dram[b.dram].bytes != b.bytes)
        report(where, "there is no DRAM buffer of its index and size", fmt::format("index {}", b.dram));
      else if (named[b.dram])
        report(where, "two buffers name one DRAM buffer", graph_.dram[b.dram].name);
      else
        named[b.dram] = true;
    }
  }

  void checkGroups() {
    std::vector<std::pair<uint32_t, uint32_t>> members;
    for (uint32_t i = 0; i < graph_.buffers.size(); ++i)
      if (graph_.buffers[i].group != isa::none)
        members.emplace_back(graph_.buffers[i].group, i);
    std::sort(members.begin(), members.end(), [&](auto &a, auto &b) {
      return std::pair(a.first, graph_.buffers[a.second].core) <
             std::pair(b.first, graph_.buffers[b.second].core);
    });
    for (size_t i = 1; i < members.size(); ++i) {
      const VirtualBuffer &a = graph_.buffers[members[i - 1].second], &b = graph_.buffers[members[i].second];
      if (a.group != b.group)
        continue;
      const std::string where =
          fmt::format("{}, buffers {} and {}", graph_.name, members[i - 1].second, members[i].second);
      if (a.core == b.core)
        report(where, "two buffers of one group are on one core",
               fmt::format("group {}, core {}", a.group, a.core));
      if (a.bytes != b.bytes || a.alignment != b.alignment)
        report(where, "buffers of one group differ in size or alignment", fmt::format("group {}", a.group));
    }
  }

  void checkOperation(uint32_t index) {
    const isa::Command &command = graph_.operations[index];
    if (command.opcode == isa::Opcode::Barrier || command.waitCount != 0 || command.signal != isa::none)
      report(place(index), "an operation of a tile graph waits or signals",
             "synchronization is the scheduler's");
    if (graph_.cores[index] >= limits_.cores)
      report(place(index), "the core does not exist",
             fmt::format("core {} of {}", graph_.cores[index], limits_.cores));
    if (size_t(command.firstOperand) + command.operandCount > graph_.operands.size() ||
        size_t(command.firstInstruction) + command.instructionCount > graph_.instructions.size() ||
        size_t(command.firstMulticast) + command.multicastCount > graph_.multicast.size() ||
        (command.source >= graph_.sources.size() && command.source != 0))
      return report(place(index), "an index leaves its pool",
                    "operands, instructions, multicast cores or source");
    if (command.predicateRegister != isa::noRegister && !isRegister(command.predicateRegister))
      report(place(index), "the predicate's register does not exist",
             fmt::format("register {}", command.predicateRegister));
    bool sound = true;
    for (const isa::View &view : graph_.operandsOf(command))
      sound &= checkView(index, view);
    if (sound)
      checkReach(index);
  }

  bool isRegister(int16_t index) const { return index >= 0 && size_t(index) < graph_.registers.size(); }

  bool checkView(uint32_t index, const isa::View &view) {
    const unsigned before = errors_;
    if (view.rank > isa::maxRank || view.buffer >= graph_.buffers.size() ||
        graph_.buffers[view.buffer].space != view.space) {
      report(place(index), "an operand's buffer does not exist or is in another space",
             fmt::format("{} buffer {}", isa::name(view.space), view.buffer));
      return false;
    }
    if (view.boundRegister != isa::noRegister &&
        (!isRegister(view.boundRegister) || view.boundDim >= view.rank))
      report(place(index), "an operand's bound names no register or dimension",
             fmt::format("register {}", view.boundRegister));
    const auto range = isa::reach(view, graph_.registers);
    const int64_t bytes = graph_.buffers[view.buffer].bytes;
    if (!range)
      report(place(index), "an operand's reach is not defined",
             "its register does not exist or its strides overflow");
    else if (range->begin < 0 || range->end > bytes)
      report(place(index), fmt::format("an operand leaves its buffer {}", view.buffer),
             fmt::format("it reaches bytes {} to {} of {}", range->begin, range->end, bytes));
    return errors_ == before;
  }

  void checkReach(uint32_t index) {
    const isa::Command &command = graph_.operations[index];
    const uint32_t core = graph_.cores[index];
    std::vector<uint32_t> owners;
    for (const isa::View &view : graph_.operandsOf(command)) {
      const VirtualBuffer &b = graph_.buffers[view.buffer];
      owners.push_back(b.core);
      if (b.space == Space::Accumulator && (b.core != core || command.engine == isa::Engine::Dma))
        report(place(index), "an operand is in accumulators that the command does not reach",
               fmt::format("{} engine of core {}, accumulators of core {}", isa::name(command.engine), core,
                           b.core));
      if (b.space != Space::Accumulator && command.engine != isa::Engine::Dma &&
          (b.space != Space::Scratchpad || b.core != core))
        report(place(index), "an operand is in memory that the engine does not reach",
               fmt::format("{} engine of core {}, {} of core {}", isa::name(command.engine), core,
                           isa::name(b.space), b.core));
    }
    if (command.multicastCount > 0)
      checkMulticast(index);
    if (command.engine == isa::Engine::Dma && limits_.dmaClasses(graph_, command, core, owners) == 0)
      report(place(index), "no DMA class moves data this way",
             fmt::format("from the stream of core {}", core));
  }

  void checkMulticast(uint32_t index) {
    const isa::Command &command = graph_.operations[index];
    const VirtualBuffer &b = graph_.buffers[graph_.operandsOf(command).back().buffer];
    if (command.opcode != isa::Opcode::Copy || command.engine != isa::Engine::Dma || b.group == isa::none)
      return report(place(index), "a multicast is a DMA copy to a buffer of a group", "");
    for (uint16_t core : graph_.multicastOf(command))
      if (accesses_.member(b.group, core) == isa::none)
        report(place(index), "a multicast's group has no buffer on a core that it lists",
               fmt::format("group {}, core {}", b.group, core));
  }

  // A buffer that the program itself fills: a read needs an earlier write of some of its bytes.
  bool isFilledHere(uint32_t buffer) const {
    const VirtualBuffer &b = graph_.buffers[buffer];
    return b.space != Space::Dram || graph_.dram[b.dram].role == isa::Role::Workspace;
  }

  void checkWrittenBeforeRead() {
    std::vector<IntervalMap<Footprint>> written(graph_.buffers.size());
    for (uint32_t i = 0; i < graph_.operations.size(); ++i) {
      const isa::Command &command = graph_.operations[i];
      const auto operands = graph_.operandsOf(command);
      for (unsigned o = 0; o < operands.size(); ++o) {
        const Footprint bytes = footprint(operands[o], graph_.registers);
        if (!isFilledHere(operands[o].buffer) || bytes.empty() || !isa::access(graph_, command, o).reads)
          continue;
        bool found = false;
        written[operands[o].buffer].visitOverlaps(bytes.low, bytes.high, [&](const Footprint &write) {
          found |= overlap(write, bytes);
          return false;
        });
        if (!found)
          report(
              place(i),
              fmt::format("an operand reads bytes of buffer {} that nothing has written", operands[o].buffer),
              fmt::format("bytes {} to {}", bytes.low, bytes.high));
      }
      for (const BufferAccess &access : accesses_.of(i)) {
        if (!access.write || !isFilledHere(access.buffer))
          continue;
        auto &map = written[access.buffer];
        map.visitOverlaps(access.bytes.low, access.bytes.high,
                          [&](const Footprint &old) { return covers(access.bytes, old); });
        map.insert(access.bytes.low, access.bytes.high, access.bytes);
      }
    }
  }

  const TileGraph &graph_;
  const Limits &limits_;
  Diagnostics &diagnostics_;
  GraphAccesses accesses_{graph_};
  unsigned errors_ = 0;
};

} // namespace

bool verify(const TileGraph &graph, const Limits &limits, Diagnostics &diagnostics) {
  return GraphVerifier(graph, limits, diagnostics).run();
}

} // namespace npuc::schedule
