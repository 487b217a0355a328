#include "support/TranscendentalArrays.h"

#include "support/Transcendental.h"

namespace npuc::transcendental::NPUC_SIMD {
namespace {

template <float (*f)(float)>
void overArray(const float *x, float *y, size_t count) {
#pragma GCC ivdep // y is x or apart from it
  for (size_t i = 0; i < count; ++i)
    y[i] = f(x[i]);
}

} // namespace

const Arrays arrays = {overArray<exp>, overArray<log>, overArray<tanh>,  overArray<erf>,
                       overArray<sin>, overArray<cos>, overArray<rsqrt>, overArray<sigmoid>};

} // namespace npuc::transcendental::NPUC_SIMD
