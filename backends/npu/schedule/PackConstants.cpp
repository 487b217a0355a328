#include "backends/npu/schedule/PackConstants.h"

#include <algorithm>
#include <cstring>

namespace npuc::schedule {
namespace {

/// Part of a constant that copies read.
struct Part {
  isa::View view;
  std::vector<uint32_t> operands; ///< Indices in the graph's pool of operands.
};

int64_t elementBytes(const isa::View &view) {
  return bitWidth(view.type) / 8;
}

/// Calls `run(offset, bytes)` for each run of bytes that lies together, in the view's order.
template <typename Run>
void forEachRun(const isa::View &view, Run run) {
  unsigned outer = view.rank;
  int64_t bytes = elementBytes(view);
  while (outer > 0 && view.dims[outer - 1].stride * elementBytes(view) == bytes)
    bytes *= view.dims[--outer].size;
  std::array<int64_t, isa::maxRank> at{};
  for (int64_t offset = view.base;;) {
    run(offset, bytes);
    unsigned d = outer;
    for (; d-- > 0;) {
      const int64_t step = view.dims[d].stride * elementBytes(view);
      offset += step;
      if (++at[d] < view.dims[d].size)
        break;
      offset -= step * view.dims[d].size;
      at[d] = 0;
    }
    if (d + 1 == 0)
      return;
  }
}

bool canBePacked(const isa::View &view) {
  return bitWidth(view.type) >= 8 && view.baseRegister == isa::noRegister &&
         view.boundRegister == isa::noRegister && view.elements() > 0 &&
         std::ranges::all_of(view.shape(), [](const isa::Dim &d) { return d.size == 1 || d.stride > 0; });
}

bool overlap(const std::vector<Part> &parts) {
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (const Part &part : parts)
    forEachRun(part.view, [&](int64_t offset, int64_t bytes) { runs.emplace_back(offset, offset + bytes); });
  std::ranges::sort(runs);
  return std::ranges::adjacent_find(runs, [](auto &a, auto &b) { return b.first < a.second; }) != runs.end();
}

void makeDense(isa::View &view, int64_t base) {
  view.base = base;
  int64_t stride = 1;
  for (unsigned d = view.rank; d-- > 0; stride *= view.dims[d].size)
    view.dims[d].stride = stride;
}

} // namespace

Packings packConstants(TileGraph &graph) {
  Packings packings(graph.dram.size());
  std::vector<std::vector<Part>> parts(graph.dram.size());
  std::vector<bool> fixed(graph.dram.size());
  for (const isa::Command &command : graph.operations)
    for (uint32_t o = 0; o < command.operandCount; ++o) {
      const isa::View &view = graph.operands[command.firstOperand + o];
      const VirtualBuffer &buffer = graph.buffers[view.buffer];
      if (view.space != isa::Space::Dram || graph.dram[buffer.dram].role != isa::Role::Constant)
        continue;
      std::vector<Part> &known = parts[buffer.dram];
      if (command.opcode != isa::Opcode::Copy || !canBePacked(view)) {
        fixed[buffer.dram] = true;
        continue;
      }
      auto same = std::ranges::find_if(known, [&](const Part &part) { return part.view == view; });
      if (same == known.end())
        same = known.insert(same, {view, {}});
      same->operands.push_back(command.firstOperand + o);
    }
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool isDense = std::ranges::all_of(
        parts[i], [](const Part &part) { return part.view.rank == 0 || part.view.isDense(); });
    if (fixed[i] || isDense || overlap(parts[i]))
      continue;
    int64_t base = 0;
    for (Part &part : parts[i]) {
      packings[i].push_back(part.view);
      for (uint32_t operand : part.operands)
        makeDense(graph.operands[operand], base);
      base += part.view.elements() * elementBytes(part.view);
    }
  }
  return packings;
}

std::vector<std::byte> packed(std::span<const std::byte> bytes, std::span<const isa::View> views) {
  std::vector<std::byte> result(bytes.size());
  std::byte *to = result.data();
  for (const isa::View &view : views)
    forEachRun(view, [&](int64_t offset, int64_t length) {
      std::memcpy(to, bytes.data() + offset, static_cast<size_t>(length));
      to += length;
    });
  return result;
}

} // namespace npuc::schedule
