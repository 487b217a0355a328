// Spaces, vectors, atomics, copies that land when they are waited for, and what is counted.
#include "test/unit/ptx_sim/Harness.h"

namespace npuc::ptx::test {

TEST_CASE("loads and stores of every width, extended as their types are") {
  Run run(
      kernel(
          2,
          R"(ld.global.s8 %r1, [%a0 + 1]; ld.global.u8 %r2, [%a0 + 1]; ld.global.s16 %r3, [%a0]; ld.global.u16 %h1, [%a0];
ld.global.s8 %h2, [%a0 + 1]; ld.global.s32 %d1, [%a0 + 4]; cvt.u32.u16 %r4, %h1; cvt.s32.s16 %r5, %h2;
st.global.v4.b32 [%a1], {%r1, %r2, %r3, %r4}; st.global.b32 [%a1 + 16], %r5; st.global.b64 [%a1 + 24], %d1; st.global.u8 [%a1 + 20], %r1;
mov.u32 %r6, 0x1234567; st.global.u16 [%a1 + 22], %r6; mov.b16 %h3, 0; st.global.b8 [%a1 + 21], 0x1ff;)"),
      {}, {1, 1, 1});
  run.array(std::vector<uint32_t>{0x80ff, 0xfffffffe}).fresh(32).go();
  CHECK(run.findings().empty());
  // Byte 1 is 0x80, the half 0x80ff, the word -2.
  CHECK(run.get<uint32_t>(1) == std::vector<uint32_t>{0xffffff80, 0x80, 0xffff80ff, 0x80ff, 0xffffff80,
                                                      0x4567ff80, 0xfffffffe, 0xffffffff});
}

TEST_CASE("variables of a module, their addresses and initial values") {
  Run run(
      kernel(
          1,
          R"(ld.const.u32 %r1, [table + 4]; ld.global.u64 %d1, [pointer]; ld.u32 %r2, [%d1]; ld.global.f32 %f1, [number];
mov.u64 %d2, table; cvta.const.u64 %d2, %d2; ld.u32 %r3, [%d2 + 8]; ld.global.u32 %r4, [zero];
st.global.v4.b32 [%a0], {%r1, %r2, %r3, %r4}; st.global.f32 [%a0 + 16], %f1;)",
          ".const .align 4 .u32 table[3] = {5, 6, 7}; .global .align 8 .u64 pointer = table + 4; .global "
          ".f32 number = 1.5;\n"
          ".global .u32 zero;"),
      {}, {1, 1, 1});
  run.fresh(20).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(0) == std::vector<uint32_t>{6, 6, 7, 0, 0x3fc00000});
}

TEST_CASE("shared, local and parameter memory by generic addresses") {
  Run run(
      kernel(
          1,
          R"(.local .u32 l; mov.u64 %d1, s; cvta.shared.u64 %d1, %d1; mov.u64 %d2, l; cvta.local.u64 %d2, %d2;
st.u32 [%d1 + 4], 11; bar.warp.sync 15; st.u32 [%d2], %i; ld.shared.u32 %r1, [s + 4]; ld.local.u32 %r2, [l];
isspacep.shared %p1, %d1; isspacep.local %p2, %d1; isspacep.global %p3, %a0; selp.u32 %r3, 1, 0, %p1; @%p2 add.u32 %r3, %r3, 10;
@%p3 add.u32 %r3, %r3, 100; cvta.to.shared.u64 %d3, %d1; cvt.u32.u64 %r4, %d3;
mul.wide.u32 %d4, %i, 16; add.s64 %d4, %a0, %d4; st.global.v4.u32 [%d4], {%r1, %r2, %r3, %r4};)",
          ".shared .u32 other; .shared .align 16 .b8 s[16];"), // `other` is not used,
                                                               // so s lies at 0.
      {}, {4, 1, 1});
  run.fresh(64).go();
  CHECK(run.findings() == std::vector<std::string>{});
  const auto got = run.get<uint32_t>(0);
  for (unsigned k = 0; k < 4; ++k)
    CHECK(std::vector(got.begin() + 4 * k, got.begin() + 4 * k + 4) == std::vector<uint32_t>{11, k, 101, 0});
}

TEST_CASE("dynamic shared memory lies behind static") {
  Run run(
      kernel(
          1,
          R"(mov.u32 %r1, d; mov.u32 %r2, s; mov.u32 %r3, %dynamic_smem_size; mov.u32 %r4, %total_smem_size;
st.shared.u32 [%r1 + 28], 9; ld.shared.u32 %r5, [%r1 + 28];
st.global.v4.u32 [%a0], {%r1, %r2, %r3, %r4}; st.global.u32 [%a0 + 16], %r5;)",
          ".extern .shared .align 16 .b8 d[]; .shared .u32 s[5];"),
      {}, {1, 1, 1});
  run.launch.sharedBytes = 32;
  run.fresh(20).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(0) ==
        std::vector<uint32_t>{32, 0, 32, 64, 9}); // 20 bytes, and the next multiple of 16
}

TEST_CASE("atomics") {
  // 64 threads on one word each.
  const std::string text = kernel(1, R"(mov.b16 %h5, 0x3f80; mov.b32 %r5, 0x3c004000;
atom.global.add.u32 %r1, [%a0], 1; red.global.max.s32 [%a0 + 4], %i; atom.global.gpu.acq_rel.min.u32 %r1, [%a0 + 8], %i;
red.global.or.b32 [%a0 + 12], 6; atom.relaxed.sys.global.inc.u32 %r1, [%a0 + 16], 9; atom.global.dec.u32 %r1, [%a0 + 20], 9;
red.global.add.f32 [%a0 + 24], 0f3F800000; red.global.add.noftz.f16x2 [%a0 + 28], %r5; red.global.add.u64 [%a0 + 32], 0x100000000;
setp.eq.u32 %p1, %i, 3; @%p1 atom.global.cas.b32 %r2, [%a0 + 40], 5, 77; @%p1 atom.global.exch.b32 %r3, [%a0 + 44], %r2;
red.global.add.noftz.bf16 [%a0 + 48], %h5;)");
  Run two(text, {2, 1, 1});
  two.array(std::vector<uint32_t>{0, 10, 10, 1, 0, 0, 0, 0, 0, 0, 5, 0, 0}).go();
  CHECK(two.findings().empty());
  // inc: 64 steps through 0 … 9; dec: 9 down to 0 likewise, from 0 first to 9. Sums of 64: 1.0 is 0x42800000;
  // 1 and 2 of fp16 are 64 and 128, of bf16 64 is 0x4280. The second block's cas finds 77.
  const auto got = two.get<uint32_t>(0);
  CHECK(std::vector(got.begin(), got.begin() + 11) ==
        std::vector<uint32_t>{64, 31, 0, 7, 4, 6, 0x42800000, 0x54005800, 0, 64, 77});
  CHECK((got[11] == 77 || got[11] == 5)); // by whichever block came last
  CHECK(got[12] == 0x4280);
}

TEST_CASE("atomics in shared memory do not race with each other") {
  Run run(kernel(1, R"(setp.eq.u32 %p1, %i, 0; @%p1 st.shared.u32 [s], 0;
bar.sync 0;
red.shared.add.u32 [s], %i;
bar.sync 0;
ld.shared.u32 %r1, [s]; @%p1 st.global.u32 [%a0], %r1;)",
                 ".shared .u32 s;"),
          {}, {96, 1, 1});
  run.fresh(4).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(0)[0] == 95 * 96 / 2);
}

TEST_CASE("cp.async lands when its group is waited for") {
  // Three groups of 4 bytes; with one left to be in flight, the first two have landed. What is read of the
  // third is told, and is not there yet. The last copy takes 2 of its 4 bytes, the others become 0.
  Run run(kernel(2, R"(mov.u32 %r1, s;
cp.async.ca.shared.global [%r1], [%a0], 4; cp.async.commit_group;
cp.async.ca.shared.global [%r1 + 4], [%a0 + 4], 4; cp.async.commit_group;
cp.async.ca.shared.global [%r1 + 8], [%a0 + 8], 4; cp.async.commit_group;
cp.async.wait_group 1;
ld.shared.u32 %r2, [%r1]; ld.shared.u32 %r3, [%r1 + 4];
cp.async.ca.shared.global [%r1 + 12], [%a0 + 12], 4, 2;
cp.async.wait_all;
ld.shared.u32 %r4, [%r1 + 8]; ld.shared.u32 %r5, [%r1 + 12];
st.global.v4.u32 [%a1], {%r2, %r3, %r4, %r5};)",
                 ".shared .align 16 .u32 s[4];"),
          {}, {1, 1, 1});
  run.array(std::vector<uint32_t>{1, 2, 3, 0x44444444}).fresh(16).go();
  CHECK(run.findings().empty());
  CHECK(run.get<uint32_t>(1) == std::vector<uint32_t>{1, 2, 3, 0x4444});
}

TEST_CASE("a copy that is not waited for has not landed") {
  Run run(kernel(2, R"(mov.u32 %r1, s; st.shared.u32 [%r1], 99;
cp.async.ca.shared.global [%r1], [%a0], 4; cp.async.commit_group; cp.async.commit_group;
cp.async.wait_group 2;
ld.shared.u32 %r2, [%r1]; st.global.u32 [%a1], %r2;)",
                 ".shared .align 16 .u32 s[4];"),
          {}, {1, 1, 1});
  run.array(std::vector<uint32_t>{1}).fresh(4).go();
  CHECK(run.get<uint32_t>(1)[0] == 99);
  CHECK(run.findings() ==
        std::vector<std::string>{
            "unfinished-copy at 4: thread (0, 0, 0) of block (0, 0, 0): reads shared memory into which "
            "thread (0, 0, 0) copies at line 2, a cp.async that was not waited for, 1 times"});
}

TEST_CASE("sectors and bank conflicts are counted") {
  // 32 lanes read 4 bytes each: one behind the other 4 sectors of 32 bytes; 32 bytes apart 32.
  const std::string text =
      kernel(1, R"(mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; ld.global.u32 %r1, [%d1];
mul.wide.u32 %d2, %i, 32; add.s64 %d2, %a0, %d2; ld.global.u32 %r1, [%d2];
ld.global.u32 %r1, [%a0];
mov.u32 %r2, s; mad.lo.u32 %r3, %i, 4, %r2; st.shared.u32 [%r3], %i;
mad.lo.u32 %r3, %i, 8, %r2; st.shared.u32 [%r3], %i;
mad.lo.u32 %r3, %i, 128, %r2; st.shared.u32 [%r3], %i;
mad.lo.u32 %r3, %i, 16, %r2; st.shared.v4.u32 [%r3], {%i, %i, %i, %i};
bar.warp.sync -1; ld.shared.u32 %r1, [%r2];)",
             ".shared .align 16 .b8 s[4096];");
  Run run(text);
  run.array(std::vector<uint32_t>(256)).go();
  const Totals t = run.report.totals(*run.program->find("k"));
  CHECK(t.all.requests == 3);
  CHECK(t.all.sectors == 4 + 32 + 1);
  CHECK(t.all.leastSectors == 4 + 4 + 1); // of what is read at all where lanes share it
  // Stores: one word a bank; two words in each even bank; 32 words in bank 0; 16 bytes in four passes of 8
  // lanes. The load: one word.
  CHECK(t.all.sharedRequests == 5);
  CHECK(t.all.wavefronts == 1 + 2 + 32 + 4 + 1);
  CHECK(t.all.leastWavefronts == 1 + 1 + 1 + 4 + 1);
}

TEST_CASE("instructions and multiply-adds are counted by class") {
  const std::string text =
      kernel(0, R"(mov.f32 %f1, 0f3F800000; fma.rn.f32 %f2, %f1, %f1, %f1; mov.b32 %r1, 0;
fma.rn.f16x2 %r2, %r1, %r1, %r1; dp4a.s32.s32 %r3, %r1, %r1, %r1; setp.lt.u32 %p1, %i, 8; @%p1 bra X; add.f32 %f3, %f1, %f1; X:)");
  Run run(text, {3, 1, 1}, {64, 1, 1});
  run.go();
  const Totals t = run.report.totals(*run.program->find("k"));
  // Six warps; the first warp of each of the three blocks parts, where 24 lanes add.
  CHECK(t.otherMultiplyAdds == 3 * 64 * (1 + 2 + 4));
  CHECK(t.tensorMultiplyAdds == 0);
  CHECK(t.all.divergences == 3);
  CHECK(t.warps[static_cast<size_t>(Class::Float)] == 6 + 6);
  CHECK(t.threads[static_cast<size_t>(Class::Float)] == 3 * 64 + 3 * (64 - 8));
}

} // namespace npuc::ptx::test
