// Each kind of fault in a description file, with its message.
#include "backends/npu/target/Fields.h"
#include "test/unit/target/Common.h"

#include <fmt/format.h>

namespace npuc::target {
namespace {

// The toy's only source, as it is written.
const std::string onlySource = "{\n      \"paths\": [\"\"],\n      \"grade\": \"ASSUMED\",\n"
                               "      \"reason\": \"invented for hand calculation\"\n    }";

// The toy's text with one change, and the errors it gives.
std::string errorOf(const std::string &from, const std::string &to) {
  return errorsOf(replaced(builtinText("toy"), from, to));
}

TEST_CASE("a text that is not JSON") {
  CHECK(
      errorsOf("") ==
      "error: chip.json:1:1: not JSON: syntax error while parsing value - unexpected end of input; expected "
      "'[', '{', or a literal\n");
  CHECK(errorsOf("{\n  \"name\": tru\n}")
            .starts_with("error: chip.json:2:14: not JSON: syntax error while parsing value - "
                         "invalid literal"));
  CHECK(errorsOf("{\"name\": \"a\",}")
            .starts_with("error: chip.json:1:14: not JSON: syntax error while parsing object key"));
  CHECK(errorsOf("{\"clock_ghz\": 1e999}")
            .starts_with("error: chip.json:1:19: not JSON: number overflow parsing '1e999'"));
  CHECK(errorsOf("[1, 2]") == "error: chip.json:1:1: a target description is a JSON object\n");
}

TEST_CASE("a field out of its range") {
  CHECK(errorOf("\"lanes_n\": 4", "\"lanes_n\": 5000") ==
        "error: chip.json:9:16: matrix.lanes_n is 5000: it must be a whole number from 1 to 4096\n");
  CHECK(
      errorOf("\"latency_cycles\": 20\n", "\"latency_cycles\": 100001\n")
          .ends_with(": dram.latency_cycles is 100001: it must be a whole number from 0 to 100000 cycles\n"));
  CHECK(errorOf("\"row_bytes\": 1024", "\"row_bytes\": 1000")
            .ends_with(": dram.row_bytes is 1000: it must be a power of two from 64 to 1000000 bytes\n"));
  CHECK(errorOf("\"lanes_n\": 4", "\"lanes_n\": 4.5")
            .ends_with(": matrix.lanes_n is 4.5: it must be a whole number from 1 to 4096\n"));
  CHECK(errorOf("\"lanes_n\": 4", "\"lanes_n\": -1")
            .ends_with(": matrix.lanes_n is -1: it must be a whole number from 1 to 4096\n"));
}

TEST_CASE("a value of another type") {
  CHECK(errorOf("\"lanes_n\": 4", "\"lanes_n\": \"wide\"") ==
        "error: chip.json:9:16: matrix.lanes_n is \"wide\": it must be a whole number from 1 to 4096\n");
  CHECK(errorOf("\"lanes_n\": 4", "\"lanes_n\": null") ==
        "error: chip.json:9:16: matrix.lanes_n is null: it must be a whole number from 1 to 4096\n");
  CHECK(errorOf("\"stationary\": \"WEIGHTS\"", "\"stationary\": \"WEIGHT\"") ==
        "error: chip.json:15:19: matrix.stationary is \"WEIGHT\": it must be one of OUTPUT, WEIGHTS\n"
        "  hint: did you mean 'WEIGHTS'?\n");
  CHECK(errorOf("\"is_float\": true", "\"is_float\": 1")
            .ends_with(": matrix.accumulators[FP16].is_float is 1: it must be true or false\n"));
  CHECK(errorOf("\"title\": \"A machine of two small cores whose cycles can be counted by hand\"",
                "\"title\": 7") == "error: chip.json:4:12: title is 7: it must be a string\n");
}

TEST_CASE("a group or list of another type") {
  CHECK(errorOf("{\"bytes_per_cycle_per_core\": 16, \"bytes_per_cycle\": 16, \"hop_cycles\": 3}", "[]")
            .ends_with(": network is a list: it must be an object\n"));
  CHECK(errorOf("{\"requantization\": \"FLOAT_SCALE\"}", "\"FLOAT_SCALE\"")
            .ends_with(": numbers is \"FLOAT_SCALE\": it must be an object\n"));
  CHECK(errorOf("{\"operand\": \"INT8\", \"bits\": 32},", "7,")
            .find(": matrix.accumulators[0] is 7: it must be an object\n") != std::string::npos);
}

TEST_CASE("a missing field, a missing group, an empty list") {
  CHECK(errorOf("\"lanes_n\": 4,", "") ==
        "error: chip.json:7:13: matrix.lanes_n is missing: it must be a whole number from 1 to 4096\n");
  CHECK(errorOf("  \"numbers\": {\"requantization\": \"FLOAT_SCALE\"},\n", "") ==
        "error: chip.json:1:1: numbers is missing: it must be an object\n");
  CHECK(errorOf(onlySource, "")
            .starts_with("error: chip.json:169:17: provenance is empty: it must have an element\n"));
}

TEST_CASE("a field that does not exist, or exists twice") {
  CHECK(errorOf("\"lanes_n\": 4,", "\"lanes_n\": 4, \"lane_n\": 4,") ==
        "error: chip.json:9:29: matrix has no field 'lane_n'\n  hint: did you mean 'lanes_n'?\n");
  CHECK(errorOf("\"hop_cycles\": 3", "\"hop_cycles\": 3, \"colour\": \"red\"")
            .ends_with(": network has no field 'colour'\n"
                       "  hint: its fields are bytes_per_cycle_per_core, bytes_per_cycle, hop_cycles, "
                       "cluster_hop_cycles\n"));
  CHECK(errorOf("\"lanes_n\": 4,", "\"lanes_n\": 4, \"lanes_n\": 4,") ==
        "error: chip.json:9:30: matrix.lanes_n is given twice\n  hint: keep one of them\n");
  CHECK(errorOf("{\"function\": \"log\"", "{\"function\": \"exp\"")
            .ends_with(": vector.functions has two elements 'exp'\n  hint: keep one of them\n"));
}

TEST_CASE("faults come all at once") {
  std::string text = replaced(builtinText("toy"), "\"lanes_n\": 4", "\"lanes_n\": 5000");
  text = replaced(text, "\"row_bytes\": 1024", "\"row_byte\": 1024");
  text = replaced(text, "\"function\": \"tanh\"", "\"function\": \"tahn\"");
  Diagnostics diagnostics;
  CHECK_FALSE(parse(text, "chip.json", {}, diagnostics));
  std::vector<std::string> what;
  for (const Diagnostic &d : diagnostics.all())
    what.push_back(d.what);
  CHECK(what == std::vector<std::string>{"matrix.lanes_n is 5000", "dram has no field 'row_byte'",
                                         "dram.row_bytes is missing",
                                         "vector.functions has 'tahn', which no vector program can call"});
}

TEST_CASE("sources") {
  auto errorOfProvenance = [](const std::string &entries) { return errorOf(onlySource, entries); };
  CHECK(errorOfProvenance(onlySource + ", " + onlySource)
            .ends_with(": two sources for the whole description\n  hint: keep one of them\n"));
  CHECK(errorOfProvenance("{\"paths\": [\"\"], \"grade\": \"ASSUMED\"}")
            .ends_with(": provenance[0] has no reason: grade ASSUMED asks for one\n"));
  CHECK(errorOfProvenance("{\"paths\": [\"\"], \"grade\": \"PRIMARY\"}")
            .ends_with(": provenance[0] has no source: grade PRIMARY says that one exists\n"));
  CHECK(errorOfProvenance("{\"paths\": [\"\"], \"grade\": \"INVENTED\", \"reason\": \"x\"}")
            .ends_with(": provenance[0].grade is \"INVENTED\": it must be one of PRIMARY, PRESS, COMPUTED, "
                       "TERTIARY, RECALLED, "
                       "ASSUMED\n"));
  CHECK(errorOfProvenance(onlySource +
                          ", {\"paths\": [\"dram.row_byte\"], \"grade\": \"PRESS\", \"source\": \"x\"}")
            .ends_with(": the source of 'dram.row_byte' is of nothing: dram has no field 'row_byte'\n"
                       "  hint: did you mean 'row_bytes'?\n"));
  // Without the entry for the whole each figure that no other entry covers is an error, at its own place.
  Diagnostics diagnostics;
  std::string dramOnly = replaced(builtinText("toy"), "\"paths\": [\"\"]", "\"paths\": [\"dram\"]");
  CHECK_FALSE(parse(dramOnly, "chip.json", {}, diagnostics));
  size_t outside = 0;
  for (const Field &figure : figures(builtin("toy")))
    outside += !figure.path.starts_with("dram.");
  CHECK(diagnostics.errorCount() == outside);
  CHECK(diagnostics.text().find(
            "error: chip.json:6:16: clock_ghz has no source: every figure has one entry in provenance\n"
            "  hint: add its path, or that of a group around it, to an entry\n") != std::string::npos);
}

// What relates fields: the change, and the error's text behind its place.
struct Relation {
  const char *target;
  std::vector<std::string> overrides;
  const char *error;
};

TEST_CASE("what relates fields to each other") {
  const Relation relations[] = {
      {"toy",
       {"matrix.accumulator_elements=3"},
       "matrix.accumulator_elements is 3, fewer than the lanes_m × lanes_n = 4 sums of one step"},
      {"toy",
       {"matrix.stationary=OUTPUT"},
       "matrix.stationary is OUTPUT, so stationary_bytes, stationary_load_cycles and "
       "stationary_double_buffered must be absent"},
      {"toy",
       {"matrix.stationary_bytes=31"},
       "matrix.stationary_bytes is 31, less than the 32 that lanes_k × lanes_n of FP16 take"},
      {"atom",
       {"matrix.stationary_bytes=16383"},
       "matrix.stationary_bytes is 16383, less than the 16384 that two blocks of "
       "lanes_k × lanes_n of INT8 take"},
      {"toy",
       {"matrix.accumulators[FP16].is_float=false"},
       "sums of FP16 are floats, but its accumulator says is_float: false"},
      {"toy",
       {"vector.table_ports=0"},
       "vector.table_ports is 0 and vector.table_entries is 256: with look-up tables both are "
       "more than 0, without both are 0"},
      {"toy",
       {"numbers.requantization=FIXED_POINT"},
       "vector.functions has no 'requantize_fixed_point', which "
       "numbers.requantization = FIXED_POINT needs"},
      {"toy",
       {"topology.slices_per_core=3"},
       "scratchpad.bytes is 32768, which 3 slices cannot share equally"},
      {"toy",
       {"topology.slices_per_core=2"},
       "scratchpad.slice_bytes_per_cycle is 0, but a core has 2 slices that take data from each other"},
      {"toy",
       {"scratchpad.interleave_bytes=65536"},
       "scratchpad.interleave_bytes is 65536, more than the 32768 bytes of one slice"},
      {"toy",
       {"scratchpad.alignment=65536"},
       "scratchpad.alignment is 65536, which does not divide the 32768 bytes of one slice"},
      {"warboy",
       {"scratchpad.interleave_bytes=32"},
       "scratchpad.interleave_bytes is 32, less than scratchpad.alignment, 64"},
      {"toy", {"shared.bytes=131080"}, "shared.alignment is 16, which does not divide shared.bytes, 131080"},
      {"atom", {"dram.bank_groups=3"}, "dram.banks is 16, which 3 bank groups cannot share equally"},
      {"toy",
       {"dram.reserved_bytes=64MiB"},
       "dram.reserved_bytes is 67108864, which leaves nothing of dram.bytes, 67108864"},
      {"toy",
       {"dram.row_bytes=64", "dram.burst_bytes=128", "dram.t_ccd_l=16"},
       "dram.burst_bytes is 128, more than dram.row_bytes, 64"},
      {"toy", {"dram.interleave_bytes=16"}, "dram.interleave_bytes is 16, less than dram.burst_bytes, 32"},
      {"toy",
       {"dram.t_ccd_l=3"},
       "dram.t_ccd_l is 3, less than the burst_bytes / bytes_per_cycle = 4 cycles that a burst holds the "
       "bus"},
      {"toy",
       {"dram.t_faw=3"},
       "dram.t_faw is 3, less than dram.t_rrd, 4: four activates take longer than one"},
      {"toy",
       {"dram.t_rfc=1000"},
       "dram.t_rfc is 1000 and dram.t_refi is 1000: with refresh 0 < t_rfc < t_refi, without both are 0"},
      {"toy",
       {"dram.t_refi=0"},
       "dram.t_rfc is 100 and dram.t_refi is 0: with refresh 0 < t_rfc < t_refi, without both are 0"},
      {"toy",
       {"dma[bulk].routes[1].source=DRAM", "dma[bulk].routes[1].destination=SHARED"},
       "dma[bulk].routes[1] is given twice"},
      {"rngd",
       {"dma[tensor].routes[2].destination=SHARED"},
       "dma[tensor].routes[2] uses SHARED, but the description has no shared memory"},
      {"toy",
       {"topology.cores_per_cluster=1"},
       "dma[main].routes[4] uses REMOTE_SCRATCHPAD, but the machine has one core"},
      {"toy",
       {"dma[main].routes[4].source=DRAM"},
       "dma[main].routes[4] uses REMOTE_SCRATCHPAD, whose other end must be SCRATCHPAD"},
      {"toy",
       {"dma[main].routes[0].source=SHARED", "dma[main].routes[2].source=SCRATCHPAD"},
       "no DMA class has a route from DRAM to SCRATCHPAD, which every program needs"},
      {"cuda:sm_80", {"gpu.compute_capability=86"}, "name is cuda:sm_80, but gpu.compute_capability is 86"},
      {"cuda:sm_80",
       {"gpu.compute_capability=81"},
       "gpu.compute_capability is 81, which no kernel can be compiled for: there are 80, 86, 87, 89, 90, "
       "100, 103, "
       "110, 120, 121"},
      {"cuda:sm_86", {"gpu.ptx_version=70"}, "gpu.ptx_version is 70, but compute capability 86 needs 71"},
      {"cuda:sm_89",
       {"gpu.ptx_version=78"},
       "matrix.types has FP8_E5M2, which needs compute capability 89 and PTX 84, and gpu has 89 and 78"},
      {"cuda:sm_80",
       {"gpu.threads_per_core=512"},
       "gpu.threads_per_block is 1024, more than gpu.threads_per_core, 512"},
      {"cuda:sm_80",
       {"gpu.threads_per_block=1000"},
       "gpu.threads_per_block is 1000, which is no whole number of warps of 32"},
      {"cuda:sm_80",
       {"gpu.registers_per_core=8159"},
       "gpu.registers_per_thread is 255, of which the 32 threads of a warp need more than "
       "gpu.registers_per_core, "
       "8159"},
      {"cuda:sm_80",
       {"scratchpad.bytes=160KiB"},
       "gpu.shared_bytes_per_block and gpu.shared_bytes_reserved are 166912 and 1024, together more than "
       "scratchpad.bytes, 163840"},
      {"cuda:sm_80",
       {"dram.reserved_bytes=80GiB"},
       "dram.reserved_bytes is 85899345920, which leaves nothing of dram.bytes, 85899345920"},
      {"cuda:sm_80", {"dram.t_rcd=14"}, "dram.t_rcd is given, but the machine is a GPU"},
      {"cuda:sm_80", {"matrix.stationary=WEIGHTS"}, "matrix.stationary is given, but the machine is a GPU"},
      {"toy",
       {"energy.shared_pj_per_byte=0"},
       "energy.shared_pj_per_byte is 0, but the description has shared memory"},
  };
  for (const Relation &relation : relations) {
    Diagnostics diagnostics;
    INFO(relation.error);
    CHECK_FALSE(load(relation.target, relation.overrides, diagnostics));
    INFO(diagnostics.text());
    CHECK(std::ranges::any_of(diagnostics.all(),
                              [&](const Diagnostic &d) { return d.what == relation.error; }));
  }
}

TEST_CASE("what a GPU has and an NPU has not, and the other way round") {
  const std::string network =
      "{\"bytes_per_cycle_per_core\": 16, \"bytes_per_cycle\": 16, \"hop_cycles\": 3}";
  const std::string gpu = builtinText("cuda:sm_80");
  // Given to a GPU, with any content.
  CHECK(errorsOf(replaced(gpu, "  \"numbers\"", "  \"network\": " + network + ",\n  \"numbers\""))
            .find(": network is given, but the machine is a GPU: nothing on a GPU is described by it\n"
                  "  hint: leave it out\n") != std::string::npos);
  // Without `gpu` all that it lacks is missing, at once.
  size_t start = gpu.find("  \"gpu\": {"), end = gpu.find("  \"provenance\"");
  std::string without = errorsOf(gpu.substr(0, start) + gpu.substr(end));
  for (const char *path : {"dma", "network", "control", "matrix.stationary", "vector.registers",
                           "scratchpad.interleave_bytes", "dram.t_rcd", "energy.network_pj_per_byte_hop"}) {
    INFO(path);
    CHECK(without.find(std::string(": ") + path + " is missing") != std::string::npos);
  }
  CHECK(
      errorOf("\"network\": " + network + ",\n", "").ends_with("network is missing: it must be an object\n"));
  // A decoded message is held to the same.
  TargetDescription decoded = builtin("cuda:sm_80"), npu = builtin("toy");
  *decoded.mutable_control() = npu.control();
  npu.clear_control();
  Diagnostics diagnostics;
  CHECK_FALSE(verify(decoded, "artifact", diagnostics));
  CHECK_FALSE(verify(npu, "artifact", diagnostics));
  CHECK(diagnostics.text().find("control is given, but the machine is a GPU") != std::string::npos);
  CHECK(diagnostics.text().find("control is missing") != std::string::npos);
}

TEST_CASE("what relates lists to each other") {
  CHECK(errorOf("{\"operand\": \"INT8\", \"bits\": 32},\n", "")
            .find("matrix.types[INT8] has no entry in matrix.accumulators\n") != std::string::npos);
  CHECK(errorOf("{\"operand\": \"INT8\", \"bits\": 32}",
                "{\"operand\": \"INT8\", \"bits\": 32}, {\"operand\": \"INT4\", \"bits\": 32}")
            .find("matrix.accumulators[INT4] is of a type that matrix.types does not have\n") !=
        std::string::npos);
  CHECK(errorOf("{\"type\": \"INT8\", \"picojoules\": 1},", "")
            .find("energy.multiply_add has no entry for INT8, which matrix.types has\n") !=
        std::string::npos);
  CHECK(errorOf("{\"type\": \"INT8\", \"picojoules\": 1},",
                "{\"type\": \"INT8\", \"picojoules\": 1}, {\"type\": \"BF16\", \"picojoules\": 1},")
            .find("energy.multiply_add has an entry for BF16, which matrix.types does not have\n") !=
        std::string::npos);
  CHECK(errorOf("{\"type\": \"FP32\", \"rate\": 1}", "{\"type\": \"INT8\", \"rate\": 1}")
            .find("vector.types[INT8].type is INT8, but vector programs compute in INT32, FP32, FP16 or "
                  "BF16\n") != std::string::npos);
  CHECK(errorOf("\"function\": \"tanh\"", "\"function\": \"load\"")
            .find("vector.functions has 'load', which no vector program can call") != std::string::npos);
  CHECK(
      errorOf("\"name\": \"toy\"", "\"name\": \"Toy 2\"") ==
      "error: chip.json:3:11: name is \"Toy 2\", but a target's name is of lower case letters, digits, '-', "
      "'_' and ':'\n");
}

} // namespace
} // namespace npuc::target
