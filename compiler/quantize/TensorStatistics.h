// What was seen of one tensor: statistics that take as much memory after a million values as after one.
#pragma once

#include "compiler/quantize/Histogram.h"
#include "support/ThreadPool.h"

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace npuc::quantize {

/// Beyond this a number says that a score does not count; it is no measurement.
inline constexpr float structural = 1e30f;

inline constexpr size_t outermostRows = 16;

/// Values of padded positions and those beyond `structural` are in none of this.
struct TensorStatistics {
  /// The node of the tensor's first reader, a colon, and the operand's number there; unique. The same for the
  /// same model, whatever the samples.
  std::string name;
  /// The values are a softmax's: [0, 1] whatever is seen, and nothing is counted.
  bool isProbability = false;
  /// It is multiplied by weights: its channels are the indices of its last dimension. Otherwise there is one.
  bool isLinearInput = false;

  /// By channel; 0 where nothing was seen.
  std::vector<float> least, greatest;
  /// By channel: of the ranges of single samples, average += max(1 / samples, 0.01) · (range - average), the
  /// mean of the first hundred.
  std::vector<float> averageLeast, averageGreatest;
  /// By channel: Σ |x| and Σ x².
  std::vector<double> magnitudes, squares;
  Histogram histogram;
  uint64_t values = 0, rows = 0, samples = 0; ///< Counted. Rows: vectors of the last dimension.
  uint64_t structuralValues = 0, paddedRows = 0;
  /// Of rows by their greatest magnitude p: floor(8 · log2 p) + 512, within [0, 1024).
  std::vector<uint64_t> peaks;
  /// Of a linear's input: rows drawn uniformly from all that were counted, one after another. Fewer than
  /// asked for if there were fewer.
  std::vector<float> reservoir;
  /// Of a linear's input: the `outermostRows` rows with the greatest magnitudes, or all. A decoder's first
  /// token, which all others attend to, is one of thousands and seldom drawn.
  std::vector<float> outermost;

  TensorStatistics() = default;
  TensorStatistics(std::string name, size_t channels, uint64_t seed = 1);

  size_t channels() const { return least.size(); }

  /// Counts one sample's values, rows of `length` (the number of channels, where there are several), finite.
  /// Of them those rows for which `rowCounts` says so; all if it is empty. Results do not depend on `pool`.
  void count(std::span<const float> values, size_t length, const std::vector<bool> &rowCounts,
             size_t reservoirRows, ThreadPool &pool);

private:
  void countHistogram(std::span<const float> found, size_t length, const std::vector<bool> &rowCounts,
                      ThreadPool &pool);
  void draw(const float *row, size_t reservoirRows);
  void keepIfOuter(const float *row, uint32_t peak);

  std::mt19937_64 random_;
  uint64_t drawnFrom_ = 0;
  std::vector<uint32_t> outermostPeaks_; ///< Bits of floats.
};

/// Whether one of the values is NaN or infinite.
bool hasNonFinite(std::span<const float> values);

} // namespace npuc::quantize
