#include "compiler/quantize/Panel.h"

namespace npuc::quantize::NPUC_SIMD {
namespace {

#if defined(__AVX512F__)
constexpr int64_t width = 8;
#elif defined(__AVX2__)
constexpr int64_t width = 4;
#else
constexpr int64_t width = 2;
#endif
typedef double Vector __attribute__((vector_size(8 * width)));
/// What is added up at once stays in registers.
constexpr int64_t vectors = panelWidth / width < 8 ? panelWidth / width : 8;

void addRows(const double *factors, const double *panel, int64_t rows, double *sums) {
  for (int64_t first = 0; first < panelWidth; first += vectors * width) {
    Vector sum[vectors];
    __builtin_memcpy(&sum, sums + first, sizeof sum);
    for (int64_t l = 0; l < rows; ++l)
#pragma GCC unroll 8
      for (int64_t v = 0; v < vectors; ++v) {
        Vector row;
        __builtin_memcpy(&row, panel + l * panelWidth + first + v * width, sizeof row);
        sum[v] += factors[l] * row;
      }
    __builtin_memcpy(sums + first, &sum, sizeof sum);
  }
}

} // namespace

const PanelKernels panelKernels = {addRows};

} // namespace npuc::quantize::NPUC_SIMD
