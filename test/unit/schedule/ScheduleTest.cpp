// Random tile graphs, scheduled, proven, and run: whatever order the program allows must give what the graph
// says.
#include "RandomGraph.h"
#include "backends/npu/schedule/Plan.h"
#include "backends/npu/schedule/VerifyGraph.h"
#include "backends/npu/schedule/VerifySchedule.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

// Memories of `share` times what the graph needs in sequential order.
void shrink(Limits &limits, const TileGraph &graph, double share) {
  const ByteCost cost;
  const Plan plan({graph, limits, cost});
  int64_t scratchpad = 0, accumulator = 0, shared = 0;
  for (uint32_t m = 0; m < plan.need.size(); ++m)
    for (int64_t need : plan.need[m])
      if (m < limits.cores)
        scratchpad = std::max(scratchpad, need);
      else if (m < 2 * limits.cores)
        accumulator = std::max(accumulator, need);
      else
        shared = std::max(shared, need);
  limits.scratchpad.bytes = static_cast<int64_t>(double(scratchpad) * share);
  limits.accumulator.bytes = static_cast<int64_t>(double(accumulator) * share);
  limits.shared.bytes = static_cast<int64_t>(double(shared) * share);
}

} // namespace

TEST_CASE("Random graphs keep their meaning however a program's commands interleave") {
  const ByteCost cost;
  int packed = 0, failed = 0, scheduled = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const TileGraph graph =
        randomGraph(random, {static_cast<uint32_t>(pick(random, 1, 4)), pick(random, 5, 60)});
    Limits limits = smallMachine(4);
    limits.queueDepth = pick(random, 1, 4);
    Diagnostics diagnostics;
    if (!verify(graph, limits, diagnostics))
      FAIL(diagnostics.text());
    const double share = std::array{1.0, 1.1, 1.3, 2.0, 5.0}[seed % 5];
    shrink(limits, graph, share);
    const auto solution = schedule::schedule({graph, limits, cost}, diagnostics);
    if (!solution) {
      ++failed;
      INFO(diagnostics.text());
      CHECK(share < 1.3);
      continue;
    }
    ++scheduled;
    packed += solution->packedBeforehand;
    if (!verifySchedule(graph, solution->program, solution->commands, limits, diagnostics))
      FAIL(diagnostics.text());
    CHECK(solution->cycles >= solution->lowerBound);
    for (const MemoryUse &use : solution->memories)
      CHECK(use.peak <= use.capacity);
    for (int run = 0; run < 4; ++run) {
      const double registerShare = run / 3.0;
      REQUIRE(runProgram(solution->program, limits, registerShare, random) == runGraph(graph, registerShare));
    }
  }
  WARN(scheduled << " scheduled, " << packed << " of them packed beforehand, " << failed
                 << " without a placement");
  CHECK(failed <= 12);
}
