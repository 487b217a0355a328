// Choice among the versions of a source that npuc_simd (cmake/Npuc.cmake) compiled for different vector
// instructions.
#pragma once

#include <cstdint>

namespace npuc {

/// Base is what every machine of the architecture has; V3 adds AVX2, FMA and F16C, V4 AVX-512 with VNNI.
enum class SimdLevel : uint8_t { Base, V3, V4 };

/// The best level that this machine has.
inline SimdLevel simdLevel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vnni"))
    return SimdLevel::V4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
      __builtin_cpu_supports("f16c"))
    return SimdLevel::V3;
#endif
  return SimdLevel::Base;
}

} // namespace npuc

/// NPUC_SIMD_VERSIONS(Type, name): declares base::name, v3::name and v4::name and defines name(level), the
/// one of `level` or, where the architecture has no such level, the best below it.
#if defined(__x86_64__)
#define NPUC_SIMD_VERSIONS(Type, name)                                                                       \
  namespace base {                                                                                           \
  extern const Type name;                                                                                    \
  }                                                                                                          \
  namespace v3 {                                                                                             \
  extern const Type name;                                                                                    \
  }                                                                                                          \
  namespace v4 {                                                                                             \
  extern const Type name;                                                                                    \
  }                                                                                                          \
  inline const Type &name(::npuc::SimdLevel level) {                                                         \
    return level == ::npuc::SimdLevel::V4   ? v4::name                                                       \
           : level == ::npuc::SimdLevel::V3 ? v3::name                                                       \
                                            : base::name;                                                    \
  }
#else
#define NPUC_SIMD_VERSIONS(Type, name)                                                                       \
  namespace base {                                                                                           \
  extern const Type name;                                                                                    \
  }                                                                                                          \
  inline const Type &name(::npuc::SimdLevel) {                                                               \
    return base::name;                                                                                       \
  }
#endif
