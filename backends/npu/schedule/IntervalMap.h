// Intervals with a value each, searched for those that overlap another in time that hardly depends on how
// many there are.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace npuc::schedule {

/// Intervals [low, high) sorted by the power of two that holds their length, then by `low`; the first few in
/// a plain list.
template <typename Value>
class IntervalMap {
public:
  /// Empty intervals overlap nothing and are not kept.
  void insert(int64_t low, int64_t high, Value value) {
    if (low >= high)
      return;
    if (levels_)
      return insertLevel(low, {high, std::move(value)});
    few_.emplace_back(low, Entry{high, std::move(value)});
    if (few_.size() <= fewest)
      return;
    levels_ = std::make_unique<Levels>();
    for (auto &[start, entry] : few_)
      insertLevel(start, std::move(entry));
    few_ = {};
  }

  /// Calls visit(value) for each interval that overlaps [low, high), and removes those for which it returns
  /// true.
  template <typename Visit>
  void visitOverlaps(int64_t low, int64_t high, Visit visit) {
    if (low >= high)
      return;
    for (size_t i = 0; i < few_.size();) {
      auto &[start, entry] = few_[i];
      if (start < high && entry.high > low && visit(entry.value)) {
        few_[i] = std::move(few_.back());
        few_.pop_back();
      } else {
        ++i;
      }
    }
    for (uint64_t left = levels_ ? levels_->used : 0; left != 0; left &= left - 1)
      visitLevel(std::countr_zero(left), low, high, visit);
  }

private:
  static constexpr size_t fewest = 16; // up to here a plain list is faster
  struct Entry {
    int64_t high;
    Value value;
  };
  using Level = std::multimap<int64_t, Entry>;
  struct Levels {
    std::array<Level, 64> level; // level k: intervals of at most 2^k
    uint64_t used = 0;
  };

  template <typename Visit>
  void visitLevel(int k, int64_t low, int64_t high, Visit &visit) {
    Level &level = levels_->level[k];
    auto it = level.upper_bound(low - (int64_t(1) << k));
    while (it != level.end() && it->first < high)
      it = it->second.high > low && visit(it->second.value) ? level.erase(it) : std::next(it);
    if (level.empty())
      levels_->used &= ~(uint64_t(1) << k);
  }

  void insertLevel(int64_t low, Entry entry) {
    const int k = std::bit_width(static_cast<uint64_t>(entry.high - low - 1));
    levels_->level[k].emplace(low, std::move(entry));
    levels_->used |= uint64_t(1) << k;
  }

  std::vector<std::pair<int64_t, Entry>> few_;
  std::unique_ptr<Levels> levels_;
};

} // namespace npuc::schedule
