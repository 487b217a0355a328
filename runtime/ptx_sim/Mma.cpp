#include "runtime/ptx_sim/Mma.h"
#include "runtime/ptx_sim/LaneNumbers.h"

namespace npuc::ptx::NPUC_SIMD {
namespace {

// What is in the 32 bits of a register: E numbers, the first in the lowest bits.
struct F16 {
  using Bits = uint16_t;
  using Value = float;
  NPUC_LANES float of(Bits v) { return Half::load(v); }
};
struct BF16 {
  using Bits = uint16_t;
  using Value = float;
  NPUC_LANES float of(Bits v) { return Brain::load(v); }
};
struct TF32Number { // The 13 lowest bits are not looked at.
  using Bits = uint32_t;
  using Value = float;
  NPUC_LANES float of(Bits v) { return floatOf(v & 0xffffe000u); }
};
template <typename Format>
struct F8 {
  using Bits = uint8_t;
  using Value = float;
  NPUC_LANES float of(Bits v) { return Format::decode(v); }
};
struct S8 {
  using Bits = uint8_t;
  using Value = int32_t;
  NPUC_LANES int32_t of(Bits v) { return static_cast<int8_t>(v); }
};
struct U8 {
  using Bits = uint8_t;
  using Value = int32_t;
  NPUC_LANES int32_t of(Bits v) { return v; }
};
struct F64 {
  using Bits = uint64_t;
  using Value = double;
  NPUC_LANES double of(Bits v) { return doubleOf(v); }
};

/// The rows of a matrix of R x K whose groups of four lanes hold consecutive numbers of a row: A as it is and
/// B transposed.
template <typename Number_, unsigned R, unsigned K>
NPUC_LANES void unpack(const void *const *registers, typename Number_::Value (&matrix)[R][K]) {
  using Bits = typename Number_::Bits;
  constexpr unsigned count = (sizeof(Bits) == 8 ? 8 : 4) / sizeof(Bits),
                     run = 4 * count; // Numbers of a register; of four lanes.
  constexpr unsigned down = R / 8;
  for (unsigned r = 0; r < down * K / run; ++r) {
    const auto *from = static_cast<const Number<Bits> *>(registers[r]);
    for (unsigned g = 0; g < 8; ++g)
      for (unsigned k = 0; k < run; ++k)
        matrix[g + 8 * (r % down)][run * (r / down) + k] = Number_::of(from[g * run + k]);
  }
}

/// Sums go in the order of k, a product at a time. A product is rounded to fp32, which is exact but beyond
/// its range; so is each sum.
template <typename A, typename B, unsigned M, unsigned K, typename Sum, typename Product>
NPUC_LANES void multiply(const MmaArguments &x, Sum (&sums)[M][8]) {
  typename A::Value a[M][K];
  typename B::Value transposed[8][K], b[K][8];
  unpack<A, M, K>(x.a, a);
  unpack<B, 8, K>(x.b, transposed);
  for (unsigned k = 0; k < K; ++k)
    for (unsigned j = 0; j < 8; ++j)
      b[k][j] = transposed[j][k];
  for (unsigned i = 0; i < M; ++i)
    for (unsigned k = 0; k < K; ++k)
      for (unsigned j = 0; j < 8; ++j)
        sums[i][j] += static_cast<Product>(a[i][k]) * static_cast<Product>(b[k][j]);
}

/// Sums of 32 bits: two neighbours of a row in two registers.
template <typename T, unsigned M, typename F>
NPUC_LANES void eachSum(F body) {
  for (unsigned r = 0; r < M / 4; ++r)
    for (unsigned lane = 0; lane < warpSize; ++lane)
      body(r, lane, lane / 4 + 8 * (r / 2), 2 * (lane % 4) + r % 2);
}

template <typename A, typename B, unsigned K, bool HalfSums>
void floats(const MmaArguments &x) {
  float sums[16][8];
  if constexpr (HalfSums) {
    for (unsigned r = 0; r < 2; ++r)
      for (unsigned k = 0; k < 64; ++k)
        sums[k / 8 + 8 * r][k % 8] = Half::load(static_cast<const Number<uint16_t> *>(x.c[r])[k]);
  } else {
    eachSum<float, 16>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
      sums[i][j] = static_cast<const Number<float> *>(x.c[r])[lane];
    });
  }
  multiply<A, B, 16, K, float, float>(x, sums);
  if constexpr (HalfSums) {
    for (unsigned r = 0; r < 2; ++r)
      for (unsigned k = 0; k < 64; ++k)
        static_cast<Number<uint16_t> *>(x.d[r])[k] = Half::store(sums[k / 8 + 8 * r][k % 8]);
  } else {
    eachSum<float, 16>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
      static_cast<Number<float> *>(x.d[r])[lane] = canonical(sums[i][j]);
    });
  }
}

template <typename A, typename B, unsigned M, unsigned K>
void integers(const MmaArguments &x) {
  int32_t sums[M][8] = {}, c[M][8]; // Sums of products alone, which are far from overflow.
  eachSum<int32_t, M>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
    c[i][j] = static_cast<const Number<int32_t> *>(x.c[r])[lane];
  });
  multiply<A, B, M, K, int32_t, int32_t>(x, sums);
  eachSum<int32_t, M>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
    const int64_t sum = int64_t{sums[i][j]} + c[i][j];
    const int64_t kept = sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum;
    static_cast<Number<int32_t> *>(x.d[r])[lane] = static_cast<int32_t>(x.saturate ? kept : sum);
  });
}

void doubles(const MmaArguments &x) {
  double sums[8][8];
  eachSum<double, 8>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
    sums[i][j] = static_cast<const Number<double> *>(x.c[r])[lane];
  });
  double a[8][4], b[8][4];
  unpack<F64, 8, 4>(x.a, a);
  unpack<F64, 8, 4>(x.b, b);
  for (unsigned i = 0; i < 8; ++i)
    for (unsigned j = 0; j < 8; ++j)
      for (unsigned k = 0; k < 4; ++k)
        sums[i][j] = __builtin_fma(a[i][k], b[j][k], sums[i][j]);
  eachSum<double, 8>([&](unsigned r, unsigned lane, unsigned i, unsigned j) {
    static_cast<Number<double> *>(x.d[r])[lane] = sums[i][j];
  });
}

#define NPUC_F32_ROW(k, name, A, B, a, b)                                                                    \
  {"m16n8k" #k ".f32." name ".f32", a, b, 4, 4, 4 * k, 4, floats<A, B, k, false>}
#define NPUC_HALF_ROWS(k, name, A, B, a, b)                                                                  \
  NPUC_F32_ROW(k, name, A, B, a, b), {                                                                       \
    "m16n8k" #k ".f16." name ".f16", a, b, 2, 2, 4 * k, 4, floats<A, B, k, true>                             \
  }
#define NPUC_BYTE_ROWS(name, A, B)                                                                           \
  {"m8n8k16.s32." name ".s32", 1, 1, 2, 2, 32, 4, integers<A, B, 8, 16>},                                    \
      {"m16n8k16.s32." name ".s32", 2, 1, 4, 4, 64, 4, integers<A, B, 16, 16>}, {                            \
    "m16n8k32.s32." name ".s32", 4, 2, 4, 4, 128, 4, integers<A, B, 16, 32>                                  \
  }

constexpr MmaFunction rows[] = {
    NPUC_HALF_ROWS(8, "f16.f16", F16, F16, 2, 1),
    NPUC_HALF_ROWS(16, "f16.f16", F16, F16, 4, 2),
    NPUC_F32_ROW(8, "bf16.bf16", BF16, BF16, 2, 1),
    NPUC_F32_ROW(16, "bf16.bf16", BF16, BF16, 4, 2),
    NPUC_F32_ROW(4, "tf32.tf32", TF32Number, TF32Number, 2, 1),
    NPUC_F32_ROW(8, "tf32.tf32", TF32Number, TF32Number, 4, 2),
    NPUC_HALF_ROWS(16, "e4m3.e4m3", F8<E4M3>, F8<E4M3>, 2, 1),
    NPUC_HALF_ROWS(16, "e4m3.e5m2", F8<E4M3>, F8<E5M2>, 2, 1),
    NPUC_HALF_ROWS(16, "e5m2.e4m3", F8<E5M2>, F8<E4M3>, 2, 1),
    NPUC_HALF_ROWS(16, "e5m2.e5m2", F8<E5M2>, F8<E5M2>, 2, 1),
    NPUC_HALF_ROWS(32, "e4m3.e4m3", F8<E4M3>, F8<E4M3>, 4, 2),
    NPUC_HALF_ROWS(32, "e4m3.e5m2", F8<E4M3>, F8<E5M2>, 4, 2),
    NPUC_HALF_ROWS(32, "e5m2.e4m3", F8<E5M2>, F8<E4M3>, 4, 2),
    NPUC_HALF_ROWS(32, "e5m2.e5m2", F8<E5M2>, F8<E5M2>, 4, 2),
    NPUC_BYTE_ROWS("s8.s8", S8, S8),
    NPUC_BYTE_ROWS("s8.u8", S8, U8),
    NPUC_BYTE_ROWS("u8.s8", U8, S8),
    NPUC_BYTE_ROWS("u8.u8", U8, U8),
    {"m8n8k4.f64.f64.f64.f64", 1, 1, 2, 2, 8, 8, doubles},
};

} // namespace

extern const MmaTable mmaFunctions = {rows, sizeof rows / sizeof *rows};

} // namespace npuc::ptx::NPUC_SIMD
