// Sums of rows of a matrix in double precision, where the time of GPTQ goes.
#pragma once

#include "support/Simd.h"

#include <cstdint>

namespace npuc::quantize {

/// So many columns of a matrix, rows one after another without gaps, are a panel.
inline constexpr int64_t panelWidth = 32;

struct PanelKernels {
  /// sums[c] += Σ_{l < rows} factors[l] · panel[l · panelWidth + c], in order of l.
  void (*addRows)(const double *factors, const double *panel, int64_t rows, double *sums);
};

NPUC_SIMD_VERSIONS(PanelKernels, panelKernels)

} // namespace npuc::quantize
