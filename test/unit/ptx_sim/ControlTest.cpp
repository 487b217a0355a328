// Divergence, and what the threads of warps and blocks do together.
#include "test/unit/ptx_sim/Harness.h"

namespace npuc::ptx::test {
namespace {

/// A kernel in which each thread stores %r9 at its place of the first array, of `threads` numbers.
std::string storing(const std::string &body, unsigned arrays = 1) {
  return kernel(arrays,
                body + "\nmul.wide.u32 %d50, %i, 4; add.s64 %d50, %a0, %d50; st.global.u32 [%d50], %r9;");
}
std::vector<uint32_t> run(const std::string &body, unsigned threads = 32) {
  Run run(storing(body), {}, {threads, 1, 1});
  run.fresh(threads * 4).go();
  CHECK(run.findings().empty());
  return run.get<uint32_t>(0);
}
template <typename F>
std::vector<uint32_t> each(F f, unsigned threads = 32) {
  std::vector<uint32_t> values(threads);
  for (unsigned k = 0; k < threads; ++k)
    values[k] = f(k);
  return values;
}

} // namespace

TEST_CASE("branches of a warp meet again") {
  // Four ways by the two lowest bits; behind them all lanes vote together, which is only possible where all
  // have met.
  const auto got = run(R"(and.b32 %r1, %i, 1; and.b32 %r2, %i, 2; mov.u32 %r9, 0;
setp.ne.u32 %p1, %r1, 0; setp.ne.u32 %p2, %r2, 0;
@%p1 bra ODD;
@%p2 bra TWO;
add.u32 %r9, %r9, 1; bra.uni MEET;
TWO: add.u32 %r9, %r9, 10; bra.uni MEET;
ODD: @!%p2 bra ONE;
add.u32 %r9, %r9, 1000; bra.uni MEET;
ONE: add.u32 %r9, %r9, 100;
MEET: activemask.b32 %r3; setp.eq.u32 %p3, %r3, 0xffffffff; @!%p3 mov.u32 %r9, 7;)");
  CHECK(got == each([](unsigned i) { return std::array{1u, 100u, 10u, 1000u}[i & 3]; }));
}

TEST_CASE("every lane leaves a loop at another time, and an inner loop too") {
  // The sum over k < i of (0 + 1 + … + k): i (i + 1) (i - 1) / 6.
  const auto got = run(R"(mov.u32 %r9, 0; mov.u32 %r1, 0;
OUTER: setp.ge.u32 %p1, %r1, %i; @%p1 bra DONE;
mov.u32 %r2, 0;
INNER: add.u32 %r9, %r9, %r2; add.u32 %r2, %r2, 1; setp.le.u32 %p2, %r2, %r1; @%p2 bra INNER;
add.u32 %r1, %r1, 1; bra OUTER;
DONE: activemask.b32 %r3; setp.ne.u32 %p3, %r3, 0xffffffff; @%p3 trap;)");
  CHECK(got == each([](unsigned i) { return i ? i * (i + 1) * (i - 1) / 6 : 0; }));
}

TEST_CASE("lanes that go round a loop by different ways meet where it ends") {
  // Its last block stands first in the text. Four times lanes from 8 on skip a block; behind it all are
  // there.
  const auto got = run(R"(mov.u32 %r9, 0; mov.u32 %r1, 0; setp.ge.u32 %p1, %i, 8; bra.uni LOOP;
LAST: activemask.b32 %r3; setp.ne.u32 %p3, %r3, 0xffffffff; @%p3 trap;
add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 4; @%p2 bra LOOP;
bra.uni DONE;
LOOP: @%p1 bra LAST;
add.u32 %r9, %r9, %r1; bra.uni LAST;
DONE:)");
  CHECK(got == each([](unsigned i) { return i < 8 ? 6u : 0u; }));
}

TEST_CASE("a thread that ends inside a branch does not keep the others apart") {
  // Lanes 0 to 3 end, 4 to 15 go through the branch, the others around it. All that live are together at the
  // barrier.
  Run run(storing(R"(setp.ge.u32 %p1, %i, 16; @%p1 bra MEET;
setp.lt.u32 %p2, %i, 4; @%p2 ret;
MEET: activemask.b32 %r9;)"));
  run.array(std::vector<uint32_t>(32)).go();
  CHECK(run.get<uint32_t>(0) == each([](unsigned i) { return i < 4 ? 0u : 0xfffffff0u; }));
}

TEST_CASE("a block of code that stands behind the end is met again") {
  // As compilers place what is unlikely: the way there and back must not split the warp for the rest.
  const auto got = run(R"(setp.eq.u32 %p1, %i, 5; mov.u32 %r9, 1; @%p1 bra COLD;
BACK: activemask.b32 %r1; setp.eq.u32 %p2, %r1, 0xffffffff; @!%p2 trap;
bra STORE;
COLD: mov.u32 %r9, 2; bra BACK;
STORE:)");
  CHECK(got == each([](unsigned i) { return i == 5 ? 2u : 1u; }));
}

TEST_CASE("a table of branch targets") {
  const auto got = run(R"(and.b32 %r1, %i, 3;
TABLE: .branchtargets A, B, C, B;
brx.idx %r1, TABLE;
A: mov.u32 %r9, 1; bra MEET;
B: mov.u32 %r9, 2; bra MEET;
C: mov.u32 %r9, 3;
MEET: activemask.b32 %r2; setp.eq.u32 %p2, %r2, 0xffffffff; @!%p2 trap;)");
  CHECK(got == each([](unsigned i) { return std::array{1u, 2u, 3u, 2u}[i & 3]; }));
}

TEST_CASE("names of inner scopes hide those outside, labels too") {
  const auto got = run(R"(mov.u32 %r9, 1;
{ .reg .b32 %r9; mov.u32 %r9, 5; bra L; mov.u32 %r9, 6; L: st.global.u32 [%a0], %r9; }
bra L;
mov.u32 %r9, 2;
L:)");
  CHECK(got == each([](unsigned) { return 1u; }));
}

TEST_CASE("calls, one within the other, with results, where threads part, and with shared memory of the "
          "function's own") {
  const std::string functions = R"(
.func (.param .b32 r) twice(.param .b32 x) { .reg .b32 %r<3>; ld.param.u32 %r1, [x]; add.u32 %r2, %r1, %r1; st.param.u32 [r], %r2; ret; }
.func (.param .align 8 .b8 r[8]) both(.param .b32 x, .param .b64 y) {
  .reg .pred %p; .reg .b32 %r<5>; .reg .b64 %d<3>; .shared .u32 count;
  ld.param.u32 %r1, [x]; ld.param.u64 %d1, [y]; cvt.u32.u64 %r2, %d1;
  { .param .b32 a; st.param.b32 [a], %r1; .param .b32 b; call.uni (b), twice, (a); ld.param.b32 %r3, [b]; }
  setp.lt.u32 %p, %r1, 4; @%p bra SMALL;
  red.shared.add.u32 [count], 1; st.param.v2.u32 [r], {%r3, %r2}; ret;
SMALL: st.param.u32 [r + 4], 7; st.param.u32 [r], %r3; ret;
}
)";
  // Odd threads call. Those below 4 get 7, the others 100 + i; all twice i. Two calls of `both` share its
  // variable.
  Run run(kernel(
      1,
      R"(and.b32 %r1, %i, 1; setp.ne.u32 %p1, %r1, 0; add.u32 %r2, %i, 100; cvt.u64.u32 %d1, %r2; mov.u32 %r5, 1000; mov.u32 %r6, 2000;
setp.eq.u32 %p2, %i, 0; @%p2 st.shared.u32 [outer], 0;
{ .param .b32 a; .param .b64 b; .param .align 8 .b8 c[8]; st.param.u32 [a], %i; st.param.u64 [b], %d1; st.param.v2.u32 [c], {%r5, %r6};
@%p1 call (c), both, (a, b); ld.param.v2.u32 {%r5, %r6}, [c]; }
activemask.b32 %r7; mul.wide.u32 %d2, %i, 16; add.s64 %d2, %a0, %d2; st.global.v4.u32 [%d2], {%r5, %r6, %r7, %i};)",
      functions + ".shared .u32 outer;"));
  run.fresh(512).go();
  // The function adds to what nothing has written: that is told, and nothing else.
  REQUIRE(run.findings().size() == 1);
  CHECK(run.findings()[0].starts_with("uninitialized-memory"));
  const auto got = run.get<uint32_t>(0);
  for (uint32_t i = 0; i < 32; ++i)
    CHECK(std::vector(got.begin() + 4 * i, got.begin() + 4 * i + 4) ==
          (i % 2 ? std::vector<uint32_t>{2 * i, i < 4 ? 7 : 100 + i, ~0u, i}
                 : std::vector<uint32_t>{1000, 2000, ~0u, i}));
}

TEST_CASE("special registers") {
  Run run(
      kernel(
          1,
          R"(mov.u32 %r1, %ctaid.x; mov.u32 %r2, %nctaid.y; mov.u32 %r3, %ctaid.y; mov.u32 %r4, %tid.x; mov.u32 %r5, %tid.y;
mov.u32 %r6, %laneid; mov.u32 %r7, %warpid; mov.u32 %r8, %lanemask_lt; mov.u32 %r9, %ntid.x;
mad.lo.u32 %r20, %r3, 2, %r1; mad.lo.u32 %r20, %r20, 60, %i; mul.wide.u32 %d1, %r20, 32; add.s64 %d1, %a0, %d1;
st.global.v4.u32 [%d1], {%r1, %r2, %r3, %r4}; st.global.v4.u32 [%d1 + 16], {%r5, %r6, %r7, %r8};)"),
      {2, 3, 1}, {20, 3, 1});
  run.fresh(6 * 60 * 32).go();
  CHECK(run.findings().empty());
  const auto got = run.get<uint32_t>(0);
  for (uint32_t block = 0; block < 6; ++block)
    for (uint32_t thread = 0; thread < 60; ++thread) {
      const std::vector<uint32_t> expected = {block % 2,   3,           block / 2,   thread % 20,
                                              thread / 20, thread % 32, thread / 32, (1u << thread % 32) - 1};
      const auto at = got.begin() + (block * 60 + thread) * 8;
      CHECK(std::vector(at, at + 8) == expected);
    }
}

TEST_CASE("shuffles") {
  // Each lane gives 100 + lane.
  const std::string value = "add.u32 %r1, %i, 100; ";
  CHECK(run(value + "shfl.sync.down.b32 %r9, %r1, 4, 0x1f, -1;") ==
        each([](unsigned i) { return 100 + (i + 4 < 32 ? i + 4 : i); }));
  CHECK(run(value + "shfl.sync.up.b32 %r9, %r1, 1, 0, -1;") ==
        each([](unsigned i) { return 100 + (i ? i - 1 : 0); }));
  CHECK(run(value + "shfl.sync.bfly.b32 %r9, %r1, 5, 0x1f, -1;") ==
        each([](unsigned i) { return 100 + (i ^ 5); }));
  CHECK(run(value + "shfl.sync.idx.b32 %r9, %r1, 3, 0x1f, -1;") == each([](unsigned) { return 103u; }));
  // Segments of 8 lanes: a segment mask of 0x18, so c is 0x1807 with the last lane 7.
  CHECK(run(value + "shfl.sync.idx.b32 %r9, %r1, 3, 0x1807, -1;") ==
        each([](unsigned i) { return 100 + (i & 24) + 3; }));
  CHECK(run(value + "shfl.sync.down.b32 %r9|%p1, %r1, 2, 0x1807, -1; selp.u32 %r2, 1000, 0, %p1; add.u32 "
                    "%r9, %r9, %r2;") ==
        each([](unsigned i) { return (i & 7) + 2 < 8 ? 1100 + i + 2 : 100 + i; }));
}

TEST_CASE("votes, matches and reductions of a warp") {
  const std::string third = "rem.u32 %r1, %i, 3; setp.eq.u32 %p1, %r1, 0; ";
  const auto ballot = [](auto f) {
    uint32_t bits = 0;
    for (unsigned i = 0; i < 32; ++i)
      bits |= static_cast<uint32_t>(f(i)) << i;
    return bits;
  };
  CHECK(run(third + "vote.sync.ballot.b32 %r9, %p1, -1;") ==
        each([&](unsigned) { return ballot([](unsigned i) { return i % 3 == 0; }); }));
  CHECK(run(third + "vote.sync.ballot.b32 %r9, !%p1, -1;") ==
        each([&](unsigned) { return ballot([](unsigned i) { return i % 3 != 0; }); }));
  CHECK(run(third + "vote.sync.any.pred %p2, %p1, -1; vote.sync.all.pred %p3, %p1, -1; vote.sync.uni.pred "
                    "%p4, %p1, -1;\n"
                    "selp.u32 %r9, 1, 0, %p2; @%p3 add.u32 %r9, %r9, 2; @%p4 add.u32 %r9, %r9, 4;") ==
        each([](unsigned) { return 1u; }));
  CHECK(run(third + "match.any.sync.b32 %r9, %r1, -1;") ==
        each([&](unsigned k) { return ballot([&](unsigned i) { return i % 3 == k % 3; }); }));
  CHECK(run(third + "match.all.sync.b32 %r9|%p2, %r1, -1; @%p2 mov.u32 %r9, 5;") ==
        each([](unsigned) { return 0u; }));
  CHECK(run("redux.sync.add.u32 %r9, %i, -1;") == each([](unsigned) { return 496u; })); // 31 * 32 / 2
  CHECK(run("sub.s32 %r1, %i, 5; redux.sync.min.s32 %r9, %r1, -1;") ==
        each([](unsigned) { return static_cast<uint32_t>(-5); }));
  CHECK(run("sub.s32 %r1, %i, 5; redux.sync.max.u32 %r9, %r1, -1;") ==
        each([](unsigned) { return 0xffffffffu; }));
  CHECK(run("redux.sync.xor.b32 %r9, %i, -1;") == each([](unsigned) { return 0u; }));
  // The lanes of each half for themselves.
  CHECK(run("setp.lt.u32 %p1, %i, 16; @%p1 redux.sync.add.u32 %r9, %i, 0xffff; @!%p1 redux.sync.add.u32 %r9, "
            "%i, 0xffff0000;") == each([](unsigned i) { return i < 16 ? 120u : 376u; }));
}

TEST_CASE("a barrier orders shared memory") {
  Run run(kernel(1, R"(mul.lo.u32 %r1, %i, 4; mov.u32 %r2, s; add.u32 %r1, %r2, %r1; st.shared.u32 [%r1], %i;
bar.sync 0;
xor.b32 %r3, %i, 127; mad.lo.u32 %r3, %r3, 4, %r2; ld.shared.u32 %r9, [%r3];
mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; st.global.u32 [%d1], %r9;)",
                 ".shared .align 4 .b8 s[512];"),
          {}, {128, 1, 1});
  run.fresh(512).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(0) == each([](unsigned i) { return i ^ 127; }, 128));
}

TEST_CASE("reductions of a barrier") {
  const auto popc = run("setp.lt.u32 %p1, %i, 40; bar.red.popc.u32 %r9, 0, %p1;", 96);
  CHECK(popc == each([](unsigned) { return 40u; }, 96));
  const auto both =
      run("setp.lt.u32 %p1, %i, 40; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, !%p1;\n"
          "selp.u32 %r9, 1, 0, %p2; @%p3 add.u32 %r9, %r9, 2;",
          96);
  CHECK(both == each([](unsigned) { return 2u; }, 96));
}

TEST_CASE("named barriers of some warps, one of which only arrives") {
  // Warp 0 writes and arrives; warp 1 waits for it and reads. Warps 2 and 3 have a barrier of their own.
  Run run(
      kernel(
          1,
          R"(mov.u32 %r1, s; shr.u32 %r2, %i, 5; setp.eq.u32 %p1, %r2, 0; setp.eq.u32 %p2, %r2, 1; and.b32 %r4, %i, 31;
mad.lo.u32 %r3, %r4, 4, %r1; mov.u32 %r9, 0;
@%p1 bra GIVE; @%p2 bra TAKE;
barrier.sync 2, 64; bra STORE;
GIVE: st.shared.u32 [%r3], %i; barrier.arrive 1, 64; bra STORE;
TAKE: barrier.sync 1, 64; ld.shared.u32 %r9, [%r3];
STORE: mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; st.global.u32 [%d1], %r9;)",
          ".shared .align 4 .b32 s[32];"),
      {}, {128, 1, 1});
  run.fresh(512).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(0) == each([](unsigned i) { return i >= 32 && i < 64 ? i - 32 : 0; }, 128));
}

TEST_CASE("a warp may wait for what another one writes") {
  // Warp 1 spins until warp 0 has set the flag.
  Run run(kernel(1, R"(setp.ge.u32 %p1, %i, 32; @%p1 bra SPIN;
atom.global.exch.b32 %r1, [%a0], 7; bra DONE;
SPIN: atom.global.add.u32 %r1, [%a0], 0; setp.ne.u32 %p2, %r1, 7; @%p2 bra SPIN;
DONE:)"),
          {}, {64, 1, 1});
  run.array(std::vector<uint32_t>{0}).go();
  CHECK(run.findings().empty());
}

} // namespace npuc::ptx::test
