#include "backends/npu/schedule/Memory.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>

namespace npuc::schedule {
namespace {

int64_t roundUp(int64_t value, int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}
int64_t roundDown(int64_t value, int64_t alignment) {
  return value / alignment * alignment;
}

// The hole around `address` that all memories share; empty if one has something there.
std::pair<int64_t, int64_t> commonHole(std::span<const FreeRanges *const> memories, int64_t address) {
  int64_t low = 0, high = std::numeric_limits<int64_t>::max();
  for (const FreeRanges *memory : memories) {
    auto it = memory->ranges().upper_bound(address);
    if (it == memory->ranges().begin() || std::prev(it)->second <= address)
      return {0, 0};
    --it;
    low = std::max(low, it->first);
    high = std::min(high, it->second);
  }
  return {low, high};
}

} // namespace

bool FreeRanges::isFree(int64_t address, int64_t bytes) const {
  auto it = free_.upper_bound(address);
  return it != free_.begin() && std::prev(it)->second >= address + bytes;
}

void FreeRanges::take(int64_t address, int64_t bytes) {
  assert(isFree(address, bytes));
  auto it = std::prev(free_.upper_bound(address));
  const int64_t low = it->first, high = it->second;
  free_.erase(it);
  if (low < address)
    free_[low] = address;
  if (address + bytes < high)
    free_[address + bytes] = high;
}

void FreeRanges::give(int64_t address, int64_t bytes) {
  int64_t low = address, high = address + bytes;
  auto next = free_.lower_bound(address);
  if (next != free_.end() && next->first == high) {
    high = next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin() && std::prev(next)->second == low) {
    --next;
    low = next->first;
    free_.erase(next);
  }
  free_[low] = high;
}

std::optional<int64_t> bestFit(std::span<const FreeRanges *const> memories, int64_t bytes, int64_t alignment,
                               bool atEnd) {
  // Every common hole begins where a hole of some memory begins.
  std::optional<int64_t> best;
  int64_t bestSize = std::numeric_limits<int64_t>::max();
  for (const FreeRanges *memory : memories)
    for (auto [start, end] : memory->ranges()) {
      const auto [low, high] = memories.size() == 1 ? std::pair(start, end) : commonHole(memories, start);
      const int64_t address = atEnd ? roundDown(high - bytes, alignment) : roundUp(low, alignment);
      const bool fits = high - low >= bytes && address >= low && address + bytes <= high;
      if (fits && (high - low < bestSize || (high - low == bestSize && address < *best))) {
        best = address;
        bestSize = high - low;
      }
    }
  return best;
}

RangeMaximum::RangeMaximum(std::span<const int64_t> values)
    : leaves_(std::bit_ceil(std::max<size_t>(values.size(), 1))), most_(2 * leaves_), pending_(2 * leaves_) {
  std::copy(values.begin(), values.end(), most_.begin() + leaves_);
  for (size_t node = leaves_; node-- > 1;)
    most_[node] = std::max(most_[2 * node], most_[2 * node + 1]);
}

void RangeMaximum::add(size_t first, size_t end, int64_t amount) {
  if (first < end)
    add(1, 0, leaves_, first, end, amount);
}

void RangeMaximum::add(size_t node, size_t from, size_t to, size_t first, size_t end, int64_t amount) {
  if (end <= from || to <= first)
    return;
  if (first <= from && to <= end) {
    most_[node] += amount;
    pending_[node] += amount;
    return;
  }
  const size_t middle = (from + to) / 2;
  add(2 * node, from, middle, first, end, amount);
  add(2 * node + 1, middle, to, first, end, amount);
  most_[node] = std::max(most_[2 * node], most_[2 * node + 1]) + pending_[node];
}

int64_t RangeMaximum::greatest(size_t first, size_t end) const {
  return greatest(1, 0, leaves_, first, end);
}

int64_t RangeMaximum::greatest(size_t node, size_t from, size_t to, size_t first, size_t end) const {
  if (end <= from || to <= first)
    return std::numeric_limits<int64_t>::min() / 2;
  if (first <= from && to <= end)
    return most_[node];
  const size_t middle = (from + to) / 2;
  return std::max(greatest(2 * node, from, middle, first, end),
                  greatest(2 * node + 1, middle, to, first, end)) +
         pending_[node];
}

bool Reservation::admits(size_t k, int64_t bytes) const {
  return k <= oldest_ || (need_.greatest(oldest_, k) + bytes <= capacity_ && ahead_ + bytes <= mostAhead_);
}

void Reservation::advance() {
  for (; oldest_ < bytes_.size() && bytes_[oldest_] != unplaced; ++oldest_)
    if (bytes_[oldest_] != released)
      ahead_ -= bytes_[oldest_];
}

void Reservation::place(size_t k, int64_t bytes) {
  bytes_[k] = bytes;
  ahead_ += bytes;
  need_.add(oldest_, k, bytes);
  advance();
}

void Reservation::release(size_t k) {
  if (k > oldest_) {
    ahead_ -= bytes_[k];
    need_.add(oldest_, k, -bytes_[k]);
  }
  bytes_[k] = released;
}

void Reservation::undo(size_t k) {
  if (k < oldest_) { // it was the oldest, and those behind it that were placed are ahead again
    for (size_t i = k + 1; i < oldest_; ++i)
      ahead_ += std::max<int64_t>(bytes_[i], 0);
    oldest_ = k;
  } else {
    ahead_ -= bytes_[k];
    need_.add(oldest_, k, -bytes_[k]);
  }
  bytes_[k] = unplaced;
}

} // namespace npuc::schedule
