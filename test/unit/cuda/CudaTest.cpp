// The device `cuda` on a double of the driver: what it calls, what it says of failures, and that it gives
// back what it takes.
#include "test/unit/cuda/Double.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace npuc;
using namespace npuc::cuda;
using namespace npuc::cuda::test;

namespace {

std::shared_ptr<device::Device> makeDevice(Diagnostics &diagnostics, const Machine &machine = {},
                                           const device::Options &options = {}) {
  return createDevice(makeDouble(true, machine), "cuda", options, diagnostics);
}

std::string errorsOfDevice(const Machine &machine, const device::Options &options = {}) {
  Diagnostics diagnostics;
  CHECK_FALSE(makeDevice(diagnostics, machine, options));
  CHECK(leaks().empty());
  return diagnostics.text();
}

std::string errorsOfSession(Small &small, const Machine &machine = {}) {
  auto device = makeDevice(small.diagnostics, machine);
  CHECK(device);
  CHECK_FALSE(small.session(device));
  device.reset();
  CHECK(leaks().empty());
  return small.diagnostics.text();
}

// All that a session can be asked; whether all of it went well.
bool useAll(Small &small, const Driver &driver) {
  auto device = createDevice(driver, "cuda", {}, small.diagnostics);
  auto session = small.session(device);
  if (!session)
    return false;
  auto before = session->state(4, small.diagnostics);
  if (!before || !small.run(*session) || !session->time({}, small.diagnostics))
    return false;
  auto after = session->state(4, small.diagnostics);
  return after && small.run(*session);
}

} // namespace

TEST_CASE("a session's kernels are one graph, launched at each run") {
  {
    Small small;
    auto device = makeDevice(small.diagnostics);
    auto session = small.session(device);
    REQUIRE(session);
    for (int run = 1; run <= 3; ++run) {
      REQUIRE(small.run(*session));
      CHECK(small.y == small.expected(run)); // the state goes on
    }
    CHECK(calls("cuGraphLaunch") == 3);
    CHECK(calls("cuGraphInstantiate") == 1);
    CHECK(calls("cuLaunchKernel") == 2);
    CHECK(calls("cuMemAlloc") == 6); // ids, table, W, y, history, scratch
    CHECK(calls("cuMemAllocHost") == 1);
    CHECK(calls("cuModuleLoadDataEx") == 1);
  }
  CHECK(leaks() == "");
}

TEST_CASE("sessions of an artifact share its kernels and constants, as long as there is one") {
  {
    Small small;
    auto device = makeDevice(small.diagnostics);
    auto first = small.session(device), second = small.session(device);
    REQUIRE(first);
    REQUIRE(second);
    REQUIRE(small.run(*first));
    REQUIRE(small.run(*second));
    CHECK(small.y == small.expected());
    CHECK(calls("cuMemAlloc") == 2 + 2 * 4);
    CHECK(calls("cuModuleLoadDataEx") == 1);
    first.reset();
    second.reset();
    CHECK(calls("cuMemFree") == calls("cuMemAlloc"));
    CHECK(calls("cuModuleUnload") == 1);
    auto third = small.session(device);
    REQUIRE(third);
    REQUIRE(small.run(*third));
    CHECK(calls("cuModuleLoadDataEx") == 2);
  }
  CHECK(leaks() == "");
}

TEST_CASE("a state is the host's to read and write between runs") {
  Small small;
  auto device = makeDevice(small.diagnostics);
  auto session = small.session(device);
  REQUIRE(session);
  auto values = [&] {
    auto bytes = session->state(4, small.diagnostics);
    REQUIRE(bytes);
    REQUIRE(bytes->size() == 64);
    return std::span(reinterpret_cast<int32_t *>(bytes->data()), 16);
  };
  CHECK(std::ranges::all_of(values(), [](int32_t v) { return v == 0; }));
  std::ranges::fill(values(), 1000); // before the GPU has it
  REQUIRE(small.run(*session));
  for (size_t i = 0; i < 16; ++i)
    CHECK(small.y[i] == small.expected()[i] + 1000);
  CHECK(std::ranges::equal(values(), small.y));
  std::ranges::fill(values(), -5);
  REQUIRE(small.run(*session));
  for (size_t i = 0; i < 16; ++i)
    CHECK(small.y[i] == small.expected()[i] - 5);
}

TEST_CASE("time is measured by events and leaves the states as they were") {
  Machine machine;
  machine.elapsed = 1.5f;
  Small small([](artifact::Manifest &m) {
    artifact::Kernel &kernel = *m.mutable_entry_points(0)->add_kernels();
    kernel.set_name("linear");
    kernel.set_registers(24);
  });
  auto device = makeDevice(small.diagnostics, machine);
  auto session = small.session(device);
  REQUIRE(session);
  auto early = session->time({}, small.diagnostics); // on zeros
  REQUIRE(early);
  REQUIRE(small.run(*session));
  CHECK(small.y == small.expected());
  auto profile = session->time({}, small.diagnostics);
  REQUIRE(profile);
  REQUIRE(small.run(*session));
  CHECK(small.y == small.expected(2));
  CHECK(profile->milliseconds() == 1.5);
  auto json = nlohmann::json::parse(profile->json());
  CHECK(json.at("measured_ms") == 1.5);
  CHECK(json.at("transfer_ms") == 3); // in and out
  CHECK(json.at("device") == "cuda");
  CHECK(json.at("lower_bound_cycles") == 16);
  CHECK(json.at("efficiency") == 16 / 1e6 / 1.5); // toy runs at 1 GHz
  CHECK(json.at("counters").is_null());
  REQUIRE(json.at("kernels").size() == 2);
  CHECK(json.at("kernels")[1].at("kernel") == "linear");
  CHECK(json.at("kernels")[1].at("ms") == 1.5);
  CHECK(json.at("kernels")[1].at("registers") == 24);
  CHECK_FALSE(json.at("kernels")[0].contains("registers"));
  CHECK(has(profile->text(), "time            1.5000 ms as one graph; 3.0000 ms kernel by kernel"));
  CHECK(has(profile->text(),
            "    1.5000   50.0          -  embed (embed)\n")); // this artifact predicts nothing

  const std::string path =
      (std::filesystem::temp_directory_path() / ("npuc-cuda-" + std::to_string(getpid()))).string();
  REQUIRE(profile->writeTrace(path, small.diagnostics));
  std::ifstream file(path);
  auto trace = nlohmann::json::parse(file).at("traceEvents");
  REQUIRE(trace.size() == 2);
  CHECK(trace[1].at("ts") == 1500);
  CHECK(trace[1].at("dur") == 1500);
  std::filesystem::remove(path);
}

TEST_CASE("without constants the time is that of zeros") {
  Small small([](artifact::Manifest &m) { m.set_without_constants(true); });
  auto device = makeDevice(small.diagnostics);
  auto session = small.session(device);
  REQUIRE(session);
  CHECK(session->time({}, small.diagnostics));
  CHECK(small.diagnostics.text() == "");
}

TEST_CASE("a run that was cancelled says nothing") {
  Small small;
  auto device = makeDevice(small.diagnostics);
  auto session = small.session(device);
  REQUIRE(session);
  std::atomic<bool> cancelled = true;
  CHECK_FALSE(small.run(*session, &cancelled));
  CHECK(calls("cuGraphLaunch") == 0);
  CHECK(small.diagnostics.text() == "");
  cancelled = false;
  CHECK(small.run(*session, &cancelled));
  CHECK(small.y == small.expected());
}

TEST_CASE("memory that an artifact claims to be larger than its shape is not read") {
  Small small([](artifact::Manifest &m) { m.mutable_buffers(0)->set_bytes(20); });
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  CHECK_FALSE(small.run(*session));
  CHECK(has(small.diagnostics.text(),
            "input 'ids': the memory is too small: 16 bytes are given, 20 are needed"));
}

TEST_CASE("there is no driver, or one without what is needed") {
  Diagnostics diagnostics;
  CHECK_FALSE(loadDriver("libno-such-driver.so.1", diagnostics));
  CHECK(has(diagnostics.text(), "device 'cuda': the CUDA driver cannot be loaded: libno-such-driver.so.1"));
  CHECK(has(diagnostics.text(), "hint: install NVIDIA's driver; without a GPU run on the simulator, "
                                "--device=ptx-sim"));
  Diagnostics old;
  CHECK_FALSE(loadDriver("libm.so.6", old));
  CHECK(has(old.text(), "the CUDA driver is too old: libm.so.6 lacks cuInit, cuDriverGetVersion, "));
  CHECK(has(old.text(), "install a driver for CUDA 11.4 or newer"));
}

TEST_CASE("there is no GPU, or not so many") {
  Machine machine;
  machine.gpus = 0;
  CHECK(has(errorsOfDevice(machine), "device 'cuda': there is no GPU: the CUDA driver finds none"));
  CHECK(has(errorsOfDevice(machine), "--device=ptx-sim"));
  device::Options options;
  options.ordinal = 2;
  machine.gpus = 2;
  CHECK(has(errorsOfDevice(machine, options), "device 'cuda:2': there is no GPU 2: there are 2, 0 to 1"));
  Diagnostics diagnostics;
  Driver driver = makeDouble();
  failOnce("cuInit", NoDevice);
  CHECK_FALSE(createDevice(driver, "cuda", {}, diagnostics));
  CHECK(has(diagnostics.text(), "there is no GPU"));
  Diagnostics broken;
  driver = makeDouble();
  failOnce("cuInit", 803);
  CHECK_FALSE(createDevice(driver, "cuda", {}, broken));
  CHECK(has(broken.text(),
            "device 'cuda': the CUDA driver does not start: an unknown error (803)\n  hint: see "
            "whether nvidia-smi works"));
}

TEST_CASE("the driver is too old for the PTX, whose version and its own are named") {
  for (auto [ptx, driver, error] :
       {std::tuple("7.8", 11040, "the driver is for CUDA 11.4, PTX 7.8 needs one for CUDA 11.8"),
        std::tuple("8.5", 12040, "the driver is for CUDA 12.4, PTX 8.5 needs one for CUDA 12.5"),
        std::tuple("8.6", 12060, "the driver is for CUDA 12.6, PTX 8.6 needs one for CUDA 12.7"),
        std::tuple("9.0", 12090, "the driver is for CUDA 12.9, PTX 9.0 needs one for CUDA 13.0")}) {
    Small small({}, "// .version 1.0\n.version " + std::string(ptx) + artifact::test::smallPtx().substr(12));
    Machine machine;
    machine.driverVersion = driver;
    const std::string errors = errorsOfSession(small, machine);
    CHECK(has(errors, "small.npa: entry point 'main': the CUDA driver is too old for the artifact's PTX"));
    CHECK(has(errors, error));
  }
  // The first that has it.
  Machine machine;
  machine.driverVersion = 11000;
  Small small;
  auto device = makeDevice(small.diagnostics, machine);
  CHECK(small.session(device));
}

TEST_CASE("the GPU is older than the target, or the target is no GPU") {
  Machine machine;
  machine.computeCapability = 75;
  Small small;
  const std::string errors = errorsOfSession(small, machine);
  CHECK(has(errors, "small.npa: the GPU is older than the artifact's target: PTX simulator has compute "
                    "capability 7.5, '" +
                        small.artifact->target().name() + "' needs 8.0"));
  machine.computeCapability = 80;
  Small other;
  CHECK(other.session(makeDevice(other.diagnostics, machine)));

  Diagnostics diagnostics;
  const std::string bytes = artifact::test::bytesOf();
  auto npu = artifact::Artifact::fromMemory(std::as_bytes(std::span(bytes)), "npu.npa", diagnostics);
  REQUIRE(npu);
  CHECK_FALSE(makeDevice(diagnostics)->createSession(npu, 0, diagnostics));
  CHECK(has(diagnostics.text(),
            "npu.npa: the artifact does not run on 'cuda': its target 'toy' is no GPU\n  hint: run it with "
            "--device=npu-sim"));
}

TEST_CASE("PTX that the driver rejects comes with the driver's log") {
  std::string ptx = artifact::test::smallPtx();
  ptx.replace(ptx.find("mad.lo.s32"), 10, "mad.lo.s99");
  Small small({}, ptx);
  const std::string errors = errorsOfSession(small);
  CHECK(has(errors, "small.npa: entry point 'main': the CUDA driver rejects the artifact's PTX: "
                    "CUDA_ERROR_INVALID_PTX (218)\nPTX:"));
  CHECK(has(errors, "mad.lo.s99"));

  Small missing(
      [](artifact::Manifest &m) { m.mutable_entry_points(0)->mutable_launches(0)->set_kernel("emble"); });
  CHECK(has(errorsOfSession(missing),
            "small.npa: entry point 'main', kernel 'emble': the artifact is corrupt: "
            "its PTX has no such kernel"));
}

TEST_CASE("too little memory is told with what is needed") {
  Small small;
  auto device = makeDevice(small.diagnostics);
  auto session = small.session(device);
  REQUIRE(session);
  failOnce("cuMemAlloc", OutOfMemory, 5);
  CHECK_FALSE(small.run(*session));
  CHECK(has(small.diagnostics.text(),
            "workspace 'scratch': there is not enough memory on 'cuda': 128 bytes are needed, of "));
  CHECK(has(small.diagnostics.text(), "hint: end what else uses the GPU"));
  // Later there may be.
  CHECK(small.run(*session));
  CHECK(small.y == small.expected());
  session.reset();
  device.reset();
  CHECK(leaks() == "");
}

TEST_CASE("a kernel that fails in a graph is found with checks") {
  const auto beyond = [](artifact::Manifest &m) { // three blocks too many: ids has four elements
    m.mutable_entry_points(0)->mutable_launches(0)->set_grid(0, 7);
  };
  Small small(beyond);
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  CHECK_FALSE(small.run(*session));
  CHECK(has(small.diagnostics.text(),
            "small.npa: entry point 'main': a kernel failed: CUDA_ERROR_LAUNCH_FAILED (719)"));
  CHECK(has(small.diagnostics.text(), "start it anew with checks (npurun --checks)"));

  Small checked(beyond);
  device::Options options;
  options.checks = true;
  auto careful = checked.session(makeDevice(checked.diagnostics, {}, options));
  REQUIRE(careful);
  CHECK_FALSE(checked.run(*careful));
  CHECK(calls("cuGraphLaunch") == 0);
  CHECK(has(checked.diagnostics.text(),
            "kernel 'embed' of node 'embed': the kernel failed: CUDA_ERROR_LAUNCH_FAILED (719)"));
}

TEST_CASE("a launch that the driver refuses is named") {
  Small small([](artifact::Manifest &m) {
    m.mutable_entry_points(0)->mutable_launches(1)->mutable_arguments()->RemoveLast();
  });
  auto device = makeDevice(small.diagnostics);
  auto session = small.session(device);
  REQUIRE(session);
  CHECK_FALSE(small.run(*session));
  CHECK(has(small.diagnostics.text(), "kernel 'linear' of node 'linear': cuLaunchKernel failed: "
                                      "CUDA_ERROR_INVALID_VALUE (1)"));
  session.reset();
  device.reset();
  CHECK(leaks() == "");
}

TEST_CASE("much shared memory is asked for") {
  Small small([](artifact::Manifest &m) {
    m.mutable_target()->mutable_gpu()->set_shared_bytes_per_block(100 << 10);
    m.mutable_entry_points(0)->mutable_launches(0)->set_shared_bytes(60 << 10);
  });
  auto session = small.session(makeDevice(small.diagnostics));
  REQUIRE(session);
  CHECK(calls("cuFuncSetAttribute") == 1); // not for the other kernel
  CHECK(small.run(*session));
}

TEST_CASE("whichever call fails, it is told, and everything is given back") {
  const std::vector<std::string> giving = {"cuDevicePrimaryCtxRelease",
                                           "cuModuleUnload",
                                           "cuMemFree",
                                           "cuMemFreeHost",
                                           "cuStreamDestroy",
                                           "cuGraphDestroy",
                                           "cuGraphExecDestroy",
                                           "cuEventDestroy",
                                           "cuCtxPopCurrent"};
  constexpr CUresult unknown = 999;
  constexpr int most = 14; // calls of one function that are made to fail, each by itself
  int failures = 0;
  for (const std::string &function : functions())
    for (int call = 0; call < most; ++call) {
      if (function == "cuCtxPushCurrent" && call > 0) // without a context nothing can be given back
        break;
      Small small;
      Driver driver = makeDouble();
      failOnce(function, unknown, call);
      const bool good = useAll(small, driver);
      if (!hasFailed()) {
        CHECK(good);
        break;
      }
      ++failures;
      INFO(function << " " << call << "\n" << small.diagnostics.text());
      // One that gives something back has nobody to tell.
      const bool gives = std::ranges::find(giving, function) != giving.end();
      CHECK(good == gives);
      CHECK(small.diagnostics.hasErrors() == !gives);
      CHECK(leaks() == "");
    }
  CHECK(failures > 100);
}
