#include "runtime/npu_sim/Memory.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace npuc::npu_sim {
namespace {

/// Bits first…last of a word, both included.
uint64_t wordMask(int64_t first, int64_t last) {
  return (~uint64_t{0} >> (63 - (last - first))) << first;
}

struct RunLoop {
  int64_t count, step; ///< In half bytes.
};

/// A run of `length` half bytes at `start`, repeated over `loops`.
struct Runs {
  int64_t start = 0, length = 0;
  std::array<RunLoop, isa::maxRank> loops{}; // In order of their steps.
  int rank = 0;
};

/// Dimensions in order of their strides, those that continue a run merged into it.
Runs runsOf(const Operand &operand) {
  int64_t width = bitWidth(operand.type) / 4;
  Runs runs{operand.base * 2, width, {}, 0};
  std::array<RunLoop, isa::maxRank> loops{}; // In order of their steps.
  int rank = 0;
  for (int d = 0; d < operand.rank; ++d) {
    int64_t count = operand.size[d], step = operand.stride[d] * width;
    if (count == 1 || step == 0)
      continue;
    if (step < 0) {
      runs.start += (count - 1) * step;
      step = -step;
    }
    int at = rank++;
    for (; at > 0 && loops[at - 1].step > step; --at)
      loops[at] = loops[at - 1];
    loops[at] = {count, step};
  }
  for (int d = 0; d < rank; ++d) {
    if (runs.rank == 0 && loops[d].step <= runs.length)
      runs.length += (loops[d].count - 1) * loops[d].step;
    else
      runs.loops[runs.rank++] = loops[d];
  }
  return runs;
}

/// The operand's bytes as runs, each once unless the view overlaps itself, in no particular order: calls
/// f(offset, count) with offsets in the memory.
template <class F>
void forEachRun(const Operand &operand, F f) {
  if (operand.empty())
    return;
  Runs runs = runsOf(operand);
  std::array<int64_t, isa::maxRank> index{};
  int64_t start = runs.start;
  for (;;) {
    f(start >> 1, ((start + runs.length + 1) >> 1) - (start >> 1));
    int d = 0;
    for (; d < runs.rank; ++d) {
      start += runs.loops[d].step;
      if (++index[d] < runs.loops[d].count)
        break;
      start -= runs.loops[d].count * runs.loops[d].step;
      index[d] = 0;
    }
    if (d == runs.rank)
      return;
  }
}

} // namespace

void Memory::markWritten(int64_t offset, int64_t count) {
  if (count <= 0)
    return;
  int64_t first = offset >> 6, last = (offset + count - 1) >> 6;
  int64_t low = offset & 63, high = (offset + count - 1) & 63;
  if (first == last) {
    written[first] |= wordMask(low, high);
    return;
  }
  written[first] |= wordMask(low, 63);
  std::fill(written.begin() + first + 1, written.begin() + last, ~uint64_t{0});
  written[last] |= wordMask(0, high);
}

int64_t Memory::firstUnwritten(int64_t offset, int64_t count) const {
  if (count <= 0)
    return -1;
  int64_t first = offset >> 6, last = (offset + count - 1) >> 6;
  for (int64_t word = first; word <= last; ++word) {
    uint64_t mask = wordMask(word == first ? offset & 63 : 0, word == last ? (offset + count - 1) & 63 : 63);
    if (uint64_t missing = mask & ~written[word])
      return (word << 6) + std::countr_zero(missing);
  }
  return -1;
}

bool Operand::empty() const {
  return std::any_of(size.begin(), size.begin() + rank, [](int64_t s) { return s == 0; });
}

isa::ByteRange Operand::hull() const {
  if (empty())
    return {base, base};
  int64_t low = 0, high = 0;
  for (int d = 0; d < rank; ++d)
    (stride[d] < 0 ? low : high) += (size[d] - 1) * stride[d];
  int64_t bits = bitWidth(type);
  return {base + (low * bits >> 3), base + ((high + 1) * bits + 7) / 8};
}

void checkWritten(const Operand &operand, unsigned index) {
  if (!operand.memory->checked())
    return;
  forEachRun(operand, [&](int64_t offset, int64_t count) {
    int64_t missing = operand.memory->firstUnwritten(offset, count);
    if (missing >= 0)
      throw Failure{fmt::format("operand {} reads what was never written", index),
                    fmt::format("byte {:#x} of {} holds nothing yet", missing, operand.memory->name),
                    "the program lacks a command, or a semaphore edge, that puts data there first"};
  });
}

void markWritten(const Operand &operand) {
  if (!operand.memory->checked())
    return;
  forEachRun(operand, [&](int64_t offset, int64_t count) { operand.memory->markWritten(offset, count); });
}

} // namespace npuc::npu_sim
