// Which tensors the L2 cache still holds from one launch to the next.
#pragma once

#include <cstdint>
#include <list>

namespace npuc::cuda {

/// Whole tensors, the one used longest ago leaves first, as in a cache that is written back.
class Residency {
public:
  explicit Residency(double capacity) : capacity(capacity) {}

  /// A launch touches `touched` bytes, of those at `offset` of a buffer `times` over, which are `extent` in
  /// all.
  struct Touch {
    uint32_t buffer = 0;
    uint64_t offset = 0, extent = 0;
    double touched = 0, times = 1;
    bool read = false, written = false;
  };
  /// Returns the bytes of DRAM that this takes: what is not held is read, what leaves and was changed is
  /// written.
  double touch(const Touch &touch);

private:
  struct Held {
    uint32_t buffer;
    uint64_t offset, extent;
    double bytes;
    bool changed;
  };
  double capacity, total = 0;
  std::list<Held> held; ///< The last used first.
};

} // namespace npuc::cuda
