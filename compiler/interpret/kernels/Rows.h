// Sums and softmax of one row of floats, in an order that depends on its length alone.
#pragma once

#include "support/Transcendental.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

namespace npuc::interpret {

/// Σ f(i) for i in [0, count), in 16 interleaved partial sums, which compilers turn into vector code.
template <typename T, typename F>
T laneSum(int64_t count, F f) {
  constexpr int lanes = 16;
  T partial[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int l = 0; l < lanes; ++l)
      partial[l] += f(i + l);
  for (int l = 0; i < count; ++i, ++l)
    partial[l] += f(i);
  for (int half = lanes / 2; half; half /= 2)
    for (int l = 0; l < half; ++l)
      partial[l] += partial[l + half];
  return partial[0];
}

/// The greatest element; NaN if there is one; -infinity of none.
template <typename T>
T greatestOf(const T *x, int64_t count) {
  constexpr int lanes = 16;
  T most[lanes];
  for (T &m : most)
    m = -std::numeric_limits<T>::infinity();
  int64_t i = 0;
  T nan = 0; // becomes NaN when a NaN is added
  auto take = [&](T &m, T v) { m = v > m ? v : m; };
  for (; i + lanes <= count; i += lanes)
    for (int l = 0; l < lanes; ++l)
      take(most[l], x[i + l]);
  for (int l = 0; i < count; ++i, ++l)
    take(most[l], x[i]);
  for (int l = 1; l < lanes; ++l)
    take(most[0], most[l]);
  for (i = 0; i < count; ++i)
    nan = x[i] != x[i] ? x[i] : nan;
  return nan != nan ? nan : most[0];
}

inline void expArray(float *x, int64_t count) {
  transcendental::exp({x, static_cast<size_t>(count)}, x);
}
inline void expArray(double *x, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    x[i] = std::exp(x[i]);
}

/// y = softmax(x); y may be x. A row of only -infinity is NaN, or 0 if `zeroMasked`.
template <typename T>
void softmaxRow(const T *x, T *y, int64_t count, bool zeroMasked) {
  T most = greatestOf(x, count);
  if (zeroMasked && most == -std::numeric_limits<T>::infinity()) {
    std::fill_n(y, count, T(0));
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    y[i] = x[i] - most;
  expArray(y, count);
  T scale = 1 / laneSum<T>(count, [=](int64_t i) { return y[i]; });
  for (int64_t i = 0; i < count; ++i)
    y[i] *= scale;
}

} // namespace npuc::interpret
