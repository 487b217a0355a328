// Rounding of weights so that the error of the products is least, not the error of each weight.
#pragma once

#include "support/ThreadPool.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace npuc::quantize {

/// The numbers that the weights of a matrix of `rows` x `columns` may become: scale · (q - zero) with q from
/// `least` to `greatest`. A scale (and a zero) holds for `group` successive rows of one column: scales[r /
/// group * columns + c]. `zeros` is empty where all are 0. A weight's code is q, or with `fp8`, where q is a
/// number of e4m3, its bits.
struct WeightGrid {
  std::vector<float> scales;
  std::vector<int32_t> zeros;
  int64_t group = 0;
  int32_t least = -127, greatest = 127;
  bool fp8 = false;
};

/// A grid of `bits` bits (symmetric from -2^(bits-1)+1 for 8 bits, from -2^(bits-1) below; asymmetric from
/// -2^(bits-1)) for the weights (`rows` x `columns`, row-major) in groups of `group` rows, of which the last
/// may have fewer. With an empty `importance` every weight is within the grid; else (one number for each row:
/// the mean square of the input that it multiplies) each scale is the one of a few narrower ones whose
/// squared error, weighted so, is least.
WeightGrid weightGrid(std::span<const float> weights, int64_t rows, int64_t columns, unsigned bits,
                      int64_t group, bool asymmetric, std::span<const double> importance, ThreadPool &pool);

/// The code of each weight's nearest number of the grid.
std::vector<int8_t> roundToNearest(std::span<const float> weights, int64_t rows, int64_t columns,
                                   const WeightGrid &grid);

/// How GPTQ goes about.
struct GptqOptions {
  /// Added to the diagonal of the Gram matrix, as a share of its mean: the less the calibration saw, the
  /// nearer to rounding to nearest.
  double damping = 0.1;
};

/// An input's Gram matrix, factored for GPTQ.
struct GptqFactor {
  std::vector<int64_t> order; ///< Of rows: those of the largest mean squares first.
  std::vector<double> factor; ///< Rᵀ of them in that order, and R above the diagonal.
};

/// Factors `gram`, which is XᵀX (`rows` x `rows`, up to a factor). Nothing if it is not positive (NaN,
/// infinity).
std::optional<GptqFactor> gptqFactor(std::span<const double> gram, int64_t rows, ThreadPool &pool,
                                     const GptqOptions &options = {});

/// Weights (`rows` x `columns`, row-major) as codes of `grid` such that ‖X W - X Q‖² is small. GPTQ (Frantar
/// et al. 2022) in the form of Babai's nearest plane: with XᵀX = R Rᵀ, R upper triangular, the norm is Σ_i
/// |R_ii e_i + Σ_{j<i} R_ji e_j|² with e = w - q, so that row i is rounded to w_i + Σ_{j<i} R_ji e_j / R_ii.
/// Rows are taken in the factor's order. Columns are independent, and shared among threads. A row whose input
/// is always 0 is rounded to nearest.
std::vector<int8_t> gptq(std::span<const float> weights, int64_t rows, int64_t columns,
                         const GptqFactor &factor, const WeightGrid &grid, ThreadPool &pool);

/// Σ over columns of (w - q)ᵀ XᵀX (w - q): the squared error of the products. `gram` as above.
double productError(std::span<const float> weights, std::span<const int8_t> codes, int64_t rows,
                    int64_t columns, std::span<const double> gram, const WeightGrid &grid, ThreadPool &pool);

/// The upper triangular R with R Rᵀ = `matrix` (`size` x `size`, row-major, symmetric, positive definite): a
/// Cholesky factorization from the last row up. False if the matrix is not positive definite.
bool factorUpper(std::vector<double> &matrix, int64_t size, ThreadPool &pool);

} // namespace npuc::quantize
