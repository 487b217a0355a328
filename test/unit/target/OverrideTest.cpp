#include "test/unit/target/Common.h"

namespace npuc::target {
namespace {

std::string errorOf(const std::string &override) {
  return errorsOf(builtinText("toy"), {override});
}

TEST_CASE("overrides set figures, with units") {
  CHECK(builtin("toy", {"scratchpad.bytes=4MiB"}).scratchpad().bytes() == 4 << 20);
  CHECK(builtin("toy", {"scratchpad.bytes=64KiB"}).scratchpad().bytes() == 64 << 10);
  CHECK(builtin("toy", {"dram.bytes=1.5GiB"}).dram().bytes() == 3ull << 29);
  CHECK(builtin("toy", {"dram.bytes=2GB"}).dram().bytes() == 2'000'000'000);
  CHECK(builtin("toy", {"dram.bytes=2MB"}).dram().bytes() == 2'000'000);
  CHECK(builtin("toy", {"dram.bytes=8KB"}).dram().bytes() == 8000);
  CHECK(builtin("toy", {"dram.bytes=1TiB"}).dram().bytes() == 1ull << 40);
  CHECK(builtin("toy", {"dram.bytes=8192B"}).dram().bytes() == 8192);
  CHECK(builtin("toy", {"dram.bytes=8192"}).dram().bytes() == 8192);
  CHECK(builtin("toy", {"clock_ghz=1.2GHz"}).clock_ghz() == 1.2);
  CHECK(builtin("toy", {"clock_ghz=1.2"}).clock_ghz() == 1.2);
  CHECK(builtin("toy", {"dma[bulk].startup_cycles=100"}).dma(1).startup_cycles() == 100);
  CHECK(builtin("toy", {"vector.functions[exp].rate=0.5"}).vector().functions(0).rate() == 0.5);
  CHECK(builtin("toy", {"matrix.chained_to_vector=true"}).matrix().chained_to_vector());
  CHECK(builtin("toy", {"dma[bulk].routes[2].destination=SCRATCHPAD"}).dma(1).routes(2).destination() ==
        SCRATCHPAD);
}

TEST_CASE("overrides of a GPU's description") {
  TargetDescription t =
      builtin("cuda:sm_90", {"gpu.shared_bytes_per_block=100KiB", "topology.cores_per_cluster=114",
                             "gpu.launch_microseconds=2.5us"});
  CHECK(t.gpu().shared_bytes_per_block() == 100 << 10);
  CHECK(coreCount(t) == 114);
  CHECK(t.gpu().launch_microseconds() == 2.5);
}

TEST_CASE("an overridden figure is assumed, whatever its source was") {
  std::vector<std::string> paths = {"dram.bytes"};
  CHECK(assumedFields(builtin("atom"), paths).empty());
  std::vector<AssumedField> assumed = assumedFields(builtin("atom", {"dram.bytes=8GiB"}), paths);
  REQUIRE(assumed.size() == 1);
  CHECK(assumed[0].value == "8589934592");
  CHECK(assumed[0].reason == "set by an override");
  // Set twice: the last holds, and it still has one source.
  TargetDescription twice = builtin("atom", {"dram.bytes=8GiB", "dram.bytes=4GiB"});
  CHECK(twice.dram().bytes() == 4ull << 30);
  Diagnostics diagnostics;
  CHECK(verify(twice, "twice", diagnostics));
}

TEST_CASE("an override that names nothing says what is near") {
  CHECK(errorOf("scratchpad.byte=4MiB") == "error: override 'scratchpad.byte=4MiB': scratchpad has no field "
                                           "'byte'\n  hint: did you mean 'bytes'?\n");
  CHECK(errorOf("scratchpads.bytes=1") == "error: override 'scratchpads.bytes=1': a description has no field "
                                          "'scratchpads'\n  hint: did you mean 'scratchpad'?\n");
  CHECK(errorOf("dma[mian].startup_cycles=1") == "error: override 'dma[mian].startup_cycles=1': dma has no "
                                                 "element 'mian'\n  hint: did you mean 'main'?\n");
  CHECK(errorOf("dma[transfer].startup_cycles=1") ==
        "error: override 'dma[transfer].startup_cycles=1': dma has no element 'transfer'\n  hint: its "
        "elements are main, bulk\n");
  CHECK(errorOf("dma.startup_cycles=1") ==
        "error: override 'dma.startup_cycles=1': dma is a list\n  hint: name an element, as in dma[KEY]\n");
  CHECK(errorOf("clock_ghz.x=1") ==
        "error: override 'clock_ghz.x=1': clock_ghz has no fields\n  hint: end the path there\n");
  CHECK(errorOf("clock_ghz[0]=1") ==
        "error: override 'clock_ghz[0]=1': clock_ghz is not a list\n  hint: leave out the '[…]'\n");
  CHECK(errorOf("dma[main=1") ==
        "error: override 'dma[main=1': '[' after dma is not closed\n  hint: write ']' after the key\n");
  CHECK(errorOf("dma[main]x=1") ==
        "error: override 'dma[main]x=1': 'x' after dma[main] is neither '.' nor the end\n"
        "  hint: write FIELD.FIELD[KEY].FIELD\n");
  CHECK(errorOf("dram=1") ==
        "error: override 'dram=1': dram is no single figure\n  hint: name one of its fields\n");
  CHECK(errorOf("clock_ghz") == "error: override 'clock_ghz': an override is PATH=VALUE\n  hint: write it as "
                                "in scratchpad.bytes=4MiB\n");
  CHECK(errorOf("name=x") ==
        "error: override 'name=x': name cannot be overridden: overrides set figures, not names\n"
        "  hint: write a description file of your own\n");
  CHECK(errorsOf(builtinText("rngd"), {"shared.bytes=1MiB"}) ==
        "error: override 'shared.bytes=1MiB': this description has no shared\n"
        "  hint: add the group to a description file of your own\n");
}

TEST_CASE("an override that does not fit its field says what does") {
  CHECK(errorOf("matrix.lanes_n=0") == "error: override 'matrix.lanes_n=0': matrix.lanes_n cannot be \"0\": "
                                       "it must be a whole number from 1 to 4096\n");
  CHECK(errorOf("scratchpad.bytes=4 potatoes") ==
        "error: override 'scratchpad.bytes=4 potatoes': scratchpad.bytes cannot be \"4 potatoes\": "
        "it must be a whole number from 256 to 1000000000000 bytes\n");
  CHECK(errorOf("matrix.lanes_n=4KiB").find("it must be a whole number from 1 to 4096") != std::string::npos);
  CHECK(errorOf("matrix.stationary=INPUT") ==
        "error: override 'matrix.stationary=INPUT': matrix.stationary cannot be "
        "\"INPUT\": it must be one of OUTPUT, WEIGHTS\n");
  CHECK(errorOf("clock_ghz=") == "error: override 'clock_ghz=': clock_ghz cannot be \"\": "
                                 "it must be a number from 0.01 to 10 GHz\n");
  for (const char *value : {"nan", "inf", "1e999", "0x10", " 1", "1 ", "--1"})
    CHECK(errorOf(std::string("clock_ghz=") + value).find("it must be a number from 0.01 to 10 GHz") !=
          std::string::npos);
}

TEST_CASE("what an override breaks elsewhere is placed at the override") {
  CHECK(errorOf("dram.burst_bytes=4096") ==
        "error: override 'dram.burst_bytes=4096': dram.burst_bytes is 4096, more than dram.row_bytes, 1024\n"
        "error: chip.json:87:25: dram.interleave_bytes is 256, less than dram.burst_bytes, 4096\n"
        "error: chip.json:92:16: dram.t_ccd_l is 4, less than the burst_bytes / bytes_per_cycle = 512 cycles "
        "that a burst "
        "holds the bus\n");
}

TEST_CASE("faults of all overrides come at once") {
  Diagnostics diagnostics;
  std::vector<std::string> overrides = {"a=1", "matrix.lanes_n=x", "clock_ghz"};
  CHECK_FALSE(load("toy", overrides, diagnostics));
  CHECK(diagnostics.errorCount() == 3);
}

} // namespace
} // namespace npuc::target
