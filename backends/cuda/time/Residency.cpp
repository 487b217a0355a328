#include "backends/cuda/time/Residency.h"

#include <algorithm>

namespace npuc::cuda {

double Residency::touch(const Touch &touch) {
  double before = 0;
  bool changed = touch.written;
  for (auto one = held.begin(); one != held.end();) {
    const bool overlaps = one->buffer == touch.buffer && one->offset < touch.offset + touch.extent &&
                          touch.offset < one->offset + one->extent;
    if (!overlaps) {
      ++one;
      continue;
    }
    // Another tensor that lay in the same memory is dead.
    if (one->offset == touch.offset && one->extent == touch.extent) {
      before = one->bytes;
      changed |= one->changed;
    }
    total -= one->bytes;
    one = held.erase(one);
  }
  const bool fits = touch.touched <= capacity;
  double dram = touch.read ? (fits ? std::max(0.0, touch.touched - before) : touch.touched * touch.times) : 0;
  held.push_front({touch.buffer, touch.offset, touch.extent, std::max(touch.touched, before), changed});
  total += held.front().bytes;
  while (total > capacity) {
    dram += held.back().changed ? held.back().bytes : 0;
    total -= held.back().bytes;
    held.pop_back();
  }
  return dram;
}

} // namespace npuc::cuda
