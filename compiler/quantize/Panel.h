// Sums of rows of a matrix in double precision, where the time of GPTQ goes.
#pragma once

#include "support/Simd.h"

#include <cstdint>

namespace npuc::quantize {

/// So many columns of a matrix, rows one after another without gaps, are a panel.
inline constexpr int64_t panelWidth = 32;
/// So many rows of sums are computed at once, since that takes as many reads of the panel as one.
inline constexpr int64_t panelSums = 4;

struct PanelKernels {
  /// sums[s · panelWidth + c] += Σ_{l < rows} factors[s · stride + l] · panel[l · panelWidth + c], in order
  /// of l, for s < count <= panelSums.
  void (*addRows)(const double *factors, int64_t stride, int64_t count, const double *panel, int64_t rows,
                  double *sums);
};

NPUC_SIMD_VERSIONS(PanelKernels, panelKernels)

} // namespace npuc::quantize
