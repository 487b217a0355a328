// What instructions on registers compute, by hand.
#include "test/unit/ptx_sim/Harness.h"

#include <bit>
#include <cmath>
#include <fmt/format.h>
#include <limits>

namespace npuc::ptx::test {
namespace {

/// An instruction whose sources are registers 1, 2 and 3 (%h1, %r1, %d1 and so on hold a; %p1 and %p2 are
/// bits 0 of a and b), and whose result is register 9.
struct Row {
  const char *instruction;
  uint64_t a, b, c, expected;
};

uint64_t result(const Row &row) {
  const std::string text = row.instruction;
  std::string body;
  for (unsigned k = 1; k <= 3; ++k)
    body +=
        fmt::format("ld.global.u64 %d{0}, [%a0 + {1}]; cvt.u32.u64 %r{0}, %d{0}; cvt.u16.u64 %h{0}, %d{0};\n",
                    k, 8 * (k - 1)) +
        fmt::format("mov.b32 %f{0}, %r{0}; mov.b64 %g{0}, %d{0}; and.b32 %r20, %r{0}, 1; setp.ne.u32 %p{0}, "
                    "%r20, 0;\n",
                    k);
  body += text + "\n";
  const char kind = text[text.find('9') - 1];
  if (kind == 'p')
    body += "selp.u32 %r9, 1, 0, %p9;\n";
  if (kind == 'f')
    body += "mov.b32 %r9, %f9;\n";
  if (kind == 'g')
    body += "mov.b64 %d9, %g9;\n";
  body += kind == 'h'                  ? "cvt.u64.u16 %d9, %h9;\n"
          : kind == 'd' || kind == 'g' ? ""
                                       : "cvt.u64.u32 %d9, %r9;\n";
  body += "setp.eq.u32 %p40, %i, 0; @%p40 st.global.u64 [%a1], %d9;";
  Run run(kernel(2, body));
  run.array(std::vector<uint64_t>{row.a, row.b, row.c}).fresh(8).go();
  CHECK(run.findings().empty());
  return run.get<uint64_t>(1)[0];
}

template <size_t N>
void check(const Row (&rows)[N]) {
  for (const Row &row : rows) {
    const uint64_t got = result(row);
    INFO(fmt::format("{} of {:#x}, {:#x}, {:#x}: {:#x} and should be {:#x}", row.instruction, row.a, row.b,
                     row.c, got, row.expected));
    CHECK(got == row.expected);
  }
}

constexpr uint64_t f32(float v) {
  return std::bit_cast<uint32_t>(v);
}
constexpr uint64_t f64(double v) {
  return std::bit_cast<uint64_t>(v);
}
constexpr uint64_t s32(int32_t v) {
  return static_cast<uint32_t>(v);
}
constexpr uint64_t s64(int64_t v) {
  return static_cast<uint64_t>(v);
}
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr uint64_t nan32 = 0x7fffffff, nan16 = 0x7fff; // PTX's canonical NaN.

} // namespace

TEST_CASE("integers: sums, products, quotients") {
  const Row rows[] = {
      {"add.s32 %r9, %r1, %r2;", 0xffffffff, 3, 0, 2},
      {"add.sat.s32 %r9, %r1, %r2;", 0x7fffffff, 1, 0, 0x7fffffff},
      {"sub.sat.s32 %r9, %r1, %r2;", 0x80000000, 1, 0, 0x80000000},
      {"add.u16 %h9, %h1, %h2;", 0xffff, 2, 0, 1},
      {"sub.s64 %d9, %d1, %d2;", 1, 2, 0, s64(-1)},
      {"add.s16x2 %r9, %r1, %r2;", 0x0001ffff, 0x00010001, 0, 0x00020000}, // no carry from the lower half
      {"mul.lo.s32 %r9, %r1, %r2;", 0x10000, 0x10001, 0, 0x10000},
      {"mul.hi.s32 %r9, %r1, %r2;", s32(-2), 3, 0, s32(-1)}, // -6
      {"mul.hi.u32 %r9, %r1, %r2;", 0xfffffffe, 3, 0, 2},    // 3 * 2^32 - 6
      {"mul.hi.u64 %d9, %d1, %d2;", ~0ull, ~0ull, 0, ~1ull}, // (2^64 - 1)^2
      {"mul.hi.s64 %d9, %d1, %d2;", s64(-1), 1, 0, s64(-1)},
      {"mul.wide.s32 %d9, %r1, %r2;", s32(-2), 3, 0, s64(-6)},
      {"mul.wide.u16 %r9, %h1, %h2;", 0xffff, 0xffff, 0, 0xfffe0001},
      {"mad.lo.u32 %r9, %r1, %r2, %r3;", 5, 6, 7, 37},
      {"mad.wide.s32 %d9, %r1, %r2, %d3;", s32(-5), 6, 100, 70},
      {"mad.hi.sat.s32 %r9, %r1, %r2, %r3;", 0x40000000, 0x40000000, 0x7fffffff, 0x7fffffff}, // 2^28 more
      {"mul24.lo.u32 %r9, %r1, %r2;", 0xff000003, 5, 0, 15},
      {"mul24.hi.s32 %r9, %r1, %r2;", 0x00ffffff, 1, 0, s32(-1)}, // -1 of 24 bits
      {"sad.u32 %r9, %r1, %r2, %r3;", 3, 10, 100, 107},
      {"sad.s32 %r9, %r1, %r2, %r3;", s32(-3), 10, 100, 113},
      {"div.s32 %r9, %r1, %r2;", s32(-7), 2, 0, s32(-3)},
      {"rem.s32 %r9, %r1, %r2;", s32(-7), 2, 0, s32(-1)},
      {"div.u32 %r9, %r1, %r2;", 7, 0, 0, 0xffffffff},
      {"div.s32 %r9, %r1, %r2;", 0x80000000, s32(-1), 0, 0x80000000},
      {"rem.u64 %d9, %d1, %d2;", 1000000000007, 10, 0, 7},
      {"abs.s32 %r9, %r1;", s32(-5), 0, 0, 5},
      {"neg.s16 %h9, %h1;", 1, 0, 0, 0xffff},
      {"min.s32 %r9, %r1, %r2;", s32(-1), 1, 0, s32(-1)},
      {"min.u32 %r9, %r1, %r2;", s32(-1), 1, 0, 1},
      {"max.relu.s32 %r9, %r1, %r2;", s32(-1), s32(-2), 0, 0},
      {"max.s16x2 %r9, %r1, %r2;", 0x0001ffff, 0xffff0001, 0, 0x00010001},
      {"dp4a.s32.u32 %r9, %r1, %r2, %r3;", 0xff010203, 0x01020304, 10,
       10 - 1 + 2 + 6 + 12}, // bytes -1 1 2 3 by 1 2 3 4
      {"dp2a.lo.s32.s32 %r9, %r1, %r2, %r3;", 0xffff0002, 0x05060304, 1, 1 + 2 * 4 - 3},
      {"dp2a.hi.s32.s32 %r9, %r1, %r2, %r3;", 0xffff0002, 0x05060304, 1, 1 + 2 * 6 - 5},
      {"{ .reg .b32 %t; add.cc.u32 %t, %r1, %r2; addc.u32 %r9, %r3, 0; }", 0xffffffff, 1, 5, 6},
      {"{ .reg .b32 %t; sub.cc.u32 %t, %r1, %r2; subc.u32 %r9, %r3, 0; }", 0, 1, 5, 4},
      {"{ .reg .b32 %t; mad.lo.cc.u32 %t, %r1, %r1, %r2; madc.hi.u32 %r9, %r1, %r1, 0; }", 0xffffffff,
       0xffffffff, 0, 0xffffffff},
  };
  check(rows);
}

TEST_CASE("integers: bits") {
  const Row rows[] = {
      {"and.b32 %r9, %r1, %r2;", 0xf0f0, 0xff00, 0, 0xf000},
      {"or.b64 %d9, %d1, %d2;", 1ull << 63, 1, 0, 1ull << 63 | 1},
      {"xor.b16 %h9, %h1, %h2;", 0xffff, 0x00ff, 0, 0xff00},
      {"not.b32 %r9, %r1;", 0, 0, 0, 0xffffffff},
      {"cnot.b32 %r9, %r1;", 0, 0, 0, 1},
      {"shl.b32 %r9, %r1, %r2;", 1, 31, 0, 0x80000000},
      {"shl.b32 %r9, %r1, %r2;", 1, 32, 0, 0},
      {"shr.s32 %r9, %r1, %r2;", 0x80000000, 40, 0, 0xffffffff},
      {"shr.u32 %r9, %r1, %r2;", 0x80000000, 31, 0, 1},
      {"shr.b64 %d9, %d1, %r2;", 1ull << 40, 40, 0, 1},
      {"shf.l.wrap.b32 %r9, %r1, %r2, %r3;", 0x80000000, 1, 33, 3},
      {"shf.l.clamp.b32 %r9, %r1, %r2, %r3;", 0x80000000, 1, 33, 0x80000000},
      {"shf.r.wrap.b32 %r9, %r1, %r2, %r3;", 0, 1, 1, 0x80000000},
      {"lop3.b32 %r9, %r1, %r2, %r3, 0x96;", 0xf0, 0xcc, 0xaa, 0xf0 ^ 0xcc ^ 0xaa},           // a ^ b ^ c
      {"lop3.b32 %r9, %r1, %r2, %r3, 0xca;", 0xf0, 0xcc, 0xaa, (0xf0 & 0xcc) | (0xa & 0xaa)}, // a ? b : c
      {"prmt.b32 %r9, %r1, %r2, %r3;", 0x33221100, 0x77665584, 0x7c04,
       0x77ff0084}, // byte 4 is 0x84, so its sign is ff
      {"prmt.b32.b4e %r9, %r1, %r2, %r3;", 0x33221100, 0x77665544, 1, 0x66770011},
      {"popc.b64 %r9, %d1;", ~0ull, 0, 0, 64},
      {"clz.b32 %r9, %r1;", 0, 0, 0, 32},
      {"clz.b64 %r9, %d1;", 1, 0, 0, 63},
      {"bfind.u32 %r9, %r1;", 0x8000, 0, 0, 15},
      {"bfind.s32 %r9, %r1;", s32(-2), 0, 0, 0}, // the highest bit that is not the sign
      {"bfind.u32 %r9, %r1;", 0, 0, 0, 0xffffffff},
      {"bfind.shiftamt.u32 %r9, %r1;", 0x8000, 0, 0, 16},
      {"brev.b32 %r9, %r1;", 1, 0, 0, 0x80000000},
      {"brev.b64 %d9, %d1;", 6, 0, 0, 3ull << 61},
      {"bfe.u32 %r9, %r1, 8, 8;", 0x12345678, 0, 0, 0x56},
      {"bfe.s32 %r9, %r1, 4, 4;", 0x00000f80, 0, 0, s32(-8)}, // 8 is its sign
      {"bfe.s32 %r9, %r1, 28, 8;", 0x90000000, 0, 0, 0xfffffff9},
      {"bfe.u64 %d9, %d1, 60, 8;", ~0ull, 0, 0, 15},
      {"bfe.u32 %r9, %r1, 40, 8;", ~0ull, 0, 0, 0},
      {"bfi.b32 %r9, %r1, %r2, 8, 4;", 0xff, 0, 0, 0xf00},
      {"bfi.b64 %d9, %d1, %d2, 60, 10;", 0x3a, ~0ull, 0, 0xafffffffffffffff},
      {"bmsk.clamp.b32 %r9, %r1, %r2;", 4, 8, 0, 0xff0},
      {"szext.clamp.s32 %r9, %r1, %r2;", 0x0f, 4, 0, s32(-1)},
      {"szext.clamp.u32 %r9, %r1, %r2;", 0xff, 4, 0, 15},
      {"fns.b32 %r9, %r1, 0, 2;", 0b101100, 0, 0, 3}, // bits 2, 3 and 5 are set
      {"fns.b32 %r9, %r1, 4, -1;", 0b101100, 0, 0, 3},
      {"mov.b32 %r9, {%h1, %h2};", 0x1111, 0x2222, 0, 0x22221111},
      {"mov.b64 %d9, {%r1, %r2};", 1, 2, 0, 2ull << 32 | 1},
      {"{ .reg .b32 %t; mov.b64 {%t, %r9}, %d1; }", 7ull << 32, 0, 0, 7},
      {"mov.b64 {_, %r9}, %d1;", 7ull << 32, 0, 0, 7},
      {"selp.b32 %r9, %r1, %r2, %p1;", 3, 4, 0, 3},
      {"slct.s32.s32 %r9, %r1, %r2, %r3;", 3, 4, s32(-1), 4},
      {"slct.u32.f32 %r9, %r1, %r2, %f3;", 3, 4, f32(-0.0f), 3},
  };
  check(rows);
}

TEST_CASE("comparisons and predicates") {
  const Row rows[] = {
      {"setp.lt.s32 %p9, %r1, %r2;", s32(-1), 0, 0, 1},
      {"setp.lo.u32 %p9, %r1, %r2;", s32(-1), 0, 0, 0},
      {"setp.hs.u64 %p9, %d1, %d2;", ~0ull, 1, 0, 1},
      {"setp.eq.b16 %p9, %h1, %h2;", 7, 7, 0, 1},
      {"setp.lt.and.s32 %p9, %r1, %r2, %p1;", 1, 2, 0, 1},
      {"setp.lt.and.s32 %p9, %r1, %r2, !%p1;", 1, 2, 0, 0},
      {"setp.lt.or.s32 %p9, %r2, %r1, %p1;", 1, 2, 0, 1},
      {"setp.lt.xor.s32 %p9, %r1, %r2, %p1;", 1, 2, 0, 0},
      {"setp.lt.s32 %p8|%p9, %r1, %r2;", 1, 2, 0, 0},
      {"setp.lt.f32 %p9, %f1, %f2;", nan32, 0, 0, 0},
      {"setp.ltu.f32 %p9, %f1, %f2;", nan32, 0, 0, 1},
      {"setp.ne.f32 %p9, %f1, %f2;", nan32, 0, 0, 0},
      {"setp.neu.f32 %p9, %f1, %f2;", nan32, 0, 0, 1},
      {"setp.num.f32 %p9, %f1, %f2;", f32(1), f32(2), 0, 1},
      {"setp.nan.f64 %p9, %g1, %g2;", f64(1), ~0ull, 0, 1},
      {"setp.eq.f32 %p9, %f1, %f2;", 1, 0, 0, 0}, // a subnormal
      {"setp.eq.ftz.f32 %p9, %f1, %f2;", 1, 0, 0, 1},
      {"setp.gt.f16 %p9, %h1, %h2;", 0x3c00, 0xc000, 0, 1},  // 1 > -2
      {"setp.gt.bf16 %p9, %h1, %h2;", 0x3f80, 0x4000, 0, 0}, // 1 > 2
      {"set.lt.u32.s32 %r9, %r1, %r2;", s32(-1), 0, 0, 0xffffffff},
      {"set.lt.f32.s32 %f9, %r1, %r2;", s32(-1), 0, 0, f32(1)},
      {"set.lt.f16.f16 %h9, %h1, %h2;", 0x3c00, 0x4000, 0, 0x3c00},
      {"set.lt.u16.bf16 %h9, %h1, %h2;", 0x3f80, 0x4000, 0, 0xffff},
      {"set.gt.f16x2.f16x2 %r9, %r1, %r2;", 0x40003c00, 0x3c003c00, 0,
       0x3c000000}, // 2 > 1 above, 1 > 1 below
      {"setp.gt.f16x2 %p8|%p9, %r1, %r2;", 0x40003c00, 0x3c003c00, 0, 1},
      {"setp.gt.f16x2 %p9|%p8, %r1, %r2;", 0x40003c00, 0x3c003c00, 0, 0},
      {"setp.le.bf16x2 %p9|%p8, %r1, %r2;", 0x40003f80, 0x3f803f80, 0, 1},
      {"and.pred %p9, %p1, %p2;", 1, 0, 0, 0},
      {"or.pred %p9, %p1, %p2;", 1, 0, 0, 1},
      {"xor.pred %p9, %p1, %p2;", 1, 1, 0, 0},
      {"not.pred %p9, %p1;", 0, 0, 0, 1},
      {"mov.pred %p9, %p1;", 1, 0, 0, 1},
      {"testp.subnormal.f32 %p9, %f1;", 1, 0, 0, 1},
      {"testp.normal.f32 %p9, %f1;", 1, 0, 0, 0},
      {"testp.infinite.f64 %p9, %g1;", f64(-INFINITY), 0, 0, 1},
      {"testp.notanumber.f32 %p9, %f1;", nan32, 0, 0, 1},
  };
  check(rows);
}

TEST_CASE("fp32: rounding, subnormals, saturation") {
  // 1 + 2^-24 lies in the middle of 1 and the next number, 1 + 2^-23.
  const uint64_t one = f32(1), next = one + 1, tiny = f32(0x1p-24f), minusOne = f32(-1);
  const Row rows[] = {
      {"add.f32 %f9, %f1, %f2;", one, tiny, 0, one},
      {"add.rp.f32 %f9, %f1, %f2;", one, tiny, 0, next},
      {"add.rm.f32 %f9, %f1, %f2;", one, tiny, 0, one},
      {"add.rz.f32 %f9, %f1, %f2;", one, tiny, 0, one},
      {"sub.rm.f32 %f9, %f1, %f2;", minusOne, tiny, 0, f32(-1) + 1},
      {"sub.rz.f32 %f9, %f1, %f2;", minusOne, tiny, 0, minusOne},
      {"mul.rz.f32 %f9, %f1, %f2;", next, next, 0, f32(1 + 0x1p-22f)}, // 1 + 2^-22 + 2^-46
      {"mul.rp.f32 %f9, %f1, %f2;", next, next, 0, f32(1 + 0x1p-22f) + 1},
      {"fma.rn.f32 %f9, %f1, %f2, %f3;", next, next, f32(-(1 + 0x1p-22f)), f32(0x1p-46f)}, // one rounding
      {"fma.rm.f32 %f9, %f1, %f2, %f3;", one, one, f32(0x1p-30f), one},
      {"fma.rp.f32 %f9, %f1, %f2, %f3;", one, one, f32(0x1p-30f), next},
      {"mad.rn.f32 %f9, %f1, %f2, %f3;", f32(2), f32(3), f32(4), f32(10)},
      {"div.rn.f32 %f9, %f1, %f2;", one, f32(3), 0, f32(1.0f / 3)},
      {"div.rz.f32 %f9, %f1, %f2;", one, f32(3), 0, 0x3eaaaaaa}, // 0.3333333 is ...aa.aaa
      {"div.rp.f32 %f9, %f1, %f2;", one, f32(3), 0, 0x3eaaaaab},
      {"rcp.rm.f32 %f9, %f1;", f32(3), 0, 0, 0x3eaaaaaa},
      {"sqrt.rn.f32 %f9, %f1;", f32(2), 0, 0, 0x3fb504f3}, // 1.41421356...
      {"sqrt.rp.f32 %f9, %f1;", f32(2), 0, 0, 0x3fb504f4}, // 1.414213538 lies below the root
      {"sqrt.approx.f32 %f9, %f1;", f32(-1), 0, 0, nan32},
      {"mul.f32 %f9, %f1, %f2;", f32(0x1p-100f), f32(0x1p-40f), 0, 0x200}, // 2^-140 is 2^9 of 2^-149
      {"mul.ftz.f32 %f9, %f1, %f2;", f32(0x1p-100f), f32(0x1p-40f), 0, 0},
      {"mul.ftz.f32 %f9, %f1, %f2;", f32(-0x1p-100f), f32(0x1p-40f), 0, 0x80000000},
      {"add.ftz.f32 %f9, %f1, %f2;", 0x1, f32(1), 0, one},
      {"add.sat.f32 %f9, %f1, %f2;", one, one, 0, one},
      {"add.sat.f32 %f9, %f1, %f2;", minusOne, 0, 0, 0},
      {"add.sat.f32 %f9, %f1, %f2;", nan32, 0, 0, 0},
      {"add.f32 %f9, %f1, %f2;", f32(infinity), f32(-infinity), 0, nan32},
      {"min.f32 %f9, %f1, %f2;", nan32, one, 0, one},
      {"min.NaN.f32 %f9, %f1, %f2;", nan32, one, 0, nan32},
      {"min.f32 %f9, %f1, %f2;", 0, 0x80000000, 0, 0x80000000},
      {"max.f32 %f9, %f1, %f2;", 0x80000000, 0, 0, 0},
      {"max.xorsign.abs.f32 %f9, %f1, %f2;", f32(-3), f32(2), 0, f32(-3)},
      {"abs.f32 %f9, %f1;", minusOne, 0, 0, one},
      {"neg.f32 %f9, %f1;", 0, 0, 0, 0x80000000},
      {"neg.ftz.f32 %f9, %f1;", 1, 0, 0, 0x80000000},
      {"copysign.f32 %f9, %f1, %f2;", minusOne, f32(5), 0, f32(-5)},
      // 1.5 as fp16 is 0x3e00, as bf16 0x3fc0; sums that fp16 does not have.
      {"add.rn.f32.f16 %f9, %h1, %f2;", 0x3e00, f32(0x1p-20f), 0, f32(1.5f + 0x1p-20f)},
      {"add.rp.f32.f16 %f9, %h1, %f2;", 0x3c00, f32(0x1p-30f), 0, next},
      {"add.sat.f32.f16 %f9, %h1, %f2;", 0x3e00, one, 0, one},
      {"sub.rn.f32.bf16 %f9, %h1, %f2;", 0x3fc0, f32(0x1p-20f), 0, f32(1.5f - 0x1p-20f)},
      {"fma.rn.f32.f16 %f9, %h1, %h2, %f3;", 0x3e00, 0x3e00, f32(0x1p-20f), f32(2.25f + 0x1p-20f)},
      {"fma.rn.f32.bf16 %f9, %h1, %h2, %f3;", 0x3fc0, 0x3fc0, minusOne, f32(1.25f)},
  };
  check(rows);
}

TEST_CASE("approximations are the correctly rounded results") {
  const Row rows[] = {
      {"ex2.approx.f32 %f9, %f1;", f32(-3), 0, 0, f32(0.125f)},
      {"ex2.approx.f32 %f9, %f1;", f32(0.5f), 0, 0, 0x3fb504f3}, // the root of 2
      {"ex2.approx.f32 %f9, %f1;", f32(-140), 0, 0, 0x200},
      {"ex2.approx.ftz.f32 %f9, %f1;", f32(-140), 0, 0, 0},
      {"ex2.approx.f32 %f9, %f1;", f32(-infinity), 0, 0, 0},
      {"lg2.approx.f32 %f9, %f1;", f32(8), 0, 0, f32(3)},
      {"lg2.approx.f32 %f9, %f1;", 0, 0, 0, f32(-infinity)},
      {"rcp.approx.f32 %f9, %f1;", 0x80000000, 0, 0, f32(-infinity)},
      {"rcp.approx.ftz.f32 %f9, %f1;", f32(4), 0, 0, f32(0.25f)},
      {"rsqrt.approx.f32 %f9, %f1;", f32(16), 0, 0, f32(0.25f)},
      {"sin.approx.f32 %f9, %f1;", f32(1), 0, 0, 0x3f576aa4},  // 0.8414709848
      {"cos.approx.f32 %f9, %f1;", f32(1), 0, 0, 0x3f0a5140},  // 0.5403023059
      {"tanh.approx.f32 %f9, %f1;", f32(1), 0, 0, 0x3f42f7d6}, // 0.7615941560
      {"tanh.approx.f32 %f9, %f1;", f32(-infinity), 0, 0, f32(-1)},
      {"div.full.f32 %f9, %f1, %f2;", f32(1), f32(3), 0, f32(1.0f / 3)},
      {"ex2.approx.f16 %h9, %h1;", 0xc000, 0, 0, 0x3400},        // 2^-2
      {"tanh.approx.f16x2 %r9, %r1;", 0x00007c00, 0, 0, 0x3c00}, // of 0 and infinity
      {"rsqrt.approx.f64 %g9, %g1;", f64(4), 0, 0, f64(0.5)},
  };
  check(rows);
}

TEST_CASE("fp64") {
  const uint64_t one = f64(1);
  const Row rows[] = {
      {"add.f64 %g9, %g1, %g2;", one, f64(0x1p-53), 0, one},
      {"add.rp.f64 %g9, %g1, %g2;", one, f64(0x1p-53), 0, one + 1},
      {"fma.rn.f64 %g9, %g1, %g2, %g3;", one + 1, one + 1, f64(-(1 + 0x1p-51)), f64(0x1p-104)},
      {"div.rz.f64 %g9, %g1, %g2;", one, f64(3), 0, 0x3fd5555555555555},
      {"rcp.rp.f64 %g9, %g1;", f64(3), 0, 0, 0x3fd5555555555556},
      // 1/3 has the upper words 0x3fd55555 and below one half; below 2^-1022 is 0.
      {"rcp.approx.ftz.f64 %g9, %g1;", f64(3), 0, 0, 0x3fd5555500000000},
      {"rcp.approx.ftz.f64 %g9, %g1;", 1, 0, 0, f64(INFINITY)},
      {"rsqrt.approx.ftz.f64 %g9, %g1;", f64(4), 0, 0, f64(0.5)},
      {"sqrt.rn.f64 %g9, %g1;", f64(2), 0, 0, 0x3ff6a09e667f3bcd},
      {"min.f64 %g9, %g1, %g2;", f64(-1), one, 0, f64(-1)},
      {"abs.f64 %g9, %g1;", f64(-1), 0, 0, one},
  };
  check(rows);
}

TEST_CASE("fp16 and bf16") {
  // fp16: 0x3c00 is 1, 0x0001 is 2^-24, 0x7bff is 65504; bf16: 0x3f80 is 1.
  const Row rows[] = {
      {"add.f16 %h9, %h1, %h2;", 0x3c00, 0x1000, 0, 0x3c00}, // 1 + 2^-11, a tie, to even
      {"add.f16 %h9, %h1, %h2;", 0x3c01, 0x1000, 0, 0x3c02},
      {"add.f16 %h9, %h1, %h2;", 0x7bff, 0x7bff, 0, 0x7c00},
      {"add.f16 %h9, %h1, %h2;", 0x7c00, 0xfc00, 0, nan16},
      {"sub.f16x2 %r9, %r1, %r2;", 0x3c004000, 0x3c003c00, 0, 0x00003c00},
      {"mul.f16 %h9, %h1, %h2;", 0x0400, 0x3800, 0, 0x0200}, // 2^-14 / 2 is subnormal
      {"mul.ftz.f16 %h9, %h1, %h2;", 0x0400, 0x3800, 0, 0},
      {"add.sat.f16 %h9, %h1, %h2;", 0x3c00, 0x3c00, 0, 0x3c00},
      {"fma.rn.f16 %h9, %h1, %h2, %h3;", 0x3c01, 0x3c01, 0xbc02,
       0x0010}, // (1 + 2^-10)^2 - (1 + 2^-9) = 2^-20
      {"fma.rn.relu.f16 %h9, %h1, %h2, %h3;", 0x3c00, 0xbc00, 0, 0},
      // 2049 * 1 is a tie between 2048 and 2050; what is added, 2^-24, decides it.
      {"fma.rn.f16 %h9, %h1, %h2, %h3;", 0x6400, 0x4000, 0x0001, 0x6800},
      // (1 + 2^-7) * (1 + 2^-1) = 1.5 + 2^-7 + 2^-8: a tie of bf16 that 2^-126 decides.
      {"fma.rn.bf16 %h9, %h1, %h2, %h3;", 0x3f81, 0x3fc0, 0x0080, 0x3fc2},
      {"fma.rn.bf16 %h9, %h1, %h2, %h3;", 0x3f81, 0x3fc0, 0x8080, 0x3fc1},
      {"add.bf16 %h9, %h1, %h2;", 0x3f80, 0x3b80, 0, 0x3f80},               // 1 + 2^-8, a tie
      {"mul.bf16x2 %r9, %r1, %r2;", 0x40004040, 0x40404040, 0, 0x40c04110}, // 2 * 3 and 3 * 3
      {"min.f16 %h9, %h1, %h2;", 0x7fff, 0x3c00, 0, 0x3c00},
      {"max.NaN.bf16 %h9, %h1, %h2;", 0x7fff, 0x3f80, 0, nan16},
      {"neg.f16x2 %r9, %r1;", 0x3c00bc00, 0, 0, 0xbc003c00},
      {"abs.bf16 %h9, %h1;", 0xbf80, 0, 0, 0x3f80},
  };
  check(rows);
}

TEST_CASE("conversions") {
  const Row rows[] = {
      {"cvt.u32.u8 %r9, %r1;", 0x1ff, 0, 0, 0xff},
      {"cvt.s32.s8 %r9, %r1;", 0x1ff, 0, 0, s32(-1)},
      {"cvt.s64.s32 %d9, %r1;", s32(-1), 0, 0, s64(-1)},
      {"cvt.u64.u32 %d9, %r1;", s32(-1), 0, 0, 0xffffffff},
      {"cvt.u16.u64 %h9, %d1;", 0x12345, 0, 0, 0x2345},
      {"cvt.sat.s8.s32 %r9, %r1;", s32(-1000), 0, 0, s32(-128)},
      {"cvt.sat.u8.s32 %r9, %r1;", 300, 0, 0, 255},
      {"cvt.sat.u32.s32 %r9, %r1;", s32(-1), 0, 0, 0},
      {"cvt.rn.f32.s32 %f9, %r1;", 0x01000001, 0, 0, f32(0x1p24f)}, // a tie
      {"cvt.rp.f32.s32 %f9, %r1;", 0x01000001, 0, 0, f32(0x1p24f + 2)},
      {"cvt.rn.f32.u64 %f9, %d1;", 0x8000008000000001, 0, 0, f32(0x1.000002p63f)}, // just above a tie
      {"cvt.rn.f64.s64 %g9, %d1;", s64(-3), 0, 0, f64(-3)},
      {"cvt.rn.f16.s32 %h9, %r1;", 100000, 0, 0, 0x7c00},
      {"cvt.rz.f16.s32 %h9, %r1;", 100000, 0, 0, 0x7bff},
      {"cvt.rni.s32.f32 %r9, %f1;", f32(2.5f), 0, 0, 2},
      {"cvt.rzi.s32.f32 %r9, %f1;", f32(-2.5f), 0, 0, s32(-2)},
      {"cvt.rmi.s32.f32 %r9, %f1;", f32(-2.5f), 0, 0, s32(-3)},
      {"cvt.rpi.s32.f32 %r9, %f1;", f32(2.5f), 0, 0, 3},
      {"cvt.rzi.s32.f32 %r9, %f1;", f32(3e9f), 0, 0, 0x7fffffff},
      {"cvt.rzi.u32.f32 %r9, %f1;", f32(-1), 0, 0, 0},
      {"cvt.rzi.s32.f32 %r9, %f1;", nan32, 0, 0, 0},
      {"cvt.rzi.s64.f32 %d9, %f1;", nan32, 0, 0, 1ull << 63},
      {"cvt.rzi.u8.f32 %r9, %f1;", f32(300), 0, 0, 255},
      {"cvt.rni.f32.f32 %f9, %f1;", f32(3.5f), 0, 0, f32(4)},
      {"cvt.sat.f32.f32 %f9, %f1;", f32(1.5f), 0, 0, f32(1)},
      {"cvt.ftz.f32.f32 %f9, %f1;", 1, 0, 0, 0},
      {"cvt.f64.f32 %g9, %f1;", f32(0.1f), 0, 0, f64(0.1f)},
      {"cvt.rn.f32.f64 %f9, %g1;", f64(1 + 0x1p-24), 0, 0, f32(1)},
      {"cvt.rp.f32.f64 %f9, %g1;", f64(1 + 0x1p-24), 0, 0, f32(1) + 1},
      {"cvt.f32.f16 %f9, %h1;", 0x0001, 0, 0, f32(0x1p-24f)},
      {"cvt.f32.f16 %f9, %h1;", 0xfc00, 0, 0, f32(-infinity)},
      {"cvt.rn.f16.f32 %h9, %f1;", f32(65520), 0, 0, 0x7c00},
      {"cvt.rz.f16.f32 %h9, %f1;", f32(65520), 0, 0, 0x7bff},
      {"cvt.rn.satfinite.f16.f32 %h9, %f1;", f32(1e6f), 0, 0, 0x7bff},
      {"cvt.rn.relu.f16.f32 %h9, %f1;", f32(-1), 0, 0, 0},
      {"cvt.rn.f16.f32 %h9, %f1;", f32(0x1p-25f), 0, 0, 0}, // half of the least, a tie
      {"cvt.rn.f16.f32 %h9, %f1;", f32(0x1.8p-25f), 0, 0, 1},
      {"cvt.rn.bf16.f32 %h9, %f1;", 0x3f808000, 0, 0, 0x3f80},
      {"cvt.rn.bf16.f32 %h9, %f1;", 0x3f818000, 0, 0, 0x3f82},
      {"cvt.rz.bf16.f32 %h9, %f1;", 0x3f81ffff, 0, 0, 0x3f81},
      {"cvt.rn.bf16.f32 %h9, %f1;", nan32, 0, 0, nan16},
      {"cvt.f32.bf16 %f9, %h1;", 0x3f80, 0, 0, f32(1)},
      {"cvt.rn.f16x2.f32 %r9, %f1, %f2;", f32(1), f32(-2), 0, 0x3c00c000}, // the first is the upper
      {"cvt.rn.relu.f16x2.f32 %r9, %f1, %f2;", f32(1), f32(-2), 0, 0x3c000000},
      {"cvt.rz.bf16x2.f32 %r9, %f1, %f2;", 0x3f81ffff, f32(-1), 0, 0x3f81bf80},
      // e4m3: 0x38 is 1, 0x7e is 448, 0x01 is 2^-9; e5m2: 0x3c is 1, 0x7b is 57344.
      {"cvt.rn.satfinite.e4m3x2.f32 %h9, %f1, %f2;", f32(1e6f), f32(-1), 0, 0x7eb8},
      {"cvt.rn.satfinite.e4m3x2.f32 %h9, %f1, %f2;", f32(0x1p-10f), f32(0x1.8p-9f), 0,
       0x0002}, // ties, to 0 and to 2 of 2^-9
      {"cvt.rn.satfinite.e4m3x2.f32 %h9, %f1, %f2;", nan32, 0, 0, 0x7f00},
      {"cvt.rn.satfinite.e5m2x2.f32 %h9, %f1, %f2;", f32(infinity), f32(1), 0, 0x7b3c},
      {"cvt.rn.satfinite.relu.e5m2x2.f32 %h9, %f1, %f2;", f32(-1), f32(1), 0, 0x003c},
      {"cvt.rn.satfinite.e4m3x2.f16x2 %h9, %r1;", 0x3c00c000, 0, 0, 0x38c0},
      {"cvt.rn.f16x2.e4m3x2 %r9, %h1;", 0x0138, 0, 0, 0x18003c00}, // 2^-9 and 1
      {"cvt.rn.f16x2.e5m2x2 %r9, %h1;", 0x7c3c, 0, 0, 0x7c003c00},
      {"cvt.rna.tf32.f32 %r9, %f1;", 0x3f801000, 0, 0, 0x3f802000}, // a tie goes away from 0
      {"cvt.rna.tf32.f32 %r9, %f1;", 0x3f800fff, 0, 0, 0x3f800000},
  };
  check(rows);
}

TEST_CASE("all levels of vector instructions compute the same") {
  // Every lane with a number of its own, and half of the lanes off.
  const std::string text = kernel(
      2, "shl.b32 %r1, %i, 2; cvt.u64.u32 %d1, %r1; add.s64 %d2, %a0, %d1; add.s64 %d3, %a1, %d1;\n"
         "ld.global.f32 %f1, [%d2]; and.b32 %r2, %i, 1; setp.eq.u32 %p1, %r2, 0; mov.f32 %f2, 0f3F000000;\n"
         "@%p1 fma.rn.f32 %f2, %f1, %f1, %f2; @%p1 ex2.approx.f32 %f2, %f2; @!%p1 div.rn.f32 %f2, %f1, %f2;\n"
         "cvt.rn.f16.f32 %h1, %f2; fma.rn.f16 %h1, %h1, %h1, %h1; cvt.f32.f16 %f2, %h1; st.global.f32 [%d3], "
         "%f2;");
  std::vector<float> x(32);
  for (unsigned k = 0; k < 32; ++k)
    x[k] = static_cast<float>(k) * 0.07f - 1;
  std::vector<std::vector<uint32_t>> results;
  for (SimdLevel level : {SimdLevel::Base, SimdLevel::V3, SimdLevel::V4}) {
    if (level > simdLevel())
      continue;
    Diagnostics diagnostics;
    Run run(text);
    run.program = Program::load(text, "test.ptx", diagnostics, level);
    REQUIRE(run.program);
    results.push_back(run.array(x).fresh(128).go().get<uint32_t>(1));
    CHECK(results.back() == results.front());
  }
}

} // namespace npuc::ptx::test
