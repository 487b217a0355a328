// Which operations of a tile graph must come before which: found from the bytes that they read and write.
#pragma once

#include "backends/npu/schedule/Footprint.h"
#include "backends/npu/schedule/TileGraph.h"

namespace npuc::schedule {

/// One access of an operation of a tile graph.
struct BufferAccess {
  uint32_t buffer = 0;
  Footprint bytes;
  bool write = false; ///< What is read and written counts as written.
};

/// The accesses of operation `operation`; a multicast writes one buffer of the group on each core.
class GraphAccesses {
public:
  explicit GraphAccesses(const TileGraph &graph);
  /// Valid until the next call.
  std::span<const BufferAccess> of(uint32_t operation);
  /// Calls visit(buffer, view, write) for each of them: what `of` says without the cost of footprints.
  template <typename Visit>
  void visit(uint32_t operation, Visit visit) const {
    const isa::Command &command = graph_.operations[operation];
    const auto operands = graph_.operandsOf(command);
    for (unsigned i = 0; i < operands.size(); ++i) {
      const isa::Access access = isa::access(graph_, command, i);
      if (access.writes && command.multicastCount > 0)
        for (uint16_t core : graph_.multicastOf(command))
          visit(member(graph_.buffers[operands[i].buffer].group, core), operands[i], true);
      else if (access.reads || access.writes)
        visit(operands[i].buffer, operands[i], access.writes);
    }
  }
  /// The group's buffer on `core`, isa::none if it has none there.
  uint32_t member(uint32_t group, uint32_t core) const;

private:
  const TileGraph &graph_;
  std::vector<std::pair<uint64_t, uint32_t>> members_; // (group, core) → buffer, sorted
  std::vector<BufferAccess> accesses_;
};

/// predecessors(i): the operations that operation i comes after, ascending, each less than i: writers of what
/// it reads, readers and writers of what it writes. Those that follow from others by way of a write that
/// covers the same bytes are left out.
class Dependences {
public:
  explicit Dependences(const TileGraph &graph);

  std::span<const uint32_t> predecessors(uint32_t operation) const {
    return {edges_.data() + first_[operation], first_[operation + 1] - first_[operation]};
  }
  size_t edges() const { return edges_.size(); }
  size_t operations() const { return first_.size() - 1; }

private:
  std::vector<size_t> first_{0};
  std::vector<uint32_t> edges_;
};

} // namespace npuc::schedule
