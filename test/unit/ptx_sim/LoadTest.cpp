// What does not load, and why: all of it at once.
#include "test/unit/ptx_sim/Harness.h"

#include <fmt/format.h>

namespace npuc::ptx::test {
namespace {

using Catch::Matchers::Contains;
size_t errors(const std::string &text) {
  size_t count = 0;
  for (size_t at = text.find("error: "); at != std::string::npos; at = text.find("error: ", at + 1))
    ++count;
  return count;
}

} // namespace

TEST_CASE("all unknown instructions and modifiers are named, with their lines") {
  const std::string text =
      ".version 8.0\n.target sm_80\n.address_size 64\n.entry a()\n{ .reg .b32 %r<4>; .reg .f32 %f<4>;\n"
      "wgmma.fence.sync.aligned;\nadd.sat.u32 %r1, %r2, %r3;\nadd.s32 %r1, %r2, "
      "%r3;\nwgmma.fence.sync.aligned;\n}\n"
      ".entry b()\n{ .reg .b32 %r<4>;\nmul.s32 %r1, %r2, %r3;\ncall.uni f, ();\nsetp.lt.b32 %p1, %r1, %r2; "
      "}\n";
  const std::string told = errorsOf(text);
  CHECK_THAT(
      told,
      Contains("test.ptx:6: the instruction 'wgmma.fence.sync.aligned' is unknown: it stands at lines 6, 9"));
  CHECK_THAT(told, Contains("test.ptx:7: the instruction 'add.sat.u32' is unknown: it stands at line 7"));
  CHECK_THAT(told, Contains("test.ptx:13: the instruction 'mul.s32' is unknown"));
  CHECK_THAT(told, Contains("test.ptx:14: function 'f' is not defined in this module"));
  CHECK_THAT(told, !Contains("'add.s32'"));
}

TEST_CASE("operands that are not declared or do not fit") {
  const std::string told = errorsOf(
      kernel(0,
             "add.s32 %r1, %r2;\nadd.s32 %r1, %q2, %r3;\nadd.s32 %r1, %d2, %r3;\nadd.s32 %r1, %r60, %r3;\n"
             "bra NOWHERE;\nmov.b32 %r1, {%r2, %r3};\nld.global.u32 %r1, [s];\n@%r1 add.s32 %r1, %r2, %r3;\n"
             "cvt.s32.f32 %r1, %f1;\nld.global.v4.f64 {%g1, %g2, %g3, %g4}, [s];\nadd.f32 %f1, %f2, 1;",
             ".shared .u32 s;"));
  for (const char *what :
       {"'add.s32' has 2 operands: it takes 3", "'%q2' is not declared",
        "register '%d2' is of the wrong type: it is .b64, the instruction wants .s32",
        "'%r60' is not declared", "label 'NOWHERE' does not exist",
        "register '%r2' is of the wrong type: it is .b32, the instruction wants .b16",
        "'s' lies in shared memory: the instruction is for global", "'%r1' is no predicate",
        "'cvt.s32.f32' needs a rounding: floats become integers by .rni",
        "an access has up to 16 bytes, this one has 32",
        "an operand is of the wrong kind: the instruction wants a register or number of type .f32"})
    CHECK_THAT(told, Contains(what));
  CHECK(errors(told) == 11);
}

TEST_CASE("syntax errors are told with their lines, each of them") {
  const std::string told = errorsOf(
      ".version 8.0\n.target sm_80\n.address_size 64\n.entry k()\n{ .reg .b32 %r<4>;\nadd.s32 %r1 %r2;\n"
      "add.s32 %r1, , %r2;\nmov.u32 %r1, 5;\nL: L: ret;\n}\n");
  CHECK_THAT(told, Contains("test.ptx:6: ';' is missing: there is '%r2'"));
  CHECK_THAT(told, Contains("test.ptx:7: a value is missing: there is ','"));
  CHECK_THAT(told, Contains("test.ptx:9: the label stands twice: 'L'"));
  CHECK(errors(told) == 3);
  CHECK_THAT(errorsOf("hello"), Contains("test.ptx:1: a directive of a module is missing: there is 'hello'"));
  CHECK_THAT(errorsOf(""), Contains("this is no PTX: '.version' is missing"));
  CHECK_THAT(errorsOf(".version 8.0 .address_size 32"), Contains("addresses must have 64 bits"));
  CHECK_THAT(errorsOf(".version 8.0 .address_size 64"), Contains("there is no kernel in it"));
  CHECK_THAT(errorsOf("/* no end"), Contains("the comment has no end"));
  CHECK_THAT(errorsOf(".version 8.0 .entry k() { mov.b32 %r1, 0f12; }"),
             Contains("the number is malformed: '0f12'"));
  CHECK_THAT(errorsOf(".version 8.0 .entry k() { "), Contains("'}' is missing: the text ends here"));
  CHECK_THAT(errorsOf(".version 8.0 .extern .global .u32 x; .entry k() { }"),
             Contains("variable 'x' is declared and not defined"));
  CHECK_THAT(errorsOf(".version 8.0 .global .b8 x[2000000000]; .entry k() { }"),
             Contains("the module's variables take more than"));
}

TEST_CASE("calls that are impossible") {
  const std::string functions =
      ".func (.param .b32 r) f(.param .b32 x) { .param .b32 a; .param .b32 b; call (a), g, (b); }\n"
      ".func (.param .b32 r) g(.param .b32 x) { .param .b32 a; .param .b32 b; call (a), f, (b); }\n";
  const std::string told = errorsOf(
      kernel(0,
             ".param .b32 a; .param .b32 b;\ncall (a), f, (b);\ncall f, (b);\ncall (a), printf, (b);\n"
             "call (a), f, (%r1);\ncall (a), %d1, (b);",
             functions));
  for (const char *what :
       {"'f' calls itself: recursion is not supported",
        "the call does not fit 'f': it takes 1 arguments and has 1 results",
        "function 'printf' is not defined in this module: only those are called, by their names",
        "'x' is given no variable of its size in .param: it has 4 bytes",
        "function '%d1' is not defined in this module"})
    CHECK_THAT(told, Contains(what));
}

TEST_CASE("calls that double 30 times are too much") {
  std::string functions = ".func f0() { ret; }\n";
  for (int k = 1; k <= 30; ++k)
    functions += fmt::format(".func f{0}() {{ call f{1}; call f{1}; }}\n", k, k - 1);
  CHECK_THAT(errorsOf(kernel(0, "call f30;", functions)),
             Contains("calls make more than 262144 instructions of the module"));
}

TEST_CASE("launches that are impossible") {
  Run run(kernel(1, "", ".shared .b8 s[1000];"));
  Diagnostics diagnostics;
  Launch launch;
  launch.kernel = std::string("kk");
  CHECK(!ptx::run(*run.program, *run.memory, launch, diagnostics));
  CHECK_THAT(diagnostics.text(), Contains("there is no kernel 'kk'") && Contains("did you mean 'k'?"));
  launch.kernel = std::string("k");
  launch.grid = {1, 70000, 1};
  launch.block = {64, 32, 1};
  launch.sharedBytes = 300000;
  Diagnostics all;
  CHECK(!ptx::run(*run.program, *run.memory, launch, all));
  CHECK_THAT(all.text(), Contains("the grid is impossible: it is 1 x 70000 x 1") &&
                             Contains("the block is impossible: it is 64 x 32 x 1") &&
                             Contains("there is not so much shared memory") &&
                             Contains("they have 0 bytes, the kernel takes 8"));
  CHECK(all.errorCount() == 4);
}

TEST_CASE("a kernel says which blocks it takes") {
  Diagnostics diagnostics;
  const auto program =
      Program::load(".version 8.0 .address_size 64 .entry k() .reqntid 128, 2 { } .entry m() .maxntid 64 { }",
                    "test.ptx", diagnostics);
  REQUIRE(program);
  Memory memory(*program);
  Launch launch;
  launch.kernel = std::string("k");
  launch.block = {256, 1, 1};
  CHECK(!run(*program, memory, launch, diagnostics));
  CHECK_THAT(
      diagnostics.text(),
      Contains(
          "the block is another than the kernel requires: it is 256 x 1 x 1, .reqntid says 128 x 2 x 1"));
  launch.kernel = std::string("m");
  CHECK(!run(*program, memory, launch, diagnostics));
  CHECK_THAT(diagnostics.text(), Contains("it has 256 threads, .maxntid allows 64"));
}

} // namespace npuc::ptx::test
