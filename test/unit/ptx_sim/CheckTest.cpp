// Planted faults, each of which is found and named: where, by which thread, and what is wrong.
#include "test/unit/ptx_sim/Harness.h"

#include <fmt/format.h>

namespace npuc::ptx::test {
namespace {

using Findings = std::vector<std::string>;

const std::string shared = ".shared .align 16 .b8 s[512];";
/// Writes %i to its word of s, whose address is then %r2, and has in %r3 that of the word of the thread 32
/// further (of 64).
const std::string writes = "mov.u32 %r1, s; mad.lo.u32 %r2, %i, 4, %r1; add.u32 %r3, %i, 32; and.b32 %r3, "
                           "%r3, 63; mad.lo.u32 %r3, %r3, 4, %r1;\n"
                           "st.shared.u32 [%r2], %i;\n";

Findings found(const std::string &text, Dim3 block = {64, 1, 1}) {
  Run run(text, {}, block);
  run.array(counting(64)).go();
  return run.findings();
}

} // namespace

TEST_CASE("a missing barrier is a race") {
  // Warp 0 reads first, what warp 1 has not yet written: memory that nothing has written; then warp 1 writes
  // what was read.
  CHECK(found(kernel(1, writes + "ld.shared.u32 %r4, [%r3];", shared)) ==
        Findings{"shared-race at 2: thread (32, 0, 0) of block (0, 0, 0): writes shared memory that thread "
                 "(0, 0, 0) reads at line 3, with no "
                 "barrier between, 32 times",
                 "shared-race at 3: thread (32, 0, 0) of block (0, 0, 0): reads shared memory that thread "
                 "(0, 0, 0) writes at line 2, with no "
                 "barrier between, 32 times",
                 "uninitialized-memory at 3: thread (0, 0, 0) of block (0, 0, 0): reads 4 bytes of shared "
                 "memory at 0x80, which nothing has "
                 "written, 32 times"});
  CHECK(found(kernel(1, writes + "bar.sync 0;\nld.shared.u32 %r4, [%r3];", shared)).empty());
}

TEST_CASE("a missing barrier between reading and writing anew is a race") {
  // The warp that comes last to a barrier goes on first: warp 1 reads and writes anew, then warp 0 reads what
  // it should not, and writes what warp 1 has read.
  const std::string text = writes + "bar.sync 0;\nld.shared.u32 %r4, [%r3];\n";
  CHECK(found(kernel(1, text + "st.shared.u32 [%r2], %r4;", shared)) ==
        Findings{"shared-race at 4: thread (0, 0, 0) of block (0, 0, 0): reads shared memory that thread "
                 "(32, 0, 0) writes at line 5, with no "
                 "barrier between, 32 times",
                 "shared-race at 5: thread (0, 0, 0) of block (0, 0, 0): writes shared memory that thread "
                 "(32, 0, 0) reads at line 4, with no "
                 "barrier between, 32 times"});
  CHECK(found(kernel(1, text + "bar.sync 0;\nst.shared.u32 [%r2], %r4;", shared)).empty());
}

TEST_CASE("lanes of one warp race without bar.warp.sync") {
  const std::string neighbour = "xor.b32 %r5, %i, 1; mad.lo.u32 %r5, %r5, 4, %r1;\n";
  CHECK(found(kernel(1, writes + neighbour + "ld.shared.u32 %r4, [%r5];", shared), {32, 1, 1}) ==
        Findings{"shared-race at 4: thread (0, 0, 0) of block (0, 0, 0): reads shared memory that thread (1, "
                 "0, 0) writes at line 2, with no "
                 "bar.warp.sync between, 32 times"});
  CHECK(found(kernel(1, writes + neighbour + "bar.warp.sync -1;\nld.shared.u32 %r4, [%r5];", shared),
              {32, 1, 1})
            .empty());
}

TEST_CASE("two lanes of one store race unless they write the same") {
  CHECK(found(kernel(1, "st.shared.u32 [s], 5;", shared), {32, 1, 1}).empty());
  CHECK(found(kernel(1, "st.shared.u32 [s], %i;", shared), {32, 1, 1}) ==
        Findings{"shared-race at 1: thread (1, 0, 0) of block (0, 0, 0): writes shared memory that thread "
                 "(0, 0, 0) writes at line 1, with no "
                 "bar.warp.sync between, 31 times"});
}

TEST_CASE("bytes of one word that several threads write do not race") {
  CHECK(found(kernel(1, "mov.u32 %r1, s; add.u32 %r2, %i, %r1; cvt.u16.u32 %h1, %i; st.shared.u8 [%r2], %h1;",
                     shared))
            .empty());
}

TEST_CASE("an atomic and a plain access race") {
  const Findings got = found(kernel(1, R"(mov.u32 %r1, 0; setp.lt.u32 %p1, %i, 32;
@%p1 bra PLAIN;
red.shared.add.u32 [s], 1; bra END;
PLAIN: st.shared.u32 [s], %r1;
END:)",
                                    shared));
  REQUIRE(got.size() == 1);
  CHECK(got[0] == "shared-race at 3: thread (32, 0, 0) of block (0, 0, 0): changes shared memory that thread "
                  "(31, 0, 0) writes at line 4, with "
                  "no barrier between, 1 times"); // Then the last to write is an atomic.
}

TEST_CASE("a missing wait for cp.async, and a barrier without one") {
  const std::string copy =
      "mov.u32 %r1, s; mad.lo.u32 %r2, %i, 4, %r1; mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1;\n"
      "cp.async.ca.shared.global [%r2], [%d1], 4; cp.async.commit_group;\n";
  CHECK(found(kernel(1, copy + "bar.sync 0;\nld.shared.u32 %r4, [%r2];", shared)) ==
        Findings{"uninitialized-memory at 4: thread (0, 0, 0) of block (0, 0, 0): reads 4 bytes of shared "
                 "memory at 0x0, which nothing has "
                 "written, 64 times",
                 "unfinished-copy at 4: thread (0, 0, 0) of block (0, 0, 0): reads shared memory into which "
                 "thread (0, 0, 0) copies at line 2, a "
                 "cp.async that was not waited for, 64 times"});
  // By another warp.
  CHECK(found(kernel(1,
                     "setp.ge.u32 %p1, %i, 32; mov.u32 %r1, s; and.b32 %r2, %i, 31; mad.lo.u32 %r2, %r2, 4, "
                     "%r1; st.shared.u32 [%r1 + 400], 0;\n"
                     "@!%p1 cp.async.ca.shared.global [%r2], [%a0], 4;\nbar.sync 0;\n@%p1 ld.shared.u32 %r3, "
                     "[%r2]; cp.async.wait_all;",
                     shared))
            .back() == "unfinished-copy at 4: thread (32, 0, 0) of block (0, 0, 0): reads shared memory into "
                       "which thread (0, 0, 0) copies at "
                       "line 2, a cp.async that was not waited for, 32 times");
  // Waited for, but not by a barrier for what others copied.
  const std::string other = "add.u32 %r3, %i, 32; and.b32 %r3, %r3, 63; mad.lo.u32 %r3, %r3, 4, %r1;\n";
  const Findings race =
      found(kernel(1, copy + other + "cp.async.wait_group 0;\nld.shared.u32 %r4, [%r3];", shared));
  CHECK(race.size() == 3);
  CHECK(found(kernel(1, copy + other + "cp.async.wait_group 0;\nbar.sync 0;\nld.shared.u32 %r4, [%r3];",
                     shared))
            .empty());
  // A copy into what others may still read.
  const Findings early = found(kernel(1,
                                      writes + "bar.sync 0;\nld.shared.u32 %r4, [%r3];\n" +
                                          "cp.async.ca.shared.global [%r2], [%a0], 4;\ncp.async.wait_all;",
                                      shared));
  REQUIRE(!early.empty());
  CHECK(early.back() == "shared-race at 5: thread (0, 0, 0) of block (0, 0, 0): writes shared memory that "
                        "thread (32, 0, 0) reads at line 4, "
                        "with no barrier between, 32 times");
}

TEST_CASE("an address beyond the end by one element") {
  Run run(
      kernel(2, R"(add.u32 %r1, %i, 1; mul.wide.u32 %d1, %r1, 4; add.s64 %d2, %a0, %d1; add.s64 %d3, %a1, %d1;
ld.global.f32 %f1, [%d2];
st.global.f32 [%d3], %f1;)"),
      {2, 1, 1}, {64, 1, 1});
  run.launch.threads = 1; // Both blocks write the same elements.
  run.array(counting(64)).fresh(256).go();
  CHECK(run.findings() == Findings{"out-of-bounds at 2: thread (63, 0, 0) of block (0, 0, 0): reads 4 bytes "
                                   "at byte 256 of array 0, which has 256 "
                                   "bytes, 2 times",
                                   "out-of-bounds at 3: thread (63, 0, 0) of block (0, 0, 0): writes 4 bytes "
                                   "at byte 256 of array 1, which has "
                                   "256 bytes, 2 times"});
}

TEST_CASE("addresses of nothing, of shared memory beyond its end, of constants that are written") {
  CHECK(found(kernel(1, "mov.u64 %d1, 0; ld.global.u32 %r1, [%d1];"), {1, 1, 1}) ==
        Findings{"out-of-bounds at 1: thread (0, 0, 0) of block (0, 0, 0): reads 4 bytes at 0x0, where there "
                 "is no memory, 1 times"});
  CHECK(found(kernel(1, "mov.u32 %r1, 512; st.shared.u32 [%r1], %i; ld.shared.u32 %r2, [s + -4];", shared),
              {1, 1, 1})
            .size() == 2);
  CHECK(found(kernel(1, "mov.u64 %d1, c; st.global.u32 [%d1], %i;", ".const .u32 c[2] = {1, 2};"),
              {1, 1, 1}) == Findings{"out-of-bounds at 1: thread (0, 0, 0) of block (0, 0, 0): writes 4 "
                                     "bytes of variable 'c', which is constant, 1 times"});
}

TEST_CASE("misaligned accesses") {
  CHECK(found(kernel(1, "ld.global.v2.u32 {%r1, %r2}, [%a0 + 4];"), {1, 1, 1}) ==
        Findings{fmt::format("misaligned at 1: thread (0, 0, 0) of block (0, 0, 0): reads 8 bytes at {:#x} "
                             "of global memory, which is no multiple "
                             "of 8, 1 times",
                             allocationsBase + 4)});
  CHECK(found(kernel(1,
                     "mov.u32 %r1, s; mad.lo.u32 %r1, %i, 12, %r1; ldmatrix.sync.aligned.m8n8.x1.shared.b16 "
                     "{%r2}, [%r1];",
                     shared),
              {32, 1, 1})
            .back() == "misaligned at 1: thread (1, 0, 0) of block (0, 0, 0): reads 16 bytes at 0xc of "
                       "shared memory, which is no multiple of 16, "
                       "6 times"); // 12, 24, 36 and so on of lanes 1 to 7, but for lane 4
}

TEST_CASE("registers that nothing has written") {
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 8; @%p1 mov.u32 %r1, 1;\nadd.u32 %r2, %r1, 1;"), {32, 1, 1}) ==
        Findings{"uninitialized-register at 2: thread (8, 0, 0) of block (0, 0, 0): reads register %r1, "
                 "which nothing has written, 24 times"});
  CHECK(found(kernel(1, "@%p5 bra END; END:"), {32, 1, 1}) ==
        Findings{"uninitialized-register at 1: thread (0, 0, 0) of block (0, 0, 0): reads register %p5, "
                 "which nothing has written, 32 times"});
  // Moving and selecting do not use; what they move stays unwritten.
  CHECK(found(kernel(1, "mov.u32 %r2, %r1; mov.pred %p1, 1; selp.u32 %r3, %i, %r2, %p1; add.u32 %r4, %r3, "
                        "1;\nadd.u32 %r4, %r2, 1;"),
              {1, 1, 1}) == Findings{"uninitialized-register at 2: thread (0, 0, 0) of block (0, 0, 0): "
                                     "reads register %r2, which nothing has written, 1 times"});
  CHECK(found(kernel(1, "cvt.u16.u32 %h1, %i; mov.b32 %r1, {%h1, %h2}; mov.b32 {%h3, %h4}, %r1; mov.b32 "
                        "{%h3, _}, %i; add.u16 %h5, %h3, 1;\n"
                        "add.u16 %h5, %h4, 1;"),
              {1, 1, 1}) == Findings{"uninitialized-register at 2: thread (0, 0, 0) of block (0, 0, 0): "
                                     "reads register %h4, which nothing has written, 1 times"});
  // A lane of which nobody takes anything need not have written; here lane 0 has, and from the others lanes 1
  // to 15 take.
  const std::string leader = "setp.eq.u32 %p1, %i, 0; @%p1 mov.u32 %r1, 5; setp.lt.u32 %p2, %i, 16;\n";
  CHECK(found(kernel(1, leader + "shfl.sync.idx.b32 %r2, %r1, 0, 0x1f, -1; add.u32 %r3, %r2, 1;"), {32, 1, 1})
            .empty());
  CHECK(found(kernel(1, leader + "shfl.sync.bfly.b32 %r2, %r1, 1, 0x1f, -1;\n@%p2 add.u32 %r3, %r2, 1;"),
              {32, 1, 1}) == Findings{"uninitialized-register at 3: thread (0, 0, 0) of block (0, 0, 0): "
                                      "reads register %r2, which nothing has written, 15 times"});
}

TEST_CASE("memory that nothing has written") {
  Run run(kernel(1, "mul.wide.u32 %d1, %i, 4; add.s64 %d1, %a0, %d1; setp.ne.u32 %p1, %i, 9; @%p1 "
                    "st.global.u32 [%d1], %i;\n"
                    "ld.global.u32 %r1, [%d1];"));
  run.fresh(128).go();
  CHECK(run.findings() == Findings{"uninitialized-memory at 2: thread (9, 0, 0) of block (0, 0, 0): reads 4 "
                                   "bytes of array 0 at byte 36, which "
                                   "nothing has written, 1 times"});
  CHECK(found(kernel(1, ".local .u32 l; ld.local.u32 %r1, [l];"), {1, 1, 1}) ==
        Findings{"uninitialized-memory at 1: thread (0, 0, 0) of block (0, 0, 0): reads 4 bytes of local "
                 "memory at 0x0, which nothing has written, "
                 "1 times"});
}

TEST_CASE("barriers that not all threads come to") {
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 8;\n@%p1 bar.sync 0;"), {64, 1, 1}) ==
        Findings{"barrier-divergence at 2: thread (0, 0, 0) of block (0, 0, 0): is at barrier 0 without "
                 "thread (8, 0, 0) of its warp, which took "
                 "another way, 1 times"});
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 32; @%p1 bra A;\nbar.sync 1; bra END;\nA: bar.sync 2;\nEND:"),
              {64, 1, 1}) == Findings{"barrier-divergence at 3: thread (0, 0, 0) of block (0, 0, 0): waits "
                                      "at a barrier for ever; others of its block wait at line 2, 1 "
                                      "times"});
  // Threads that have ended are not waited for, but where their number is given.
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 40; @%p1 ret;\nbar.sync 0;"), {64, 1, 1}).empty());
  CHECK(
      found(
          kernel(
              1,
              "setp.lt.u32 %p1, %i, 40; @%p1 bra END;\nbar.sync 0; vote.sync.ballot.b32 %r1, %p1, -1;\nEND:"),
          {64, 1, 1})
          .empty());
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 32; @%p1 ret;\nbar.sync 0, 64;"), {64, 1, 1}) ==
        Findings{"barrier-divergence at 2: thread (32, 0, 0) of block (0, 0, 0): waits at a barrier for "
                 "ever; others of its block have ended, 1 times"});
  CHECK(found(kernel(1, "bar.sync 0, 48;"), {64, 1, 1}) ==
        Findings{"barrier-divergence at 1: thread (0, 0, 0) of block (0, 0, 0): waits for 48 threads, which "
                 "is no multiple of 32, 1 times"});
  CHECK(found(kernel(1, "bar.sync 0, 96;"), {64, 1, 1}) ==
        Findings{"barrier-divergence at 1: thread (0, 0, 0) of block (0, 0, 0): waits at a barrier for ever, "
                 "1 times"});
}

TEST_CASE("warps that do together what part of them does") {
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 8;\n@%p1 shfl.sync.idx.b32 %r2, %i, 0, 0x1f, -1;"),
              {32, 1, 1}) == Findings{"barrier-divergence at 2: thread (0, 0, 0) of block (0, 0, 0): waits "
                                      "for lane 8, which its membermask 0xffffffff names and which "
                                      "took another way, 8 times"});
  CHECK(found(kernel(1, "setp.lt.u32 %p1, %i, 8;\n@%p1 movmatrix.sync.aligned.m8n8.trans.b16 %r2, %i;"),
              {32, 1, 1}) == Findings{"barrier-divergence at 2: thread (0, 0, 0) of block (0, 0, 0): needs "
                                      "all 32 lanes of its warp, of which lane 8 is not there, 1 "
                                      "times"});
}

TEST_CASE("traps and loops without end") {
  CHECK(found(kernel(1, "setp.eq.u32 %p1, %i, 3; @%p1 trap;"), {32, 1, 1}) ==
        Findings{"trap at 1: thread (3, 0, 0) of block (0, 0, 0): runs a trap, 1 times"});
  Run run(kernel(0, "L:\nbra L;"));
  run.launch.mostInstructions = 1000;
  CHECK(run.go().findings() == Findings{"endless at 2: thread (0, 0, 0) of block (0, 0, 0): is still running "
                                        "after 1000 instructions of its warp, 1 times"});
}

TEST_CASE("what is found does not depend on the number of threads of the host") {
  std::vector<Findings> all;
  for (unsigned threads : {1u, 2u, 4u}) {
    Run run(kernel(1, writes + "ld.shared.u32 %r4, [%r3]; ld.global.u32 %r5, [%a0 + 4096];", shared),
            {50, 1, 1}, {64, 1, 1});
    run.launch.threads = threads;
    all.push_back(run.array(counting(4)).go().findings());
  }
  CHECK(all[0].size() == 4);
  CHECK(all[1] == all[0]);
  CHECK(all[2] == all[0]);
}

} // namespace npuc::ptx::test
