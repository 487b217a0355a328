// One on-chip memory while a schedule is made: how many bytes are free, and how many must stay so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace npuc::schedule {

/// Values at positions 0 … size−1; adding to a range and the greatest of a range in logarithmic time.
class RangeMaximum {
public:
  explicit RangeMaximum(std::span<const int64_t> values);
  void add(size_t first, size_t end, int64_t amount);
  int64_t greatest(size_t first, size_t end) const; ///< Of at least one.

private:
  void add(size_t node, size_t from, size_t to, size_t first, size_t end, int64_t amount);
  int64_t greatest(size_t node, size_t from, size_t to, size_t first, size_t end) const;

  size_t leaves_ = 1;
  std::vector<int64_t> most_,
      pending_; // most_ of a node: of its children, plus what is pending for all of them
};

/// Keeps room in a memory for the buffers that come first in sequential order. Buffers are numbered by their
/// first operation. One may be placed ahead of others only if each of those still fits in its turn; so the
/// oldest buffer always has its bytes once the operations before it are done.
class Reservation {
public:
  /// need[k]: bytes alive in sequential order when buffer k starts, itself included; none is more than
  /// `capacity`. At most `mostAhead` bytes are placed ahead of their turn.
  Reservation(std::span<const int64_t> need, int64_t capacity, int64_t mostAhead)
      : need_(need), bytes_(need.size()), capacity_(capacity), mostAhead_(mostAhead) {}

  bool admits(size_t k, int64_t bytes) const;
  void place(size_t k, int64_t bytes); ///< admits(k, bytes).
  void release(size_t k);              ///< After its last use.
  void undo(size_t k);                 ///< As if it had not been placed: the latest place().

private:
  static constexpr int64_t unplaced = 0, released = -1;
  void advance();

  RangeMaximum need_;
  std::vector<int64_t> bytes_; // of each buffer that is placed, or unplaced, or released
  size_t oldest_ = 0;          // the first that is unplaced
  int64_t capacity_, mostAhead_, ahead_ = 0;
};

} // namespace npuc::schedule
