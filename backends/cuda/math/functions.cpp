// What kernels call of support/Transcendental.h and FloatFormat.h: compiled to bitcode, and linked into every
// module of kernels, so that devices agree to the bit.
#include "support/FloatFormat.h"
#include "support/Transcendental.h"

#define NPUC_FUNCTION(name)                                                                                  \
  extern "C" float npuc_##name(float x) {                                                                    \
    return npuc::transcendental::name(x);                                                                    \
  }
NPUC_FUNCTION(exp)
NPUC_FUNCTION(log)
NPUC_FUNCTION(tanh)
NPUC_FUNCTION(erf)
NPUC_FUNCTION(sin)
NPUC_FUNCTION(cos)
NPUC_FUNCTION(rsqrt)

#define NPUC_FLOAT8(name)                                                                                    \
  extern "C" float npuc_from_##name(uint32_t code) {                                                         \
    return npuc::floats::decode<npuc::floats::name>(code);                                                   \
  }                                                                                                          \
  extern "C" uint32_t npuc_to_##name(float value) {                                                          \
    return npuc::floats::encode<npuc::floats::name>(value, /*saturate=*/true);                               \
  }
NPUC_FLOAT8(f8e4m3)
NPUC_FLOAT8(f8e5m2)
