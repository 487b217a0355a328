#include "compiler/quantize/TensorStatistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace npuc::quantize {
namespace {

constexpr size_t peakBins = 1024;
/// Parts that rows are counted in; a fixed number, so that sums do not depend on threads.
constexpr int64_t parts = 16;
constexpr float infinity = std::numeric_limits<float>::infinity();

/// The greatest magnitude as the bits of a float, which are in the order of the magnitudes; NaN and infinity
/// are above all others.
uint32_t peakBits(const float *values, size_t count) {
  uint32_t greatest = 0;
  for (size_t i = 0; i < count; ++i)
    greatest = std::max(greatest, std::bit_cast<uint32_t>(values[i]) & 0x7fffffffU);
  return greatest;
}

constexpr auto structuralBits = std::bit_cast<uint32_t>(structural);

size_t peakBin(float peak) {
  if (!(peak > 0))
    return 0;
  double bin = std::floor(8 * std::log2(static_cast<double>(peak))) + 512;
  return static_cast<size_t>(std::clamp(bin, 0.0, static_cast<double>(peakBins - 1)));
}

/// What one part of the rows adds.
struct Part {
  std::vector<float> least, greatest;
  std::vector<double> magnitudes, squares;
  std::vector<uint64_t> peaks = std::vector<uint64_t>(peakBins, 0);
  uint64_t values = 0, odd = 0;

  explicit Part(size_t channels)
      : least(channels, infinity), greatest(channels, -infinity), magnitudes(channels, 0),
        squares(channels, 0) {}

  /// A row that has `length` channels, or is all of one.
  void addRow(const float *row, size_t length) {
    size_t step = least.size() > 1;
    float peak = 0;
    if (uint32_t bits = peakBits(row, length); bits < structuralBits) {
      step ? addChannels(row, length) : addOne(row, length);
      peak = std::bit_cast<float>(bits);
      values += length;
    } else {
      for (size_t i = 0; i < length; ++i) {
        if (!(std::abs(row[i]) < structural)) {
          ++odd;
          continue;
        }
        addValue(i * step, row[i]);
        peak = std::max(peak, std::abs(row[i]));
        ++values;
      }
    }
    ++peaks[peakBin(peak)];
  }

private:
  void addValue(size_t c, float x) {
    least[c] = std::min(least[c], x);
    greatest[c] = std::max(greatest[c], x);
    double wide = x;
    magnitudes[c] += std::abs(wide);
    squares[c] += wide * wide;
  }
  void addChannels(const float *row, size_t length) {
    float *low = least.data(), *high = greatest.data();
    for (size_t c = 0; c < length; ++c) {
      low[c] = row[c] < low[c] ? row[c] : low[c];
      high[c] = row[c] > high[c] ? row[c] : high[c];
    }
    double *sums = magnitudes.data(), *squared = squares.data();
    for (size_t c = 0; c < length; ++c) {
      double wide = row[c];
      sums[c] += std::abs(wide);
      squared[c] += wide * wide;
    }
  }
  void addOne(const float *row, size_t length) {
    float low = least[0], high = greatest[0];
    double sum = magnitudes[0], squared = squares[0];
    for (size_t i = 0; i < length; ++i) {
      low = std::min(low, row[i]);
      high = std::max(high, row[i]);
      double wide = row[i];
      sum += std::abs(wide);
      squared += wide * wide;
    }
    least[0] = low;
    greatest[0] = high;
    magnitudes[0] = sum;
    squares[0] = squared;
  }
};

bool counts(const std::vector<bool> &rowCounts, size_t row) {
  return rowCounts.empty() || rowCounts[row];
}

} // namespace

TensorStatistics::TensorStatistics(std::string name, size_t channels, uint64_t seed)
    : name(std::move(name)), least(channels, 0), greatest(channels, 0), averageLeast(channels, 0),
      averageGreatest(channels, 0), magnitudes(channels, 0), squares(channels, 0), peaks(peakBins, 0),
      random_(seed) {}

bool hasNonFinite(std::span<const float> values) {
  return peakBits(values.data(), values.size()) >= std::bit_cast<uint32_t>(infinity);
}

void TensorStatistics::draw(const float *row, size_t reservoirRows) {
  // Algorithm R (Vitter 1985): of n rows each stays with probability reservoirRows / n.
  uint64_t earlier = drawnFrom_++;
  if (earlier < reservoirRows) {
    reservoir.insert(reservoir.end(), row, row + channels());
    return;
  }
  uint64_t place = random_() % (earlier + 1);
  if (place < reservoirRows)
    std::copy_n(row, channels(), reservoir.begin() + static_cast<ptrdiff_t>(place * channels()));
}

void TensorStatistics::keepIfOuter(const float *row, uint32_t peak) {
  auto place = outermostPeaks_.end();
  if (outermostPeaks_.size() < outermostRows) {
    outermost.resize(outermost.size() + channels());
    place = outermostPeaks_.insert(place, peak);
  } else if (place = std::ranges::min_element(outermostPeaks_); peak <= *place) {
    return;
  }
  *place = peak;
  std::copy_n(row, channels(),
              outermost.begin() + (place - outermostPeaks_.begin()) * static_cast<ptrdiff_t>(channels()));
}

void TensorStatistics::countHistogram(std::span<const float> found, size_t length,
                                      const std::vector<bool> &rowCounts, ThreadPool &pool) {
  size_t rowCount = found.size() / length;
  std::vector<Histogram> histograms(std::min<size_t>(parts, pool.threads()), histogram.room());
  size_t each = (rowCount + histograms.size() - 1) / histograms.size();
  pool.run(static_cast<int64_t>(histograms.size()), [&](int64_t p) {
    Histogram &part = histograms[static_cast<size_t>(p)];
    size_t begin = static_cast<size_t>(p) * each, end = std::min(rowCount, begin + each);
    for (size_t r = begin; r < end; ++r) {
      if (!counts(rowCounts, r))
        continue;
      std::span<const float> row = found.subspan(r * length, length);
      if (structuralValues == 0) {
        part.add(row);
        continue;
      }
      for (const float &value : row)
        if (std::abs(value) < structural)
          part.add({&value, 1});
    }
  });
  for (const Histogram &part : histograms)
    histogram.add(part);
}

void TensorStatistics::count(std::span<const float> found, size_t length, const std::vector<bool> &rowCounts,
                             size_t reservoirRows, ThreadPool &pool) {
  if (found.empty())
    return;
  size_t rowCount = found.size() / length, each = (rowCount + parts - 1) / parts;
  std::vector<Part> partial(static_cast<size_t>(parts), Part(channels()));
  pool.run(parts, [&](int64_t p) {
    size_t begin = static_cast<size_t>(p) * each, end = std::min(rowCount, begin + each);
    for (size_t r = begin; r < end; ++r)
      if (counts(rowCounts, r))
        partial[static_cast<size_t>(p)].addRow(found.data() + r * length, length);
  });

  Part whole(channels());
  for (const Part &part : partial) {
    for (size_t c = 0; c < channels(); ++c) {
      whole.least[c] = std::min(whole.least[c], part.least[c]);
      whole.greatest[c] = std::max(whole.greatest[c], part.greatest[c]);
      magnitudes[c] += part.magnitudes[c];
      squares[c] += part.squares[c];
    }
    for (size_t i = 0; i < peakBins; ++i)
      peaks[i] += part.peaks[i];
    whole.values += part.values;
    structuralValues += part.odd;
  }
  for (size_t r = 0; r < rowCount; ++r)
    ++(counts(rowCounts, r) ? rows : paddedRows);
  if (whole.values == 0)
    return;

  bool first = samples++ == 0;
  auto weight = static_cast<float>(std::max(1.0 / static_cast<double>(samples), 0.01));
  for (size_t c = 0; c < channels(); ++c) {
    if (whole.least[c] > whole.greatest[c])
      whole.least[c] = whole.greatest[c] = 0; // All of the channel is structural.
    least[c] = first ? whole.least[c] : std::min(least[c], whole.least[c]);
    greatest[c] = first ? whole.greatest[c] : std::max(greatest[c], whole.greatest[c]);
    averageLeast[c] += weight * (whole.least[c] - averageLeast[c]);
    averageGreatest[c] += weight * (whole.greatest[c] - averageGreatest[c]);
  }
  values += whole.values;
  histogram.widen(*std::ranges::min_element(whole.least), *std::ranges::max_element(whole.greatest));
  countHistogram(found, length, rowCounts, pool);
  if (isLinearInput)
    for (size_t r = 0; r < rowCount; ++r)
      if (const float *row = found.data() + r * length; counts(rowCounts, r))
        if (uint32_t peak = peakBits(row, length); peak < structuralBits) {
          draw(row, reservoirRows);
          keepIfOuter(row, peak);
        }
}

} // namespace npuc::quantize
