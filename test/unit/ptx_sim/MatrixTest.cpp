// ldmatrix, movmatrix and mma.sync, with the fragments' layouts written down as the PTX ISA states them.
#include "test/unit/ptx_sim/Harness.h"

#include "support/ElementType.h"

#include <bit>
#include <fmt/format.h>
#include <random>

namespace npuc::ptx::test {
namespace {

/// Where element i of a lane's fragment lies in its matrix.
struct At {
  unsigned row, column;
};
using Layout = At (*)(unsigned lane, unsigned i);

// PTX ISA, "Matrix Fragments for mma.…": a, b and c of each group of shapes.
At aHalf16(unsigned lane, unsigned i) {
  return {i < 2 || (i >= 4 && i < 6) ? lane / 4 : lane / 4 + 8,
          i < 4 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8};
}
At bHalf16(unsigned lane, unsigned i) {
  return {i < 2 ? lane % 4 * 2 + (i & 1) : lane % 4 * 2 + (i & 1) + 8, lane / 4};
}
At aHalf8(unsigned lane, unsigned i) {
  return {i < 2 ? lane / 4 : lane / 4 + 8, lane % 4 * 2 + (i & 1)};
}
At bHalf8(unsigned lane, unsigned i) {
  return {lane % 4 * 2 + i, lane / 4};
}
At aByte32(unsigned lane, unsigned i) {
  return {i < 4 || (i >= 8 && i < 12) ? lane / 4 : lane / 4 + 8,
          i < 8 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16};
}
At bByte32(unsigned lane, unsigned i) {
  return {i < 4 ? lane % 4 * 4 + (i & 3) : lane % 4 * 4 + (i & 3) + 16, lane / 4};
}
At aByte16(unsigned lane, unsigned i) {
  return {i < 4 ? lane / 4 : lane / 4 + 8, lane % 4 * 4 + (i & 3)};
}
At bByte16(unsigned lane, unsigned i) {
  return {lane % 4 * 4 + i, lane / 4};
}
At aByte8(unsigned lane, unsigned i) {
  return {lane / 4, lane % 4 * 4 + i};
}
At aTF8(unsigned lane, unsigned i) {
  return {i == 0 || i == 2 ? lane / 4 : lane / 4 + 8, i < 2 ? lane % 4 : lane % 4 + 4};
}
At bTF8(unsigned lane, unsigned i) {
  return {i == 0 ? lane % 4 : lane % 4 + 4, lane / 4};
}
At aTF4(unsigned lane, unsigned i) {
  return {i == 0 ? lane / 4 : lane / 4 + 8, lane % 4};
}
At bTF4(unsigned lane, unsigned) {
  return {lane % 4, lane / 4};
}
At aDouble(unsigned lane, unsigned) {
  return {lane / 4, lane % 4};
}
At c16(unsigned lane, unsigned i) {
  return {i < 2 ? lane / 4 : lane / 4 + 8, lane % 4 * 2 + (i & 1)};
}
At c8(unsigned lane, unsigned i) {
  return {lane / 4, lane % 4 * 2 + i};
}

/// A number of a type by its bits, and what those are. Only small integers are used, so every sum is exact in
/// any order.
uint64_t encode(const std::string &type, int v) {
  if (type == "f16")
    return toF16(static_cast<float>(v));
  if (type == "bf16")
    return toBF16(static_cast<float>(v));
  if (type == "e4m3")
    return toF8E4M3(static_cast<float>(v), true);
  if (type == "e5m2")
    return toF8E5M2(static_cast<float>(v), true);
  if (type == "tf32" || type == "f32")
    return std::bit_cast<uint32_t>(static_cast<float>(v));
  if (type == "f64")
    return std::bit_cast<uint64_t>(static_cast<double>(v));
  return static_cast<uint32_t>(v);
}
unsigned bits(const std::string &type) {
  return type == "f64"                                      ? 64
         : type == "f16" || type == "bf16"                  ? 16
         : type == "tf32" || type == "f32" || type == "s32" ? 32
                                                            : 8;
}

struct Shape {
  std::string shape, d, a, b, c;
  unsigned m, k;
  Layout aAt, bAt, cAt;
};

/// Registers of each lane for a matrix of `rows` x `columns` numbers.
template <typename Value>
std::vector<uint8_t> fragments(const std::string &type, unsigned elements, Layout at, Value value) {
  const unsigned bytes = bits(type) / 8;
  std::vector<uint8_t> out(32 * elements * bytes);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < elements; ++i) {
      const At place = at(lane, i);
      const uint64_t number = encode(type, value(place.row, place.column));
      std::memcpy(&out[(lane * elements + i) * bytes], &number, bytes);
    }
  return out;
}

void check(const Shape &s) {
  INFO(fmt::format("mma.sync.aligned.{}.row.col.{}.{}.{}.{}", s.shape, s.d, s.a, s.b, s.c));
  std::mt19937 random(1);
  const bool isUnsigned = s.a[0] == 'u' || s.b[0] == 'u';
  const int least = isUnsigned ? 0 : -3;
  std::vector<int> a(s.m * s.k), b(s.k * 8), c(s.m * 8);
  for (auto *matrix : {&a, &b, &c})
    for (int &v : *matrix)
      v = least + static_cast<int>(random() % 7);
  const unsigned width = s.a == "f64" ? 8 : 4, na = s.m * s.k / 32, nb = s.k / 4, nc = s.m / 4;
  const unsigned ra = na * bits(s.a) / 8 / width, rb = nb * bits(s.b) / 8 / width,
                 rc = nc * bits(s.c) / 8 / width, rd = nc * bits(s.d) / 8 / width;
  auto names = [&](unsigned first, unsigned count) {
    std::vector<std::string> list;
    for (unsigned r = 0; r < count; ++r)
      list.push_back(fmt::format("%{}{}", width == 8 ? 'd' : 'r', first + r));
    return fmt::format("{{{}}}", fmt::join(list, ", "));
  };
  std::string body;
  auto move = [&](const char *op, unsigned array, unsigned first, unsigned count) {
    body += fmt::format("mul.wide.u32 %d50, %i, {}; add.s64 %d50, %a{}, %d50;\n", count * width, array);
    for (unsigned r = 0; r < count; ++r) {
      const std::string reg = fmt::format("%{}{}", width == 8 ? 'd' : 'r', first + r),
                        at = fmt::format("[%d50 + {}]", r * width);
      body += fmt::format("{}.global.b{} {}, {};\n", op, width * 8, op[0] == 'l' ? reg : at,
                          op[0] == 'l' ? at : reg);
    }
  };
  move("ld", 0, 1, ra);
  move("ld", 1, 11, rb);
  move("ld", 2, 21, rc);
  body += fmt::format("mma.sync.aligned.{}.row.col.{}.{}.{}.{} {}, {}, {}, {};\n", s.shape, s.d, s.a, s.b,
                      s.c, names(31, rd), names(1, ra), names(11, rb), names(21, rc));
  move("st", 3, 31, rd);
  Run run(kernel(4, body));
  run.array(fragments(s.a, na, s.aAt, [&](unsigned i, unsigned j) { return a[i * s.k + j]; }))
      .array(fragments(s.b, nb, s.bAt, [&](unsigned i, unsigned j) { return b[i * 8 + j]; }))
      .array(fragments(s.c, nc, s.cAt, [&](unsigned i, unsigned j) { return c[i * 8 + j]; }))
      .fresh(32 * rd * width)
      .go();
  CHECK(run.findings().empty());
  const auto expected = fragments(s.d, nc, s.cAt, [&](unsigned i, unsigned j) {
    int sum = c[i * 8 + j];
    for (unsigned k = 0; k < s.k; ++k)
      sum += a[i * s.k + k] * b[k * 8 + j];
    return sum;
  });
  CHECK(run.get<uint8_t>(3) == expected);
  CHECK(run.report.totals(run.program->kernels[0]).tensorMultiplyAdds == s.m * s.k * 8);
}

} // namespace

TEST_CASE("mma.sync of every shape and type") {
  for (const char *sum : {"f16", "f32"}) {
    check({"m16n8k16", sum, "f16", "f16", sum, 16, 16, aHalf16, bHalf16, c16});
    check({"m16n8k8", sum, "f16", "f16", sum, 16, 8, aHalf8, bHalf8, c16});
    for (const char *a : {"e4m3", "e5m2"})
      for (const char *b : {"e4m3", "e5m2"}) {
        check({"m16n8k32", sum, a, b, sum, 16, 32, aByte32, bByte32, c16});
        check({"m16n8k16", sum, a, b, sum, 16, 16, aByte16, bByte16, c16});
      }
  }
  check({"m16n8k16", "f32", "bf16", "bf16", "f32", 16, 16, aHalf16, bHalf16, c16});
  check({"m16n8k8", "f32", "bf16", "bf16", "f32", 16, 8, aHalf8, bHalf8, c16});
  check({"m16n8k8", "f32", "tf32", "tf32", "f32", 16, 8, aTF8, bTF8, c16});
  check({"m16n8k4", "f32", "tf32", "tf32", "f32", 16, 4, aTF4, bTF4, c16});
  for (const char *a : {"s8", "u8"})
    for (const char *b : {"s8", "u8"}) {
      check({"m16n8k32", "s32", a, b, "s32", 16, 32, aByte32, bByte32, c16});
      check({"m16n8k16", "s32", a, b, "s32", 16, 16, aByte16, bByte16, c16});
      check({"m8n8k16", "s32", a, b, "s32", 8, 16, aByte8, bByte16, c8});
    }
  check({"m8n8k4", "f64", "f64", "f64", "f64", 8, 4, aDouble, bTF4, c8});
}

TEST_CASE("mma.sync: signs of bytes, saturation, bits that tf32 lacks, sums that are registers of the result "
          "in another order") {
  // a and b are all 0xff: as u8 by s8 255 * -1 * 32 = -8160; with c = -2^31 that saturates or wraps.
  const char *text = R"(mov.b32 %r1, 0xffffffff; mov.b32 %r2, 0x80000000;
mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%r11, %r12, %r13, %r14}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r2, %r2, %r2, %r2};
mma.sync.aligned.m16n8k32.row.col.satfinite.s32.u8.s8.s32 {%r21, %r22, %r23, %r24}, {%r1, %r1, %r1, %r1}, {%r1, %r1}, {%r2, %r2, %r2, %r2};
mov.b32 %f1, 0f3F801FFF; mov.b32 %f5, 0f00000000; mov.b32 %r3, %f1;
mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f11, %f12, %f13, %f14}, {%r3, %r3}, {%r3}, {%f5, %f5, %f5, %f5};
mov.u32 %r31, 1; mov.u32 %r32, 2; mov.u32 %r33, 3; mov.u32 %r34, 4; mov.b32 %r4, 0;
mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%r31, %r32, %r33, %r34}, {%r4, %r4}, {%r4}, {%r34, %r33, %r32, %r31};
setp.eq.u32 %p1, %i, 0; @!%p1 bra END;
st.global.u32 [%a0], %r11; st.global.u32 [%a0 + 4], %r21; st.global.f32 [%a0 + 8], %f11;
st.global.v4.u32 [%a0 + 16], {%r31, %r32, %r33, %r34};
END:)";
  Run run(kernel(1, text));
  run.fresh(32).go();
  CHECK(run.findings().empty());
  const auto got = run.get<uint32_t>(0);
  CHECK(got[0] == 0x80000000u - 8160);
  CHECK(got[1] == 0x80000000u);
  CHECK(got[2] == 0x40800000); // 4: the low 13 bits do not count
  CHECK(std::vector(got.begin() + 4, got.end()) == std::vector<uint32_t>{4, 3, 2, 1});
}

TEST_CASE("ldmatrix of every form") {
  // Halves 0, 1, 2, … in rows of 8; the lanes' addresses are those of rows in reverse order.
  for (unsigned count : {1u, 2u, 4u})
    for (bool transposed : {false, true}) {
      const std::string regs = count == 1 ? "{%r1}" : count == 2 ? "{%r1, %r2}" : "{%r1, %r2, %r3, %r4}";
      std::string body = fmt::format(
          R"(mov.u32 %r10, s; mad.lo.u32 %r11, %i, 16, %r10; mul.lo.u32 %r12, %i, 8; mov.u32 %r13, 0;
FILL: shl.b32 %r14, %r13, 1; add.u32 %r14, %r11, %r14; add.u32 %r15, %r12, %r13; st.shared.u16 [%r14], %r15; add.u32 %r13, %r13, 1;
setp.lt.u32 %p1, %r13, 8; @%p1 bra FILL;
bar.sync 0;
mov.u32 %r16, 496; sub.u32 %r16, %r16, %r11; mad.lo.u32 %r16, %r10, 2, %r16;
ldmatrix.sync.aligned.m8n8.x{}{}.shared.b16 {}, [%r16];
)",
          count, transposed ? ".trans" : "", regs);
      for (unsigned m = 0; m < count; ++m)
        body +=
            fmt::format("mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; st.global.u32 [%d1 + {}], %r{};\n",
                        128 * m, m + 1);
      Run run(kernel(1, body, ".shared .align 16 .b8 s[512];"));
      run.fresh(128 * count).go();
      CHECK(run.findings().empty());
      const auto got = run.get<uint16_t>(0);
      for (unsigned m = 0; m < count; ++m)
        for (unsigned lane = 0; lane < 32; ++lane)
          for (unsigned e = 0; e < 2; ++e) {
            // Row r of matrix m is row 31 - (8 m + r) of what was stored.
            unsigned row = lane / 4, column = lane % 4 * 2 + e;
            if (transposed)
              std::swap(row, column);
            CHECK(got[(32 * m + lane) * 2 + e] == (31 - (8 * m + row)) * 8 + column);
          }
    }
}

TEST_CASE("movmatrix transposes") {
  Run run(kernel(1, R"(mul.lo.u32 %r1, %i, 2; add.u32 %r2, %r1, 1; shl.b32 %r2, %r2, 16; or.b32 %r1, %r1, %r2;
movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r1;
mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; st.global.u32 [%d1], %r3;)"));
  run.fresh(128).go();
  const auto got = run.get<uint16_t>(0);
  for (unsigned row = 0; row < 8; ++row)
    for (unsigned column = 0; column < 8; ++column)
      CHECK(got[row * 8 + column] == column * 8 + row); // The matrix held 0, 1, 2, ….
}

} // namespace npuc::ptx::test
