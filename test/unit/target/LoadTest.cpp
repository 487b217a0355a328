#include "test/unit/target/Common.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>
#include <unistd.h>

namespace npuc::target {
namespace {

using google::protobuf::util::MessageDifferencer;

class TemporaryFile {
public:
  explicit TemporaryFile(const std::string &text)
      : path_((std::filesystem::temp_directory_path() / ("npuc_target_" + std::to_string(getpid()) + ".json"))
                  .string()) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

std::string errorsOfLoading(const std::string &name) {
  Diagnostics diagnostics;
  CHECK_FALSE(load(name, {}, diagnostics));
  return diagnostics.text();
}

TEST_CASE("the machines of the project are built in") {
  CHECK(builtinNames() == std::vector<std::string>{"atom", "cuda:sm_80", "cuda:sm_86", "cuda:sm_89",
                                                   "cuda:sm_90", "cuda:sm_100", "rngd", "sapeon-x220",
                                                   "sapeon-x330", "toy", "warboy", "warboy-2pe"});
  for (const std::string &name : builtinNames())
    CHECK(isGpu(builtin(name)) == name.starts_with("cuda:"));
}

TEST_CASE("every built-in description loads without a fault, under its own name") {
  for (const std::string &name : builtinNames()) {
    Diagnostics diagnostics;
    auto description = load(name, {}, diagnostics);
    INFO(diagnostics.text());
    REQUIRE(description);
    CHECK(diagnostics.all().empty());
    CHECK(description->name() == name);
    CHECK(verify(*description, name, diagnostics));
  }
}

TEST_CASE("our reader agrees with protobuf's own JSON mapping") {
  for (const std::string &name : builtinNames()) {
    TargetDescription expected;
    auto status = google::protobuf::util::JsonStringToMessage(builtinText(name), &expected);
    INFO(name << ": " << status.ToString());
    REQUIRE(status.ok());
    CHECK(MessageDifferencer::Equals(builtin(name), expected));
  }
}

TEST_CASE("fields may also be named in protobuf's camel case, and 64-bit numbers be strings") {
  std::string text =
      replaced(builtinText("toy"), "\"clock_ghz\": 1.0,\n  \"matrix\"", "\"clockGhz\": 1.0,\n  \"matrix\"");
  text = replaced(text, "\"bytes\": 67108864", "\"bytes\": \"67108864\"");
  Diagnostics diagnostics;
  auto description = parse(text, "chip.json", {}, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(description);
  CHECK(MessageDifferencer::Equals(*description, builtin("toy")));
}

TEST_CASE("what is printed reads back to an equal description") {
  for (const std::string &name : builtinNames()) {
    TargetDescription description = builtin(name);
    Diagnostics diagnostics;
    auto again = parse(toJson(description), "printed", {}, diagnostics);
    INFO(diagnostics.text());
    REQUIRE(again);
    CHECK(MessageDifferencer::Equals(*again, description));
    CHECK(toJson(*again) == toJson(description));
  }
}

TEST_CASE("a file is loaded by its path") {
  TemporaryFile file(builtinText("toy"));
  Diagnostics diagnostics;
  auto description = load(file.path(), {}, diagnostics);
  REQUIRE(description);
  CHECK(description->name() == "toy");
}

TEST_CASE("an unknown name suggests the nearest") {
  CHECK(errorsOfLoading("atmo") ==
        "error: unknown target 'atmo': built in are atom, cuda:sm_80, cuda:sm_86, cuda:sm_89, "
        "cuda:sm_90, cuda:sm_100, rngd, sapeon-x220, sapeon-x330, toy, warboy, warboy-2pe\n  hint: did you "
        "mean 'atom'?\n");
  CHECK(errorsOfLoading("graphcore") ==
        "error: unknown target 'graphcore': built in are atom, cuda:sm_80, cuda:sm_86, cuda:sm_89, "
        "cuda:sm_90, cuda:sm_100, rngd, sapeon-x220, sapeon-x330, toy, warboy, warboy-2pe\n"
        "  hint: a description file of your own is named by its path, as in ./mychip.json\n");
}

TEST_CASE("a file that cannot be read is an error") {
  CHECK(errorsOfLoading("./no-such-chip.json") ==
        "error: ./no-such-chip.json: cannot read the target description: No such file or directory\n");
  TemporaryFile large(std::string((1 << 20) + 1, ' '));
  CHECK(errorsOfLoading(large.path()) ==
        "error: " + large.path() +
            ": this is no target description: it has 1048577 bytes; the largest that is "
            "read has 1048576\n");
  std::string folder = std::filesystem::temp_directory_path().string() + "/";
  CHECK_FALSE(errorsOfLoading(folder).empty());
}

TEST_CASE("the text for a reader names peaks and assumed figures") {
  std::string text = describe(builtin("atom"));
  for (const char *part :
       {"atom: Rebellions ATOM", "8 cores", "128.0 TOPS", "32.0 TFLOPS", "256 GB/s", "dma neural",
        "assumed: nothing public says how the neural engine multiplies", "computed: ascii.jp"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(describe(builtin("toy")).find("everything (") != std::string::npos);
  text = describe(builtin("cuda:sm_80"));
  for (const char *part : {"compute capability 8.0, kernels in PTX 7.0",
                           "108 multiprocessors of 4 parts, 1.41 GHz", "contracts f16        311.9 TFLOPS",
                           "32 blocks, 2048 threads, 65536 registers, 164 KiB of shared memory",
                           "a block: 1024 threads, 163 KiB of shared memory; a thread: 255 registers",
                           "L2 40 MiB, 7219 GB/s", "HBM2E 80 GiB, 1935 GB/s"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(text.find("scratchpad ") == std::string::npos);
}

TEST_CASE("the reference lists every field with its unit and range") {
  std::string text = schemaReference();
  CHECK(text.find("| `dram.t_rcd` | a whole number from 0 to 1000 cycles | timing, not of GPUs |\n") !=
        std::string::npos);
  CHECK(text.find("| `dma[…].name` | a string | key |\n") != std::string::npos);
  CHECK(text.find("| `shared` | an object | optional |\n") != std::string::npos);
  CHECK(text.find("| `scratchpad.bank_bytes` | a power of two from 1 to 65536 bytes | timing |\n") !=
        std::string::npos);
}

TEST_CASE("what a GPU does not have is not printed") {
  std::string text = toJson(builtin("cuda:sm_80"));
  for (const char *part : {"t_rcd", "\"control\"", "\"dma\"", "accumulator_elements", "table_ports"}) {
    INFO(part);
    CHECK(text.find(part) == std::string::npos);
  }
  CHECK(text.find("\"ptx_version\": 70") != std::string::npos);
}

} // namespace
} // namespace npuc::target
