#include "test/unit/npu_sim/Machine.h"

#include <algorithm>
#include <cstring>

namespace npuc::npu_sim::test {

using isa::Space;

target::TargetDescription machine() {
  target::TargetDescription t;
  t.mutable_topology()->set_devices(1);
  t.mutable_topology()->set_clusters_per_device(1);
  t.mutable_topology()->set_cores_per_cluster(2);
  t.mutable_topology()->set_slices_per_core(1);
  t.mutable_scratchpad()->set_bytes(memoryBytes);
  t.mutable_shared()->set_bytes(memoryBytes);
  t.mutable_matrix()->set_accumulator_elements(memoryBytes / 4);
  t.mutable_matrix()->set_chained_to_vector(true);
  auto *accumulator = t.mutable_matrix()->add_accumulators();
  accumulator->set_operand(target::INT8);
  accumulator->set_bits(24);
  return t;
}

isa::View view(Space space, uint32_t buffer, ElementType type, int64_t base, std::vector<isa::Dim> dims) {
  isa::View v;
  v.space = space;
  v.buffer = buffer;
  v.type = type;
  v.base = base;
  v.rank = static_cast<uint8_t>(dims.size());
  std::copy(dims.begin(), dims.end(), v.dims.begin());
  return v;
}

isa::View dense(Space space, uint32_t buffer, ElementType type, int64_t base, std::vector<int32_t> sizes) {
  std::vector<isa::Dim> dims(sizes.size());
  int64_t stride = 1;
  for (size_t d = sizes.size(); d-- > 0; stride *= sizes[d])
    dims[d] = {sizes[d], stride};
  return view(space, buffer, type, base, dims);
}

ProgramBuilder::ProgramBuilder() {
  program.name = "test";
  program.sources = {""};
  program.semaphores = 1;
  program.streams.resize(2);
  auto buffer = [&](const char *name, isa::Role role) {
    isa::Buffer b;
    b.name = name, b.role = role, b.shape = {memoryBytes}, b.bytes = memoryBytes;
    program.buffers.push_back(b);
  };
  buffer("in", isa::Role::Input);
  buffer("out", isa::Role::Output);
  buffer("work", isa::Role::Workspace);
}

isa::Command &ProgramBuilder::add(uint32_t core, isa::Command command, std::span<const isa::View> operands,
                                  std::span<const isa::VectorInstruction> instructions,
                                  std::span<const uint16_t> multicast) {
  const uint32_t before = static_cast<uint32_t>(program.commandCount());
  std::vector<isa::Wait> waits;
  if (before > 0)
    waits.push_back({0, before});
  command.signal = 0;
  program.streams[core].push_back(program.add(command, operands, instructions, waits, multicast));
  return program.streams[core].back();
}

void ProgramBuilder::copy(uint32_t core, const isa::View &from, const isa::View &to,
                          std::span<const uint16_t> multicast) {
  isa::Command c;
  c.opcode = isa::Opcode::Copy;
  c.engine = from.space == Space::Accumulator ? isa::Engine::Matrix : isa::Engine::Dma;
  const isa::View views[] = {from, to};
  add(core, c, views, {}, multicast);
}

void ProgramBuilder::vector(uint32_t core, std::span<const isa::View> operands,
                            std::span<const isa::VectorInstruction> instructions) {
  isa::Command c;
  c.opcode = isa::Opcode::Vector;
  c.engine = isa::Engine::Vector;
  add(core, c, operands, instructions);
}

void ProgramBuilder::contract(uint32_t core, const isa::View &a, const isa::View &b, const isa::View &c,
                              unsigned batch, unsigned m, unsigned n, unsigned k, bool accumulate) {
  isa::Command command;
  command.opcode = isa::Opcode::Contract;
  command.engine = isa::Engine::Matrix;
  command.rankBatch = static_cast<uint8_t>(batch), command.rankM = static_cast<uint8_t>(m);
  command.rankN = static_cast<uint8_t>(n), command.rankK = static_cast<uint8_t>(k);
  command.accumulate = accumulate;
  const isa::View views[] = {a, b, c};
  add(core, command, views);
}

void ProgramBuilder::loadAll() {
  copy(0, dense(Space::Dram, 0, ElementType::I8, 0, {memoryBytes}),
       dense(Space::Scratchpad, 0, ElementType::I8, 0, {memoryBytes}));
}

void ProgramBuilder::storeAll() {
  copy(0, dense(Space::Scratchpad, 0, ElementType::I8, 0, {memoryBytes}),
       dense(Space::Dram, 1, ElementType::I8, 0, {memoryBytes}));
}

RunResult simulate(const isa::Program &program, std::span<const uint8_t> input,
                   std::span<const int64_t> registers, FunctionalOptions options) {
  RunResult result;
  Diagnostics diagnostics;
  std::optional<Functional> functional = Functional::create(program, machine(), options, diagnostics);
  if (functional) {
    std::vector<std::vector<std::byte>> buffers;
    std::vector<std::span<std::byte>> spans;
    for (const isa::Buffer &b : program.buffers)
      buffers.emplace_back(static_cast<size_t>(b.bytes));
    std::memcpy(buffers[0].data(), input.data(), std::min(input.size(), buffers[0].size()));
    for (auto &b : buffers)
      spans.emplace_back(b);
    result.ok = functional->run(spans, registers, diagnostics);
    result.output.resize(buffers[1].size());
    std::memcpy(result.output.data(), buffers[1].data(), buffers[1].size());
  }
  result.errors = diagnostics.text();
  return result;
}

std::vector<uint8_t> expected(const isa::Program &program, std::span<const uint8_t> input,
                              std::vector<int64_t> registers) {
  Reference reference(program, std::move(registers), memoryBytes);
  auto &in = reference.memory(Space::Dram, 0);
  std::copy(input.begin(), input.end(), in.begin());
  for (uint32_t core = 0; core < program.streams.size(); ++core)
    reference.run(core);
  return reference.memory(Space::Dram, 1);
}

} // namespace npuc::npu_sim::test
