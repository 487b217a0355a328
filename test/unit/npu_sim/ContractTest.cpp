#include "test/unit/npu_sim/Random.h"

namespace npuc::npu_sim::test {
namespace {

using isa::Space;
using E = ElementType;

constexpr int64_t regionA = 0, regionB = 64 << 10, regionC = 128 << 10;

struct Shape {
  std::vector<int32_t> b, m, n, k;
};

/// Sets the bound of the loop at `position` among the dimensions of a part that starts at `first`.
void bound(isa::View &view, size_t dim, int64_t offset) {
  view.boundRegister = 0;
  view.boundDim = static_cast<uint8_t>(dim);
  view.boundOffset = offset;
}

void boundLoop(Random &random, const Shape &s, isa::View &a, isa::View &b, isa::View &c, int64_t offset) {
  const size_t nb = s.b.size(), nm = s.m.size(), nn = s.n.size(), nk = s.k.size();
  switch (random.below(4)) {
  case 0:
    if (nb)
      bound(a, nb - 1, offset), bound(b, nb - 1, offset), bound(c, nb - 1, offset);
    break;
  case 1:
    if (nm)
      bound(a, nb, offset), bound(c, nb, offset);
    break;
  case 2:
    if (nn)
      bound(b, nb + nk + nn - 1, offset), bound(c, nb + nm + nn - 1, offset);
    break;
  default:
    if (nk)
      bound(a, nb + nm, offset), bound(b, nb, offset);
  }
}

void runRandom(uint32_t seed, const std::vector<E> &types, const std::vector<E> &results) {
  Random random(seed);
  Shape s{randomSizes(random, random.below(3), 3), randomSizes(random, random.below(3), 5),
          randomSizes(random, random.below(3), 6), randomSizes(random, random.below(3), 8)};
  if (random.chance(20) && !s.n.empty())
    s.n.back() = random.between(30, 70); // more than a panel
  E typeA = random.of(types), typeB = random.of(types), typeC = random.of(results);
  isa::View a =
      view(Space::Scratchpad, 0, typeA, regionA, randomDims(random, typeA, join({s.b, s.m, s.k}), true));
  isa::View b =
      view(Space::Scratchpad, 0, typeB, regionB, randomDims(random, typeB, join({s.b, s.k, s.n}), true));
  isa::View c =
      view(Space::Scratchpad, 0, typeC, regionC, randomDims(random, typeC, join({s.b, s.m, s.n}), false));
  ProgramBuilder builder;
  builder.program.registers = {{"length", 0, 100}, {"shift", 0, 16}};
  std::vector<int64_t> registers = {random.below(9), random.below(17)};
  if (random.chance(40))
    boundLoop(random, s, a, b, c, random.below(4) - 1);
  if (random.chance(30)) {
    isa::View &moved = random.chance(50) ? a : b;
    moved.baseRegister = 1, moved.registerScale = 8;
  }
  builder.loadAll();
  bool accumulate = random.chance(40);
  if (accumulate && isFloat(typeC) == false) // Random bytes as old sums would leave the accumulator.
    builder.add(
        0,
        [] {
          isa::Command f;
          f.opcode = isa::Opcode::Fill;
          f.immediate = -1234;
          return f;
        }(),
        std::array{c});
  builder.contract(0, a, b, c, static_cast<unsigned>(s.b.size()), static_cast<unsigned>(s.m.size()),
                   static_cast<unsigned>(s.n.size()), static_cast<unsigned>(s.k.size()), accumulate);
  if (random.chance(15)) {
    isa::Command &command = builder.program.streams[0].back();
    command.predicateRegister = 0, command.predicateBound = 4;
  }
  builder.storeAll();
  INFO("seed " << seed << ": " << name(typeA) << " by " << name(typeB) << " into " << name(typeC));
  compare(builder.program, randomMemory(random, typeA), registers);
}

} // namespace

TEST_CASE("random contractions of integers are exact") {
  for (uint32_t seed = 0; seed < 300; ++seed)
    runRandom(seed, {E::I8, E::U8, E::I4, E::U4}, {E::I32, E::I64});
}

TEST_CASE("random contractions of floats accumulate in order, each sum rounded once") {
  for (uint32_t seed = 1000; seed < 1300; ++seed)
    runRandom(seed, {E::F16, E::BF16, E::F8E4M3, E::F8E5M2, E::F32}, {E::F32});
}

TEST_CASE("contractions beyond the blocks of the kernels") {
  // Chunks have 240 rows, panels up to 32 columns, blocks 512 products; each is passed by a few.
  struct Case {
    int32_t m, n, k;
  };
  for (E type : {E::I4, E::F8E4M3, E::I8})
    for (Case s : {Case{242, 34, 7}, Case{13, 34, 518}})
      for (bool transposed : {false, true}) {
        ProgramBuilder builder;
        builder.loadAll();
        if (type == E::I4 && transposed && s.k % 2 != 0) // A row would start within a byte.
          continue;
        isa::View a = view(Space::Scratchpad, 0, type, regionA, {{s.m, 60}, {s.k, 1}}); // Overlapping rows.
        isa::View b = view(Space::Scratchpad, 0, type, regionB,
                           {{s.k, transposed ? 1 : 34}, {s.n, transposed ? int64_t{s.k} : 1}});
        isa::View c = dense(Space::Scratchpad, 0, isFloat(type) ? E::F32 : E::I64, regionC, {s.m, s.n});
        builder.contract(0, a, b, c, 0, 1, 1, 1);
        builder.storeAll();
        Random random(7);
        INFO(name(type) << ", k = " << s.k << (transposed ? " transposed" : ""));
        compare(builder.program, randomMemory(random, type), {});
      }
}

TEST_CASE("a convolution is a contraction over overlapping views") {
  // Input 3×12×14 (i8), kernel 5 filters of 3×3×3, stride 2: output 5×5×6. m = (y, x), k = (channel, ky, kx),
  // n = filter.
  ProgramBuilder builder;
  builder.loadAll();
  isa::View a = view(Space::Scratchpad, 0, E::I8, 0, {{5, 28}, {6, 2}, {3, 168}, {3, 14}, {3, 1}});
  isa::View b = view(Space::Scratchpad, 0, E::I8, 4096, {{3, 9}, {3, 3}, {3, 1}, {5, 27}});
  isa::View c = view(Space::Scratchpad, 0, E::I32, 8192, {{5, 6}, {6, 1}, {5, 30}});
  builder.contract(0, a, b, c, 0, 2, 1, 3);
  builder.storeAll();
  Random random(3);
  compare(builder.program, randomMemory(random, E::I8), {});
}

TEST_CASE("sums that leave the accumulator are found") {
  // 127 · 127 · 521 = 8403209 > 2^23 − 1 = 8388607; 520 of them fit.
  for (int32_t k : {520, 521}) {
    ProgramBuilder builder;
    builder.loadAll();
    builder.contract(0, dense(Space::Scratchpad, 0, E::I8, 0, {1, k}),
                     dense(Space::Scratchpad, 0, E::I8, 1024, {k, 1}),
                     dense(Space::Accumulator, 0, E::I32, 0, {1, 1}), 0, 1, 1, 1);
    std::vector<uint8_t> input(memoryBytes, 127);
    RunResult got = simulate(builder.program, input);
    if (k == 520) {
      CHECK(got.ok);
      continue;
    }
    CHECK(!got.ok);
    CHECK_THAT(
        got.errors,
        Catch::Contains("core 0, command 1 (contract): a sum leaves the accumulator: 8403209 at row 0, "
                        "column 0 does not fit in the 24 bits of the target's accumulator"));
    FunctionalOptions unchecked;
    unchecked.checks = false;
    CHECK(simulate(builder.program, input, {}, unchecked).ok);
  }
}

} // namespace npuc::npu_sim::test
