#include "backends/npu/schedule/GraphText.h"
#include "RandomGraph.h"
#include "backends/npu/schedule/VerifyGraph.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

constexpr const char *sound = R"(graph "two loads" {
  buffer "weights" constant i8[512] bytes=512 align=64
  buffer "output" output i8[64] bytes=64 align=64
  register "position" 0..3
  virtual 0 dram[0] bytes=512 align=64
  virtual 1 dram[1] bytes=64 align=64
  virtual 2 scratchpad[0] bytes=64 align=32
  virtual 3 scratchpad[0] bytes=64 align=8 group=0
  virtual 4 scratchpad[1] bytes=64 align=8 group=0
  core 0 {
    copy @dma0.0 (dram[0]+$0*64:i8[64], scratchpad[2]:i8[64]) from "layer.0/query"
    copy @dma0.0 (dram[0]:i8[64], scratchpad[3]:i8[64]) multicast(0, 1)
  }
  core 1 {
    copy @dma0.0 (scratchpad[4]:i8[64], dram[1]:i8[64]) from "layer.0/query"
  }
}
)";

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// The errors of sound with something replaced; "" if there are none.
std::string errorsOf(const std::string &from, const std::string &to) {
  Diagnostics diagnostics;
  const auto graph = parseGraph(replaced(sound, from, to), "test", diagnostics);
  if (graph)
    verify(*graph, smallMachine(2), diagnostics);
  return diagnostics.text();
}

} // namespace

TEST_CASE("A tile graph is printed as it was read") {
  Diagnostics diagnostics;
  const auto graph = parseGraph(sound, "test", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(graph);
  CHECK(print(*graph) == sound);
  CHECK(verify(*graph, smallMachine(2), diagnostics));
  CHECK(graph->cores == std::vector<uint32_t>{0, 0, 1});
  CHECK(graph->buffers[4].group == 0);
}

TEST_CASE("Random tile graphs survive printing and parsing") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Random random(seed);
    const TileGraph graph = randomGraph(random, {3, 30});
    Diagnostics diagnostics;
    const auto read = parseGraph(print(graph), "test", diagnostics);
    INFO(diagnostics.text());
    REQUIRE(read);
    REQUIRE(equivalent(graph, *read));
  }
}

TEST_CASE("A graph that does not parse says where") {
  Diagnostics diagnostics;
  CHECK_FALSE(parseGraph(replaced(sound, "virtual 2", "virtual 7"), "test.graph", diagnostics));
  CHECK(diagnostics.text().find("test.graph:7:11: virtual buffer 7 stands where 2 is due") !=
        std::string::npos);
  Diagnostics others;
  CHECK_FALSE(parseGraph(replaced(sound, "scratchpad[1]", "scratchpat[1]"), "test.graph", others));
  CHECK(others.text().find("unknown memory space 'scratchpat'") != std::string::npos);
}

TEST_CASE("Faults of a graph are found and named") {
  const auto [from, to, error] = GENERATE(table<std::string, std::string, std::string>({
      {"scratchpad[2]:i8[64]", "scratchpad[2]+1:i8[64]",
       "leaves its buffer 2: it reaches bytes 1 to 65 of 64"},
      {"+$0*64", "+$0*200", "leaves its buffer 0: it reaches bytes 0 to 664 of 512"},
      {"+$0*64", "+$7*64", "reach is not defined"},
      {"scratchpad[2]:i8", "shared[2]:i8", "in another space"},
      {"scratchpad[2]:i8", "scratchpad[9]:i8", "does not exist"},
      {"virtual 2 scratchpad[0]", "virtual 2 scratchpad[5]", "core 5 of 2"},
      {"core 1 {", "core 2 {", "core 2 of 2"},
      {"align=32", "align=33", "alignment 33"},
      {"dram[1] bytes=64", "dram[1] bytes=65", "no DRAM buffer of its index and size"},
      {"virtual 1 dram[1]", "virtual 1 dram[0]", "no DRAM buffer"},
      {"multicast(0, 1)", "multicast(0, 1) signal(0)", "waits or signals"},
      {"scratchpad[3]:i8[64]) multicast", "scratchpad[2]:i8[64]) multicast", "a buffer of a group"},
      {"virtual 4 scratchpad[1] bytes=64 align=8 group=0", "virtual 4 scratchpad[1] bytes=64 align=8 group=1",
       "has no buffer on a core that it lists: group 0, core 1"},
      {"virtual 4 scratchpad[1] bytes=64 align=8", "virtual 4 scratchpad[1] bytes=128 align=8",
       "differ in size"},
      {"virtual 4 scratchpad[1]", "virtual 4 scratchpad[0]", "two buffers of one group are on one core"},
      {"(scratchpad[4]:i8[64], dram[1]:i8[64])", "(scratchpad[2]:i8[64], scratchpad[4]:i8[64])",
       ""}, // remote to own
      {"copy @dma0.0 (dram[0]:i8[64]", "copy @matrix (dram[0]:i8[64]", "does not reach"},
      {"(scratchpad[4]:i8[64], dram[1]:i8[64])", "(dram[1]:i8[64], dram[0]:i8[64])",
       "no DMA class moves data this way"},
      {"(dram[0]+$0*64:i8[64], scratchpad[2]:i8[64])", "(scratchpad[2]:i8[64], dram[1]:i8[64])",
       "layer.0/query, operation 0 (copy): an operand reads bytes of buffer 2 that nothing has written"},
  }));
  INFO(from << " → " << to);
  const std::string found = errorsOf(from, to);
  INFO(found);
  CHECK((error.empty() ? found.empty() : found.find(error) != std::string::npos));
}
