#include "compiler/quantize/Histogram.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace npuc::quantize {

double Histogram::width() const {
  return std::ldexp(1.0, exponent_);
}

int64_t Histogram::indexOf(float value) const {
  return static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(value), -exponent_)));
}

/// Doubles the width.
void Histogram::merge() {
  // The division is to the lower integer: bins 2j and 2j + 1 become bin j, on both sides of 0.
  int64_t first = first_ >> 1;
  std::vector<uint64_t> merged(bins, 0);
  for (int64_t i = 0; i < bins; ++i)
    merged[static_cast<size_t>(((first_ + i) >> 1) - first)] += counts_[static_cast<size_t>(i)];
  counts_ = std::move(merged);
  first_ = first;
  from_ >>= 1;
  to_ >>= 1;
  ++exponent_;
}

void Histogram::widen(float least, float greatest) {
  assert(std::isfinite(least) && std::isfinite(greatest) && least <= greatest);
  if (from_ > to_) {
    // Of values close together but far from 0, single floats have bins of their own.
    double span = std::max({static_cast<double>(greatest) - least,
                            std::max(std::abs(least), std::abs(greatest)) * 0x1p-12, 0x1p-120});
    exponent_ = std::ilogb(span) + 2 - std::ilogb(static_cast<double>(bins));
    from_ = indexOf(least);
    to_ = indexOf(greatest);
    first_ = from_ - (bins - (to_ - from_ + 1)) / 2;
    return;
  }
  // In floating point, since an index may be beyond every integer before bins are merged.
  auto fits = [&] {
    double low = std::floor(std::ldexp(static_cast<double>(least), -exponent_)),
           high = std::floor(std::ldexp(static_cast<double>(greatest), -exponent_));
    return std::max(high, static_cast<double>(to_)) - std::min(low, static_cast<double>(from_)) <
           static_cast<double>(bins);
  };
  while (!fits())
    merge();
  from_ = std::min(from_, indexOf(least));
  to_ = std::max(to_, indexOf(greatest));
  if (from_ >= first_ && to_ < first_ + bins)
    return;
  int64_t first = from_ - (bins - (to_ - from_ + 1)) / 2;
  std::vector<uint64_t> moved(bins, 0);
  for (int64_t i = 0; i < bins; ++i)
    if (uint64_t count = counts_[static_cast<size_t>(i)])
      moved[static_cast<size_t>(first_ + i - first)] = count;
  counts_ = std::move(moved);
  first_ = first;
}

void Histogram::add(std::span<const float> values) {
  // Exact: a power of two times a float. Quotients are of 24 bits at most (see widen), so they are an int's.
  double scale = std::ldexp(1.0, -exponent_);
  uint64_t *counts = counts_.data();
  for (float value : values) {
    double quotient = value * scale;
    auto below = static_cast<int32_t>(quotient);
    below -= below > quotient;
    assert(below >= first_ && below < first_ + bins);
    ++counts[below - first_];
  }
  total_ += values.size();
}

void Histogram::add(const Histogram &other) {
  assert(exponent_ == other.exponent_ && first_ == other.first_);
  for (size_t i = 0; i < counts_.size(); ++i)
    counts_[i] += other.counts_[i];
  total_ += other.total_;
}

Histogram Histogram::room() const {
  Histogram empty = *this;
  std::fill(empty.counts_.begin(), empty.counts_.end(), 0);
  empty.total_ = 0;
  return empty;
}

} // namespace npuc::quantize
