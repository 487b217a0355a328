// mma.sync: products of matrices that lie spread over the registers of a warp's lanes.
#pragma once

#include "support/Simd.h"

#include <cstddef>
#include <cstdint>

namespace npuc::ptx {

/// Registers are arrays of 32 numbers: of 32 bits, of f64 ones of 64. Up to four of a, two of b, four of c
/// and d; d may be c.
struct MmaArguments {
  void *d[4];
  const void *a[4], *b[2], *c[4];
  bool saturate; ///< .satfinite of integers.
};

/// PTX ISA, "Matrix Fragments for mma.m16n8k16 with .f16 and .bf16" and its likes: with g = lane / 4, t =
/// lane % 4 and E elements in a register,
///   a: element e of register r is A[g + 8 (r % 2)][t E + e + 4 E (r / 2)]
///   b: element e of register r is B[t E + e + 4 E r][g]
///   c, d of 32 bits: register r is C[g + 8 (r / 2)][2 t + r % 2]; of fp16: element e of register r is C[g +
///   8 r][2 t + e]
struct MmaFunction {
  const char *name;      ///< "m16n8k16.f32.f16.f16.f32"
  uint8_t a, b, c, d;    ///< Registers.
  uint16_t multiplyAdds; ///< Of a warp, divided by its 32 lanes.
  uint8_t width;         ///< Bytes of a register.
  void (*function)(const MmaArguments &);
};
struct MmaTable {
  const MmaFunction *rows;
  size_t count;
};

NPUC_SIMD_VERSIONS(MmaTable, mmaFunctions)

} // namespace npuc::ptx
