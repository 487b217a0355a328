// Which bytes a view reaches, and whether two views share any.
#pragma once

#include "backends/npu/isa/Program.h"

namespace npuc::schedule {

/// The bytes low + Σ i_d · stride_d + [0, run), 0 ≤ i_d < size_d: a set that holds every byte that a view
/// reaches for any value of its registers. It is exact but for views of more than maxRank separate strides,
/// whose innermost gaps it fills.
struct Footprint {
  static constexpr unsigned maxRank = 4;
  struct Dim {
    int64_t stride = 0, size = 0;
    friend bool operator==(const Dim &, const Dim &) = default;
  };
  int64_t low = 0, high = 0; ///< The least interval [low, high) around it.
  int64_t run = 0;
  uint8_t rank = 0;
  std::array<Dim, maxRank> dims{}; ///< By ascending stride; each is greater than `run`.

  bool empty() const { return low >= high; }
  friend bool operator==(const Footprint &, const Footprint &) = default;
};

/// Offsets count from the start of the view's buffer or memory. The view's registers exist and isa::reach()
/// of it is defined.
Footprint footprint(const isa::View &view, std::span<const isa::Register> registers);

/// False only if no byte is in both. Beside the intervals it compares residues modulo each stride, which
/// tells apart tiles of one matrix, also with batches around them; where neither settles it the answer is
/// true.
bool overlap(const Footprint &a, const Footprint &b);

/// True only if every byte of `inner` is in `outer`.
bool covers(const Footprint &outer, const Footprint &inner);

} // namespace npuc::schedule
