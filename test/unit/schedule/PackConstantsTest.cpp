#include "backends/npu/schedule/PackConstants.h"
#include "RandomGraph.h"
#include "backends/npu/schedule/GraphText.h"
#include "backends/npu/schedule/VerifyGraph.h"

#include <catch2/catch.hpp>
#include <numeric>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

// A matrix of 4 x 6 bytes, read as its right and its left half by one core and its right half again by
// another; a vector that is read whole; a table of which one part is read by index.
constexpr const char *text = R"(graph "halves" {
  buffer "matrix" constant i8[4x6] bytes=24 align=8
  buffer "vector" constant i8[8] bytes=8 align=8
  buffer "output" output i8[12] bytes=12 align=8
  virtual 0 dram[0] bytes=24 align=8
  virtual 1 dram[1] bytes=8 align=8
  virtual 2 dram[2] bytes=12 align=8
  virtual 3 scratchpad[0] bytes=12 align=8
  virtual 4 scratchpad[0] bytes=12 align=8
  virtual 5 scratchpad[1] bytes=12 align=8
  virtual 6 scratchpad[1] bytes=8 align=8
  core 0 {
    copy @dma0.0 (dram[0]+0x3:i8[4x3:6,1], scratchpad[3]:i8[4x3])
    copy @dma0.0 (dram[0]:i8[4x3:6,1], scratchpad[4]:i8[4x3])
  }
  core 1 {
    copy @dma0.0 (dram[0]+0x3:i8[4x3:6,1], scratchpad[5]:i8[4x3])
    copy @dma0.0 (dram[1]:i8[8], scratchpad[6]:i8[8])
  }
}
)";

TileGraph graphOf(const std::string &source) {
  Diagnostics diagnostics;
  auto graph = parseGraph(source, "test", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(graph);
  return *graph;
}

std::string replaced(std::string source, const std::string &from, const std::string &to) {
  const size_t at = source.find(from);
  REQUIRE(at != std::string::npos);
  return source.replace(at, from.size(), to);
}

std::vector<std::byte> counted(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i)
    bytes[i] = std::byte(i);
  return bytes;
}

} // namespace

TEST_CASE("Halves of a matrix lie one after another, in the order of first use") {
  TileGraph graph = graphOf(text);
  const Packings packings = packConstants(graph);
  REQUIRE(packings.size() == 3);
  CHECK(packings[1].empty());
  CHECK(packings[2].empty());
  REQUIRE(packings[0].size() == 2);
  // Row r of the matrix is bytes 6r … 6r+5: the right half first.
  const std::vector<int> expected = {3, 4, 5, 9, 10, 11, 15, 16, 17, 21, 22, 23,
                                     0, 1, 2, 6, 7,  8,  12, 13, 14, 18, 19, 20};
  std::vector<int> bytes;
  for (std::byte byte : packed(counted(24), packings[0]))
    bytes.push_back(int(byte));
  CHECK(bytes == expected);
  TileGraph wanted = graphOf(replaced(
      replaced(replaced(text, "dram[0]+0x3:i8[4x3:6,1], scratchpad[3]", "dram[0]:i8[4x3], scratchpad[3]"),
               "dram[0]:i8[4x3:6,1]", "dram[0]+0xc:i8[4x3]"),
      "dram[0]+0x3:i8[4x3:6,1], scratchpad[5]", "dram[0]:i8[4x3], scratchpad[5]"));
  CHECK(print(graph) == print(wanted));
}

TEST_CASE("A constant of which parts overlap stays as it is") {
  const std::string overlapping = replaced(text, "dram[0]:i8[4x3:6,1], scratchpad[4]:i8[4x3]",
                                           "dram[0]+0x1:i8[4x3:6,1], scratchpad[4]:i8[4x3]");
  TileGraph graph = graphOf(overlapping);
  CHECK(packConstants(graph)[0].empty());
  CHECK(print(graph) == print(graphOf(overlapping)));
}

TEST_CASE("Inputs, and constants that are read by index, stay as they are") {
  TileGraph input = graphOf(replaced(text, "constant i8[4x6]", "input i8[4x6]"));
  CHECK(packConstants(input)[0].empty());
  const std::string gathered =
      replaced(replaced(text, "copy @dma0.0 (dram[0]+0x3:i8[4x3:6,1], scratchpad[5]:i8[4x3])",
                        "gather @dma0.0 (dram[0]:i8[4x6], scratchpad[6]:i32[2], scratchpad[5]:i8[2x6])"),
               "", "");
  TileGraph graph = graphOf(gathered);
  CHECK(packConstants(graph)[0].empty());
}

TEST_CASE("Random partitions: what a copy reads afterwards is what it read before") {
  for (unsigned seed = 0; seed < 50; ++seed) {
    Random random(seed);
    // A matrix cut by a grid of lines, its blocks copied in random order.
    const int64_t rows = pick(random, 1, 9), columns = pick(random, 1, 9);
    const int64_t high = pick(random, 1, static_cast<int>(rows)),
                  wide = pick(random, 1, static_cast<int>(columns));
    TileGraph graph;
    graph.dram.push_back({});
    graph.dram[0].role = isa::Role::Constant;
    graph.dram[0].bytes = 2 * rows * columns;
    graph.sources.push_back("");
    graph.buffers.push_back({isa::Space::Dram, 0, 2 * rows * columns, 1, 0, isa::none});
    graph.buffers.push_back({isa::Space::Scratchpad, 0, 2 * rows * columns, 1, isa::none, isa::none});
    std::vector<isa::View> before;
    for (int64_t r = 0; r < rows; r += high)
      for (int64_t c = 0; c < columns; c += wide) {
        isa::View view;
        view.space = isa::Space::Dram;
        view.type = ElementType::F16;
        view.base = 2 * (r * columns + c);
        view.rank = 2;
        view.dims[0] = {static_cast<int32_t>(std::min(high, rows - r)), columns};
        view.dims[1] = {static_cast<int32_t>(std::min(wide, columns - c)), 1};
        before.push_back(view);
      }
    std::shuffle(before.begin(), before.end(), random);
    for (const isa::View &view : before) {
      isa::View target = view;
      target.space = isa::Space::Scratchpad;
      target.buffer = 1;
      target.base = 0;
      target.dims[0].stride = view.dims[1].size;
      isa::Command command;
      command.opcode = isa::Opcode::Copy;
      command.engine = isa::Engine::Dma;
      const isa::View operands[] = {view, target};
      graph.operations.push_back(graph.add(command, operands, {}, {}, {}));
      graph.cores.push_back(0);
    }
    const std::vector<std::byte> bytes = counted(static_cast<size_t>(2 * rows * columns));
    const Packings packings = packConstants(graph);
    const std::vector<std::byte> after = packings[0].empty() ? bytes : packed(bytes, packings[0]);
    for (size_t i = 0; i < before.size(); ++i) {
      const isa::View &now = graph.operandsOf(graph.operations[i])[0];
      const std::vector<isa::View> one = {before[i]}, other = {now};
      const size_t length = static_cast<size_t>(2 * now.elements());
      const std::vector<std::byte> old = packed(bytes, one), fresh = packed(after, other);
      CHECK(std::equal(old.begin(), old.begin() + static_cast<long>(length), fresh.begin()));
    }
  }
}
