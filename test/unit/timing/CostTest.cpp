#include "backends/npu/timing/Cost.h"
#include "Fixtures.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::timing;
using namespace npuc::timing::test;
using isa::Space;
using isa::VectorOp;

namespace {

Cost priced(const Contraction &work, const target::TargetDescription &target) {
  return contractCost(Machine(target), work);
}

Contraction matmul(int64_t m, int64_t n, int64_t k) {
  Contraction work;
  work.m = m;
  work.n = n;
  work.k = k;
  return work;
}

Cost only(const Builder &builder, const target::TargetDescription &target = handMachine()) {
  return cost(Machine(target), builder.program, builder.program.streams[0][0], {});
}

} // namespace

TEST_CASE("one block: fill, drain and stationary load", "[timing]") {
  // One 4x4 block of B, one row of A: load max(4, 16 bytes / 16) = 4, one step of 1, latency 8, scratchpad 2.
  Cost cost = priced(matmul(1, 4, 4), handMachine());
  CHECK(cost.cycles == 4 + 1 + 8 + 2);
  CHECK(cost.bound == Bound::Latency);
}

TEST_CASE("stationary loads are hidden by double buffering", "[timing]") {
  // 16 rows, 2 x 2 blocks: each block streams 16 steps; without a second set of registers each load of 4 is
  // seen.
  auto target = handMachine();
  CHECK(priced(matmul(16, 8, 8), target).cycles == 4 * (4 + 16) + 8 + 2);
  target.mutable_matrix()->set_stationary_double_buffered(true);
  CHECK(priced(matmul(16, 8, 8), target).cycles == 4 + 4 * 16 + 8 + 2);
  CHECK(priced(matmul(16, 8, 8), target).bound == Bound::Compute);
  // 2 rows stream in 2 cycles, so loads bind: 3 more loads of 4, then the last block's 2 steps.
  CHECK(priced(matmul(2, 8, 8), target).cycles == 4 + 3 * 4 + 2 + 8 + 2);
  CHECK(priced(matmul(2, 8, 8), target).bound == Bound::StationaryLoad);
}

TEST_CASE("edges are padded to the lanes", "[timing]") {
  CHECK(priced(matmul(16, 5, 7), handMachine()).cycles == priced(matmul(16, 8, 8), handMachine()).cycles);
}

TEST_CASE("data types have their own rates", "[timing]") {
  // fp16: a step of 4 x 4 takes 4 / (4 * 0.5) = 2 cycles; its 8 bytes of A at 4 a cycle take 2; B's 32 bytes
  // at 16 take 2, less than the load's 4.
  Contraction work = matmul(16, 4, 4);
  work.a = work.b = ElementType::F16;
  CHECK(priced(work, handMachine()).cycles == 4 + 16 * 2 + 8 + 2);
  // int4 weights: 8 of k in a step of 8 / (4 * 2) = 1 cycle, but 8 bytes of int8 activations at 4 a cycle
  // take 2.
  work.a = ElementType::I8;
  work.b = ElementType::I4;
  work.k = 8;
  CHECK(priced(work, handMachine()).cycles == 4 + 16 * 2 + 8 + 2);
  auto target = handMachine();
  target.mutable_matrix()->set_stream_bytes_per_cycle(8);
  CHECK(priced(work, target).cycles == 4 + 16 * 1 + 8 + 2);
}

TEST_CASE("a register file keeps several blocks, so that a row of A is fetched once for them", "[timing]") {
  // Stream 2 bytes a cycle: a row of 4 bytes takes 2 cycles, against a step of 1. Four blocks along n,
  // double-buffered.
  auto target = handMachine();
  auto &matrix = *target.mutable_matrix();
  matrix.set_stream_bytes_per_cycle(2);
  matrix.set_stationary_double_buffered(true);
  matrix.set_stationary_bytes(2 * 64); // each half holds 4 blocks of 16 bytes
  CHECK(priced(matmul(16, 16, 4), target).cycles == 4 + 4 * 32 + 10);
  CHECK(priced(matmul(16, 16, 4), target).bound == Bound::Operands);
  matrix.set_stream_reuse(4); // one group of 4 blocks: loads 16, 64 steps, 16 fetches of 2 cycles
  CHECK(priced(matmul(16, 16, 4), target).cycles == 16 + 64 + 10);
  matrix.set_stationary_bytes(
      2 * 32); // 2 blocks a half: two groups; load 8, 32 steps against 32 of fetches, twice
  CHECK(priced(matmul(16, 16, 4), target).cycles == 8 + 2 * 32 + 10);
}

TEST_CASE("an output-stationary engine streams both operands", "[timing]") {
  auto target = handMachine();
  auto &matrix = *target.mutable_matrix();
  matrix.set_stationary(target::MatrixEngine::OUTPUT);
  matrix.set_lanes_m(2);
  // 8 x 8 x 8: 4 * 2 * 2 = 16 steps; A 8 bytes a step at 4: 32 cycles; B 16 bytes a step at 16: 16 cycles.
  CHECK(priced(matmul(8, 8, 8), target).cycles == 32 + 10);
  matrix.set_stream_bytes_per_cycle(8);
  CHECK(priced(matmul(8, 8, 8), target).cycles == 16 + 10);
  matrix.set_weight_bytes_per_cycle(4);
  CHECK(priced(matmul(8, 8, 8), target).cycles == 16 * 4 + 10);
}

TEST_CASE("sums drained to the scratchpad", "[timing]") {
  Contraction work = matmul(16, 8, 4); // 2 groups of 4 + 16
  work.sumsInScratchpad = true;        // 128 sums at 4 a cycle: 32, hidden; the last step's 4 sums: 1
  CHECK(priced(work, handMachine()).cycles == 2 * 20 + 10 + 1);
  work.accumulate = true; // read and written: 64 cycles, 2 loads of 4
  CHECK(priced(work, handMachine()).cycles == 64 + 8 + 10 + 1);
  CHECK(priced(work, handMachine()).bound == Bound::Drain);
}

TEST_CASE("slices share batch, m or n, whichever takes least", "[timing]") {
  auto target = handMachine();
  target.mutable_topology()->set_slices_per_core(4);
  target.mutable_scratchpad()->set_slice_bytes_per_cycle(1000);
  // 4 batches: one each, nothing to exchange: as one batch on one slice.
  Contraction work = matmul(16, 8, 8);
  work.batch = 4;
  CHECK(priced(work, target).cycles == 4 * 20 + 10);
  // One batch of 16 x 8 x 8. By m: 4 rows each, 4 blocks of 4 + 4 = 32, B shared by 4: + 3 hops. By n (2) and
  // m (2): 8 rows, 2 blocks of 4 + 8 = 24, + 1 hop.
  CHECK(priced(matmul(16, 8, 8), target).cycles == 24 + 1 + 10);
  // At one byte a cycle the exchange binds: A 16 x 8, B 8 x 8. By m (4): A own, B 64 - 16 = 48, + 16 of loads
  // + 3 hops. By 2 x 2: A 64 - 32, B 32 - 16: 48, + 8 of loads + 1 hop. By n (2) alone: A 128 - 32, B 32
  // - 16.
  target.mutable_scratchpad()->set_slice_bytes_per_cycle(1);
  CHECK(priced(matmul(16, 8, 8), target).cycles == 48 + 8 + 1 + 10);
  CHECK(priced(matmul(16, 8, 8), target).bound == Bound::SliceExchange);
}

TEST_CASE("an operand without neighbours takes a bank access for each element", "[timing]") {
  Contraction work = matmul(16, 4, 4);
  work.scatteredA = true; // 64 elements, 4 banks of 1 port: 16 cycles, as many as steps
  CHECK(priced(work, handMachine()).cycles == 4 + 16 + 10);
  auto target = handMachine();
  target.mutable_scratchpad()->set_banks(2); // 32 cycles
  CHECK(priced(work, target).cycles == 4 + 32 + 10);
}

TEST_CASE("a vector program", "[timing]") {
  // 64 points of fp32 on 4 lanes: add 16, exp 16 / 0.25 = 64; load and store take no lanes, 2 x 256 bytes at
  // 16: 32 cycles.
  Builder b(1);
  auto x = view(Space::Scratchpad, 0, 0, ElementType::F32, {64});
  auto y = view(Space::Scratchpad, 0, 256, ElementType::F32, {64});
  b.vector(0, {x, y},
           {{VectorOp::Load, ElementType::F32, 0, 0},
            {VectorOp::Add, ElementType::F32, 1, 0, 0},
            {VectorOp::Exp, ElementType::F32, 2, 1},
            {VectorOp::Store, ElementType::F32, 1, 2}});
  CHECK(only(b).cycles == 10 + (16 + 64) + 6 + 2);
  CHECK(only(b).bound == Bound::Compute);
  // Two stages at once run at the rate of the slower.
  auto target = handMachine();
  target.mutable_vector()->set_chained_stages(2);
  CHECK(only(b, target).cycles == 10 + 64 + 6 + 2);
  target.mutable_vector()->set_bytes_per_cycle(4); // 512 / 4 = 128
  CHECK(only(b, target).cycles == 10 + 128 + 6 + 2);
  CHECK(only(b, target).bound == Bound::Operands);
}

TEST_CASE("a vector program's accesses: broadcast, reduction, scattered, tables, accumulators", "[timing]") {
  const auto f32 = ElementType::F32;
  Builder b(1);
  // Row sums of an 8 x 16 tile minus a value for each row: x is read at 128 points, the row's value 8 times,
  // 8 sums are written: 4 * 144 bytes at 16 a cycle = 36 cycles; subtract and sum: 2 * 32 = 64 cycles.
  b.vector(0,
           {view(Space::Scratchpad, 0, 0, f32, {8, 16}),
            strided(Space::Scratchpad, 0, 0, f32, {{8, 1}, {16, 0}}),
            strided(Space::Scratchpad, 0, 0, f32, {{8, 1}, {1, 1}})},
           {{VectorOp::Load, f32, 0, 0},
            {VectorOp::Load, f32, 1, 1},
            {VectorOp::Subtract, f32, 2, 0, 1},
            {VectorOp::StoreSum, f32, 2, 2}});
  Machine machine(handMachine());
  VectorWork work = vectorWork(b.program, b.program.streams[0][0], {});
  CHECK(work.points == 128);
  CHECK(work.outputs == 8);
  CHECK(work.bytes == 4 * (128 + 8 + 8));
  CHECK(work.scattered == 0);
  CHECK(vectorCost(machine, work).cycles == 10 + 64 + 6 + 2);

  // A value for each column is read again for each row: 128 reads.
  b.program.operands[1] = strided(Space::Scratchpad, 0, 0, f32, {{8, 0}, {16, 1}});
  CHECK(vectorWork(b.program, b.program.streams[0][0], {}).bytes == 4 * (128 + 128 + 8));
  // Transposed: 128 accesses of one element, 4 a cycle.
  b.program.operands[1] = strided(Space::Scratchpad, 0, 0, f32, {{8, 1}, {16, 8}});
  work = vectorWork(b.program, b.program.streams[0][0], {});
  CHECK(work.scattered == 128);
  CHECK(work.bytes == 4 * (128 + 8));
  // From the accumulators: 128 at 4 a cycle.
  b.program.operands[0].space = Space::Accumulator;
  CHECK(vectorWork(b.program, b.program.streams[0][0], {}).accumulatorElements == 128);

  // Look-ups: 64 at 2 a cycle and slice, 32 cycles; 64 bytes in and out: 8.
  Builder t(1);
  t.vector(0,
           {view(Space::Scratchpad, 0, 0, ElementType::I8, {64}),
            view(Space::Scratchpad, 0, 0, ElementType::I8, {256}),
            view(Space::Scratchpad, 0, 0, ElementType::I8, {64})},
           {{VectorOp::Load, ElementType::I32, 0, 0},
            {VectorOp::Table, ElementType::I32, 1, 0, 1},
            {VectorOp::Store, ElementType::I32, 2, 1}});
  CHECK(only(t).cycles == 10 + 32 + 6 + 2);
  CHECK(only(t).bound == Bound::Tables);
}

TEST_CASE("a DMA transfer: runs, granules, descriptors", "[timing]") {
  Machine machine(handMachine());
  // 8 rows of 24 bytes out of rows of 32: 8 runs, each rounded to 32 bytes.
  Builder b(1);
  uint32_t source = b.dram(4096);
  b.copy(0, strided(Space::Dram, source, 64, ElementType::I8, {{8, 32}, {24, 1}}),
         view(Space::Scratchpad, 0, 0, ElementType::I8, {8, 24}));
  Transfer work = transfer(machine, b.program, b.program.streams[0][0], 0, {});
  CHECK(work.bytes == 192);
  CHECK(work.engineBytes == 8 * 32);
  CHECK(work.source.runBytes == 24);
  CHECK(work.source.runs() == 8);
  CHECK(work.source.base == 64);
  CHECK(work.destination.runBytes == 192); // dense on its own side
  CHECK(work.destination.runs() == 1);
  CHECK(work.descriptors == 1);

  // Four dimensions that do not merge, three for a descriptor: the outer extent of 5 is as many descriptors.
  Builder d(1);
  source = d.dram(1 << 20);
  d.copy(0, strided(Space::Dram, source, 0, ElementType::I8, {{5, 10000}, {4, 1000}, {3, 100}, {16, 1}}),
         view(Space::Scratchpad, 0, 0, ElementType::I8, {5, 4, 3, 16}));
  work = transfer(machine, d.program, d.program.streams[0][0], 0, {});
  CHECK(work.descriptors == 5);
  CHECK(work.engineBytes == 5 * 4 * 3 * 16);

  // Isolated: start-up 30 + 4 further descriptors of 7; 960 bytes at 8 = 120 cycles, on engine, port, network
  // and DRAM alike; latencies: DRAM 20 + 5 + 3, scratchpad 2.
  CHECK(only(d).cycles == 30 + 4 * 7 + 120 + 28 + 2);
}

TEST_CASE("gather, scatter, fill, core to core and multicast", "[timing]") {
  auto target = handMachine();
  Machine machine(target);
  Builder b(2);
  uint32_t table = b.dram(1 << 16);
  isa::Command gather;
  gather.opcode = isa::Opcode::Gather;
  b.program.streams[0].push_back(
      b.program.add(gather, std::vector{view(Space::Dram, table, 0, ElementType::F16, {100, 20}),
                                        view(Space::Scratchpad, 0, 0, ElementType::I32, {6}),
                                        view(Space::Scratchpad, 0, 64, ElementType::F16, {6, 20})}));
  Transfer work = transfer(machine, b.program, b.program.streams[0][0], 0, {});
  CHECK(work.bytes == 6 * 40);
  CHECK(work.engineBytes == 6 * 48);
  CHECK(work.indexBytes == 24);
  CHECK(work.source.rows == 100);
  CHECK(work.source.rowStride == 40);
  CHECK(work.source.runs() == 6);
  CHECK(work.source.runBytes == 40);

  isa::Command send;
  send.opcode = isa::Opcode::Copy;
  const std::vector<uint16_t> both = {0, 1};
  b.program.streams[0].push_back(
      b.program.add(send,
                    std::vector{view(Space::Scratchpad, 0, 0, ElementType::I8, {64}),
                                view(Space::Scratchpad, 0, 64, ElementType::I8, {64})},
                    {}, {}, both));
  work = transfer(machine, b.program, b.program.streams[0][1], 0, {});
  CHECK(work.copies == 2);
  CHECK(work.sends == 1);
  CHECK(work.hops == 1);
  CHECK(work.crossesCores);
  target.mutable_dma(0)->set_multicast(false);
  CHECK(transfer(Machine(target), b.program, b.program.streams[0][1], 0, {}).sends == 2);

  isa::Command fill;
  fill.opcode = isa::Opcode::Fill;
  b.program.streams[0].push_back(
      b.program.add(fill, std::vector{view(Space::Scratchpad, 0, 0, ElementType::F32, {100})}));
  work = transfer(machine, b.program, b.program.streams[0][2], 0, {});
  CHECK(work.fill);
  CHECK(work.engineBytes == 400);
}

TEST_CASE("registers bound extents and predicate commands", "[timing]") {
  Builder b(1);
  b.program.registers.push_back({"length", 0, 64});
  b.contract(0, 16, 64, 4);
  for (unsigned o : {1u, 2u}) {
    b.program.operands[o].boundRegister = 0;
    b.program.operands[o].boundDim = 1;
  }
  Machine machine(handMachine());
  auto cyclesAt = [&](int64_t length) {
    return cost(machine, b.program, b.program.streams[0][0], std::vector<int64_t>{length}).cycles;
  };
  CHECK(cyclesAt(64) == 16 * 20 + 10);
  CHECK(cyclesAt(8) == 2 * 20 + 10);
  CHECK(registerValues(b.program) == std::vector<int64_t>{64});
  b.program.streams[0][0].predicateRegister = 0;
  b.program.streams[0][0].predicateBound = 7;
  CHECK(cyclesAt(8) == 2 * 20 + 10);
  CHECK(cyclesAt(7) == 0);
}

TEST_CASE("what the machine lacks is said", "[timing]") {
  Machine machine(handMachine());
  Builder b(1);
  b.contract(0, 1, 1, 1, ElementType::BF16);
  CHECK(unsupported(machine, b.program, b.program.streams[0][0]) ==
        "the matrix engine does not contract bf16 with bf16");
  auto x = view(Space::Scratchpad, 0, 0, ElementType::F32, {64});
  b.vector(0, {x, x}, {{VectorOp::Load, ElementType::F32, 0, 0}, {VectorOp::Tanh, ElementType::F32, 0, 0}});
  CHECK(unsupported(machine, b.program, b.program.streams[0][1]) == "the vector engine has no tanh");
  b.copy(0, x, x, 3);
  CHECK(unsupported(machine, b.program, b.program.streams[0][2]) ==
        "there is no DMA class 3; the target has 1");
}
