// Smoothing: moving the differences between a linear's inputs into its weights, and what that and other
// formats would cost in accuracy, measured on rows that the linear has seen.
#pragma once

#include "compiler/quantize/Formats.h"
#include "compiler/quantize/OutputLoss.h"
#include "support/ThreadPool.h"

#include <span>
#include <vector>

namespace npuc::quantize {

/// What is known of an input that one or more linears multiply by weights.
struct LinearInput {
  /// Rows of it, [count, channels] in f32, drawn from all that were seen.
  std::span<const float> rows;
  /// Of all that was seen, by channel.
  std::span<const float> least, greatest;
  std::vector<Weights> weights; ///< The linears'.
  /// Of their integers: bits, and how many rows share a scale; 0: all.
  unsigned weightBits = 8;
  int64_t group = 0;

  size_t channels() const { return least.size(); }
};

/// For each channel the factor by which its values are divided and its weights multiplied: f =
/// activations^share / weights^(1 - share) of the greatest magnitudes, their geometric mean made 1
/// (SmoothQuant, Xiao et al. 2022). Magnitudes below 1e-5 of the greatest count as that; where either are all
/// 0, every factor is 1.
std::vector<float> balance(std::span<const float> activations, std::span<const float> weights, double share);

struct Smoothing {
  std::vector<float> factors;
  double share = 0; ///< Of `balance`; negative where no factors are best.
  /// Mean over rows of what is lost of x W (see rowLosses) by integers, of 8 bits for x; of every second row
  /// and some columns.
  double error = 0;
  /// The same with the weights as they are: what integers of x lose.
  double ofInput = 0;
};

/// What one scale holds of an input's integers.
enum class ScaleOf : uint8_t { All, Row };

/// Tries no factors and shares of 0.6 and up, or down, to 1 or 0.1, in tenths as long as the error falls, and
/// takes what has the least error with the nearest integers of the weights and, for the input, one static
/// range, or one for each row. Factors and ranges of a trial are those of one half of the rows, and its error
/// that of the other half; the result's are of all that was seen.
Smoothing searchFactors(const LinearInput &input, ScaleOf scale, ThreadPool &pool);

} // namespace npuc::quantize
