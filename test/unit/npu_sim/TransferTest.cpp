#include "test/unit/npu_sim/Random.h"

namespace npuc::npu_sim::test {
namespace {

using isa::Opcode;
using isa::Space;
using E = ElementType;

constexpr int64_t region = 32 << 10;

isa::Command dma(Opcode opcode, double immediate = 0) {
  isa::Command c;
  c.opcode = opcode;
  c.engine = isa::Engine::Dma;
  c.immediate = immediate;
  return c;
}

const std::vector<E> allTypes = {E::Bool, E::I4,  E::U4,     E::I8,     E::U8,  E::I16,  E::U16, E::I32,
                                 E::U32,  E::I64, E::F8E4M3, E::F8E5M2, E::F16, E::BF16, E::F32};

void runCopy(uint32_t seed) {
  Random random(seed);
  const E type = random.of(allTypes);
  const std::vector<int32_t> sizes = randomSizes(random, random.below(5), 7);
  const Space spaces[] = {Space::Dram, Space::Scratchpad, Space::Shared};
  const Space from = spaces[random.below(3)], to = spaces[random.below(3)];
  auto bufferOf = [&](Space s, bool written) {
    return s == Space::Dram ? (written ? 2u : 0u) : s == Space::Shared ? 0u : 1u;
  };
  isa::View source = view(from, bufferOf(from, false), type, 0, randomDims(random, type, sizes, true));
  isa::View destination = view(to, bufferOf(to, true), type, region, randomDims(random, type, sizes, false));
  ProgramBuilder builder;
  builder.program.registers = {{"length", 0, 100}};
  if (random.chance(30) && !sizes.empty())
    for (isa::View *v : {&source, &destination})
      v->boundRegister = 0, v->boundDim = static_cast<uint8_t>(sizes.size() / 2), v->boundOffset = 1;
  builder.loadAll();
  const isa::View all = dense(Space::Scratchpad, 0, E::I8, 0, {memoryBytes});
  for (isa::View other :
       {dense(Space::Scratchpad, 1, E::I8, 0, {memoryBytes}),
        dense(Space::Shared, 0, E::I8, 0, {memoryBytes}), dense(Space::Dram, 2, E::I8, 0, {memoryBytes})})
    builder.copy(0, all, other);
  const bool filled = random.chance(20);
  const std::vector<uint16_t> cores = {0, 1};
  if (filled) {
    const isa::View only[] = {destination};
    builder.add(0, dma(Opcode::Fill, random.between(-300, 300) / 2.0), only);
  } else {
    builder.copy(0, source, destination,
                 to == Space::Scratchpad && random.chance(50) ? cores : std::vector<uint16_t>{});
  }
  // The quarter where the destination lies, of every memory.
  int64_t at = 0;
  for (isa::View other :
       {dense(Space::Scratchpad, 0, E::I8, region, {region}),
        dense(Space::Scratchpad, 1, E::I8, region, {region}),
        dense(Space::Shared, 0, E::I8, region, {region}), dense(Space::Dram, 2, E::I8, region, {region})}) {
    builder.copy(0, other, dense(Space::Dram, 1, E::I8, at, {region}));
    at += region;
  }
  INFO("seed " << seed << ", " << name(type) << (filled ? ", fill" : ""));
  compare(builder.program, randomMemory(random, E::I8), {random.below(9)});
}

void runGather(uint32_t seed) {
  Random random(seed);
  E type = random.of(allTypes);
  const std::vector<int32_t> outer = randomSizes(random, random.below(3), 6);
  std::vector<int32_t> row = randomSizes(random, random.below(3), 5);
  if (bitWidth(type) == 4 && row.empty())
    type = E::I8;
  const int32_t entries = random.between(1, 9);
  const bool gather = random.chance(50);
  // Indices come first in the input; the table or source after them.
  isa::View index = view(Space::Scratchpad, 0, E::I32, 0, randomDims(random, E::I32, outer, true));
  isa::View table = view(Space::Scratchpad, 0, type, gather ? region : 2 * region,
                         randomDims(random, type, join({{entries}, row}), gather));
  isa::View list = view(Space::Scratchpad, 0, type, gather ? 2 * region : region,
                        randomDims(random, type, join({outer, row}), !gather));
  ProgramBuilder builder;
  builder.loadAll();
  const isa::View operands[] = {gather ? table : list, index, gather ? list : table};
  builder.add(0, dma(gather ? Opcode::Gather : Opcode::Scatter), operands);
  builder.storeAll();
  std::vector<uint8_t> input = randomMemory(random, E::I8);
  for (int64_t i = 0; i < region; i += 4) {
    int32_t value = random.below(entries);
    std::memcpy(input.data() + i, &value, 4);
  }
  INFO("seed " << seed << ", " << name(type) << (gather ? ", gather" : ", scatter"));
  compare(builder.program, input, {});
}

} // namespace

TEST_CASE("random copies and fills move every element") {
  for (uint32_t seed = 0; seed < 300; ++seed)
    runCopy(seed);
}

TEST_CASE("random gathers and scatters move the rows that the indices name") {
  for (uint32_t seed = 0; seed < 300; ++seed)
    runGather(seed);
}

TEST_CASE("an index out of range names position, value and limit") {
  for (bool gather : {true, false})
    for (int32_t bad : {-1, 30}) {
      ProgramBuilder builder;
      builder.loadAll();
      const isa::View table = dense(Space::Scratchpad, 0, E::F16, region, {30, 8});
      const isa::View list = dense(Space::Scratchpad, 0, E::F16, 2 * region, {2, 5, 8});
      const isa::View operands[] = {gather ? table : list, dense(Space::Dram, 0, E::I32, 0, {2, 5}),
                                    gather ? list : table};
      builder.program.sources.push_back("embeddings");
      isa::Command &command = builder.add(0, dma(gather ? Opcode::Gather : Opcode::Scatter), operands);
      command.source = 1;
      std::vector<uint8_t> input(memoryBytes, 0);
      std::memcpy(input.data() + 4 * 7, &bad, 4); // [1, 2]
      RunResult got = simulate(builder.program, input);
      CHECK(!got.ok);
      CHECK_THAT(got.errors,
                 Catch::Contains("of embeddings): index out of range: " + std::to_string(bad) +
                                 " at position [1, 2] of buffer 'in': the indexed dimension takes 0 to 29"));
    }
}

} // namespace npuc::npu_sim::test
