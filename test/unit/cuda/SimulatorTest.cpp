// The device `ptx-sim`: the simulator's findings as errors, and its counters.
#include "test/unit/cuda/Double.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

using namespace npuc;
using namespace npuc::cuda;
using namespace npuc::cuda::test;

namespace {

std::shared_ptr<device::Device> makeDevice(Diagnostics &diagnostics) {
  device::Options options;
  options.threads = 2;
  return createDevice(makeDouble(false), "ptx-sim", options, diagnostics);
}

// What a run says of an artifact that was changed so.
std::string errorsOfRun(const std::function<void(artifact::Manifest &)> &change,
                        const std::string &ptx = {}) {
  Small small(change, ptx);
  {
    auto session = small.session(makeDevice(small.diagnostics));
    REQUIRE(session);
    CHECK_FALSE(small.run(*session));
  }
  CHECK(leaks() == "");
  return small.diagnostics.text();
}

artifact::KernelLaunch &launch(artifact::Manifest &m, int index) {
  return *m.mutable_entry_points(0)->mutable_launches(index);
}

// Of the first line of the PTX that has it, from 1.
int lineOf(const std::string &ptx, const std::string &part) {
  return 1 + static_cast<int>(std::count(ptx.begin(), ptx.begin() + static_cast<long>(ptx.find(part)), '\n'));
}

} // namespace

TEST_CASE("an access beyond a buffer names kernel, node, line, block and thread") {
  const std::string errors =
      errorsOfRun([](artifact::Manifest &m) { launch(m, 0).set_grid(0, 5); }); // ids has four elements
  const int line = lineOf(artifact::test::smallPtx(), "ld.global.s32 %r2");
  CHECK(has(errors,
            "error: kernel 'embed' of node 'embed': the simulator's check 'out-of-bounds' found a fault: "
            "line " +
                std::to_string(line) + " of the PTX, block (4, 0, 0), thread (0, 0, 0): it "));
  CHECK(has(errors, "input 'ids'"));
}

TEST_CASE("what no kernel has written is not read, at no run") {
  // The rows are read before they are written.
  const auto swapped = [](artifact::Manifest &m) {
    m.mutable_entry_points(0)->mutable_launches()->SwapElements(0, 1);
  };
  const std::string errors = errorsOfRun(swapped);
  CHECK(has(errors, "kernel 'linear' of node 'linear': the simulator's check 'uninitialized-memory' found"));
  CHECK(has(errors, "of workspace 'scratch' at byte 64, which nothing has written"));

  // A run does not see what the one before it wrote.
  Small small([](artifact::Manifest &m) { m.mutable_entry_points(0)->mutable_launches()->RemoveLast(); });
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  for (int run = 0; run < 2; ++run) {
    CHECK_FALSE(small.run(*session));
    CHECK(small.diagnostics.errorCount() == static_cast<size_t>(run + 1));
    CHECK(has(small.diagnostics.text(), "output 'y': cuMemcpyDtoHAsync failed: of its 64 bytes no kernel has "
                                        "written 64, the first at 0"));
  }
}

TEST_CASE("kernels do not write constants or inputs") {
  const std::string errors = errorsOfRun([](artifact::Manifest &m) {
    launch(m, 0).mutable_arguments(2)->set_buffer(2); // the rows, over W
    launch(m, 0).mutable_arguments(2)->set_offset(0);
  });
  CHECK(has(errors, "of constant 'W', which is constant"));
}

TEST_CASE("arguments that the kernel does not take are told") {
  const std::string errors =
      errorsOfRun([](artifact::Manifest &m) { launch(m, 1).mutable_arguments()->RemoveLast(); });
  CHECK(has(errors,
            "kernel 'linear' of node 'linear': cuLaunchKernel failed: kernel 'linear': the parameters "
            "have the wrong size: they have 24 bytes, the kernel takes 32"));
}

TEST_CASE("after a fault the session goes on") {
  Small small;
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  small.ids[2] = 8; // the table has 8 rows
  CHECK_FALSE(small.run(*session));
  CHECK(has(small.diagnostics.text(), "constant 'table'"));
  small.ids[2] = 4;
  auto state = session->state(4, small.diagnostics);
  REQUIRE(state);
  std::ranges::fill(*state, std::byte{0});
  CHECK(small.run(*session));
  CHECK(small.y == small.expected());
}

TEST_CASE("a kernel that does not end is cancelled") {
  std::string ptx = artifact::test::smallPtx();
  const std::string bound = "setp.lt.u32 %p, %r4, 16;";
  ptx.replace(ptx.find(bound), bound.size(),
              "setp.eq.u32 %p, %r4, %r4; sub.u64 %d7, %d7, 1; sub.u64 %d8, %d8, 4;");
  Small small({}, ptx);
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  std::atomic<bool> cancelled = false;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    cancelled = true;
  });
  CHECK_FALSE(small.run(*session, &cancelled));
  other.join();
  CHECK(small.diagnostics.text() == "");
}

TEST_CASE("counters of each kernel and of all") {
  Small small;
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  for (bool hasRun : {false, true}) { // what is asked before a run is counted on zeros
    if (hasRun)
      REQUIRE(small.run(*session));
    const int launches = calls("cuGraphLaunch");
    auto profile = session->time({}, small.diagnostics);
    REQUIRE(profile);
    CHECK(calls("cuGraphLaunch") == launches + !hasRun); // of a run its counters are known
    CHECK(profile->milliseconds() == 0);
    auto json = nlohmann::json::parse(profile->json());
    CHECK(json.at("measured_ms").is_null());
    REQUIRE(json.at("kernels").size() == 2);
    // embed: four warps of half the threads; each loads and stores once.
    const auto &embed = json.at("kernels")[0].at("counters");
    CHECK(embed.at("instructions").at("store").at("warps") == 4);
    CHECK(embed.at("instructions").at("store").at("threads") == 64);
    CHECK(embed.at("global").at("requests") == 4 * 3);
    // linear: one warp of 16 threads; 16 steps of two loads, one before them, and two stores.
    const auto &linear = json.at("kernels")[1].at("counters");
    CHECK(linear.at("global").at("requests") == 16 * 2 + 1 + 2);
    CHECK(linear.at("instructions").at("integer").at("warps").get<int>() > 16 * 4);
    CHECK(json.at("counters").at("global").at("requests") == 4 * 3 + 16 * 2 + 1 + 2);
    CHECK(has(profile->text(), "how long a GPU takes it does not say"));
    CHECK(has(profile->text(), "linear (linear)\n"));
  }
  CHECK(small.y == small.expected());
}
