// Counts of a tensor's values in equal bins, whose range grows with what is counted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace npuc::quantize {

/// Bin i counts the values of [(first + i) · width, (first + i + 1) · width). The width is a power of two and
/// edges are its multiples, so that doubling it merges bins exactly: in whatever order values come, and on
/// however many threads, the counts are those of the final bins.
class Histogram {
public:
  static constexpr int64_t bins = 4096;

  /// Makes room for values of [least, greatest], both finite. The range takes at least a quarter of the bins,
  /// and half of them where it has grown, unless it is narrower than 2^-12 of its numbers.
  void widen(float least, float greatest);
  /// Counts values, which lie in ranges that room was made for.
  void add(std::span<const float> values);
  /// Adds the counts of another whose room was copied from this one.
  void add(const Histogram &other);
  /// The same bins, with nothing counted.
  Histogram room() const;

  uint64_t total() const { return total_; }
  double width() const;
  const std::vector<uint64_t> &counts() const { return counts_; }
  /// Where bin `i` starts.
  double edge(int64_t i) const { return static_cast<double>(first_ + i) * width(); }

private:
  int64_t indexOf(float value) const;
  void merge();

  int exponent_ = 0;
  int64_t first_ = 0;
  uint64_t total_ = 0;
  /// The bins that room was made for, in units of the width; from > to: none.
  int64_t from_ = 0, to_ = -1;
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(bins, 0);
};

} // namespace npuc::quantize
