#include "backends/npu/codegen/SentRegions.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"

#include <utility>

using namespace npuc;
using namespace npuc::codegen;

namespace {

/// A part of a region: from `begin` to `end` along one of its dimensions.
struct Part {
  size_t dimension;
  int64_t begin, end;
  bool isLast; ///< Of what its core sent.
};

/// `part` as one of `whole`, if it differs in one dimension alone.
std::optional<Part> partOf(const MemoryView &whole, const MemoryView &part, bool isLast) {
  if (part.memory != whole.memory || part.strides != whole.strides)
    return std::nullopt;
  std::optional<size_t> cut;
  for (size_t d = 0; d < whole.sizes.size(); ++d) {
    if (part.sizes[d] == whole.sizes[d])
      continue;
    if (cut)
      return std::nullopt;
    cut = d;
  }
  if (!cut || whole.strides[*cut] == 0)
    return std::nullopt;
  const int64_t stride = whole.strides[*cut], distance = part.offset - whole.offset,
                begin = distance / stride, end = begin + part.sizes[*cut];
  if (distance < 0 || distance % stride != 0 || end > whole.sizes[*cut])
    return std::nullopt;
  return Part{*cut, begin, end, isLast};
}

/// Neighbours that are both last, or both not, as one; nothing if they are not all of `extent`.
std::vector<Part> merged(std::vector<Part> parts, int64_t extent) {
  llvm::sort(parts, [](const Part &a, const Part &b) { return a.begin < b.begin; });
  std::vector<Part> result;
  int64_t end = 0;
  for (const Part &part : parts) {
    if (part.begin != end || part.dimension != parts.front().dimension)
      return {};
    end = part.end;
    if (!result.empty() && result.back().isLast == part.isLast)
      result.back().end = end;
    else
      result.push_back(part);
  }
  if (end != extent)
    return {};
  return result;
}

MemoryView slice(MemoryView view, const Part &part) {
  view.offset += part.begin * view.strides[part.dimension];
  view.sizes[part.dimension] = part.end - part.begin;
  return view;
}

} // namespace

bool codegen::isReachedByAll(const MemoryView &region) {
  return region.memory->space == isa::Space::Shared || region.memory->space == isa::Space::Dram;
}

void SentRegions::beginLoop() {
  before_ = std::exchange(now_, {});
}

void SentRegions::add(uint32_t core, const MemoryView &from, const MemoryView &to) {
  llvm::erase_if(now_, [&](const Sent &sent) { return sent.to == to; });
  now_.push_back({core, from, to});
}

void SentRegions::written(const Memory *memory) {
  llvm::erase_if(now_, [&](const Sent &sent) { return sent.from.memory == memory; });
  llvm::erase_if(before_,
                 [&](const Sent &sent) { return sent.from.memory == memory || sent.to.memory == memory; });
}

const MemoryView *SentRegions::kept(uint32_t core, const MemoryView &to) const {
  auto found = llvm::find_if(before_, [&](const Sent &sent) { return sent.core == core && sent.to == to; });
  return found == before_.end() ? nullptr : &found->from;
}

void SentRegions::forEachArrival(
    const MemoryView &source, const MemoryView &target,
    llvm::function_ref<void(const MemoryView &, const MemoryView &)> part) const {
  std::vector<Part> parts;
  llvm::SmallDenseSet<uint32_t> seen;
  for (const Sent &sent : llvm::reverse(before_)) {
    const bool isLast = seen.insert(sent.core).second;
    if (std::optional<Part> found = partOf(source, sent.to, isLast))
      parts.push_back(*found);
  }
  if (!parts.empty())
    parts = merged(parts, source.sizes[parts.front().dimension]);
  if (parts.size() < 2)
    return part(source, target);
  for (bool isLast : {false, true})
    for (const Part &one : parts)
      if (one.isLast == isLast)
        part(slice(source, one), slice(target, one));
}
