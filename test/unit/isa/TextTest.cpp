#include "backends/npu/isa/Text.h"

#include "test/unit/isa/RandomProgram.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::isa;

namespace {

std::string errorsOf(std::string_view text) {
  Diagnostics diagnostics;
  auto program = parseProgram(text, "t.isa", diagnostics);
  CHECK(program.has_value() == !diagnostics.hasErrors());
  return diagnostics.text();
}

const char *example = R"(program "encoder" {
  buffer "ids" input i32[1x128] bytes=512 align=64
  register "position" 0..511
  semaphores 3
  core 0 {
    copy @dma1.2 (dram[0]+0x40+$0*256:f16[128x64;d0<$0+1], scratchpad[0]:f16[128x64]) if($0>4) signal(1) from "layer.0/query"
    contract @matrix (scratchpad[0]:i8[128x64], scratchpad[0]+0x2000:i8[64x96:1,64], accumulator[0]:i32[128x96]) dims(0,1,1,1) accumulate wait(1>=1, 2>=7)
    vector @vector (accumulator[0]:i32[128x96], scratchpad[0]+0x8000:f16[128x96:192,2]) {
      r0 = load.f32 %0
      r1 = constant.f32 -inf
      r2 = select.f32 r0, r1, r0
      %1 = store_sum.f16 r2, 1
    }
    fill @dma0.0 (shared[0]:f32[]) value=0.25
  }
  core 1 {
    barrier @dma0.0 wait(0>=4294967295)
  }
}
)";

} // namespace

TEST_CASE("what is printed is what was parsed, to the letter") {
  Diagnostics diagnostics;
  auto program = parseProgram(example, "t.isa", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(program);
  CHECK(print(*program) == example);
  REQUIRE(program->streams.size() == 2);
  const Command &copy = program->streams[0][0];
  CHECK(copy.dmaClass == 1);
  CHECK(copy.queue == 2);
  CHECK(copy.predicateBound == 4);
  CHECK(program->sources[copy.source] == "layer.0/query");
  const View &from = program->operandsOf(copy)[0];
  CHECK(from.base == 0x40);
  CHECK(from.registerScale == 256);
  CHECK(from.boundRegister == 0);
  CHECK(from.boundOffset == -1); // extent is register + 1
  CHECK(from.dims[0].stride == 64);
  const Command &contract = program->streams[0][1];
  CHECK(contract.accumulate);
  CHECK(program->waitsOf(contract)[1] == Wait{2, 7});
  CHECK(program->operandsOf(contract)[1].dims[1].stride == 64);
  CHECK(program->instructionsOf(program->streams[0][2])[3].immediate == 1);
}

TEST_CASE("random programs survive the round trip through text") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Program program = RandomProgram(seed).make(30);
    std::string text = print(program);
    Diagnostics diagnostics;
    auto again = parseProgram(text, "t.isa", diagnostics);
    INFO(seed << "\n" << diagnostics.text());
    REQUIRE(again);
    REQUIRE(equivalent(program, *again));
    REQUIRE(print(*again) == text);
  }
}

TEST_CASE("all errors of a text are reported, each with its line and column") {
  std::string errors = errorsOf(R"(program "p" {
  buffer "b" inptu i8[4] bytes=4 align=1
  semaphores 99999999999
  core 0 {
    cpoy @dma0.0 (dram[0]:i8[4])
    copy @dma0.0 (dram[0]:i9[4])
    copy @dma0.0 (drm[0]:i8[4])
    vector @vector (dram[0]:i8[4]) {
      r0 = lod.f32 %0
      r1 = store.f32 r0
      r1 = add.f32 r0
      r2 = move.f32 r1
    }
    copy @mtrix (dram[0]:i8[4]) {
      r0 = load.f32 %0
    }
    copy @dma0.0 (dram[0]:i8[1x2x3x4x5x6x7x8x9])
    barrier @dma0.0 wait(1>2)
  }
  core 2 {
  }
}
)");
  CHECK(errors == R"(error: t.isa:2:14: unknown role 'inptu'
  hint: did you mean 'input'?
error: t.isa:3:14: a count of semaphores is 99999999999, which is outside 0…4294967294
error: t.isa:5:5: unknown command or attribute 'cpoy'
  hint: did you mean 'copy'?
error: t.isa:6:27: unknown element type 'i9'
  hint: did you mean 'i4'?
error: t.isa:7:19: unknown memory space 'drm'
  hint: did you mean 'dram'?
error: t.isa:9:12: unknown vector operation 'lod'
  hint: did you mean 'load'?
error: t.isa:10:12: store writes an operand, as in %0
error: t.isa:12:7: expected ',', found 'r2'
error: t.isa:14:11: unknown engine 'mtrix'
  hint: engines are matrix, vector and dmaCLASS.QUEUE
error: t.isa:17:46: a view has at most 8 dimensions, found '9])'
error: t.isa:18:27: expected '>=', found '>2)'
error: t.isa:20:8: core 2 stands where core 1 is due
  hint: cores come in order, each once; one without commands is an empty block
)");
}

TEST_CASE("a text that ends early or goes on is an error, wherever it is cut") {
  const std::string text = example;
  for (size_t length = 0; length + 2 < text.size(); ++length) // the last two are "}\n"
    REQUIRE_FALSE(errorsOf(text.substr(0, length)).empty());
  CHECK(errorsOf(text + "x").find("expected the end") != std::string::npos);
  CHECK(errorsOf("program \"a\\qb\" {}").find("unknown escape") != std::string::npos);
}

TEST_CASE("reach covers the whole range of the registers and negative strides") {
  View view;
  view.type = ElementType::I16;
  view.rank = 2;
  view.base = 1000;
  view.dims[0] = {3, -10}; // elements −20…0
  view.dims[1] = {4, 1};   // elements 0…3
  CHECK(reach(view, {}) == ByteRange{1000 - 40, 1000 + 6 + 2});
  std::vector<Register> registers = {{"position", -1, 5}};
  view.baseRegister = 0;
  view.registerScale = 100; // bytes −100…500
  CHECK(reach(view, registers) == ByteRange{960 - 100, 1008 + 500});
  view.registerScale = int64_t{1} << 62; // 5 × 2^62 does not fit
  CHECK_FALSE(reach(view, registers));
  view.baseRegister = 1;
  CHECK_FALSE(reach(view, registers));
  view.baseRegister = 0;
  view.registerScale = 0;
  view.boundRegister = 0;
  view.boundOffset = 3; // at most 5 − 3 = 2 rows, elements −10…3
  CHECK(reach(view, registers) == ByteRange{1000 - 20, 1008});
  View nibbles;
  nibbles.type = ElementType::I4;
  nibbles.rank = 1;
  nibbles.dims[0] = {5, 1};
  CHECK(reach(nibbles, {}) == ByteRange{0, 3});
}
