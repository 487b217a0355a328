#include "compiler/quantize/Panel.h"

namespace npuc::quantize::NPUC_SIMD {
namespace {

// What is added up at once stays in registers: `vectors` of each row of sums.
#if defined(__AVX512F__)
constexpr int64_t width = 8, vectors = 4;
#elif defined(__AVX2__)
constexpr int64_t width = 4, vectors = 2;
#else
constexpr int64_t width = 2, vectors = 2;
#endif
typedef double Vector __attribute__((vector_size(8 * width)));

template <int64_t count>
void addRowsTo(const double *factors, int64_t stride, const double *panel, int64_t rows, double *sums) {
  for (int64_t first = 0; first < panelWidth; first += vectors * width) {
    Vector sum[count][vectors];
#pragma GCC unroll 4
    for (int64_t s = 0; s < count; ++s)
      __builtin_memcpy(&sum[s], sums + s * panelWidth + first, sizeof sum[s]);
    for (int64_t l = 0; l < rows; ++l) {
      Vector row[vectors];
      __builtin_memcpy(&row, panel + l * panelWidth + first, sizeof row);
#pragma GCC unroll 4
      for (int64_t s = 0; s < count; ++s)
#pragma GCC unroll 4
        for (int64_t v = 0; v < vectors; ++v)
          sum[s][v] += factors[s * stride + l] * row[v];
    }
#pragma GCC unroll 4
    for (int64_t s = 0; s < count; ++s)
      __builtin_memcpy(sums + s * panelWidth + first, &sum[s], sizeof sum[s]);
  }
}

void addRows(const double *factors, int64_t stride, int64_t count, const double *panel, int64_t rows,
             double *sums) {
  if (count == panelSums)
    return addRowsTo<panelSums>(factors, stride, panel, rows, sums);
  for (int64_t s = 0; s < count; ++s)
    addRowsTo<1>(factors + s * stride, stride, panel, rows, sums + s * panelWidth);
}

} // namespace

const PanelKernels panelKernels = {addRows};

} // namespace npuc::quantize::NPUC_SIMD
