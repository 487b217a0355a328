// What good schedules do, on graphs small enough to follow by hand, and how long scheduling takes.
#include "RandomGraph.h"
#include "backends/npu/schedule/GraphText.h"
#include "backends/npu/schedule/ListScheduler.h"
#include "backends/npu/schedule/Report.h"
#include "backends/npu/schedule/VerifyGraph.h"
#include "backends/npu/schedule/VerifySchedule.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <fmt/format.h>

using namespace npuc;
using namespace npuc::schedule;
using namespace npuc::schedule::test;

namespace {

/// Loads take 100 cycles, everything else 60; nothing is shared.
class FlatCost : public CostModel {
public:
  Price price(const TileGraph &graph, uint32_t operation, uint8_t) const override {
    return {graph.operations[operation].engine == isa::Engine::Dma ? 100 : 60, {}};
  }
};

Limits plain(uint32_t cores) {
  Limits limits = smallMachine(cores);
  limits.dma.resize(1);
  limits.dma[0].queues = 1;
  limits.dispatchCycles = limits.signalCycles = limits.remoteSignalCycles = 0;
  return limits;
}

// `count` layers on one core: each loads 1000 bytes of weights, and the vector engine turns them into 8 bytes
// that the next layer reads; the last is stored.
TileGraph layers(int count) {
  std::string text = "graph \"layers\" {\n  buffer \"w\" constant i8[1000] bytes=1000 align=64\n"
                     "  buffer \"o\" output i8[8] bytes=8 align=64\n"
                     "  virtual 0 dram[0] bytes=1000 align=64\n  virtual 1 dram[1] bytes=8 align=64\n";
  std::string body;
  for (int i = 0; i < count; ++i) {
    const int weights = 2 + 2 * i, sums = weights + 1;
    text += fmt::format(
        "  virtual {} scratchpad[0] bytes=1000 align=1\n  virtual {} scratchpad[0] bytes=8 align=1\n",
        weights, sums);
    body += fmt::format("    copy @dma0.0 (dram[0]:i8[1000], scratchpad[{}]:i8[1000])\n", weights);
    const std::string previous = i == 0 ? "" : fmt::format("scratchpad[{}]:i8[8:1], ", sums - 2);
    body += fmt::format(
        "    vector @vector (scratchpad[{}]:i8[8], {}scratchpad[{}]:i8[8]) {{\n      r0 = load.i32 %0\n{}"
        "      %{} = store.i32 r0\n    }}\n",
        weights, i == 0 ? "" : fmt::format("scratchpad[{}]:i8[8], ", sums - 2), sums,
        i == 0 ? "" : "      r1 = load.i32 %1\n", i == 0 ? 1 : 2);
  }
  body += fmt::format("    copy @dma0.0 (scratchpad[{}]:i8[8], dram[1]:i8[8])\n", 2 * count + 1);
  Diagnostics diagnostics;
  auto graph = parseGraph(text + "  core 0 {\n" + body + "  }\n}\n", "layers", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(graph);
  return *graph;
}

Solution solve(const TileGraph &graph, const Limits &limits, const CostModel &cost) {
  Diagnostics diagnostics;
  REQUIRE(verify(graph, limits, diagnostics));
  auto solution = schedule::schedule({graph, limits, cost}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(solution);
  REQUIRE(verifySchedule(graph, solution->program, solution->commands, limits, diagnostics));
  return *solution;
}

double seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// Rounds of matrix tiles on several cores: loads of weights, contractions that add up, a vector program, an
// exchange.
TileGraph largeGraph(uint32_t cores, int rounds) {
  TileGraph graph;
  graph.name = "large";
  graph.sources = {""};
  graph.dram.push_back({"weights", isa::Role::Constant, ElementType::I8, {1 << 20}, 1 << 20, 64});
  graph.dram.push_back({"output", isa::Role::Output, ElementType::I8, {1 << 20}, 1 << 20, 64});
  graph.buffers.push_back({isa::Space::Dram, 0, 1 << 20, 64, 0});
  graph.buffers.push_back({isa::Space::Dram, 0, 1 << 20, 64, 1});
  auto buffer = [&](isa::Space space, uint32_t core, int64_t bytes) {
    graph.buffers.push_back({space, core, bytes, 64});
    return static_cast<uint32_t>(graph.buffers.size() - 1);
  };
  auto view = [&](uint32_t b, int64_t base, int32_t rows, int64_t stride, int32_t columns) {
    isa::View v;
    v.space = graph.buffers[b].space;
    v.buffer = b;
    v.base = base;
    v.rank = 2;
    v.dims[0] = {rows, stride};
    v.dims[1] = {columns, 1};
    return v;
  };
  auto add = [&](uint32_t core, isa::Opcode opcode, isa::Engine engine,
                 std::initializer_list<isa::View> operands, bool accumulate = false) {
    isa::Command command;
    command.opcode = opcode;
    command.engine = engine;
    command.accumulate = accumulate;
    std::vector<isa::VectorInstruction> body;
    if (opcode == isa::Opcode::Vector)
      body = {{isa::VectorOp::Load, ElementType::I32, 0, 0},
              {isa::VectorOp::Load, ElementType::I32, 1, 1},
              {isa::VectorOp::Store, ElementType::I32, 2, 0}};
    graph.operations.push_back(graph.add(command, operands, body));
    graph.cores.push_back(core);
  };
  using isa::Engine;
  using isa::Opcode;
  using isa::Space;
  // Activations of 32 rows of 128 bytes, each core's own copy; tiles are 32 columns.
  std::vector<uint32_t> activations(cores);
  for (uint32_t c = 0; c < cores; ++c) {
    activations[c] = buffer(Space::Scratchpad, c, 4096);
    add(c, Opcode::Copy, Engine::Dma, {view(0, 0, 32, 128, 128), view(activations[c], 0, 32, 128, 128)});
  }
  for (int round = 0; round < rounds; ++round) {
    std::vector<uint32_t> next(cores);
    for (uint32_t c = 0; c < cores; ++c) {
      next[c] = buffer(Space::Scratchpad, c, 4096);
      for (int tile = 0; tile < 4; ++tile) {
        const uint32_t sums = buffer(Space::Accumulator, c, 4096);
        for (int k = 0; k < 4; ++k) {
          const uint32_t weights = buffer(Space::Scratchpad, c, 1024);
          add(c, Opcode::Copy, Engine::Dma,
              {view(0, (round * 16 + tile * 4 + k) % 1000 * 1024, 1, 0, 1024), view(weights, 0, 1, 0, 1024)});
          add(c, Opcode::Contract, Engine::Matrix,
              {view(activations[c], k * 32, 32, 128, 32), view(weights, 0, 32, 32, 32),
               view(sums, 0, 1, 0, 4096)},
              k > 0);
        }
        const uint32_t drained = buffer(Space::Scratchpad, c, 4096);
        add(c, Opcode::Copy, Engine::Matrix, {view(sums, 0, 1, 0, 4096), view(drained, 0, 1, 0, 4096)});
        add(c, Opcode::Vector, Engine::Vector,
            {view(drained, 0, 1, 0, 4096), view(activations[c], tile * 32, 32, 128, 32),
             view(next[c], tile * 32, 32, 128, 32)});
      }
    }
    for (uint32_t c = 0; c < cores; ++c) // half of the neighbour's
      add(c, Opcode::Copy, Engine::Dma,
          {view(next[(c + 1) % cores], 0, 16, 128, 128), view(next[c], 2048, 16, 128, 128)});
    activations = next;
  }
  for (uint32_t c = 0; c < cores; ++c)
    add(c, Opcode::Copy, Engine::Dma,
        {view(activations[c], 0, 32, 128, 128), view(1, c * 4096, 32, 128, 128)});
  return graph;
}

} // namespace

TEST_CASE("The next layer's weights arrive while this one computes") {
  // Loads follow each other without a gap, 4 · 100 cycles; the last layer's 60 and the store's 100 come after
  // them: 560, the longest chain of engine times. Two weights of 1000 bytes and the sums fit in 4096 bytes.
  const TileGraph graph = layers(4);
  const Solution solution = solve(graph, plain(1), FlatCost());
  CHECK(solution.cycles == 560);
  CHECK_FALSE(solution.packedBeforehand);
}

TEST_CASE("Without room for two layers' weights they take turns, and that is timed") {
  // 1100 bytes: a load waits until the layer before has computed: 4 · (100 + 60) + 100.
  Limits limits = plain(1);
  limits.scratchpad.bytes = 1100;
  CHECK(solve(layers(4), limits, FlatCost()).cycles == 740);
  // Room for two of three weights at once is enough to hide all loads but the first.
  limits.scratchpad.bytes = 2100;
  CHECK(solve(layers(4), limits, FlatCost()).cycles == 560);
}

TEST_CASE("Loads that all stand at the beginning arrive in the order of their consumers, as memory allows") {
  TileGraph graph = layers(6);
  // All loads first, in reverse: 12 operations alternate load and vector, then the store.
  std::vector<isa::Command> loads, rest;
  for (size_t i = 0; i + 1 < graph.operations.size(); ++i)
    (i % 2 == 0 ? loads : rest).push_back(graph.operations[i]);
  rest.push_back(graph.operations.back());
  graph.operations.assign(loads.rbegin(), loads.rend());
  graph.operations.insert(graph.operations.end(), rest.begin(), rest.end());
  Limits limits = plain(1);
  limits.scratchpad.bytes = 2100; // two of six
  const Solution solution = solve(graph, limits, FlatCost());
  CHECK(solution.cycles == 6 * 100 + 60 + 100);
}

TEST_CASE("Loads run ahead of the work by no more than asked") {
  const TileGraph graph = layers(4);
  const Limits limits = plain(1);
  const FlatCost cost;
  const Plan plan({graph, limits, cost});
  // Each layer's 60 cycles of work must be done before the next load starts: 4 · (100 + 60) + 100.
  CHECK(listSchedule(plan, {1, 0}).cycles == 740);
  // One layer ahead hides them.
  CHECK(listSchedule(plan, {1, 60}).cycles == 560);
}

TEST_CASE("Work runs in the order of its consumers where that is shorter") {
  // Two multiplications (operations 1 and 2), then two more (3 and 4); a chain of two formulas reads the
  // first of both, another the second of both. All read what operation 0 loads.
  std::string text = "graph \"heads\" {\n  buffer \"x\" input i8[4x4] bytes=16 align=64\n"
                     "  virtual 0 dram[0] bytes=16 align=64\n  virtual 1 scratchpad[0] bytes=16 align=1\n";
  for (int sums = 2; sums < 10; ++sums)
    text += fmt::format("  virtual {} scratchpad[0] bytes=64 align=1\n", sums);
  text += "  core 0 {\n    copy @dma0.0 (dram[0]:i8[16], scratchpad[1]:i8[16])\n";
  for (int sums = 2; sums < 6; ++sums)
    text += fmt::format("    contract @matrix (scratchpad[1]:i8[4x4], scratchpad[1]:i8[4x4], "
                        "scratchpad[{}]:i32[4x4]) dims(0,1,1,1)\n",
                        sums);
  for (int head = 0; head < 2; ++head)
    for (int step = 0; step < 2; ++step)
      text += fmt::format(
          "    vector @vector (scratchpad[{}]:i32[16], scratchpad[{}]:i32[16], scratchpad[{}]:i32[16]) {{\n"
          "      r0 = load.i32 %0\n      r1 = load.i32 %1\n      r0 = add.i32 r0, r1\n      %2 = store.i32 "
          "r0\n    }}\n",
          step == 0 ? 2 + head : 6 + 2 * head, 4 + head, 6 + 2 * head + step);
  Diagnostics diagnostics;
  const auto graph = parseGraph(text + "  }\n}\n", "heads", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(graph);
  const Limits limits = plain(1);
  const FlatCost cost;
  const Plan written({*graph, limits, cost}), byConsumer({*graph, limits, cost}, Order::ByConsumer);
  CHECK(written.sequence == std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(byConsumer.sequence == std::vector<uint32_t>{0, 1, 3, 5, 6, 2, 4, 7, 8});
  // The load takes 100 cycles, all else 60: the first formula waits for three multiplications or for two.
  CHECK(listSchedule(written, {}).cycles == 100 + 3 * 60 + 4 * 60);
  CHECK(listSchedule(byConsumer, {}).cycles == 100 + 2 * 60 + 4 * 60);
  CHECK(solve(*graph, limits, cost).cycles == 100 + 2 * 60 + 4 * 60);
}

TEST_CASE("Of the schedules that can be measured the one that takes least is taken") {
  const TileGraph graph = layers(4);
  Limits limits = plain(1);
  limits.scratchpad.bytes = 2100; // attempts differ in how much of it is loaded ahead
  const FlatCost cost;
  Diagnostics diagnostics;
  // As if a program took the less the later its last byte of scratchpad lies.
  std::vector<int64_t> measured;
  auto measure = [&](const isa::Program &program) -> std::optional<int64_t> {
    int64_t greatest = 0;
    for (const isa::View &view : program.operands)
      greatest = view.space == isa::Space::Scratchpad ? std::max(greatest, view.base) : greatest;
    measured.push_back(-greatest);
    return measured.back();
  };
  const auto solution = schedule::schedule({graph, limits, cost, measure}, diagnostics);
  REQUIRE(solution);
  REQUIRE(measured.size() > 1);
  const int64_t least = *std::min_element(measured.begin(), measured.end());
  measured.clear();
  measure(solution->program);
  CHECK(measured.back() == least);
}

TEST_CASE("A working set that does not fit names the operation, the bytes needed and those there") {
  TileGraph graph = layers(2);
  graph.sources = {"", "layer.1/dense"};
  graph.operations[2].source = graph.operations[3].source = 1;
  Limits limits = plain(1);
  limits.scratchpad.bytes =
      1008; // layer 0 needs its weights and sums, layer 1 its own and the sums of layer 0
  Diagnostics diagnostics;
  CHECK_FALSE(schedule::schedule({graph, limits, FlatCost()}, diagnostics));
  INFO(diagnostics.text());
  // Each of 1000 and 8 bytes is rounded to 4.
  CHECK(diagnostics.text().find(
            "layer.1/dense: its working set does not fit in the scratchpad of core 0: 1016 bytes are "
            "needed at once and 1008 are there") != std::string::npos);
}

TEST_CASE("Cores that do not depend on each other run side by side") {
  Random random(1);
  TileGraph graph = layers(3);
  const size_t count = graph.operations.size(), buffers = graph.buffers.size();
  // The same once more on core 1, with an output of its own; in sequential order after core 0's.
  graph.dram.push_back(graph.dram[1]);
  for (size_t b = 0; b < buffers; ++b) {
    graph.buffers.push_back(graph.buffers[b]);
    graph.buffers.back().core = graph.buffers[b].space == isa::Space::Dram ? 0 : 1;
  }
  graph.buffers[buffers + 1].dram = 2;
  graph.dram.push_back(graph.dram[0]);
  graph.buffers[buffers].dram = 3;
  for (size_t i = 0; i < count; ++i) {
    const isa::Command command = graph.operations[i];
    const auto views = graph.operandsOf(command);
    const auto body = graph.instructionsOf(command);
    std::vector<isa::View> moved(views.begin(), views.end());
    for (isa::View &view : moved)
      view.buffer += static_cast<uint32_t>(buffers);
    graph.operations.push_back(graph.add(command, moved, std::vector(body.begin(), body.end())));
    graph.cores.push_back(1);
  }
  CHECK(solve(graph, plain(2), FlatCost()).cycles == solve(layers(3), plain(1), FlatCost()).cycles);
}

TEST_CASE("Workspaces share bytes when their lives do not meet") {
  TileGraph graph = layers(1);
  const isa::View chip = graph.operandsOf(graph.operations.back())[0],
                  device = graph.operandsOf(graph.operations.back())[1];
  // Two spills of 8 bytes one after the other, each read back before the next is written.
  for (int i = 0; i < 2; ++i) {
    graph.dram.push_back({"spill", isa::Role::Workspace, ElementType::I8, {8}, 8, 16});
    graph.buffers.push_back({isa::Space::Dram, 0, 8, 16, static_cast<uint32_t>(graph.dram.size() - 1)});
    graph.buffers.push_back({isa::Space::Scratchpad, 0, 8, 4});
    const auto spill = static_cast<uint32_t>(graph.buffers.size() - 2), back = spill + 1;
    isa::View from = chip, to = device;
    from.buffer = i == 0 ? 3 : spill - 1;
    to.buffer = spill;
    graph.operations.push_back(graph.add({}, std::array{from, to}));
    graph.operations.back().opcode = isa::Opcode::Copy;
    from.buffer = back;
    graph.operations.push_back(graph.add({}, std::array{to, from}));
    graph.operations.back().opcode = isa::Opcode::Copy;
    graph.cores.insert(graph.cores.end(), 2, 0);
  }
  const Solution solution = solve(graph, plain(1), FlatCost());
  REQUIRE(solution.program.buffers.back().role == isa::Role::Workspace);
  CHECK(solution.program.buffers.back().bytes == 8);
  CHECK(solution.memories.front().bound == 8);
}

TEST_CASE("The same graph always gives the same program") {
  Random a(9), b(9);
  const TileGraph first = randomGraph(a, {3, 60}), second = randomGraph(b, {3, 60});
  const Solution x = solve(first, smallMachine(3), ByteCost()),
                 y = solve(second, smallMachine(3), ByteCost());
  CHECK(isa::equivalent(x.program, y.program));
  CHECK(x.addresses == y.addresses);
}

TEST_CASE("A report shows queues over time") {
  const Limits limits = plain(1);
  const Solution solution = solve(layers(2), limits, FlatCost());
  // Loads at 0 … 200, vector programs at 100 … 160 and 200 … 260, the store at 260 … 360: nine cells of 40
  // cycles. Vector: 100–120 is half a cell, 120–160 all of the next, 200–240, 240–260 half a cell.
  CHECK(report(solution, limits, 9) ==
        "cycles 360, lower bound 320; addresses packed afterwards; 3 waits, 3 signals\n"
        "scratchpad 0: 2008 of 4096 bytes, lower bound 1016\n"
        "core 0 vector  ..##.##..  33%\n"
        "core 0 dma0.0  #####.###  83%\n");
  CHECK(listing(solution, limits).substr(0, 50).find("0 100 core 0 dma0.0 copy \n100 ") == 0);
}

TEST_CASE("A few hundred thousand operations take seconds", "[speed]") {
  const int rounds = 700; // 4 cores · (4 · 10 + 1) · 700 ≈ 115,000; NPUC_SCALE=8 for a million
  const char *scale = std::getenv("NPUC_SCALE");
  const TileGraph graph = largeGraph(4, scale ? rounds * std::atoi(scale) : rounds);
  Limits limits = smallMachine(4);
  limits.scratchpad = {64 << 10, 64};
  limits.accumulator = {16 << 10, 4};
  limits.dram.bytes = int64_t(1) << 32;
  Diagnostics diagnostics;
  auto since = std::chrono::steady_clock::now();
  REQUIRE(verify(graph, limits, diagnostics));
  const double verifying = seconds(since);
  since = std::chrono::steady_clock::now();
  const auto solution = schedule::schedule({graph, limits, ByteCost()}, diagnostics);
  const double scheduling = seconds(since);
  REQUIRE(solution);
  since = std::chrono::steady_clock::now();
  REQUIRE(verifyRaces(solution->program, limits, diagnostics));
  const double races = seconds(since);
  since = std::chrono::steady_clock::now();
  REQUIRE(verifySchedule(graph, solution->program, solution->commands, limits, diagnostics));
  const double comparing = seconds(since);
  WARN(fmt::format("{} operations: graph verified in {:.2f} s, scheduled in {:.2f} s, races {:.2f} s, all "
                   "proofs {:.2f} s; "
                   "{} cycles, lower bound {}; {} waits",
                   graph.operations.size(), verifying, scheduling, races, comparing, solution->cycles,
                   solution->lowerBound, solution->program.waits.size()));
  CHECK(scheduling < 60); // tens of times what it takes, so that a busy machine passes
  CHECK(double(solution->cycles) < 1.25 * double(solution->lowerBound));
}
