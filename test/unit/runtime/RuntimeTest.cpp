// Everything that the runtime promises, on every device: the conformance suite of devices, through the public
// interface.
#include "npurt.hpp"

#include "runtime/cuda/Simulated.h"
#include "runtime/device/Registry.h"
#include "runtime/npu_sim/NpuSim.h"
#include "test/unit/artifact/SmallArtifact.h"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>
#include <unistd.h>

using namespace npuc;

namespace {

// A device of the suite, linked in, and what it runs: the same program, for its kind of target.
struct Subject {
  std::string device;
  bool gpu;
  std::string target() const { return gpu ? "cuda:sm_80" : "toy"; }
  artifact::test::Options options() const {
    artifact::test::Options options;
    options.gpu = gpu;
    return options;
  }
};

Subject anySubject() {
  device::registerDevice("npu-sim", npu_sim::createDevice);
  device::registerDevice("ptx-sim", cuda::createPtxSim);
  return GENERATE(Subject{"npu-sim", false}, Subject{"ptx-sim", true});
}

// The artifact's bytes at an aligned address.
struct Bytes {
  explicit Bytes(const std::string &text)
      : size(text.size()), memory(new (std::align_val_t(64)) std::byte[text.size()]) {
    std::memcpy(memory, text.data(), size);
  }
  ~Bytes() { ::operator delete[](memory, std::align_val_t(64)); }
  size_t size;
  std::byte *memory;
};

const Bytes &small(const Subject &subject) {
  static const Bytes npu(artifact::test::bytesOf()),
      gpu(artifact::test::bytesOf(Subject{"", true}.options()));
  return subject.gpu ? gpu : npu;
}

npurt::Artifact open(const Bytes &bytes) {
  return npurt::Artifact(bytes.memory, bytes.size, "small.npa");
}

npurt::Artifact open(const Subject &subject) {
  return open(small(subject));
}

using Ids = std::array<int64_t, 4>;
using Y = std::array<int32_t, 16>;

// y = history + table[ids] · W in the first `rows` rows, and history in the others.
Y expected(const Ids &ids, int64_t rows, const Y &history = {}) {
  Y y = history;
  for (int i = 0; i < rows; ++i)
    for (int n = 0; n < 4; ++n)
      for (int k = 0; k < 16; ++k)
        y[i * 4 + n] += artifact::test::tableAt(static_cast<int>(ids[i]), k) * artifact::test::weightAt(k, n);
  return y;
}

struct Bound {
  Bound(const npurt::Device &device, const npurt::Artifact &artifact) : session(device, artifact.program()) {
    session.bind(npurt::Role::Input, "ids", ids);
    session.bind(npurt::Role::Output, "y", y);
    if (!session.program().registers().empty())
      session.setRegister(0, 4);
  }
  Ids ids = {3, 1, 4, 7};
  Y y{};
  npurt::Session session;
};

template <typename Call>
std::string errorOf(npurt_status status, Call call) {
  try {
    call();
  } catch (const npurt::Error &e) {
    CHECK(e.status() == status);
    return e.what();
  }
  return "no error";
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a program lists its tensors and registers as the model has them") {
  const Subject subject = anySubject();
  npurt::Artifact artifact = open(subject);
  CHECK(artifact.target() == subject.target());
  CHECK(artifact.hasConstants());
  CHECK(artifact.programs() == std::vector<std::string>{"main"});
  npurt::Program program = artifact.program("main");
  auto inputs = program.tensors(npurt::Role::Input);
  REQUIRE(inputs.size() == 1);
  CHECK(inputs[0].name == "ids");
  CHECK(inputs[0].type == npurt::Type::I64); // though the device holds 32 bits
  CHECK(inputs[0].shape == std::vector<int64_t>{4});
  CHECK(inputs[0].bytes == 32);
  CHECK(inputs[0].hasRange);
  CHECK(inputs[0].greatest == 7);
  auto outputs = program.tensors(npurt::Role::Output);
  REQUIRE(outputs.size() == 1);
  CHECK(outputs[0].type == npurt::Type::I32);
  CHECK(outputs[0].shape == std::vector<int64_t>{4, 4});
  CHECK(program.tensors(npurt::Role::State).at(0).name == "history");
  CHECK(program.registers().size() == (subject.gpu ? 0 : 1));
  if (!subject.gpu) {
    CHECK(program.registers().at(0).name == "rows");
    CHECK(program.registers().at(0).greatest == 4);
  }
  CHECK(npurt::name(npurt::Type::F8E4M3) == "f8e4m3");
  CHECK(npurt_type_bits(NPURT_I4) == 4);
}

TEST_CASE("a run computes the outputs and goes on from the states") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  Bound bound(device, artifact), other(device, artifact);
  bound.session.run();
  Y first = expected(bound.ids, 4);
  CHECK(bound.y == first);
  bound.ids = {0, 0, 2, 5}; // the caller's memory is read at every run
  bound.session.run();
  Y second = expected(bound.ids, 4, first);
  CHECK(bound.y == second);
  other.session.run(); // has states of its own
  CHECK(other.y == expected(other.ids, 4));

  Y state{};
  bound.session.readState(0, state.data(), sizeof state);
  CHECK(state == second);
  state.fill(100);
  bound.session.writeState(0, state.data(), sizeof state);
  bound.session.run();
  CHECK(bound.y == expected(bound.ids, 4, state));
  bound.session.resetStates();
  bound.session.run();
  CHECK(bound.y == expected(bound.ids, 4));
}

TEST_CASE("a register bounds what is computed") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  if (subject.gpu) {
    Bound bound(device, artifact);
    CHECK(has(errorOf(NPURT_INVALID, [&] { bound.session.setRegister(0, 0); }), "no register of this index"));
    return;
  }
  for (int64_t rows : {0, 1, 3, 4}) {
    Bound bound(device, artifact);
    bound.session.setRegister(0, rows);
    bound.session.run();
    CHECK(bound.y == expected(bound.ids, rows));
  }
  Bound bound(device, artifact);
  CHECK(has(errorOf(NPURT_FAILED, [&] { bound.session.setRegister(0, 5); }),
            "register 'rows': the value is out of range: it is 5, allowed are 0 to 4"));
  CHECK(has(errorOf(NPURT_INVALID, [&] { bound.session.setRegister(1, 0); }), "no register of this index"));
}

TEST_CASE("values that the device or the model cannot take are all named") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  Bound bound(device, artifact);
  bound.ids = {0, 8, -1, int64_t{1} << 40};
  std::string error = errorOf(NPURT_FAILED, [&] { bound.session.run(); });
  CHECK(error ==
        "error: input 'ids': a value is out of range: at [1] it is 8, allowed are 0 to 7\n"
        "error: input 'ids': a value is out of range: at [2] it is -1, allowed are 0 to 7\n"
        "error: input 'ids': a value is out of range: at [3] it is 1099511627776, allowed are 0 to 7\n");
  CHECK(bound.y == Y{});
  bound.ids = {0, 1, 2, 3};
  bound.session.run(); // the session is still good
  CHECK(bound.y == expected(bound.ids, 4));
}

TEST_CASE("64-bit integers without a range are narrowed to 32 bits, checked") {
  const Subject subject = anySubject();
  artifact::Manifest manifest = artifact::test::manifestOf(subject.options());
  manifest.mutable_buffers(0)->set_has_range(false);
  manifest.mutable_buffers(3)->set_host_type("i64"); // y, widened
  Bytes bytes(artifact::test::bytesOf(manifest, subject.options()));
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(bytes);
  npurt::Session session(device, artifact.program());
  Ids ids = {0, int64_t{1} << 31, -(int64_t{1} << 31) - 1, 7};
  std::array<int64_t, 16> y{};
  session.bind(npurt::Role::Input, "ids", ids);
  session.bind(npurt::Role::Output, "y", y);
  if (!subject.gpu)
    session.setRegister(0, 4);
  std::string error = errorOf(NPURT_FAILED, [&] { session.run(); });
  CHECK(has(error, "at [1] it is 2147483648, allowed are -2147483648 to 2147483647"));
  CHECK(has(error, "at [2] it is -2147483649, allowed"));
  ids = {0, 1, 2, 3};
  session.run();
  Y wanted = expected(ids, 4);
  CHECK(std::equal(y.begin(), y.end(), wanted.begin()));
  CHECK(*std::min_element(wanted.begin(), wanted.end()) < 0); // the sign is widened too
  // An index that the table lacks is then the device's to find.
  ids = {0, 1, 2, 8};
  CHECK(errorOf(NPURT_FAILED, [&] { session.run(); }) != "no error");
}

TEST_CASE("bindings are checked against what the model wants") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  npurt::Session session(device, artifact.program());
  std::string error = errorOf(NPURT_FAILED, [&] { session.run(); });
  CHECK(has(error, "input 'ids': nothing is bound to it: i64[4]"));
  CHECK(has(error, "output 'y': nothing is bound to it: i32[4x4]"));
  std::array<int64_t, 5> five{};
  CHECK(has(errorOf(NPURT_FAILED, [&] { session.bind(npurt::Role::Input, "ids", five); }),
            "it has 40 bytes, i64[4] takes 32"));
  CHECK(has(
      errorOf(NPURT_FAILED,
              [&] { session.bind(npurt::Role::Input, 0, reinterpret_cast<char *>(five.data()) + 1, 32); }),
      "not aligned"));
  error = errorOf(NPURT_FAILED, [&] { session.bind(npurt::Role::Input, "idx", five); });
  CHECK(has(error, "the model has no input of this name: it has 'ids' i64[4]"));
  CHECK(has(error, "did you mean 'ids'?"));
  CHECK(has(errorOf(NPURT_INVALID, [&] { session.bind(npurt::Role::State, 0, five.data(), 40); }),
            "input or output"));
  CHECK(has(errorOf(NPURT_INVALID, [&] { session.bind(npurt::Role::Input, 1, five.data(), 40); }),
            "no tensor of this index"));
}

TEST_CASE("an artifact without constants can be timed, not run") {
  const Subject subject = anySubject();
  artifact::test::Options options = subject.options();
  options.withConstants = false;
  Bytes bytes(artifact::test::bytesOf(options));
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(bytes);
  CHECK_FALSE(artifact.hasConstants());
  Bound bound(device, artifact);
  CHECK(has(errorOf(NPURT_FAILED, [&] { bound.session.run(); }),
            "can be timed, not run: it was compiled without its constants"));
  npurt::Artifact complete = open(subject);
  Bound whole(device, complete);
  CHECK(bound.session.time().cycles() == whole.session.time().cycles());
}

TEST_CASE("constants that are damaged stop the run, not the timing") {
  const Subject subject = anySubject();
  std::string text = artifact::test::bytesOf(subject.options());
  text[2 * 4096 + 3] ^= 1;
  Bytes bytes(text);
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(bytes);
  Bound bound(device, artifact);
  CHECK_FALSE(bound.session.time().text().empty());
  CHECK(has(errorOf(NPURT_FAILED, [&] { bound.session.run(); }),
            "section 'constants' does not match its checksum"));
}

TEST_CASE("the time of a run, with its report") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  Bound bound(device, artifact);
  npurt::Profile profile = bound.session.time();
  auto json = nlohmann::json::parse(profile.json());
  CHECK(json.at("lower_bound_cycles") == 16);
  auto folder = std::filesystem::temp_directory_path();
  std::string trace = folder / ("npuc-trace-" + std::to_string(getpid())),
              report = folder / ("npuc-report-" + std::to_string(getpid()));
  profile.writeReport(report);
  std::ifstream reportFile(report);
  std::string html((std::istreambuf_iterator<char>(reportFile)), {});
  CHECK(has(html, "</html>"));
  std::filesystem::remove(report);
  if (subject.gpu) { // counts and checks, and has no time
    CHECK(profile.cycles() == 0);
    CHECK(profile.milliseconds() == 0);
    CHECK(json.at("measured_ms").is_null());
    CHECK(has(errorOf(NPURT_FAILED, [&] { profile.writeTrace(trace); }), "it knows no time"));
    CHECK_FALSE(std::filesystem::exists(trace));
    // To ask leaves the states as they were.
    bound.session.run();
    CHECK(bound.y == expected(bound.ids, 4));
    return;
  }
  CHECK(profile.cycles() > 0);
  CHECK(profile.milliseconds() > 0);
  CHECK(json.at("simulated_cycles") == profile.cycles());
  CHECK(has(profile.text(), "cycles"));
  // Fewer rows take less time.
  bound.session.setRegister(0, 0);
  CHECK(bound.session.time().cycles() < profile.cycles());

  profile.writeTrace(trace);
  std::ifstream traceFile(trace);
  CHECK(nlohmann::json::parse(traceFile).is_object());
  std::filesystem::remove(trace);
  CHECK(errorOf(NPURT_FAILED, [&] { profile.writeTrace("/no such folder/trace.json"); }) != "no error");
}

TEST_CASE("runs in the background are waited for") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  Bound bound(device, artifact);
  npurt::Event event = bound.session.start();
  event.wait();
  CHECK(event.wait(std::chrono::milliseconds(0)));
  CHECK(bound.y == expected(bound.ids, 4));
  bound.ids[0] = 99;
  npurt::Event failing = bound.session.start();
  CHECK(has(errorOf(NPURT_FAILED, [&] { failing.wait(); }), "it is 99, allowed are 0 to 7"));
}

namespace {

// Hooks that hold back what was started, and count memory.
struct Program {
  std::atomic<int> live = 0, allocations = 0;
  std::atomic<bool> refuse = false;
  void (*task)(void *) = nullptr;
  void *context = nullptr;

  npurt_device_options options() {
    npurt_device_options o{};
    o.size = sizeof o;
    o.user = this;
    o.allocate = [](void *user, size_t bytes, size_t alignment) -> void * {
      auto *self = static_cast<Program *>(user);
      if (self->refuse)
        return nullptr;
      ++self->live;
      ++self->allocations;
      return ::operator new(bytes, std::align_val_t(alignment));
    };
    o.deallocate = [](void *user, void *memory, size_t, size_t alignment) {
      --static_cast<Program *>(user)->live;
      ::operator delete(memory, std::align_val_t(alignment));
    };
    o.start = [](void *user, void (*task)(void *), void *context) {
      static_cast<Program *>(user)->task = task;
      static_cast<Program *>(user)->context = context;
    };
    o.threads = 1;
    return o;
  }
};

} // namespace

TEST_CASE("the caller's memory and threads are used, and given back") {
  const Subject subject = anySubject();
  Program program;
  auto options = program.options();
  {
    npurt::Device device(subject.device, &options);
    npurt::Artifact artifact = open(subject);
    Bound bound(device, artifact);
    CHECK(program.live == 1); // the narrowed ids
    npurt::Event event = bound.session.start();
    CHECK_FALSE(event.wait(std::chrono::milliseconds(1))); // nobody has run it
    CHECK(has(errorOf(NPURT_INVALID, [&] { bound.session.run(); }), "not running"));
    program.task(program.context);
    event.wait();
    CHECK(bound.y == expected(bound.ids, 4));
    CHECK(program.live == (subject.gpu ? 1 : 2)); // and the state, where the device's memory is the host's

    // Cancelled before its thread came to it.
    npurt::Event cancelled = bound.session.start();
    cancelled.cancel();
    program.task(program.context);
    CHECK(errorOf(NPURT_CANCELLED, [&] { cancelled.wait(); }) != "no error");
    bound.session.resetStates();
    bound.session.run(); // goes on working
    CHECK(bound.y == expected(bound.ids, 4));

    npurt::Buffer buffer(device, 32);
    Ids ids = {1, 1, 1, 1};
    std::memcpy(buffer.data(), ids.data(), sizeof ids);
    bound.session.bind(npurt::Role::Input, "ids", buffer);
    bound.session.resetStates();
    bound.session.run();
    CHECK(bound.y == expected(ids, 4));
    CHECK(program.live == 3);

    npurt::Session late(device, artifact.program());
    program.refuse = true;
    int32_t state[16];
    CHECK(has(errorOf(NPURT_OUT_OF_MEMORY, [&] { late.readState(0, state, sizeof state); }),
              "there is not enough memory: 64 bytes are needed"));
  }
  CHECK(program.live == 0);
}

TEST_CASE("wrapped memory is released when nothing uses it any more") {
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  static int released;
  released = 0;
  Ids ids = {5, 5, 5, 5};
  {
    npurt::Artifact artifact = open(subject);
    Bound bound(device, artifact);
    npurt_buffer *buffer = nullptr;
    npurt::check(
        npurt_buffer_wrap(ids.data(), sizeof ids, [](void *, void *) { ++released; }, nullptr, &buffer));
    npurt::check(npurt_session_bind_buffer(bound.session.get(), NPURT_INPUT, 0, buffer));
    npurt_buffer_release(buffer);
    CHECK(released == 0); // the session keeps it
    bound.session.run();
    CHECK(bound.y == expected(ids, 4));
  }
  CHECK(released == 1);
}

TEST_CASE("handles may be released in any order") {
  const Subject subject = anySubject();
  npurt_device *device = nullptr;
  npurt_artifact *file = nullptr;
  npurt_program *program = nullptr;
  npurt_session *session = nullptr;
  npurt::check(npurt_device_create(subject.device.c_str(), nullptr, &device));
  npurt::check(npurt_artifact_open_memory(small(subject).memory, small(subject).size, "small", &file));
  npurt::check(npurt_artifact_program(file, nullptr, &program));
  npurt::check(npurt_session_create(device, program, &session));
  npurt_device_release(device);
  npurt_artifact_release(file);
  npurt_program_release(program);
  Ids ids = {1, 2, 3, 4};
  Y y{};
  npurt::check(npurt_session_bind(session, NPURT_INPUT, 0, ids.data(), sizeof ids));
  npurt::check(npurt_session_bind(session, NPURT_OUTPUT, 0, y.data(), sizeof y));
  if (!subject.gpu)
    npurt::check(npurt_session_set_register(session, 0, 4));
  npurt_event *event = nullptr;
  npurt::check(npurt_session_start(session, &event));
  npurt_session_release(session); // the run has what it needs
  npurt_event_release(event);     // waits
  CHECK(y == expected(ids, 4));
  npurt_session_release(nullptr);
}

TEST_CASE("what does not exist is named beside what does") {
  const Subject subject = anySubject();
  std::string error = errorOf(NPURT_FAILED, [] { npurt::Device device("npu-sin"); });
  CHECK(has(error, "device 'npu-sin': there is no such device: devices are npu-sim, ptx-sim"));
  CHECK(has(error, "did you mean 'npu-sim'?"));
  CHECK(has(errorOf(NPURT_FAILED, [] { npurt::Device device("npu-sim:x"); }),
            "device 'npu-sim:x': this is no device's name: what follows ':' is no number"));
  CHECK(
      has(errorOf(NPURT_FAILED, [] { npurt::Device device("npu-sim:1"); }), "there is one simulator alone"));
  CHECK(has(errorOf(NPURT_FAILED, [] { npurt::Device device("ptx-sim:1"); }),
            "device 'ptx-sim:1': there is no GPU 1: there is one, 0"));
  CHECK(has(errorOf(NPURT_FAILED, [&] { open(subject).program("decode"); }),
            "there is no entry point 'decode': it has main"));
  CHECK(has(errorOf(NPURT_FAILED, [] { npurt::Artifact("/no/such/file.npa"); }), "/no/such/file.npa"));
  CHECK(npurt_device_create(nullptr, nullptr, nullptr) == NPURT_INVALID);
  CHECK(npurt_artifact_open_memory(small(subject).memory + 1, 10, "a", nullptr) == NPURT_INVALID);
  auto json = nlohmann::json::parse(npurt_last_error_json());
  CHECK(json.at("diagnostics").size() == 1);
}

TEST_CASE("an artifact for another kind of device is refused, and the device named that runs it") {
  const Subject subject = anySubject(), other{subject.gpu ? "npu-sim" : "ptx-sim", !subject.gpu};
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(other);
  const std::string error =
      errorOf(NPURT_FAILED, [&] { npurt::Session session(device, artifact.program()); });
  CHECK(has(error, "the artifact does not run on '" + subject.device + "': its target '" + other.target()));
  CHECK(has(error, subject.gpu ? "run it with --device=npu-sim"
                               : "run it with --device=cuda, or without a GPU "
                                 "with --device=ptx-sim"));
}

TEST_CASE("one artifact is shared by threads, each with sessions of its own") {
  // Shown free of races by the thread sanitizer: cmake --preset tsan, then this test.
  const Subject subject = anySubject();
  npurt::Device device(subject.device);
  npurt::Artifact artifact = open(subject);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        Bound bound(device, artifact);
        bound.ids = {t, i, (t + i) % 8, 7};
        bound.session.run();
        npurt::Event event = bound.session.start();
        event.wait();
        wrong += bound.y != expected(bound.ids, 4, expected(bound.ids, 4));
        bound.ids[0] = 8 + t;
        try {
          bound.session.run();
          ++wrong;
        } catch (const npurt::Error &e) { // each thread reads its own error
          wrong += !has(e.what(), "it is " + std::to_string(8 + t));
        }
        wrong += bound.session.time().text().empty();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  CHECK(wrong == 0);
}
