#include "Fixtures.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Simulator.h"
#include "runtime/profile/Occupancy.h"
#include "runtime/profile/Report.h"
#include "runtime/profile/Trace.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <map>
#include <set>
#include <sstream>

using namespace npuc;
using namespace npuc::timing::test;
using isa::Space;
using isa::VectorOp;
using Json = nlohmann::json;

namespace {

struct Run {
  target::TargetDescription target;
  isa::Program program;
  timing::Timeline timeline;
};

// On each of toy's cores: load 4096 bytes, contract, a vector program, store; three times, with names that
// need escaping.
Run run() {
  Run result;
  Diagnostics diagnostics;
  result.target = *target::load("toy", {}, diagnostics);
  Builder b(2);
  const uint32_t in = b.dram(1 << 16), out = b.dram(1 << 16);
  b.program.buffers[in].role = isa::Role::Input;
  b.program.buffers[out].role = isa::Role::Output;
  const uint32_t heads = b.program.addSource("layer.0/\"heads\"</script>"),
                 mlp = b.program.addSource("layer.0/mlp");
  for (uint32_t core : {0u, 1u}) {
    const uint32_t loaded = b.semaphore(), summed = b.semaphore(), ready = b.semaphore();
    for (uint32_t i = 0; i < 3; ++i) {
      isa::Command &load = b.copy(core, view(Space::Dram, in, 4096 * i, ElementType::I8, {4096}),
                                  view(Space::Scratchpad, core, 0, ElementType::I8, {4096}));
      load.signal = loaded;
      load.source = heads;
      isa::Command &contract = b.contract(core, 64, 16, 16);
      contract.signal = summed;
      contract.source = heads;
      b.wait(contract, loaded, i + 1);
      auto x = view(Space::Scratchpad, core, 8192, ElementType::F32, {256});
      isa::Command &vector = b.vector(core, {x, x},
                                      {{VectorOp::Load, ElementType::F32, 0, 0},
                                       {VectorOp::Exp, ElementType::F32, 0, 0},
                                       {VectorOp::Store, ElementType::F32, 1, 0}});
      vector.signal = ready;
      vector.source = mlp;
      b.wait(vector, summed, i + 1);
      b.wait(b.copy(core, x, view(Space::Dram, out, 1024 * i, ElementType::F32, {256}), 0, 1), ready, i + 1);
    }
  }
  result.program = b.program;
  auto timeline = timing::simulate(result.program, result.target, {}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(timeline);
  result.timeline = *timeline;
  return result;
}

} // namespace

TEST_CASE("a trace is valid JSON whose slices neither overlap nor run backwards", "[profile]") {
  Run r = run();
  r.target.set_clock_ghz(0.9766); // cycles that are no whole nanoseconds
  std::ostringstream out;
  profile::writeTrace(out, r.program, r.timeline, r.target);
  const Json trace = Json::parse(out.str());
  std::map<std::pair<int, int>, std::vector<std::pair<int64_t, int64_t>>> slices;
  std::map<int, int> starts, ends;
  std::set<std::string> counters, threads;
  auto nanoseconds = [](const Json &value) { return std::llround(value.get<double>() * 1000); };
  for (const Json &e : trace.at("traceEvents")) {
    const std::string phase = e.at("ph");
    if (phase == "X") {
      REQUIRE(e.at("dur").get<double>() >= 0);
      REQUIRE(e.at("ts").get<double>() >= 0);
      slices[{e.at("pid"), e.at("tid")}].push_back(
          {nanoseconds(e.at("ts")), nanoseconds(e.at("ts")) + nanoseconds(e.at("dur"))});
    } else if (phase == "s") {
      ++starts[e.at("id")];
    } else if (phase == "f") {
      ++ends[e.at("id")];
    } else if (phase == "C") {
      counters.insert(e.at("name"));
    } else if (e.at("name") == "thread_name") {
      threads.insert(e.at("args").at("name").get<std::string>());
    }
  }
  CHECK(slices.size() == 8); // two cores: matrix, vector, two queues
  size_t count = 0;
  for (auto &[track, list] : slices) {
    std::ranges::sort(list);
    count += list.size();
    for (size_t i = 1; i < list.size(); ++i)
      CHECK(list[i - 1].second <= list[i].first);
  }
  CHECK(count == 24);
  CHECK(starts.size() >= 12);
  CHECK(starts == ends);
  CHECK(counters == std::set<std::string>{"DRAM", "scratchpad 0", "scratchpad 1"});
  CHECK(threads == std::set<std::string>{"matrix", "vector", "dma main.0", "dma main.1"});
}

TEST_CASE("operators are summed up by their source", "[profile]") {
  const Run r = run();
  const profile::Report report = profile::makeReport(r.program, r.timeline, r.target);
  REQUIRE(report.operators.size() == 3);
  uint64_t busy = 0, engines = 0, commands = 0;
  for (const profile::OperatorTime &op : report.operators) {
    busy += op.busy[0] + op.busy[1] + op.busy[2];
    commands += op.commands;
    CHECK(op.cycles <= r.timeline.cycles);
    CHECK(op.firstStart < op.lastEnd);
  }
  for (const profile::Report::Engine &engine : report.engines) {
    engines += engine.time.busy;
    uint64_t bounded = 0;
    for (const auto &[bound, cycles] : engine.bounds)
      bounded += cycles;
    CHECK(bounded == engine.time.busy);
    // An engine's time is its busy and its idle time before its last command's end.
    CHECK(engine.time.busy + engine.time.semaphoreWait + engine.time.queueFull + engine.time.notDispatched <=
          r.timeline.cycles);
  }
  CHECK(busy == engines);
  CHECK(commands == 24);
  for (size_t i = 1; i < report.operators.size(); ++i)
    CHECK(report.operators[i - 1].cycles >= report.operators[i].cycles);
  const profile::OperatorTime &mlp =
      *std::ranges::find(report.operators, "layer.0/mlp", &profile::OperatorTime::name);
  // 256 exp at a quarter on 4 lanes: 256 cycles, latency 5; 10 for the program, the first time on each core.
  CHECK(mlp.busy[1] == 2 * (3 * (256 + 5) + 10));
  CHECK(mlp.cycles == 3 * (256 + 5) + 10);
  CHECK(mlp.bound == timing::Bound::Compute);
}

TEST_CASE("the report for machines has every field, and says null for what is unknown", "[profile]") {
  const Run r = run();
  profile::Facts facts;
  Json json = Json::parse(profile::json(profile::makeReport(r.program, r.timeline, r.target, facts)));
  for (const char *field : {"schema_version", "simulated_cycles", "simulated_ms", "transfer_ms",
                            "lower_bound_cycles", "efficiency", "bounds", "energy_joules", "dram_bytes",
                            "int8_share", "engines", "peak_scratchpad_bytes", "assumed", "operators"}) {
    INFO(field);
    CHECK(json.contains(field));
  }
  CHECK(json["schema_version"] == 1);
  CHECK(json["simulated_cycles"] == r.timeline.cycles);
  CHECK(json["lower_bound_cycles"].is_null());
  CHECK(json["efficiency"].is_null());
  CHECK(json["int8_share"] == 1.0);
  CHECK(json["dram_bytes"]["read"] == 6 * 4096);
  CHECK(json["dram_bytes"]["written"] == 6 * 1024);
  CHECK(json["peak_scratchpad_bytes"] == 8192 + 1024);
  CHECK(json["assumed"].size() > 10); // all of toy is invented
  // 64 KiB each way at 1 GB/s, 1 microsecond each.
  CHECK(json["transfer_ms"].get<double>() == Approx(0.002 + 131072e-6));

  facts.lowerBound = timing::LowerBound{100, 50, 70};
  json = Json::parse(profile::json(profile::makeReport(r.program, r.timeline, r.target, facts)));
  CHECK(json["lower_bound_cycles"] == 100);
  CHECK(json["bounds"]["vector_cycles"] == 50);
  CHECK(json["efficiency"].get<double>() == Approx(100e-6 / r.timeline.milliseconds));
}

TEST_CASE("the text report names what matters", "[profile]") {
  const Run r = run();
  const std::string text = profile::text(profile::makeReport(r.program, r.timeline, r.target), 2);
  for (const char *part :
       {"test on toy", "layer.0/mlp", "dma main.0", "bound by", "assumed", "… and 1 more"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("live scratchpad bytes", "[profile]") {
  const Run r = run();
  auto cores = profile::scratchpadOccupancy(r.program, r.timeline);
  REQUIRE(cores.size() == 2);
  const auto &core = cores[0];
  uint64_t greatest = 0;
  for (size_t i = 0; i < core.size(); ++i) {
    greatest = std::max(greatest, core[i].bytes);
    if (i > 0)
      CHECK(core[i - 1].cycle < core[i].cycle);
  }
  // The load's 4096 bytes from its start on (the contraction reads the first 1024 of them) and the vector's
  // 1024.
  CHECK(greatest == 4096 + 1024);
  CHECK(core.back().bytes == 0);
  CHECK(core.back().cycle <= r.timeline.cycles);
  // What the vector reads was never written, so it is there from the start.
  CHECK(core.front().cycle == 0);
  CHECK(core.front().bytes == 1024);

  const std::vector<profile::Occupancy> changes = {{0, 5}, {10, 50}, {11, 7}, {90, 0}};
  const auto thin = profile::thinned(changes, 100, 2);
  REQUIRE(thin.size() == 2);
  CHECK(thin[0].bytes == 50);
  CHECK(thin[1].bytes == 7);
}

TEST_CASE("the HTML report stands alone", "[profile]") {
  const Run r = run();
  std::ostringstream out;
  profile::writeHtml(out, profile::makeReport(r.program, r.timeline, r.target), r.program, r.timeline,
                     r.target);
  const std::string html = out.str();
  // Nothing is fetched.
  for (const char *part : {"http:", "https:", "src=", "@import", "url(", "fetch("}) {
    INFO(part);
    CHECK(html.find(part) == std::string::npos);
  }
  // An operator's name cannot end the data: the data is what stands between the tags, and parses.
  const std::string open = "id=\"data\">";
  const size_t begin = html.find(open) + open.size(), end = html.find("</script>", begin);
  const Json data = Json::parse(html.substr(begin, end - begin));
  CHECK(data["operators"].size() == 3);
  CHECK(data["strips"].size() == 8);
  CHECK(data["strips"][0]["busy"].size() == 1200);
  CHECK(data["pads"].size() == 2);
  bool found = false;
  for (const Json &name : data["names"])
    found |= name == "layer.0/\"heads\"</script>";
  CHECK(found);
}

TEST_CASE("an operator's plan stands beside its time", "[profile]") {
  const Run r = run();
  profile::Facts facts;
  facts.predictedCycles = 1234;
  facts.plans["layer.0/mlp"] = {{3}, {1, 2}, {8, 16}, 2, {8, 16, 32}, 1024, 64, 0, 256, 10, 50};
  const profile::Report report = profile::makeReport(r.program, r.timeline, r.target, facts);
  const std::string text = profile::text(report);
  CHECK(text.find("predicted while compiling: 1234 cycles") != std::string::npos);
  // Group 3, two cores along the second loop, its tile, 1024 bytes of constants, 64 of tensors.
  CHECK(text.find("    3 2        8x16x32               1024          64") != std::string::npos);
  const Json json = Json::parse(profile::json(report));
  CHECK(json["predicted_cycles"] == 1234);
  for (const Json &op : json["operators"]) {
    if (op["name"] != "layer.0/mlp") {
      CHECK(op["plan"].is_null());
      continue;
    }
    CHECK(op["plan"]["groups"] == Json({3}));
    CHECK(op["plan"]["grid"] == Json({1, 2}));
    CHECK(op["plan"]["exchanged_bytes"] == 256);
    CHECK(op["plan"]["predicted_end"] == 50);
  }
  std::ostringstream html;
  profile::writeHtml(html, report, r.program, r.timeline, r.target);
  CHECK(html.str().find("8x16x32") != std::string::npos);
}
