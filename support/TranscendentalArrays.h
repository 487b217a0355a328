// The loops behind support/Transcendental.h's functions over arrays, one version per level of vector
// instructions.
#pragma once

#include "support/Simd.h"

#include <cstddef>

namespace npuc::transcendental {

struct Arrays {
  using Function = void (*)(const float *x, float *y, size_t count);
  Function exp, log, tanh, erf, sin, cos, rsqrt, sigmoid;
};

NPUC_SIMD_VERSIONS(Arrays, arrays)

} // namespace npuc::transcendental
