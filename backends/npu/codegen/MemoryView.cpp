#include "backends/npu/codegen/MemoryView.h"

#include <algorithm>
#include <cassert>
#include <numeric>

using namespace npuc;
using namespace npuc::codegen;

int64_t MemoryView::elements() const {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

int64_t MemoryView::last() const {
  int64_t position = offset;
  for (auto [size, stride] : llvm::zip_equal(sizes, strides))
    position += (size - 1) * stride;
  return position;
}

bool MemoryView::isWhole() const {
  return offset == 0 && elements() == memory->elements && strides == denseStrides(sizes);
}

llvm::SmallVector<int64_t, 4> npuc::codegen::denseStrides(llvm::ArrayRef<int64_t> sizes) {
  llvm::SmallVector<int64_t, 4> strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;)
    strides[i - 1] = strides[i] * sizes[i];
  return strides;
}

namespace {

bool insideOneShard(const MemoryView &r) {
  return r.offset / r.memory->chunk == r.last() / r.memory->chunk;
}

/// The dimension along which `r` leaves its first shard soonest, and where: the one of greatest stride and
/// size above 1.
std::pair<size_t, int64_t> cut(const MemoryView &r) {
  size_t dimension = r.sizes.size();
  for (size_t i = 0; i < r.sizes.size(); ++i)
    if (r.sizes[i] > 1 && r.strides[i] > 0 &&
        (dimension == r.sizes.size() || r.strides[i] > r.strides[dimension]))
      dimension = i;
  assert(dimension < r.sizes.size() && "a region of one element lies in one shard");
  // Keep whole what the dimension's own steps span; what crosses inside one step is cut along another
  // dimension later.
  int64_t room = r.memory->chunk - r.offset % r.memory->chunk;
  int64_t steps = (room + r.strides[dimension] - 1) / r.strides[dimension];
  return {dimension, std::clamp<int64_t>(steps, 1, r.sizes[dimension] - 1)};
}

MemoryView part(const MemoryView &r, size_t dimension, int64_t from, int64_t size) {
  MemoryView result = r;
  result.offset += from * r.strides[dimension];
  result.sizes[dimension] = size;
  return result;
}

} // namespace

void npuc::codegen::forEachPiece(const MemoryView &a, const MemoryView &b,
                                 llvm::function_ref<void(const MemoryView &, const MemoryView &)> piece) {
  const MemoryView *crossing = !insideOneShard(a) ? &a : !insideOneShard(b) ? &b : nullptr;
  if (!crossing)
    return piece(a, b);
  auto [dimension, at] = cut(*crossing);
  int64_t rest = a.sizes[dimension] - at;
  forEachPiece(part(a, dimension, 0, at), part(b, dimension, 0, at), piece);
  forEachPiece(part(a, dimension, at, rest), part(b, dimension, at, rest), piece);
}

isa::View npuc::codegen::viewOf(const MemoryView &region) {
  assert(insideOneShard(region));
  const Memory &memory = *region.memory;
  int64_t shard = region.offset / memory.chunk;
  isa::View view;
  view.space = memory.space;
  view.type = memory.type;
  view.buffer = memory.buffers[shard];
  view.base = (region.offset - shard * memory.chunk) * bitWidth(memory.type) / 8;
  assert(region.sizes.size() <= isa::maxRank);
  view.rank = region.sizes.size();
  for (size_t i = 0; i < region.sizes.size(); ++i)
    view.dims[i] = {static_cast<int32_t>(region.sizes[i]), region.strides[i]};
  return view;
}

llvm::SmallVector<int, 8> npuc::codegen::coalesce(LoopNest &nest, llvm::ArrayRef<bool> fixed) {
  LoopNest result;
  result.strides.resize(nest.strides.size());
  llvm::SmallVector<int, 8> numbers(nest.sizes.size(), -1);
  bool previousFixed = true;
  for (size_t loop = 0; loop < nest.sizes.size(); ++loop) {
    int64_t size = nest.sizes[loop];
    if (size == 1)
      continue;
    bool isFixed = !fixed.empty() && fixed[loop];
    bool merge = !previousFixed && !isFixed;
    for (auto [old, merged] : llvm::zip_equal(nest.strides, result.strides))
      merge = merge && merged.back() == size * old[loop];
    if (merge) {
      result.sizes.back() *= size;
    } else {
      result.sizes.push_back(size);
      for (auto &strides : result.strides)
        strides.push_back(0);
    }
    for (auto [old, merged] : llvm::zip_equal(nest.strides, result.strides))
      merged.back() = old[loop];
    numbers[loop] = result.sizes.size() - 1;
    previousFixed = isFixed;
  }
  nest = std::move(result);
  return numbers;
}

std::optional<MemoryView> npuc::codegen::reshaped(const MemoryView &region, llvm::ArrayRef<int64_t> sizes) {
  MemoryView result = region;
  result.sizes.assign(sizes.begin(), sizes.end());
  result.strides.assign(sizes.size(), 1);
  if (region.elements() == 0)
    return result;
  // The old dimensions as runs: as few dimensions as say the same, from the innermost on.
  struct Run {
    int64_t size, stride;
  };
  llvm::SmallVector<Run> runs;
  for (size_t i = region.sizes.size(); i-- > 0;) {
    if (region.sizes[i] == 1)
      continue;
    if (!runs.empty() && region.strides[i] == runs.back().size * runs.back().stride)
      runs.back().size *= region.sizes[i];
    else
      runs.push_back({region.sizes[i], region.strides[i]});
  }
  // Each new dimension must be a part of one run.
  size_t at = 0;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] == 1)
      continue;
    if (at == runs.size() || runs[at].size % sizes[i] != 0)
      return std::nullopt;
    result.strides[i] = runs[at].stride;
    runs[at].stride *= sizes[i];
    runs[at].size /= sizes[i];
    at += runs[at].size == 1;
  }
  return result;
}
