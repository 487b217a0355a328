// What kernels call of support/Transcendental.h: compiled to bitcode, and linked into every module of kernels, so
// that devices agree to the bit.
#include "support/Transcendental.h"

#define NPUC_FUNCTION(name)                                                                                            \
  extern "C" float npuc_##name(float x) {                                                                              \
    return npuc::transcendental::name(x);                                                                              \
  }
NPUC_FUNCTION(exp)
NPUC_FUNCTION(log)
NPUC_FUNCTION(tanh)
NPUC_FUNCTION(erf)
NPUC_FUNCTION(sin)
NPUC_FUNCTION(cos)
NPUC_FUNCTION(rsqrt)
