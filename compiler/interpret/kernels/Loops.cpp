#include "compiler/interpret/kernels/Loops.h"

namespace npuc::interpret {

Shape rowMajorStrides(const Shape &shape) {
  Shape strides(shape.size());
  int64_t running = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = running;
    running *= shape[d];
  }
  return strides;
}

Shape broadcastShape(const Shape &a, const Shape &b) {
  const Shape &longer = a.size() >= b.size() ? a : b;
  const Shape &shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  size_t shift = longer.size() - shorter.size();
  for (size_t d = 0; d < shorter.size(); ++d)
    if (out[shift + d] == 1)
      out[shift + d] = shorter[d];
  return out;
}

Shape broadcastStrides(const Shape &shape, const Shape &to) {
  Shape own = rowMajorStrides(shape);
  Shape strides(to.size(), 0);
  size_t shift = to.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d)
    strides[shift + d] = shape[d] == 1 ? 0 : own[d];
  return strides;
}

} // namespace npuc::interpret
