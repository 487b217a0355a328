// The inner loops of the functional simulator, compiled once per level of vector instructions. All levels
// give the same bits: every operation is exact or rounded once, sums have one order, and a NaN that is stored
// is always the same one.
#pragma once

#include "backends/npu/isa/Program.h"
#include "support/Simd.h"

#include <cstddef>
#include <cstdint>

namespace npuc::npu_sim {

/// Elements of a block of K that Kernels::multiply… take at once, and the distance between rows of A in it.
/// Rows are padded so that they do not all fall into the same cache sets.
inline constexpr size_t kBlock = 512;
inline constexpr size_t kStrideF32 = kBlock + 16;
inline constexpr size_t kStrideI16 = kBlock + 32;

/// One lane of a vector register: a float of type F32, F16 or BF16 (held as F32), an I32, or a Bool (0 or 1).
union Lane {
  float f;
  int32_t i;
};

struct Kernels {
  // Conversions of `count` consecutive elements in memory to and from lanes; four-bit elements start in a low
  // half. Integers saturate, floats go to integers by rounding to nearest even with NaN to 0, F8 saturates,
  // other floats overflow to infinity; I32 goes to F16, BF16 and F8 through F32. A NaN is stored as the
  // positive quiet one.
  void (*toF32)(ElementType type, const std::byte *source, float *lanes, size_t count);
  void (*toI32)(ElementType type, const std::byte *source, int32_t *lanes, size_t count);
  void (*fromF32)(ElementType type, const float *lanes, std::byte *destination, size_t count);
  void (*fromI32)(ElementType type, const int32_t *lanes, std::byte *destination, size_t count);
  /// Integers of up to eight bits.
  void (*toI16)(ElementType type, const std::byte *source, int16_t *destination, size_t count);

  /// Instructions that take lanes and give lanes, on `count` lanes. `type` is the
  /// instruction's, for Convert and Move `from` the source's. Destinations may be sources.
  void (*execute)(isa::VectorOp op, ElementType type, ElementType from, Lane *dst, const Lane *a,
                  const Lane *b, const Lane *c, size_t count);
  /// Sum of `rows` rows of `length` lanes, added in order to sums[0…rows), each sum rounded to `type`.
  void (*sumRows)(ElementType type, const Lane *lanes, size_t rows, size_t length, Lane *sums);

  /// *result = `op` (Maximum or Minimum) of it and `length` lanes.
  void (*reduceRow)(isa::VectorOp op, ElementType type, const Lane *lanes, size_t length, Lane *result);

  // S[rowsM × columnsN] += A · B with k ascending, each product and sum rounded once: A as rows of kStrideF32
  // (I16) elements, B as rows of columnsN elements (I16: pairs of rows interleaved, [k/2][columnsN][2]), S as
  // rows of `stride`. Of the rows only the first `rows`, which are at least 1, need be right.
  size_t rowsM, columnsN;
  void (*multiplyF32)(const float *a, const float *b, float *s, size_t stride, size_t k, size_t rows);
  void (*multiplyI16)(const int16_t *a, const int16_t *b, int32_t *s, size_t stride, size_t pairs,
                      size_t rows);
};

NPUC_SIMD_VERSIONS(Kernels, kernels)

/// The 256 values of F8E4M3 or F8E5M2.
const float *f8Values(ElementType type);

} // namespace npuc::npu_sim
