#include "runtime/npu_sim/Kernels.h"

#include "support/Transcendental.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace npuc::npu_sim::NPUC_SIMD {
namespace {

namespace t = npuc::transcendental;
using isa::VectorOp;

#define NPUC_FORCE [[gnu::always_inline]] inline

// Vectors of this level: floats, and 32-bit integers.
#if defined(__AVX512F__)
constexpr size_t width = 16, tileM = 12;
#elif defined(__AVX2__)
constexpr size_t width = 8, tileM = 6;
#else
constexpr size_t width = 4, tileM = 4;
#endif
constexpr size_t tileN = 2 * width;
typedef float VF __attribute__((vector_size(4 * width)));
typedef int32_t VI __attribute__((vector_size(4 * width)));

NPUC_FORCE VF fma(VF a, VF b, VF c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  VF r;
  for (size_t i = 0; i < width; ++i)
    r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
#endif
}

/// c + the sum of two products of 16-bit integers in each lane, which must fit in 32 bits.
NPUC_FORCE VI dot2(VI a, VI b, VI c) {
#if defined(__AVX512VNNI__)
  return (VI)_mm512_dpwssd_epi32((__m512i)c, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return c + (VI)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return c + (VI)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  VI even = ((a << 16) >> 16) * ((b << 16) >> 16);
  return c + even + (a >> 16) * (b >> 16);
#endif
}

template <class V, class P>
NPUC_FORCE V load(const P *p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class P>
NPUC_FORCE void store(P *p, V v) {
  __builtin_memcpy(p, &v, sizeof v);
}
NPUC_FORCE VF splat(float x) {
  return x - VF{};
} // x − 0 is x, of −0 too
NPUC_FORCE VI splat(int32_t x) {
  return x - VI{};
}

template <size_t rows>
void multiplyRowsF32(const float *a, const float *b, float *s, size_t stride, size_t k) {
  VF sums[rows][2];
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; ++i) {
    sums[i][0] = load<VF>(s + i * stride);
    sums[i][1] = load<VF>(s + i * stride + width);
  }
  for (size_t kk = 0; kk < k; ++kk) {
    VF b0 = load<VF>(b + kk * tileN), b1 = load<VF>(b + kk * tileN + width);
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i) {
      VF x = splat(a[i * kStrideF32 + kk]);
      sums[i][0] = fma(x, b0, sums[i][0]);
      sums[i][1] = fma(x, b1, sums[i][1]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; ++i) {
    store(s + i * stride, sums[i][0]);
    store(s + i * stride + width, sums[i][1]);
  }
}

void multiplyF32(const float *a, const float *b, float *s, size_t stride, size_t k, size_t rows) {
  return rows == 1 ? multiplyRowsF32<1>(a, b, s, stride, k) : multiplyRowsF32<tileM>(a, b, s, stride, k);
}

template <size_t rows>
void multiplyRowsI16(const int16_t *a, const int16_t *b, int32_t *s, size_t stride, size_t pairs) {
  VI sums[rows][2];
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; ++i) {
    sums[i][0] = load<VI>(s + i * stride);
    sums[i][1] = load<VI>(s + i * stride + width);
  }
  for (size_t p = 0; p < pairs; ++p) {
    VI b0 = load<VI>(b + p * 2 * tileN), b1 = load<VI>(b + p * 2 * tileN + 2 * width);
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i) {
      int32_t pair;
      __builtin_memcpy(&pair, a + i * kStrideI16 + 2 * p, 4);
      VI x = splat(pair);
      sums[i][0] = dot2(x, b0, sums[i][0]);
      sums[i][1] = dot2(x, b1, sums[i][1]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; ++i) {
    store(s + i * stride, sums[i][0]);
    store(s + i * stride + width, sums[i][1]);
  }
}

void multiplyI16(const int16_t *a, const int16_t *b, int32_t *s, size_t stride, size_t pairs, size_t rows) {
  return rows == 1 ? multiplyRowsI16<1>(a, b, s, stride, pairs)
                   : multiplyRowsI16<tileM>(a, b, s, stride, pairs);
}

//===- Conversions
//------------------------------------------------------------------------------------------------------===//

template <class T>
NPUC_FORCE T element(const std::byte *p, size_t i) {
  T v;
  __builtin_memcpy(&v, p + i * sizeof(T), sizeof v);
  return v;
}
template <class T>
NPUC_FORCE void setElement(std::byte *p, size_t i, T v) {
  __builtin_memcpy(p + i * sizeof(T), &v, sizeof v);
}
NPUC_FORCE int32_t nibble(const std::byte *p, size_t i, bool isSigned) {
  uint32_t v = (static_cast<uint32_t>(p[i / 2]) >> (4 * (i & 1))) & 15;
  return isSigned ? static_cast<int32_t>(v << 28) >> 28 : static_cast<int32_t>(v);
}
NPUC_FORCE void setNibble(std::byte *p, size_t i, int32_t v) {
  uint32_t shift = 4 * (i & 1), keep = 0xf0u >> shift;
  p[i / 2] = static_cast<std::byte>((static_cast<uint32_t>(p[i / 2]) & keep) |
                                    ((static_cast<uint32_t>(v) & 15) << shift));
}

NPUC_FORCE float bf16Value(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
/// For numbers, not NaN.
NPUC_FORCE uint16_t bf16Bits(float x) {
  uint32_t b = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
}

void f16ToF32(const std::byte *source, float *to, size_t count) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(load<__m128i>(source + 2 * i)));
  for (; i < count; ++i)
    to[i] = _cvtsh_ss(element<uint16_t>(source, i));
#else
  for (; i < count; ++i)
    to[i] = fromF16(element<uint16_t>(source, i));
#endif
}

void f32ToF16(const float *from, std::byte *destination, size_t count) {
  size_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= count; i += 8) {
    __m256 x = _mm256_loadu_ps(from + i);
    x = _mm256_blendv_ps(x, _mm256_set1_ps(__builtin_nanf("")), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    store(destination + 2 * i, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#endif
  for (; i < count; ++i)
    setElement<uint16_t>(destination, i, from[i] == from[i] ? toF16(from[i]) : 0x7e00);
}

/// Rounds floats to F16 or BF16 in place.
NPUC_FORCE void roundTo(ElementType type, float *x, size_t count) {
  if (type == ElementType::F16) {
    size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= count; i += 8)
      _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm256_cvtps_ph(
                                  _mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
#endif
    for (; i < count; ++i)
      x[i] = fromF16(toF16(x[i]));
  } else if (type == ElementType::BF16) {
    for (size_t i = 0; i < count; ++i)
      x[i] = x[i] == x[i] ? bf16Value(bf16Bits(x[i])) : x[i];
  }
}

/// Nearest even, saturating to [least, greatest]; NaN gives 0.
NPUC_FORCE int32_t toInteger(float x, float least, float greatest) {
  x = x < least ? least : x;
  x = x > greatest ? greatest : x;
  x = x == x ? x : 0.0f;
  return static_cast<int32_t>(__builtin_rintf(x));
}
NPUC_FORCE int32_t toI32Saturated(double x) {
  x = x < -2147483648.0 ? -2147483648.0 : x;
  x = x > 2147483647.0 ? 2147483647.0 : x;
  x = x == x ? x : 0.0;
  return static_cast<int32_t>(__builtin_rint(x));
}
NPUC_FORCE int32_t clamp(int64_t x, int64_t least, int64_t greatest) {
  return static_cast<int32_t>(x < least ? least : x > greatest ? greatest : x);
}
constexpr int64_t leastI32 = INT32_MIN, greatestI32 = INT32_MAX;

/// to[i] = f(number i of `s`, numbers of T).
template <class T, class To, class F>
NPUC_FORCE void eachFrom(const std::byte *s, To *to, size_t n, F f) {
  for (size_t i = 0; i < n; ++i)
    to[i] = static_cast<To>(f(element<T>(s, i)));
}
/// Number i of `d`, numbers of T, = f(from[i]).
template <class T, class From, class F>
NPUC_FORCE void eachInto(const From *from, std::byte *d, size_t n, F f) {
  for (size_t i = 0; i < n; ++i)
    setElement(d, i, static_cast<T>(f(from[i])));
}
template <class From, class F>
NPUC_FORCE void eachNibble(const From *from, std::byte *d, size_t n, F f) {
  for (size_t i = 0; i < n; ++i)
    setNibble(d, i, f(from[i]));
}
constexpr auto same = [](auto x) { return x; };
constexpr auto isNotZero = [](auto x) { return x != 0; };
constexpr auto toI32Clamped = [](int64_t x) { return clamp(x, leastI32, greatestI32); };

void toF32(ElementType type, const std::byte *s, float *to, size_t n) {
  switch (type) {
  case ElementType::Bool:
    return eachFrom<uint8_t>(s, to, n, isNotZero);
  case ElementType::I4:
  case ElementType::U4:
    for (size_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(nibble(s, i, type == ElementType::I4));
    return;
  case ElementType::I8:
    return eachFrom<int8_t>(s, to, n, same);
  case ElementType::U8:
    return eachFrom<uint8_t>(s, to, n, same);
  case ElementType::I16:
    return eachFrom<int16_t>(s, to, n, same);
  case ElementType::U16:
    return eachFrom<uint16_t>(s, to, n, same);
  case ElementType::I32:
    return eachFrom<int32_t>(s, to, n, same);
  case ElementType::U32:
    return eachFrom<uint32_t>(s, to, n, same);
  case ElementType::I64:
    return eachFrom<int64_t>(s, to, n, same);
  case ElementType::U64:
    return eachFrom<uint64_t>(s, to, n, same);
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
    return eachFrom<uint8_t>(s, to, n, [values = f8Values(type)](uint8_t code) { return values[code]; });
  case ElementType::F16:
    return f16ToF32(s, to, n);
  case ElementType::BF16:
    return eachFrom<uint16_t>(s, to, n, bf16Value);
  case ElementType::F32:
    __builtin_memcpy(to, s, 4 * n);
    return;
  case ElementType::F64:
    return eachFrom<double>(s, to, n, same);
  }
}

void toI32(ElementType type, const std::byte *s, int32_t *to, size_t n) {
  switch (type) {
  case ElementType::Bool:
    return eachFrom<uint8_t>(s, to, n, isNotZero);
  case ElementType::I4:
  case ElementType::U4:
    for (size_t i = 0; i < n; ++i)
      to[i] = nibble(s, i, type == ElementType::I4);
    return;
  case ElementType::I8:
    return eachFrom<int8_t>(s, to, n, same);
  case ElementType::U8:
    return eachFrom<uint8_t>(s, to, n, same);
  case ElementType::I16:
    return eachFrom<int16_t>(s, to, n, same);
  case ElementType::U16:
    return eachFrom<uint16_t>(s, to, n, same);
  case ElementType::I32:
    __builtin_memcpy(to, s, 4 * n);
    return;
  case ElementType::U32:
    return eachFrom<uint32_t>(s, to, n, toI32Clamped);
  case ElementType::I64:
    return eachFrom<int64_t>(s, to, n, toI32Clamped);
  case ElementType::U64:
    return eachFrom<uint64_t>(s, to, n, [](uint64_t x) { return x > INT32_MAX ? INT32_MAX : x; });
  case ElementType::F64:
    return eachFrom<double>(s, to, n, toI32Saturated);
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
  case ElementType::F16:
  case ElementType::BF16:
  case ElementType::F32:
    for (size_t i = 0; i < n; ++i) {
      float value;
      toF32(type, s + i * (bitWidth(type) / 8), &value, 1);
      to[i] = toI32Saturated(value);
    }
    return;
  }
}

void fromF32(ElementType type, const float *from, std::byte *d, size_t n) {
  auto within = [](float least, float greatest) {
    return [=](float x) { return toInteger(x, least, greatest); };
  };
  switch (type) {
  case ElementType::Bool:
    return eachInto<uint8_t>(from, d, n, isNotZero);
  case ElementType::I4:
    return eachNibble(from, d, n, within(-8, 7));
  case ElementType::U4:
    return eachNibble(from, d, n, within(0, 15));
  case ElementType::I8:
    return eachInto<int8_t>(from, d, n, within(-128, 127));
  case ElementType::U8:
    return eachInto<uint8_t>(from, d, n, within(0, 255));
  case ElementType::I16:
    return eachInto<int16_t>(from, d, n, within(-32768, 32767));
  case ElementType::U16:
    return eachInto<uint16_t>(from, d, n, within(0, 65535));
  case ElementType::I32:
    return eachInto<int32_t>(from, d, n, toI32Saturated);
  case ElementType::U32:
    return eachInto<uint32_t>(from, d, n, [](float f) {
      double x = f > 0 ? f : 0.0;
      return __builtin_rint(x < 4294967295.0 ? x : 4294967295.0);
    });
  case ElementType::I64:
    return eachInto<int64_t>(from, d, n, [](float f) {
      float x = f == f ? f : 0.0f;
      return x >= 0x1p63f ? INT64_MAX : x < -0x1p63f ? INT64_MIN : static_cast<int64_t>(__builtin_rintf(x));
    });
  case ElementType::U64:
    return eachInto<uint64_t>(from, d, n, [](float f) {
      float x = f > 0 ? f : 0.0f;
      return x >= 0x1p64f ? UINT64_MAX : static_cast<uint64_t>(__builtin_rintf(x));
    });
  case ElementType::F8E4M3:
    return eachInto<uint8_t>(from, d, n, [](float x) { return x == x ? toF8E4M3(x, true) : 0x7f; });
  case ElementType::F8E5M2:
    return eachInto<uint8_t>(from, d, n, [](float x) { return x == x ? toF8E5M2(x, true) : 0x7e; });
  case ElementType::F16:
    return f32ToF16(from, d, n);
  case ElementType::BF16:
    return eachInto<uint16_t>(from, d, n, [](float x) { return x == x ? bf16Bits(x) : 0x7fc0; });
  case ElementType::F32:
    return eachInto<float>(from, d, n, [](float x) { return t::detail::orNaN(x, x); });
  case ElementType::F64:
    return eachInto<double>(from, d, n, [](float x) { return t::detail::orNaN(x, x); });
  }
}

void fromI32(ElementType type, const int32_t *from, std::byte *d, size_t n) {
  auto within = [](int32_t least, int32_t greatest) {
    return [=](int32_t x) { return x < least ? least : x > greatest ? greatest : x; };
  };
  constexpr auto notNegative = [](int32_t x) { return x < 0 ? 0 : x; };
  switch (type) {
  case ElementType::Bool:
    return eachInto<uint8_t>(from, d, n, isNotZero);
  case ElementType::I4:
    return eachNibble(from, d, n, within(-8, 7));
  case ElementType::U4:
    return eachNibble(from, d, n, within(0, 15));
  case ElementType::I8:
    return eachInto<int8_t>(from, d, n, within(-128, 127));
  case ElementType::U8:
    return eachInto<uint8_t>(from, d, n, within(0, 255));
  case ElementType::I16:
    return eachInto<int16_t>(from, d, n, within(-32768, 32767));
  case ElementType::U16:
    return eachInto<uint16_t>(from, d, n, within(0, 65535));
  case ElementType::I32:
    __builtin_memcpy(d, from, 4 * n);
    return;
  case ElementType::U32:
    return eachInto<uint32_t>(from, d, n, notNegative);
  case ElementType::I64:
    return eachInto<int64_t>(from, d, n, same);
  case ElementType::U64:
    return eachInto<uint64_t>(from, d, n, notNegative);
  case ElementType::F64:
    return eachInto<double>(from, d, n, same);
  case ElementType::F8E4M3:
  case ElementType::F8E5M2:
  case ElementType::F16:
  case ElementType::BF16:
  case ElementType::F32:
    for (size_t i = 0; i < n; ++i) {
      float value = static_cast<float>(from[i]);
      fromF32(type, &value, d + i * (bitWidth(type) / 8), 1);
    }
    return;
  }
}

void toI16(ElementType type, const std::byte *s, int16_t *to, size_t n) {
  switch (type) {
  case ElementType::I8:
    return eachFrom<int8_t>(s, to, n, same);
  case ElementType::U8:
    return eachFrom<uint8_t>(s, to, n, same);
  default: // I4 and U4
    for (size_t i = 0; i < n; ++i)
      to[i] = static_cast<int16_t>(nibble(s, i, type == ElementType::I4));
    return;
  }
}

//===- Instructions
//-----------------------------------------------------------------------------------------------------===//

template <class F>
NPUC_FORCE void eachF(Lane *d, const Lane *a, size_t n, F f) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    d[i].f = f(a[i].f);
}
template <class F>
NPUC_FORCE void eachFF(Lane *d, const Lane *a, const Lane *b, size_t n, F f) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    d[i].f = f(a[i].f, b[i].f);
}
template <class F>
NPUC_FORCE void eachFFI(Lane *d, const Lane *a, const Lane *b, size_t n, F f) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    d[i].i = f(a[i].f, b[i].f);
}
template <class F>
NPUC_FORCE void eachI(Lane *d, const Lane *a, size_t n, F f) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    d[i].i = static_cast<int32_t>(f(a[i].i));
}
template <class F>
NPUC_FORCE void eachII(Lane *d, const Lane *a, const Lane *b, size_t n, F f) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    d[i].i = static_cast<int32_t>(f(a[i].i, b[i].i));
}

NPUC_FORCE uint32_t u(int32_t x) {
  return static_cast<uint32_t>(x);
}
NPUC_FORCE float lesser(float a, float b) {
  float r = a < b ? a : b;
  r = a == b ? std::bit_cast<float>(std::bit_cast<uint32_t>(a) | std::bit_cast<uint32_t>(b))
             : r; // −0 before +0
  return t::detail::orNaN(a, t::detail::orNaN(b, r));
}
NPUC_FORCE float greater(float a, float b) {
  float r = a > b ? a : b;
  r = a == b ? std::bit_cast<float>(std::bit_cast<uint32_t>(a) & std::bit_cast<uint32_t>(b)) : r;
  return t::detail::orNaN(a, t::detail::orNaN(b, r));
}
/// Instructions whose result is a float and whose rounding to F16 or BF16 follows.
void executeFloat(VectorOp op, Lane *d, const Lane *a, const Lane *b, size_t n) {
  switch (op) {
  case VectorOp::Add:
    return eachFF(d, a, b, n, [](float x, float y) { return x + y; });
  case VectorOp::Subtract:
    return eachFF(d, a, b, n, [](float x, float y) { return x - y; });
  case VectorOp::Multiply:
    return eachFF(d, a, b, n, [](float x, float y) { return x * y; });
  case VectorOp::Divide:
    return eachFF(d, a, b, n, [](float x, float y) { return x / y; });
  case VectorOp::Minimum:
    return eachFF(d, a, b, n, lesser);
  case VectorOp::Maximum:
    return eachFF(d, a, b, n, greater);
  case VectorOp::Negate:
    return eachF(d, a, n, [](float x) { return -x; });
  case VectorOp::Absolute:
    return eachF(d, a, n, t::detail::magnitude);
  case VectorOp::Floor:
    return eachF(d, a, n, [](float x) { return __builtin_floorf(x); });
  case VectorOp::Ceil:
    return eachF(d, a, n, [](float x) { return __builtin_ceilf(x); });
  case VectorOp::RoundEven:
    return eachF(d, a, n, [](float x) { return __builtin_rintf(x); });
  case VectorOp::Sign:
    return eachF(d, a, n, [](float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; });
  case VectorOp::Reciprocal:
    return eachF(d, a, n, [](float x) { return 1.0f / x; });
  case VectorOp::Exp:
    return eachF(d, a, n, [](float x) { return t::exp(x); });
  case VectorOp::Log:
    return eachF(d, a, n, [](float x) { return t::log(x); });
  case VectorOp::Sqrt:
    return eachF(d, a, n, [](float x) { return t::sqrt(x); });
  case VectorOp::Rsqrt:
    return eachF(d, a, n, [](float x) { return t::rsqrt(x); });
  case VectorOp::Tanh:
    return eachF(d, a, n, [](float x) { return t::tanh(x); });
  case VectorOp::Erf:
    return eachF(d, a, n, [](float x) { return t::erf(x); });
  case VectorOp::Sin:
    return eachF(d, a, n, [](float x) { return t::sin(x); });
  case VectorOp::Cos:
    return eachF(d, a, n, [](float x) { return t::cos(x); });
  case VectorOp::Sigmoid:
    return eachF(d, a, n, [](float x) { return t::sigmoid(x); });
  default:
    __builtin_unreachable();
  }
}

void executeInteger(VectorOp op, Lane *d, const Lane *a, const Lane *b, const Lane *c, size_t n) {
  switch (op) {
  case VectorOp::Add:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return u(x) + u(y); });
  case VectorOp::Subtract:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return u(x) - u(y); });
  case VectorOp::Multiply:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return u(x) * u(y); });
  case VectorOp::Minimum:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x < y ? x : y; });
  case VectorOp::Maximum:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x > y ? x : y; });
  case VectorOp::Negate:
    return eachI(d, a, n, [](int32_t x) { return 0u - u(x); });
  case VectorOp::Absolute:
    return eachI(d, a, n, [](int32_t x) { return x < 0 ? 0u - u(x) : u(x); });
  case VectorOp::Sign:
    return eachI(d, a, n, [](int32_t x) { return (x > 0) - (x < 0); });
  case VectorOp::And:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x & y; });
  case VectorOp::Or:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x | y; });
  case VectorOp::Xor:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x ^ y; });
  case VectorOp::Not:
    return eachI(d, a, n, [](int32_t x) { return ~x; });
  case VectorOp::ShiftLeft:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return u(x) << (y & 31); });
  case VectorOp::ShiftRight:
    return eachII(d, a, b, n, [](int32_t x, int32_t y) { return x >> (y & 31); });
  case VectorOp::Requantize:
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i)
      d[i].i = toI32Saturated(static_cast<double>(a[i].i) * static_cast<double>(b[i].f));
    return;
  case VectorOp::RequantizeFixedPoint:
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i) {
      uint32_t shift = u(c[i].i) & 63;
      uint64_t half = (uint64_t{1} << shift) >> 1;
      int64_t sum = static_cast<int64_t>(static_cast<uint64_t>(int64_t{a[i].i} * b[i].i) + half);
      d[i].i = clamp(sum >> shift, leastI32, greatestI32);
    }
    return;
  case VectorOp::RequantizeShift:
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i) {
      int64_t shifted = int64_t{a[i].i} >> (c[i].i & 63);
      d[i].i = clamp((shifted * b[i].i) >> ((c[i].i >> 8) & 63), leastI32, greatestI32);
    }
    return;
  default:
    __builtin_unreachable();
  }
}

void executeCompare(VectorOp op, ElementType type, Lane *d, const Lane *a, const Lane *b, size_t n) {
  bool integer = type == ElementType::I32;
  switch (op) {
  case VectorOp::Equal:
    return integer ? eachII(d, a, b, n, [](int32_t x, int32_t y) { return x == y; })
                   : eachFFI(d, a, b, n, [](float x, float y) { return x == y; });
  case VectorOp::Less:
    return integer ? eachII(d, a, b, n, [](int32_t x, int32_t y) { return x < y; })
                   : eachFFI(d, a, b, n, [](float x, float y) { return x < y; });
  default: // LessEqual
    return integer ? eachII(d, a, b, n, [](int32_t x, int32_t y) { return x <= y; })
                   : eachFFI(d, a, b, n, [](float x, float y) { return x <= y; });
  }
}

void convert(ElementType type, ElementType from, Lane *d, const Lane *a, size_t n) {
  bool toFloat = isFloat(type), fromFloat = isFloat(from);
  if (toFloat && !fromFloat) {
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i)
      d[i].f = static_cast<float>(a[i].i);
  } else if (!toFloat && fromFloat) {
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i)
      d[i].i = toI32Saturated(a[i].f);
  } else if (d != a) {
    __builtin_memcpy(d, a, n * sizeof(Lane));
  }
}

void execute(VectorOp op, ElementType type, ElementType from, Lane *d, const Lane *a, const Lane *b,
             const Lane *c, size_t n) {
  switch (op) {
  case VectorOp::Equal:
  case VectorOp::Less:
  case VectorOp::LessEqual:
    return executeCompare(op, type, d, a, b, n);
  case VectorOp::Select:
#pragma GCC ivdep
    for (size_t i = 0; i < n; ++i)
      d[i].i = a[i].i ? b[i].i : c[i].i;
    break;
  case VectorOp::Move:
  case VectorOp::Convert:
    convert(type, from, d, a, n);
    break;
  case VectorOp::Not:
    if (type == ElementType::Bool)
      return eachI(d, a, n, [](int32_t x) { return x ^ 1; });
    return executeInteger(op, d, a, b, c, n);
  default:
    if (!isFloat(type))
      return executeInteger(op, d, a, b, c, n);
    executeFloat(op, d, a, b, n);
  }
  roundTo(type, &d->f, n);
}

template <size_t rows>
NPUC_FORCE void sumSome(ElementType type, const Lane *lanes, size_t length, Lane *sums) {
  if (type == ElementType::I32) {
    for (size_t i = 0; i < length; ++i)
      for (size_t r = 0; r < rows; ++r)
        sums[r].i = static_cast<int32_t>(u(sums[r].i) + u(lanes[r * length + i].i));
    return;
  }
  float s[rows];
  __builtin_memcpy(s, sums, sizeof s);
  for (size_t i = 0; i < length; ++i) {
    for (size_t r = 0; r < rows; ++r)
      s[r] += lanes[r * length + i].f;
    if (type != ElementType::F32)
      roundTo(type, s, rows);
  }
  __builtin_memcpy(sums, s, sizeof s);
}

void sumRows(ElementType type, const Lane *lanes, size_t rows, size_t length, Lane *sums) {
  size_t r = 0;
  for (; r + 8 <= rows; r += 8)
    sumSome<8>(type, lanes + r * length, length, sums + r);
  for (; r < rows; ++r)
    sumSome<1>(type, lanes + r * length, length, sums + r);
}

/// Greatest or least: the order does not matter, so sixteen partial results are kept.
void reduceRow(VectorOp op, ElementType type, const Lane *lanes, size_t length, Lane *result) {
  constexpr size_t parts = 16;
  Lane partial[parts];
  for (Lane &p : partial)
    p = *result;
  size_t i = 0;
  for (; i + parts <= length; i += parts)
    execute(op, type, type, partial, partial, lanes + i, partial, parts);
  execute(op, type, type, partial, partial, lanes + i, partial, length - i);
  for (size_t half = parts / 2; half > 0; half /= 2)
    execute(op, type, type, partial, partial, partial + half, partial, half);
  *result = partial[0];
}

} // namespace

const Kernels kernels = {toF32,   toI32,     fromF32, fromI32, toI16,       execute,
                         sumRows, reduceRow, tileM,   tileN,   multiplyF32, multiplyI16};

} // namespace npuc::npu_sim::NPUC_SIMD
