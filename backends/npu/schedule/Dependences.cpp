#include "backends/npu/schedule/Dependences.h"

#include "backends/npu/schedule/LiveAccesses.h"

#include <algorithm>

namespace npuc::schedule {
namespace {

uint64_t memberKey(uint32_t group, uint32_t core) {
  return uint64_t(group) << 32 | core;
}

// Accesses to buffers that nothing writes (constants, inputs) conflict with nothing.
std::vector<bool> writtenBuffers(const TileGraph &graph, GraphAccesses &accesses) {
  std::vector<bool> written(graph.buffers.size());
  for (uint32_t i = 0; i < graph.operations.size(); ++i)
    for (const BufferAccess &access : accesses.of(i))
      if (access.write)
        written[access.buffer] = true;
  return written;
}

} // namespace

GraphAccesses::GraphAccesses(const TileGraph &graph) : graph_(graph) {
  for (uint32_t b = 0; b < graph.buffers.size(); ++b)
    if (graph.buffers[b].group != isa::none)
      members_.emplace_back(memberKey(graph.buffers[b].group, graph.buffers[b].core), b);
  std::sort(members_.begin(), members_.end());
}

uint32_t GraphAccesses::member(uint32_t group, uint32_t core) const {
  const uint64_t key = memberKey(group, core);
  auto it = std::lower_bound(members_.begin(), members_.end(), std::pair(key, 0u));
  return it != members_.end() && it->first == key ? it->second : isa::none;
}

std::span<const BufferAccess> GraphAccesses::of(uint32_t operation) {
  accesses_.clear();
  const isa::Command &command = graph_.operations[operation];
  const auto operands = graph_.operandsOf(command);
  for (unsigned i = 0; i < operands.size(); ++i) {
    const isa::Access access = isa::access(graph_, command, i);
    if (!access.reads && !access.writes)
      continue;
    BufferAccess result{operands[i].buffer, footprint(operands[i], graph_.registers), access.writes};
    if (!access.writes || command.multicastCount == 0) {
      accesses_.push_back(result);
      continue;
    }
    const uint32_t group = graph_.buffers[operands[i].buffer].group;
    for (uint16_t core : graph_.multicastOf(command)) {
      result.buffer = member(group, core);
      accesses_.push_back(result);
    }
  }
  return accesses_;
}

Dependences::Dependences(const TileGraph &graph) {
  GraphAccesses accesses(graph);
  const std::vector<bool> written = writtenBuffers(graph, accesses);
  std::vector<LiveAccesses> live(graph.buffers.size());
  std::vector<uint32_t> found;
  first_.reserve(graph.operations.size() + 1);
  for (uint32_t i = 0; i < graph.operations.size(); ++i) {
    found.clear();
    const auto list = accesses.of(i);
    for (const BufferAccess &access : list)
      if (written[access.buffer])
        live[access.buffer].visitConflicts(access.bytes, access.write,
                                           [&](uint32_t other) { found.push_back(other); });
    for (const BufferAccess &access : list)
      if (written[access.buffer])
        live[access.buffer].add({access.bytes, i}, access.write);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    edges_.insert(edges_.end(), found.begin(), found.end());
    first_.push_back(edges_.size());
  }
}

} // namespace npuc::schedule
