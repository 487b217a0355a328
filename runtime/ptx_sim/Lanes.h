// What instructions compute, for the 32 lanes of a warp at a time: pure functions on arrays of 32 numbers,
// one version per level of vector instructions. They know neither registers nor memory.
#pragma once

#include "support/Simd.h"

#include <cstddef>
#include <cstdint>

namespace npuc::ptx {

inline constexpr unsigned warpSize = 32;

/// What modifiers say that the functions look at. The two lowest bits are the rounding.
enum LaneFlag : uint32_t {
  RoundNearest = 0, ///< .rn, to even
  RoundZero = 1,
  RoundDown = 2,
  RoundUp = 3,
  RoundMask = 3,
  Ftz = 1 << 2,  ///< Subnormal fp32 operands and results count as 0 with their sign.
  Sat = 1 << 3,  ///< Results are clamped: floats to [0, 1] with NaN as 0, integers to their range.
  Relu = 1 << 4, ///< Negative results and -0 become 0.
  PropagateNaN = 1 << 5,
  ToInteger = 1 << 6, ///< cvt: round to an integer, in the direction of RoundMask.
  SatFinite = 1 << 7, ///< cvt: what is beyond the largest finite number becomes that.
  RoundAway = 1 << 8, ///< cvt .rna: to nearest, ties away from zero.
  XorSign = 1 << 9,   ///< min and max: of magnitudes, with the product of the signs.
  CombineAnd = 1 << 10,
  CombineOr = 2 << 10,
  CombineXor = 3 << 10,
  CombineMask = 3 << 10, ///< setp: how the comparison goes with the third operand.
  NegateC = 1 << 12,     ///< The third operand is a predicate to be negated.
  Wrap = 1 << 13,        ///< shf: the shift counts modulo 32; otherwise it is at most 32.
};

/// Operands are arrays of 32 numbers as wide as their types; predicates are masks of 32 bits. `d` may be any
/// of the sources. Lanes that `mask` lacks keep what `d` holds.
struct LaneArguments {
  void *d = nullptr;
  void *d2 = nullptr; ///< The second predicate of setp, or null; the carries, as a mask, of .cc.
  const void *a = nullptr, *b = nullptr, *c = nullptr, *e = nullptr;
  uint32_t mask = 0;
  uint32_t flags = 0;
};
using LaneFunction = void (*)(const LaneArguments &);

/// A function by the opcode that it computes, without those modifiers that are flags: "mul.hi.s32".
struct NamedLanes {
  const char *name;
  LaneFunction function;
};
struct LaneTable {
  const NamedLanes *rows;
  size_t count;
};

NPUC_SIMD_VERSIONS(LaneTable, integerLanes)
NPUC_SIMD_VERSIONS(LaneTable, floatLanes)
NPUC_SIMD_VERSIONS(LaneTable, convertLanes)

} // namespace npuc::ptx
