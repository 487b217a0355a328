#include "backends/npu/schedule/Dependences.h"

#include "backends/npu/schedule/LiveAccesses.h"

#include <algorithm>

namespace npuc::schedule {
namespace {

uint64_t memberKey(uint32_t group, uint32_t core) {
  return uint64_t(group) << 32 | core;
}

// Accesses to buffers that nothing writes (constants, inputs) conflict with nothing.
std::vector<bool> writtenBuffers(const TileGraph &graph, const GraphAccesses &accesses) {
  std::vector<bool> written(graph.buffers.size());
  for (uint32_t i = 0; i < graph.operations.size(); ++i)
    accesses.visit(i, [&](uint32_t buffer, const isa::View &, bool write) {
      if (write)
        written[buffer] = true;
    });
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
  visit(operation, [&](uint32_t buffer, const isa::View &view, bool write) {
    accesses_.push_back({buffer, footprint(view, graph_.registers), write});
  });
  return accesses_;
}

Dependences::Dependences(const TileGraph &graph) {
  const GraphAccesses accesses(graph);
  const std::vector<bool> written = writtenBuffers(graph, accesses);
  std::vector<LiveAccesses> live(graph.buffers.size());
  std::vector<uint32_t> found;
  std::vector<BufferAccess> list;
  first_.reserve(graph.operations.size() + 1);
  for (uint32_t i = 0; i < graph.operations.size(); ++i) {
    found.clear();
    list.clear();
    accesses.visit(i, [&](uint32_t buffer, const isa::View &view, bool write) {
      if (written[buffer])
        list.push_back({buffer, footprint(view, graph.registers), write});
    });
    for (const BufferAccess &access : list)
      live[access.buffer].visitConflicts(access.bytes, access.write,
                                         [&](uint32_t other) { found.push_back(other); });
    for (const BufferAccess &access : list)
      live[access.buffer].add({access.bytes, i}, access.write);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    edges_.insert(edges_.end(), found.begin(), found.end());
    first_.push_back(edges_.size());
  }
}

} // namespace npuc::schedule
