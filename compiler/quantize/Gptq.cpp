#include "compiler/quantize/Gptq.h"

#include "compiler/quantize/Panel.h"
#include "support/ElementType.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace npuc::quantize {
namespace {

/// Each is one task's.
int64_t panels(int64_t columns) {
  return (columns + panelWidth - 1) / panelWidth;
}

/// One step of a grid: the scale and zero of a row and a column.
struct Step {
  double scale, zero;
};

Step stepOf(const WeightGrid &grid, int64_t columns, int64_t row, int64_t column) {
  auto at = static_cast<size_t>(row / grid.group * columns + column);
  return {grid.scales[at], grid.zeros.empty() ? 0.0 : grid.zeros[at]};
}

double nearest(double weight, Step step, const WeightGrid &grid) {
  if (grid.fp8)
    return fromF8E4M3(toF8E4M3(static_cast<float>(weight / step.scale), true));
  return std::clamp<double>(std::nearbyint(weight / step.scale) + step.zero, grid.least, grid.greatest);
}

int8_t codeOf(double number, const WeightGrid &grid) {
  if (grid.fp8)
    return static_cast<int8_t>(toF8E4M3(static_cast<float>(number), true));
  return static_cast<int8_t>(number);
}

double numberOf(int8_t code, const WeightGrid &grid) {
  return grid.fp8 ? fromF8E4M3(static_cast<uint8_t>(code)) : code;
}

/// Scale and zero that lay the grid over [least, greatest].
Step over(double least, double greatest, const WeightGrid &grid, bool asymmetric) {
  if (!asymmetric) {
    // Where there is one number more below 0 than above, it is for the side with the greatest weight.
    double most = greatest > -least && grid.least < -grid.greatest ? -greatest : std::max(-least, greatest);
    return {most != 0 ? most / grid.greatest : 1, 0};
  }
  least = std::min(least, 0.0), greatest = std::max(greatest, 0.0);
  double scale = (greatest - least) / (grid.greatest - grid.least);
  if (!(scale > 0))
    return {1, 0};
  return {scale, std::clamp<double>(std::nearbyint(grid.least - least / scale), grid.least, grid.greatest)};
}

/// One group of one column: its weights lie `columns` apart.
struct Group {
  const float *weights;
  int64_t count, columns;
  const double *importance; ///< Of its first row; null where all rows count alike.

  double weight(int64_t i) const { return weights[i * columns]; }

  double error(Step step, const WeightGrid &grid) const {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      double e = weight(i) - step.scale * (nearest(weight(i), step, grid) - step.zero);
      sum += importance[i] * e * e;
    }
    return sum;
  }

  Step best(const WeightGrid &grid, bool asymmetric) const {
    double least = weight(0), greatest = least;
    for (int64_t i = 1; i < count; ++i) {
      least = std::min(least, weight(i));
      greatest = std::max(greatest, weight(i));
    }
    Step chosen = over(least, greatest, grid, asymmetric);
    if (!importance)
      return chosen;
    // Of 4 bits a range of a half is never better; one beyond the greatest weight can be, since -8 is further
    // out than 7.
    double lowest = error(chosen, grid);
    for (double share = 0.55; share <= 1.15; share += 0.025) {
      Step step = over(least * share, greatest * share, grid, asymmetric);
      if (double e = error(step, grid); e < lowest) {
        lowest = e;
        chosen = step;
      }
    }
    return chosen;
  }
};

/// A panel of columns on its way: what is left of it to round, in the order of rounding.
class Rounding {
public:
  Rounding(std::span<const float> weights, int64_t rows, int64_t columns, int64_t first,
           const std::vector<int64_t> &order, const WeightGrid &grid)
      : rows(rows), columns(columns), first(first), width(std::min(panelWidth, columns - first)),
        order(order), grid(grid), left(static_cast<size_t>(rows * panelWidth)) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = 0; c < width; ++c)
        left[static_cast<size_t>(i * panelWidth + c)] =
            weights[static_cast<size_t>(order[static_cast<size_t>(i)] * columns + first + c)];
  }

  /// Rounds all rows; `factor` is Rᵀ, whose row i has what errors before i weigh in it. The errors of rows
  /// done take the place of their weights.
  void round(const std::vector<double> &factor, std::span<int8_t> codes) {
    const PanelKernels &kernels = panelKernels(simdLevel());
    for (int64_t a = 0; a < rows; a += panelSums) {
      double sums[panelSums * panelWidth] = {};
      const double *weighs = &factor[static_cast<size_t>(a * rows)];
      int64_t count = std::min(panelSums, rows - a);
      kernels.addRows(weighs, rows, count, left.data(), a, sums);
      for (int64_t s = 0; s < count; ++s, weighs += rows) {
        double *sum = &sums[s * panelWidth];
        kernels.addRows(weighs + a, rows, 1, &left[static_cast<size_t>(a * panelWidth)], s, sum);
        roundRow(a + s, sum, weighs[a + s], codes);
      }
    }
  }

private:
  void roundRow(int64_t i, const double *sum, double diagonal, std::span<int8_t> codes) {
    int64_t row = order[static_cast<size_t>(i)];
    for (int64_t c = 0; c < width; ++c) {
      Step step = stepOf(grid, columns, row, first + c);
      double &w = left[static_cast<size_t>(i * panelWidth + c)];
      double q = nearest(w + sum[c] / diagonal, step, grid);
      codes[static_cast<size_t>(row * columns + first + c)] = codeOf(q, grid);
      w -= step.scale * (q - step.zero);
    }
  }

  int64_t rows, columns, first, width;
  const std::vector<int64_t> &order;
  const WeightGrid &grid;
  std::vector<double> left; ///< rows x panelWidth; columns beyond `width` stay 0.
};

} // namespace

WeightGrid weightGrid(std::span<const float> weights, int64_t rows, int64_t columns, unsigned bits,
                      int64_t group, bool asymmetric, std::span<const double> importance, ThreadPool &pool) {
  WeightGrid grid;
  grid.group = group;
  grid.greatest = (1 << (bits - 1)) - 1;
  grid.least = bits == 8 && !asymmetric ? -grid.greatest : -grid.greatest - 1;
  int64_t groups = (rows + group - 1) / group;
  grid.scales.resize(static_cast<size_t>(groups * columns));
  if (asymmetric)
    grid.zeros.resize(grid.scales.size());
  pool.run(panels(columns), [&](int64_t p) {
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t c = p * panelWidth; c < std::min(columns, (p + 1) * panelWidth); ++c) {
        const double *important = importance.empty() ? nullptr : &importance[static_cast<size_t>(g * group)];
        Group part{&weights[static_cast<size_t>(g * group * columns + c)], std::min(group, rows - g * group),
                   columns, important};
        Step step = part.best(grid, asymmetric);
        auto at = static_cast<size_t>(g * columns + c);
        grid.scales[at] = static_cast<float>(step.scale);
        if (asymmetric)
          grid.zeros[at] = static_cast<int32_t>(step.zero);
      }
  });
  return grid;
}

std::vector<int8_t> roundToNearest(std::span<const float> weights, int64_t rows, int64_t columns,
                                   const WeightGrid &grid) {
  std::vector<int8_t> codes(weights.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      auto at = static_cast<size_t>(r * columns + c);
      codes[at] = codeOf(nearest(weights[at], stepOf(grid, columns, r, c), grid), grid);
    }
  return codes;
}

bool factorUpper(std::vector<double> &matrix, int64_t size, ThreadPool &pool) {
  auto at = [&](int64_t r, int64_t c) -> double & { return matrix[static_cast<size_t>(r * size + c)]; };
  // Panels of columns from the right: R_ij = (A_ij - Σ_{l>j} R_il R_jl) / R_jj for i <= j. What lies right of
  // a panel is subtracted from it at once, row by row side by side.
  const PanelKernels &kernels = panelKernels(simdLevel());
  std::vector<double> done;
  for (int64_t end = size; end > 0; end = std::max<int64_t>(0, end - panelWidth)) {
    int64_t begin = std::max<int64_t>(0, end - panelWidth), tail = size - end;
    // The panel's rows right of it, transposed, so that the sums below run over neighbours.
    done.assign(static_cast<size_t>(tail * panelWidth), 0);
    for (int64_t j = begin; j < end; ++j)
      for (int64_t l = 0; l < tail; ++l)
        done[static_cast<size_t>(l * panelWidth + j - begin)] = at(j, end + l);
    pool.run((end + panelSums - 1) / panelSums, [&](int64_t block) {
      double sums[panelSums * panelWidth] = {};
      int64_t first = block * panelSums, count = std::min(panelSums, end - first);
      kernels.addRows(&matrix[static_cast<size_t>(first * size)] + end, size, count, done.data(), tail, sums);
      for (int64_t i = first; i < first + count; ++i)
        for (int64_t j = std::max(i, begin); j < end; ++j)
          at(i, j) -= sums[(i - first) * panelWidth + j - begin];
    });
    // The triangle on the diagonal, then the rows above it, each from right to left.
    auto row = [&](int64_t i) {
      for (int64_t j = end - 1; j >= std::max(i, begin); --j) {
        double sum = at(i, j);
        for (int64_t l = j + 1; l < end; ++l)
          sum -= at(i, l) * at(j, l);
        if (j > i)
          at(i, j) = sum / at(j, j);
        else
          at(i, i) = sum > 0 ? std::sqrt(sum) : std::numeric_limits<double>::quiet_NaN();
      }
    };
    for (int64_t i = end - 1; i >= begin; --i) {
      row(i);
      if (!(at(i, i) > 0) || !std::isfinite(at(i, i)))
        return false;
    }
    pool.run(begin, row);
  }
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < i; ++j)
      at(i, j) = 0;
  return true;
}

std::optional<GptqFactor> gptqFactor(std::span<const double> gram, int64_t rows, ThreadPool &pool,
                                     const GptqOptions &options) {
  auto diagonal = [&](int64_t i) { return gram[static_cast<size_t>(i * rows + i)]; };
  double mean = 0;
  for (int64_t i = 0; i < rows; ++i)
    mean += diagonal(i) / static_cast<double>(rows);
  if (!std::isfinite(mean) || mean < 0)
    return std::nullopt;
  GptqFactor found{std::vector<int64_t>(static_cast<size_t>(rows)),
                   std::vector<double>(static_cast<size_t>(rows * rows))};
  auto &[order, factor] = found;
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return diagonal(a) > diagonal(b); });
  // Where nothing was ever multiplied, any diagonal rounds to the nearest.
  const double added = mean > 0 ? options.damping * mean : 1;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i; j < rows; ++j)
      factor[static_cast<size_t>(i * rows + j)] =
          gram[static_cast<size_t>(order[static_cast<size_t>(i)] * rows + order[static_cast<size_t>(j)])] +
          (i == j ? added : 0);
  if (!factorUpper(factor, rows, pool))
    return std::nullopt;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < i; ++j)
      factor[static_cast<size_t>(i * rows + j)] = factor[static_cast<size_t>(j * rows + i)];
  return found;
}

std::vector<int8_t> gptq(std::span<const float> weights, int64_t rows, int64_t columns,
                         const GptqFactor &factor, const WeightGrid &grid, ThreadPool &pool) {
  std::vector<int8_t> codes(weights.size());
  pool.run(panels(columns), [&](int64_t p) {
    Rounding(weights, rows, columns, p * panelWidth, factor.order, grid).round(factor.factor, codes);
  });
  return codes;
}

double productError(std::span<const float> weights, std::span<const int8_t> codes, int64_t rows,
                    int64_t columns, std::span<const double> gram, const WeightGrid &grid, ThreadPool &pool) {
  std::vector<double> errors(static_cast<size_t>(columns));
  pool.run(columns, [&](int64_t c) {
    std::vector<double> e(static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r) {
      Step step = stepOf(grid, columns, r, c);
      auto at = static_cast<size_t>(r * columns + c);
      e[static_cast<size_t>(r)] = weights[at] - step.scale * (numberOf(codes[at], grid) - step.zero);
    }
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double product = 0;
      for (int64_t k = 0; k < rows; ++k)
        product += gram[static_cast<size_t>(r * rows + k)] * e[static_cast<size_t>(k)];
      sum += e[static_cast<size_t>(r)] * product;
    }
    errors[static_cast<size_t>(c)] = sum;
  });
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

} // namespace npuc::quantize
