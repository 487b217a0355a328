// What products of a linear's inputs with its weights lose to quantization, measured on a few rows and
// columns.
#pragma once

#include "support/ThreadPool.h"

#include <cstdint>
#include <span>
#include <vector>

namespace npuc::quantize {

/// Weights that a linear's input is multiplied by: f32, [channels, columns], or [columns, channels] if
/// `transposed`.
struct Weights {
  const float *data = nullptr;
  int64_t columns = 0;
  bool transposed = false;

  float at(int64_t channel, int64_t column, int64_t channels) const {
    return data[transposed ? column * channels + channel : channel * columns + column];
  }
};

/// So many columns suffice to tell candidates apart.
inline constexpr int64_t mostColumns = 192;

/// Of the columns of all weights, side by side, every n-th, so that there are at most `mostColumns`.
struct PickedColumns {
  int64_t channels = 0, columns = 0;
  std::vector<float> values; ///< [channels, columns].

  PickedColumns(std::span<const Weights> weights, int64_t channels);
};

/// x · w of f32: [rows, channels] by [channels, columns].
std::vector<float> product(const std::vector<float> &x, const std::vector<float> &w, int64_t channels,
                           ThreadPool &pool);

/// By channel the greatest magnitude of all weights.
std::vector<float> channelMagnitudes(std::span<const Weights> weights, int64_t channels);

/// Of rows' squared norms what those that are less count as: the thousandth of the mean norm's square. What
/// such a row gives is lost in a sum.
double leastSize(std::span<const double> squares);

/// For each row |found - exact|² / |exact|², both [rows, columns]. Rows count alike, however large: one
/// token of thousandfold magnitude says nothing about the others. Those below the leastSize count as if they
/// had that. All 0 where `exact` is.
std::vector<double> rowLosses(const std::vector<float> &exact, const std::vector<float> &found,
                              int64_t columns);

} // namespace npuc::quantize
