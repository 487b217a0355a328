#include "backends/npu/schedule/Memory.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace npuc::schedule {

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
