// How kernels go over elements: strided nests with adjacent dimensions merged, split among threads.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <algorithm>
#include <array>

namespace npuc::interpret {

/// Elements that make it worth to hand a piece of a cheap loop to another thread.
inline constexpr int64_t parallelGrain = 16384;

/// Strides, in elements, of a row-major tensor.
Shape rowMajorStrides(const Shape &shape);

/// The NumPy broadcast of shapes that broadcast (the caller's IR was verified).
Shape broadcastShape(const Shape &a, const Shape &b);

/// Strides with which a row-major tensor of `shape` is read when it is broadcast to `to`: 0 where it repeats.
Shape broadcastStrides(const Shape &shape, const Shape &to);

/// Calls body(begin, end) over pieces of [0, count) of about `grain`, whose borders do not depend on the
/// thread count.
template <typename F>
void parallelRange(ThreadPool &pool, int64_t count, int64_t grain, F &&body) {
  grain = std::max<int64_t>(grain, 1);
  pool.run((count + grain - 1) / grain,
           [&](int64_t piece) { body(piece * grain, std::min(count, (piece + 1) * grain)); });
}

/// A nest of loops over `shape` in which N operands are addressed by strides.
template <size_t N>
struct Nest {
  Shape shape;
  std::array<Shape, N> strides;

  /// Drops dimensions of size 1 and merges neighbours that every operand runs through as one; at least one
  /// dimension stays.
  void merge() {
    Nest out;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1)
        continue;
      bool joins = !out.shape.empty();
      for (size_t n = 0; n < N && joins; ++n)
        joins = out.strides[n].back() == strides[n][d] * shape[d];
      if (joins) {
        out.shape.back() *= shape[d];
      } else {
        out.shape.push_back(shape[d]);
        for (Shape &s : out.strides)
          s.push_back(0);
      }
      for (size_t n = 0; n < N; ++n)
        out.strides[n].back() = strides[n][d];
    }
    if (out.shape.empty()) {
      out.shape.push_back(1);
      for (Shape &s : out.strides)
        s.push_back(0);
    }
    *this = std::move(out);
  }

  /// Calls body(offsets, length, steps) for runs of the innermost dimension: operand n's elements are at
  /// offsets[n] + i · steps[n] for i in [0, length).
  template <typename F>
  void run(ThreadPool &pool, F &&body) const {
    int64_t total = countOf(shape);
    if (total == 0)
      return;
    int64_t length = shape.back();
    int64_t rows = total / length;
    std::array<int64_t, N> steps;
    for (size_t n = 0; n < N; ++n)
      steps[n] = strides[n].back();
    // Long rows are cut, short ones are taken together.
    int64_t cut = std::min(length, std::max<int64_t>(parallelGrain, 1));
    int64_t pieces = (length + cut - 1) / cut;
    parallelRange(pool, rows * pieces, parallelGrain / cut, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; ++at) {
        int64_t row = at / pieces;
        int64_t first = at % pieces * cut;
        std::array<int64_t, N> offsets;
        for (size_t n = 0; n < N; ++n)
          offsets[n] = first * steps[n];
        for (size_t d = shape.size() - 1; d-- > 0;) {
          int64_t index = row % shape[d];
          row /= shape[d];
          for (size_t n = 0; n < N; ++n)
            offsets[n] += index * strides[n][d];
        }
        body(offsets, std::min(cut, length - first), steps);
      }
    });
  }
};

} // namespace npuc::interpret
