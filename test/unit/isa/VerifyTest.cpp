#include "backends/npu/isa/Verify.h"

#include "backends/npu/isa/Text.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::isa;

namespace {

// Two cores of one slice: 4 KiB of scratchpad, 64 accumulators of 32 bits, 1 MiB of DRAM; two DMA classes, of
// which the second goes only from core to core; queues that hold two commands.
target::TargetDescription machine() {
  target::TargetDescription t;
  t.mutable_topology()->set_devices(1);
  t.mutable_topology()->set_clusters_per_device(1);
  t.mutable_topology()->set_cores_per_cluster(2);
  t.mutable_topology()->set_slices_per_core(1);
  auto addMatrix = [&](target::DataType type, bool isFloat) {
    auto *entry = t.mutable_matrix()->add_types();
    entry->set_type(type);
    entry->set_rate(1);
    entry->set_lanes_k(4);
    auto *sums = t.mutable_matrix()->add_accumulators();
    sums->set_operand(type);
    sums->set_bits(32);
    sums->set_is_float(isFloat);
  };
  addMatrix(target::INT8, false);
  addMatrix(target::FP16, true);
  t.mutable_matrix()->set_accumulator_elements(64);
  t.mutable_matrix()->set_chained_to_vector(true);
  for (target::DataType type : {target::INT32, target::FP32}) {
    auto *entry = t.mutable_vector()->add_types();
    entry->set_type(type);
    entry->set_rate(1);
  }
  for (const char *function : {"exp", "divide", "requantize"}) {
    auto *entry = t.mutable_vector()->add_functions();
    entry->set_function(function);
    entry->set_rate(1);
  }
  t.mutable_vector()->set_program_length(6);
  t.mutable_vector()->set_registers(4);
  t.mutable_vector()->set_operands(3);
  t.mutable_vector()->set_table_ports(1);
  t.mutable_vector()->set_table_entries(16);
  t.mutable_scratchpad()->set_bytes(4096);
  t.mutable_dram()->set_bytes(1 << 20);
  auto addDma = [&](const char *name, std::initializer_list<std::pair<target::Space, target::Space>> routes,
                    bool can) {
    auto *dma = t.add_dma();
    dma->set_name(name);
    dma->set_queues_per_core(2);
    dma->set_multicast(can);
    dma->set_gather_scatter(can);
    for (auto [source, destination] : routes) {
      auto *route = dma->add_routes();
      route->set_source(source);
      route->set_destination(destination);
    }
  };
  addDma("main", {{target::DRAM, target::SCRATCHPAD}, {target::SCRATCHPAD, target::DRAM}}, true);
  addDma("ring", {{target::SCRATCHPAD, target::REMOTE_SCRATCHPAD}}, false);
  t.mutable_control()->set_semaphores(8);
  t.mutable_control()->set_queue_depth(2);
  t.mutable_control()->set_address_dimensions(4);
  t.mutable_control()->set_registers(2);
  return t;
}

const std::string good = R"(program "p" {
  buffer "x" input i8[8x16] bytes=128 align=64
  buffer "ids" input i32[4] bytes=16 align=64
  buffer "y" output f32[8x8] bytes=256 align=64
  register "length" 0..7
  semaphores 3
  core 0 {
    copy @dma0.0 (dram[0]:i8[8x16;d0<$0+1], scratchpad[0]:i8[8x16;d0<$0+1]) signal(0) from "layer.0"
    copy @dma0.1 (dram[0]:i8[8x16], scratchpad[0]+0x80:i8[8x16]) signal(0) multicast(0, 1)
    contract @matrix (scratchpad[0]:i8[8x16;d0<$0+1], scratchpad[0]+0x80:i8[16x8:1,16], accumulator[0]:i32[8x8;d0<$0+1]) dims(0,1,1,1) wait(0>=2) signal(1)
    vector @vector (accumulator[0]:i32[8x8], scratchpad[0]+0x200:f32[8x8], scratchpad[0]+0x300:f32[8x1]) wait(1>=1) signal(2) {
      r0 = load.f32 %0
      r1 = exp.f32 r0
      %1 = store.f32 r1
      %2 = store_sum.f32 r1, 0
    }
    copy @dma0.0 (scratchpad[0]+0x200:f32[8x8], dram[2]:f32[8x8]) wait(2>=1)
    gather @dma0.0 (dram[0]:i8[8x16], scratchpad[0]+0x400:i32[4], scratchpad[0]+0x500:i8[4x16])
    copy @dma1.0 (scratchpad[0]:i8[8x16], scratchpad[1]:i8[8x16])
    copy @matrix (accumulator[0]:i32[8x8], scratchpad[0]+0x600:i32[8x8])
    barrier @vector wait(2>=1) if($0>3)
  }
  core 1 {
  }
}
)";

Program parsed(const std::string &text) {
  Diagnostics diagnostics;
  auto program = parseProgram(text, "t.isa", diagnostics);
  INFO(diagnostics.text());
  REQUIRE(program);
  return *program;
}

std::string errorsOf(const Program &program) {
  Diagnostics diagnostics;
  const bool accepted = verifyProgram(program, machine(), diagnostics);
  CHECK(accepted == !diagnostics.hasErrors());
  return diagnostics.text();
}

// Replaces the only place where `from` stands in the good program.
std::string changed(const std::string &from, const std::string &to) {
  size_t at = good.find(from);
  INFO(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(good.find(from, at + 1) == std::string::npos);
  std::string text = good;
  return text.replace(at, from.size(), to);
}

} // namespace

TEST_CASE("a program that runs is accepted") {
  CHECK(errorsOf(parsed(good)) == "");
}

TEST_CASE("each fault planted in a good program is named") {
  struct Fault {
    const char *from, *to, *error;
  };
  const Fault faults[] = {
      // limits of the machine
      {"semaphores 3", "semaphores 9", "too many semaphores: the program has 9, the target 8"},
      {"core 1 {\n  }", "core 1 {\n  }\n  core 2 {\n  }", "too many cores: the program has 3, the target 2"},
      {"register \"length\" 0..7", "register \"length\" 7..0", "range is empty"},
      {"register \"length\" 0..7", "register \"length\" 0..7\n  register \"b\" 0..1\n  register \"c\" 0..1",
       "too many registers"},
      {"f32[8x8] bytes=256", "f32[8x8] bytes=255", "it has 255 bytes, f32[8x8] needs 256"},
      {"f32[8x8] bytes=256", "f32[8x8] bytes=2000000", "do not fit in the target's DRAM"},
      {"f32[8x8] bytes=256 align=64", "f32[8x8] bytes=256 align=48", "no power of two"},
      // synchronization
      {"signal(2) {", "signal(3) {", "semaphore 3 of 3"},
      {"wait(1>=1)", "wait(5>=1)", "semaphore 5 of 3"},
      {"if($0>3)", "if($1>3)", "register 1 of 1"},
      {"wait(1>=1)", "wait(1>=2)", "the whole program signals it 1 times"},
      // engines, queues and routes
      {"copy @dma0.0 (scratchpad[0]+0x200", "copy @dma2.0 (scratchpad[0]+0x200", "class 2 of 2"},
      {"copy @dma0.0 (scratchpad[0]+0x200", "copy @dma0.2 (scratchpad[0]+0x200",
       "queue 2 of 2 of class 'main'"},
      {"copy @dma0.0 (scratchpad[0]+0x200", "copy @dma1.0 (scratchpad[0]+0x200",
       "class 'ring' does not go from SCRATCHPAD to DRAM"},
      {"copy @dma1.0", "copy @dma0.0", "class 'main' does not go from SCRATCHPAD to REMOTE_SCRATCHPAD"},
      {"copy @dma1.0", "copy @vector", "copy on vector"},
      {"barrier @vector", "fill @dma0.0", "fill takes 1, not 0"},
      {"copy @matrix (acc", "copy @dma0.0 (acc", "DMA does not reach accumulators"},
      {"copy @matrix (accumulator[0]", "copy @matrix (accumulator[1]",
       "from accumulator[1] to scratchpad[0]"},
      {"contract @matrix (scratchpad[0]:", "contract @matrix (scratchpad[1]:",
       "it is in scratchpad[1]; the engine of core 0 reaches"},
      {"multicast(0, 1)", "multicast(0, 2)", "core 2 of 2"},
      {"gather @dma0.0", "gather @dma1.0", "neither gathers nor scatters"},
      // views
      {"(dram[0]:i8[8x16], scratchpad[0]+0x80", "(dram[3]:i8[8x16], scratchpad[0]+0x80",
       "DRAM buffer 3 of 3"},
      {"(dram[0]:i8[8x16], scratchpad[0]+0x80", "(dram[0]+0x1:i8[8x16], scratchpad[0]+0x80",
       "it touches bytes 1 to 128 of dram[0], which has 128"},
      {"(dram[0]:i8[8x16], scratchpad[0]+0x80", "(dram[0]+$0*16:i8[8x16], scratchpad[0]+0x80",
       "it touches bytes 0 to 239"},
      {"(dram[0]:i8[8x16], scratchpad[0]+0x80", "(dram[0]+-16:i8[8x16], scratchpad[0]+0x80",
       "it touches bytes -16 to 111"},
      {"(dram[0]:i8[8x16], scratchpad[0]+0x80", "(shared[0]:i8[8x16], scratchpad[0]+0x80",
       "does not go from SHARED"},
      {"scratchpad[1]:i8[8x16]", "scratchpad[2]:i8[8x16]", "the scratchpad of core 2 of 2"},
      {"scratchpad[0]+0x600:i32[8x8]", "scratchpad[0]+0xf01:i32[8x8]", "not aligned to its elements"},
      {"scratchpad[0]+0x600:i32[8x8]", "scratchpad[0]+0xf04:i32[8x8]", "which has 4096"},
      {"accumulator[0]:i32[8x8], scratchpad[0]+0x600:i32[8x8]",
       "accumulator[0]+0x4:i32[8x8], scratchpad[0]+0x600:i32[8x8]",
       "it touches bytes 4 to 259 of accumulator[0], which has 256"},
      {"accumulator[0]:i32[8x8], scratchpad[0]+0x600:i32[8x8]",
       "accumulator[0]:i8[8x8], scratchpad[0]+0x600:i8[8x8]", "accumulators hold i32, i64 or f32, not i8"},
      {"scratchpad[0]:i8[8x16], scratchpad[1]:i8[8x16]",
       "scratchpad[0]:i8[1x1x1x8x16], scratchpad[1]:i8[1x1x1x8x16]", "5 of 4"},
      {"scratchpad[0]:i8[8x16], scratchpad[1]:i8[8x16]", "scratchpad[0]:i8[0x16], scratchpad[1]:i8[0x16]",
       "a dimension of size 0"},
      {"scratchpad[0]:i8[8x16], scratchpad[1]:i8[8x16]", "scratchpad[0]:i4[8x15], scratchpad[1]:i4[8x15]",
       "dimension 0 of i4 elements has stride 15"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[8x16;d0<$1+1]) signal",
       "a register does not exist"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[8x16;d2<$0+1]) signal",
       "dimension 2 of 2"},
      {"dram[2]:f32[8x8]", "dram[0]:f32[8x4]", "buffer 'x' is of role input"},
      // shapes
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[8x16;d0<$0+2]) signal",
       "dimension 0 of operand 0 is 8 bounded by $0 - -1"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[7x16;d0<$0+1]) signal",
       "shapes do not agree"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[128;d0<$0+1]) signal",
       "operand 1 has 1 dimensions, but needs 2"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:u8[8x16;d0<$0+1]) signal",
       "operand 0 is i8, operand 1 is u8"},
      {"scratchpad[0]:i8[8x16;d0<$0+1]) signal", "scratchpad[0]:i8[8x16:15,1;d0<$0+1]) signal",
       "a stride of 15 does not step over"},
      {"i8[16x8:1,16]", "i8[15x8:1,16]", "dimension 1 of operand 0 is 16, dimension 0 of operand 1 is 15"},
      {"i8[16x8:1,16]", "f16[16x8:1,16]", "i8 with f16"},
      {"i8[16x8:1,16]", "bf16[16x8:1,16]", "the target has no bf16"},
      {"accumulator[0]:i32[8x8;d0<$0+1]", "accumulator[0]:f32[8x8;d0<$0+1]", "sums of i8 are i32, not f32"},
      {"accumulator[0]:i32[8x8;d0<$0+1]", "accumulator[0]:i32[8x8]",
       "dimension 0 of operand 0 is 8 bounded by $0 - -1, dimension 0 of operand 2 is 8"},
      {"dims(0,1,1,1)", "dims(1,1,1,1)", "operand 0 has 2 dimensions, but needs 3"},
      {"scratchpad[0]+0x400:i32[4]", "scratchpad[0]+0x400:i8[4]", "operand 1 is i8"},
      {"scratchpad[0]+0x400:i32[4]", "scratchpad[0]+0x400:i32[3]",
       "dimension 0 of operand 1 is 3, dimension 0 of operand 2 is 4"},
      {"scratchpad[0]+0x500:i8[4x16]", "scratchpad[0]+0x500:i8[4x15]",
       "dimension 1 of operand 0 is 16, dimension 1 of operand 2 is 15"},
      // vector programs
      {"scratchpad[0]+0x200:f32[8x8], scratchpad[0]+0x300",
       "scratchpad[0]+0x200:f32[8x4], scratchpad[0]+0x300",
       "dimension 1 of operand 1 is 4, the loop's size is 8"},
      {"scratchpad[0]+0x200:f32[8x8], scratchpad[0]+0x300",
       "scratchpad[0]+0x200:f32[8x8:8,0], scratchpad[0]+0x300", "store_sum, store_max and store_min reduce"},
      {"r1 = exp.f32 r0", "r1 = tanh.f32 r0",
       "instruction 1 (tanh.f32): the target's vector engine lacks the operation"},
      {"r1 = exp.f32 r0", "r1 = exp.f16 r0", "is not among vector.types"},
      {"r1 = exp.f32 r0", "r1 = exp.i32 r0", "does not exist in this type"},
      {"r1 = exp.f32 r0", "r1 = exp.i8 r0", "types are f32, f16, bf16, i32 and bool"},
      {"r1 = exp.f32 r0", "r1 = exp.f32 r2", "reads a register that nothing was written to: r2"},
      {"r1 = exp.f32 r0", "r4 = exp.f32 r0", "there is no such register: 4 of 4"},
      {"r1 = exp.f32 r0", "r1 = less.f32 r0, r0", "reads a register of another type: r1 holds bool, not f32"},
      {"r1 = exp.f32 r0", "r1 = table.f32 r0, %2, 0", "r0 holds f32, not i32"},
      {"r0 = load.f32 %0", "r0 = load.f32 %3", "there is no such operand: 3 of 3"},
      {"r0 = load.f32 %0", "r0 = index.i32 d2, 0", "there is no such loop: 2 of 2"},
      {"store_sum.f32 r1, 0", "store_sum.f32 r1, 2", "the immediate of a reduction is 0 or 1"},
      {"r1 = exp.f32 r0", "r1 = exp.f32 r0\n r1 = exp.f32 r0\n r1 = exp.f32 r0\n r1 = exp.f32 r0",
       "7 instructions of 6"},
  };
  for (const Fault &fault : faults) {
    std::string errors = errorsOf(parsed(changed(fault.from, fault.to)));
    INFO(fault.from << " -> " << fault.to << "\n" << errors);
    CHECK(errors != "");
    CHECK(errors.find(fault.error) != std::string::npos);
  }
}

TEST_CASE("an error names program, core, command and source") {
  std::string errors = errorsOf(parsed(changed("(dram[0]:i8[8x16;d0<$0+1]", "(dram[2]:i8[8x16;d0<$0+1]")));
  CHECK(errors == ""); // 128 of the 256 bytes of an output: allowed
  errors = errorsOf(parsed(changed("(dram[0]:i8[8x16;d0<$0+1]", "(dram[1]:i8[8x16;d0<$0+1]")));
  CHECK(errors == "error: program 'p', core 0, command 0 (copy, 'layer.0'): operand 0 leaves its memory: it "
                  "touches bytes "
                  "0 to 127 of dram[1], which has 16\n");
}

TEST_CASE("indices beyond the pools are seen before they are used") {
  Program program = parsed(good);
  for (auto field :
       {&Command::firstOperand, &Command::firstWait, &Command::firstInstruction, &Command::source}) {
    Program bad = program;
    bad.streams[0][3].*field = 1'000'000;
    CHECK(errorsOf(bad).find("points beyond the program's pools") != std::string::npos);
  }
}

TEST_CASE("commands that wait for each other in a circle are named") {
  // Core 0 waits for core 1, which waits for core 0: both signals exist, neither comes.
  std::string errors = errorsOf(parsed(R"(program "p" {
  semaphores 2
  core 0 {
    barrier @vector wait(0>=1) signal(1)
  }
  core 1 {
    barrier @matrix wait(1>=1) signal(0)
  }
})"));
  CHECK(errors ==
        "error: program 'p', core 0, command 0 (barrier): the command waits for ever: semaphore 0 stops at 0 "
        "and never "
        "reaches 1: the next to signal it is core 1, command 0 (barrier), which itself never runs\n"
        "error: program 'p', core 1, command 0 (barrier): the command waits for ever: semaphore 1 stops at 0 "
        "and never "
        "reaches 1: the next to signal it is core 0, command 0 (barrier), which itself never runs\n");
}

TEST_CASE("a full queue holds back the command that would free it") {
  // The vector queue holds two barriers, a third stops the command processor, so the matrix barrier behind it
  // is never dispatched. With two it is.
  auto program = [](int barriers) {
    std::string text = "program \"p\" {\n semaphores 1\n core 0 {\n";
    for (int i = 0; i < barriers; ++i)
      text += "barrier @vector wait(0>=1)\n";
    return parsed(text + "barrier @matrix signal(0)\n }\n }");
  };
  CHECK(errorsOf(program(2)) == "");
  CHECK(errorsOf(program(3)).find("core 0, command 3 (barrier), which itself never runs") !=
        std::string::npos);
}

TEST_CASE("a long chain across cores is followed to its end") {
  // Command i waits for i signals, in turn on the two cores: 100,000 hops.
  std::array<std::string, 2> cores;
  for (int i = 0; i < 100000; ++i)
    cores[i % 2] += "barrier @vector wait(0>=" + std::to_string(i) + ") signal(0)\n";
  auto text = [&] {
    return "program \"p\" {\nsemaphores 1\ncore 0 {\n" + cores[0] + "}\ncore 1 {\n" + cores[1] + "}\n}";
  };
  CHECK(errorsOf(parsed(text())) == "");
  cores[0] += "barrier @vector wait(0>=100001)\n"; // one more than there are
  CHECK(errorsOf(parsed(text())).find("never reaches 100001: the whole program signals it 100000 times") !=
        std::string::npos);
}
