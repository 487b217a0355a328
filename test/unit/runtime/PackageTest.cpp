// npurun and the shared libraries as users get them: what they link and export, what npurun says, and a
// program outside the tree that is built against an installed prefix.
#include "support/Npz.h"
#include "test/unit/artifact/SmallArtifact.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

using namespace npuc;

namespace {

const std::string binaries = NPUC_BINARY_DIR;

struct Result {
  int status = -1;
  std::string output;
};

// Runs a shell command; its errors are part of the output.
Result run(const std::string &command) {
  Result result;
  FILE *pipe = popen(("(" + command + ") 2>&1").c_str(), "r");
  REQUIRE(pipe);
  std::array<char, 4096> buffer;
  while (size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), count);
  int status = pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

// A folder of this test's own, gone with it.
struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("npurt-test-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string &name) const { return (path / name).string(); }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
  std::filesystem::path path;
};

template <typename T>
Array arrayOf(ElementType type, std::vector<int64_t> shape, const std::vector<T> &values) {
  Array array{type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  std::memcpy(array.data.data(), values.data(), array.data.size());
  return array;
}

std::string inputsOf(const Folder &folder, const std::string &name, std::vector<NamedArray> arrays) {
  Diagnostics diagnostics;
  REQUIRE(writeNpz(folder.file(name), arrays, diagnostics));
  return folder.file(name);
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

const std::string npurun = binaries + "/bin/npurun ";

} // namespace

TEST_CASE("npurun runs an artifact from array files to array files") {
  Folder folder;
  std::string artifact = folder.write("small.npa", artifact::test::bytesOf());
  std::string inputs = inputsOf(folder, "in.npz",
                                {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {3, 1, 4, 7})},
                                 {"rows", arrayOf<int64_t>(ElementType::I64, {}, {3})}});
  Result result =
      run(npurun + artifact + " --inputs=" + inputs + " --outputs=" + folder.file("out.npz") +
          " --json --profile=" + folder.file("trace.json") + " --report=" + folder.file("report.html"));
  INFO(result.output);
  REQUIRE(result.status == 0);
  auto json = nlohmann::json::parse(result.output);
  CHECK(json.at("schema_version") == 1);
  CHECK(json.at("simulated_cycles").get<double>() > 0);
  CHECK(json.at("lower_bound_cycles") == 16);
  CHECK(std::filesystem::exists(folder.file("trace.json")));
  CHECK(std::filesystem::exists(folder.file("report.html")));
  Diagnostics diagnostics;
  auto outputs = readArrays(folder.file("out.npz"), diagnostics);
  REQUIRE(outputs);
  REQUIRE(outputs->size() == 1);
  CHECK(outputs->at(0).name == "y");
  CHECK(outputs->at(0).array.shape == std::vector<int64_t>{4, 4});
  std::array<int32_t, 16> y;
  REQUIRE(outputs->at(0).array.data.size() == sizeof y);
  std::memcpy(y.data(), outputs->at(0).array.data.data(), sizeof y);
  const int ids[] = {3, 1, 4, 7};
  for (int i = 0; i < 4; ++i)
    for (int n = 0; n < 4; ++n) {
      int sum = 0;
      for (int k = 0; k < 16 && i < 3; ++k) // three rows
        sum += artifact::test::tableAt(ids[i], k) * artifact::test::weightAt(k, n);
      CHECK(y[i * 4 + n] == sum);
    }

  // The state goes on from run to run: twice the sum.
  result =
      run(npurun + artifact + " --repeat=2 --inputs=" + inputs + " --outputs=" + folder.file("twice.npz"));
  REQUIRE(result.status == 0);
  CHECK(has(result.output, "mean of 2 runs"));
  outputs = readArrays(folder.file("twice.npz"), diagnostics);
  std::array<int32_t, 16> twice;
  std::memcpy(twice.data(), outputs->at(0).array.data.data(), sizeof twice);
  for (int i = 0; i < 16; ++i)
    CHECK(twice[i] == 2 * y[i]);
}

TEST_CASE("npurun times an artifact without weights or inputs") {
  Folder folder;
  artifact::test::Options options;
  options.withConstants = false;
  std::string artifact = folder.write("timing.npa", artifact::test::bytesOf(options));
  Result result = run(npurun + artifact + " --timing-only --json");
  INFO(result.output);
  CHECK(result.status == 0);
  CHECK(nlohmann::json::parse(result.output).at("simulated_cycles").get<double>() > 0);
  std::string inputs =
      inputsOf(folder, "in.npz", {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {0, 0, 0, 0})}});
  result = run(npurun + artifact + " --inputs=" + inputs);
  CHECK(result.status == 1);
  CHECK(has(result.output, "can be timed, not run: it was compiled without its constants"));
  CHECK(has(result.output, "--timing-only"));
}

TEST_CASE("npurun runs an artifact for a GPU, or its simulator in its place") {
  Folder folder;
  artifact::test::Options options;
  options.gpu = true;
  std::string artifact = folder.write("gpu.npa", artifact::test::bytesOf(options));
  std::string inputs =
      inputsOf(folder, "in.npz", {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {3, 1, 4, 7})}});
  const std::string arguments =
      artifact + " --inputs=" + inputs + " --outputs=" + folder.file("out.npz") + " --json";
  Result simulated = run(npurun + arguments + " --device=ptx-sim --threads=1");
  INFO(simulated.output);
  REQUIRE(simulated.status == 0);
  auto json = nlohmann::json::parse(simulated.output);
  CHECK(json.at("device") == "ptx-sim");
  CHECK(json.at("counters").at("instructions").at("store").at("threads") == 4 * 16 + 2 * 16);
  auto check = [&] {
    Diagnostics diagnostics;
    auto outputs = readArrays(folder.file("out.npz"), diagnostics);
    REQUIRE(outputs);
    std::array<int32_t, 16> y;
    REQUIRE(outputs->at(0).array.data.size() == sizeof y);
    std::memcpy(y.data(), outputs->at(0).array.data.data(), sizeof y);
    const int ids[] = {3, 1, 4, 7};
    for (int i = 0; i < 4; ++i)
      for (int n = 0; n < 4; ++n) {
        int sum = 0;
        for (int k = 0; k < 16; ++k)
          sum += artifact::test::tableAt(ids[i], k) * artifact::test::weightAt(k, n);
        CHECK(y[i * 4 + n] == sum);
      }
  };
  check();
  std::filesystem::remove(folder.file("out.npz"));

  // Without --device it is for a GPU, which this machine may have.
  Result real = run(npurun + arguments);
  INFO(real.output);
  if (real.status == 0) {
    CHECK(nlohmann::json::parse(real.output).at("measured_ms").get<double>() > 0);
    check();
  } else {
    CHECK(real.status == 1);
    CHECK(has(real.output, "error: device 'cuda': "));
    CHECK(has(real.output, "--device=ptx-sim"));
  }
  Result other = run(npurun + arguments + " --device=npu-sim");
  CHECK(other.status == 1);
  CHECK(has(other.output, "the artifact does not run on 'npu-sim'"));
}

TEST_CASE("a user's mistake is told with what the model wants, and leaves no file") {
  Folder folder;
  std::string artifact = folder.write("small.npa", artifact::test::bytesOf());
  auto fails = [&](const std::string &arguments) {
    Result result = run(npurun + arguments + " --outputs=" + folder.file("out.npz"));
    INFO(result.output);
    CHECK(result.status == 1);
    CHECK_FALSE(std::filesystem::exists(folder.file("out.npz")));
    return result.output;
  };
  std::string wrongName =
      inputsOf(folder, "name.npz", {{"idz", arrayOf<int64_t>(ElementType::I64, {4}, {0, 0, 0, 0})}});
  std::string output = fails(artifact + " --inputs=" + wrongName);
  CHECK(has(output, "error: input 'ids': the inputs lack it: the model wants i64[4]"));
  CHECK(has(output, "error: input 'idz': the model has no input of this name: it wants 'ids' i64[4]"));

  std::string wrongShape =
      inputsOf(folder, "shape.npz", {{"ids", arrayOf<int64_t>(ElementType::I64, {2, 2}, {0, 0, 0, 0})}});
  CHECK(has(fails(artifact + " --inputs=" + wrongShape),
            "input 'ids': the shape is wrong: the model wants i64[4], the file has i64[2x2]"));

  std::string wrongType =
      inputsOf(folder, "type.npz", {{"ids", arrayOf<float>(ElementType::F32, {4}, {0, 0, 0, 0})}});
  CHECK(has(fails(artifact + " --inputs=" + wrongType),
            "input 'ids': the type is wrong: the model wants i64[4], the file has f32[4]"));

  std::string wrongToken =
      inputsOf(folder, "token.npz", {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {0, 8, 0, 0})}});
  CHECK(has(fails(artifact + " --inputs=" + wrongToken),
            "input 'ids': a value is out of range: at [1] it is 8, allowed are 0 to 7"));

  std::string wrongRows = inputsOf(folder, "rows.npz",
                                   {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {0, 0, 0, 0})},
                                    {"rows", arrayOf<int64_t>(ElementType::I64, {}, {5})}});
  CHECK(has(fails(artifact + " --inputs=" + wrongRows),
            "register 'rows': the value is out of range: it is 5, allowed are 0 to 4"));

  CHECK(has(fails(artifact), "the inputs are missing: the model wants 'ids' i64[4]"));
  CHECK(has(fails(artifact + " --inputs=" + folder.file("none.npz")), "none.npz"));
  CHECK(has(fails(artifact + " --device=npu-sin --timing-only"), "did you mean 'npu-sim'?"));
  CHECK(has(fails(artifact + " --entry-point=decode --timing-only"),
            "there is no entry point 'decode': it has main"));

  std::string bytes = artifact::test::bytesOf();
  CHECK(has(fails(folder.write("short.npa", bytes.substr(0, 5000)) + " --timing-only"),
            "the artifact is truncated"));
  bytes[9000] ^= 1;
  bytes[5000] ^= 1;
  CHECK(has(fails(folder.write("bad.npa", bytes) + " --timing-only"), "the artifact is corrupt"));
  CHECK(has(fails(folder.write("text.npa", "hello") + " --timing-only"), "this is no npuc artifact"));

  Result json = run(npurun + folder.file("text.npa") + " --timing-only --diagnostics=json");
  CHECK(nlohmann::json::parse(json.output).at("diagnostics").at(0).at("severity") == "error");
  std::string good =
      inputsOf(folder, "good.npz", {{"ids", arrayOf<int64_t>(ElementType::I64, {4}, {0, 0, 0, 0})}});
  Result unwritable = run(npurun + artifact + " --inputs=" + good + " --outputs=/no/such/folder/out.npz");
  CHECK(unwritable.status == 1);
  CHECK(has(unwritable.output, "/no/such/folder/out.npz"));
}

TEST_CASE("wrong usage is exit status 2, help and version are 0") {
  CHECK(run(npurun).status == 2);
  CHECK(run(npurun + "a.npa --no-such-flag").status == 2);
  CHECK(run(npurun + "a.npa --repeat=0").status == 2);
  CHECK(run(npurun + "--help").status == 0);
  Result version = run(npurun + "--version");
  CHECK(version.status == 0);
  CHECK(has(version.output, "npurun 0."));
}

TEST_CASE("npurun links neither LLVM nor MLIR nor ONNX, and libnpurt exports its interface alone") {
  const std::string libraries = binaries + "/lib/";
  Result linked = run("ldd " + binaries + "/bin/npurun " + libraries + "libnpurt_npu_sim.so " + libraries +
                      "libnpurt_cuda.so " + libraries + "libnpurt_ptx_sim.so");
  REQUIRE(linked.status == 0);
  CHECK(has(linked.output, "libnpurt.so"));
  for (const char *library : {"LLVM", "MLIR", "onnx", "libcuda", "not found"})
    CHECK_FALSE(has(linked.output, library));
  for (const char *library :
       {"libnpurt.so", "libnpurt_npu_sim.so", "libnpurt_cuda.so", "libnpurt_ptx_sim.so"}) {
    Result others =
        run("nm -D --defined-only " + libraries + library + " | awk '{print $NF}' | grep -v '^npurt_'");
    INFO(library << "\n" << others.output);
    CHECK(others.output.empty());
  }
}

TEST_CASE("a program outside the tree builds against an installed prefix and runs") {
  Folder folder;
  std::string artifact = folder.write("small.npa", artifact::test::bytesOf());
  const std::string cmake = NPUC_CMAKE, prefix = folder.file("prefix"), build = folder.file("build");
  Result installed = run(cmake + " --install " + binaries + " --component npurt --prefix " + prefix);
  INFO(installed.output);
  REQUIRE(installed.status == 0);
  Result configured = run(cmake + " -G Ninja -S " + std::string(NPUC_SOURCE_DIR) + "/examples/embed -B " +
                          build + " -DCMAKE_PREFIX_PATH=" + prefix +
                          " " NPUC_COMPILERS " -DCMAKE_EXE_LINKER_FLAGS=" + NPUC_LINK_FLAGS);
  INFO(configured.output);
  REQUIRE(configured.status == 0);
  Result built = run(cmake + " --build " + build);
  INFO(built.output);
  REQUIRE(built.status == 0);
  Result listed = run(build + "/list " + artifact);
  CHECK(listed.output == "input ids i64[4]\noutput y i32[4x4]\nstate history i32[4x4]\n");
  Result embedded = run(build + "/embed " + artifact);
  CHECK(embedded.status == 0);
  // Row 0 of the table times column 0 of W: Σ_k ((k % 5) − 2) · ((3k % 7) − 3), and column 1 with (3k + 1)
  // % 7.
  int32_t y[2] = {0, 0};
  for (int k = 0; k < 16; ++k)
    for (int n = 0; n < 2; ++n)
      y[n] += (k % 5 - 2) * ((3 * k + n) % 7 - 3);
  std::array<unsigned char, 8> bytes;
  std::memcpy(bytes.data(), y, 8);
  std::string wanted = "y i32:";
  for (unsigned char b : bytes) {
    char text[4];
    std::snprintf(text, sizeof text, " %02x", b);
    wanted += text;
  }
  CHECK(has(embedded.output, wanted + "\n"));
  CHECK(has(embedded.output, " cycles\n"));
  CHECK(run(build + "/embed /no/such.npa").status == 1);
  Result moved = run(prefix + "/bin/npurun " + artifact + " --timing-only");
  INFO(moved.output);
  CHECK(moved.status == 0);
}
