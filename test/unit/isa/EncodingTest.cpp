#include "backends/npu/isa/Encoding.h"

#include "test/unit/isa/RandomProgram.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::isa;

namespace {

std::span<const std::byte> bytesOf(const std::string &text) {
  return std::as_bytes(std::span(text));
}

// The decoded program, with what the encoding leaves to the manifest taken from `like`.
bool decodeLike(const Program &like, const std::string &bytes, Program &program, Diagnostics &diagnostics) {
  program.name = like.name;
  program.buffers = like.buffers;
  program.registers = like.registers;
  return decodeStreams(bytesOf(bytes), "streams", program, diagnostics);
}

} // namespace

TEST_CASE("an instruction with NaN is equal to itself, and to none with another number") {
  VectorInstruction nan{.op = VectorOp::Constant, .immediate = std::numeric_limits<double>::quiet_NaN()};
  VectorInstruction zero{.op = VectorOp::Constant};
  CHECK(nan == VectorInstruction(nan));
  CHECK(nan != zero);
}

TEST_CASE("random programs survive the round trip through bytes") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Program program = RandomProgram(seed).make(50), again;
    std::string bytes = encodeStreams(program);
    Diagnostics diagnostics;
    INFO(seed);
    REQUIRE(decodeLike(program, bytes, again, diagnostics));
    REQUIRE(equivalent(program, again));
    REQUIRE(encodeStreams(again) == bytes); // however the pools are laid out
  }
}

TEST_CASE("a stream cut short or followed by more is an error at a byte") {
  Program program = RandomProgram(7).make(20);
  const std::string bytes = encodeStreams(program);
  for (size_t length = 0; length < bytes.size(); ++length) {
    Diagnostics diagnostics;
    Program again;
    REQUIRE_FALSE(decodeLike(program, bytes.substr(0, length), again, diagnostics));
    REQUIRE(diagnostics.errorCount() == 1);
  }
  Diagnostics diagnostics;
  Program again;
  CHECK_FALSE(decodeLike(program, bytes + "x", again, diagnostics));
  CHECK(diagnostics.all()[0].why.find("1 bytes follow the program") != std::string::npos);
}

TEST_CASE("another version is named together with ours") {
  Program program = RandomProgram(1).make(3), again;
  std::string bytes = encodeStreams(program);
  bytes[4] = 9;
  Diagnostics diagnostics;
  CHECK_FALSE(decodeLike(program, bytes, again, diagnostics));
  CHECK(diagnostics.text().find("has version 9, this program reads version 1") != std::string::npos);
}

TEST_CASE("flipped bytes give a program whose indices are in range, or an error") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    RandomProgram random(seed);
    Program program = random.make(20);
    const std::string bytes = encodeStreams(program);
    for (int flips = 0; flips < 200; ++flips) {
      std::string bad = bytes;
      for (int64_t n = random.between(1, 3); n-- > 0;)
        bad[static_cast<size_t>(random.between(0, int64_t(bad.size()) - 1))] =
            static_cast<char>(random.between(0, 255));
      Program again;
      Diagnostics diagnostics;
      if (!decodeLike(program, bad, again, diagnostics)) {
        REQUIRE(diagnostics.errorCount() == 1);
        continue;
      }
      for (const std::vector<Command> &stream : again.streams)
        for (const Command &c : stream) {
          REQUIRE(size_t(c.firstOperand) + c.operandCount <= again.operands.size());
          REQUIRE(size_t(c.firstInstruction) + c.instructionCount <= again.instructions.size());
          REQUIRE(size_t(c.firstWait) + c.waitCount <= again.waits.size());
          REQUIRE(size_t(c.firstMulticast) + c.multicastCount <= again.multicast.size());
          REQUIRE(c.source < again.sources.size());
        }
    }
  }
}

TEST_CASE("equal vector programs and views are stored once") {
  Program program;
  program.sources = {""};
  program.streams.resize(1);
  RandomProgram random(3);
  std::vector<VectorInstruction> instructions(40);
  for (VectorInstruction &i : instructions)
    i = random.instruction();
  View view = random.view();
  Command command;
  command.opcode = Opcode::Vector;
  command.engine = Engine::Vector;
  auto bytesOfCommands = [&](size_t count) {
    while (program.streams[0].size() < count) {
      view.base += 64;
      program.streams[0].push_back(program.add(command, std::span(&view, 1), instructions));
    }
    return encodeStreams(program).size();
  };
  size_t few = bytesOfCommands(10), many = bytesOfCommands(1010);
  // Each further command: head, presence, layout, buffer and a base 64 further on (zigzag 128: two bytes) are
  // 6 bytes; the count of commands grows from one byte to two.
  CHECK(many - few == 1000 * 6 + 1);
  Program again;
  Diagnostics diagnostics;
  REQUIRE(decodeLike(program, encodeStreams(program), again, diagnostics));
  CHECK(again.instructions.size() == 40);
}
