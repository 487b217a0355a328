#include "test/unit/npu_sim/Random.h"

namespace npuc::npu_sim::test {
namespace {

using isa::Space;
using isa::VectorInstruction;
using isa::VectorOp;
using E = ElementType;

constexpr int64_t regionBytes = 32 << 10; ///< Of each operand; there are at most eight.

/// A register program that grows by random instructions whose sources exist.
class ProgramMaker {
public:
  ProgramMaker(Random &random, E floatType) : random(random), floatType(floatType) {}

  std::vector<VectorInstruction> instructions;

  unsigned load(unsigned operand, E operandType) {
    E type = operandType == E::Bool ? (random.chance(50) ? E::Bool : E::I32)
             : random.chance(50)    ? E::I32
                                    : floatType;
    return emit(VectorOp::Load, type, operand, 0, 0);
  }

  void grow(const std::vector<int32_t> &loops) {
    switch (random.below(12)) {
    case 0:
      if (!loops.empty())
        emit(VectorOp::Index, E::I32, static_cast<unsigned>(random.below(static_cast<int>(loops.size()))), 0,
             0, random.between(-3, 3));
      return;
    case 1:
      emit(VectorOp::Constant, random.chance(50) ? E::I32 : floatType, 0, 0, 0,
           random.between(-200, 200) / 4.0);
      return;
    case 2:
      compare();
      return;
    case 3:
      select();
      return;
    case 4:
      convert();
      return;
    case 5:
      requantize();
      return;
    default:
      random.chance(60) ? floats() : integers();
    }
  }

  /// A register of any type.
  unsigned any() { return static_cast<unsigned>(random.below(static_cast<int>(types.size()))); }
  /// A register of `type`, or none.
  int find(E type) {
    std::vector<int> found;
    for (size_t r = 0; r < types.size(); ++r)
      if (types[r] == type)
        found.push_back(static_cast<int>(r));
    return found.empty() ? -1 : random.of(found);
  }
  E typeOf(unsigned reg) const { return types[reg]; }

private:
  Random &random;
  E floatType;
  std::vector<E> types; ///< Of each register; each is written once.

  unsigned emit(VectorOp op, E type, unsigned a, unsigned b, unsigned c, double immediate = 0) {
    bool compares = op == VectorOp::Equal || op == VectorOp::Less || op == VectorOp::LessEqual;
    types.push_back(compares ? E::Bool : type);
    unsigned dst = static_cast<unsigned>(types.size() - 1);
    instructions.push_back(instruction(op, type, dst, a, b, c, immediate));
    return dst;
  }
  void pick(VectorOp op, E type) {
    int a = find(type), b = find(type);
    if (a >= 0)
      emit(op, type, static_cast<unsigned>(a), static_cast<unsigned>(b), 0);
  }
  void floats() {
    static const std::vector<VectorOp> ops = {
        VectorOp::Move,    VectorOp::Add,       VectorOp::Subtract,  VectorOp::Multiply, VectorOp::Divide,
        VectorOp::Minimum, VectorOp::Maximum,   VectorOp::Negate,    VectorOp::Absolute, VectorOp::Floor,
        VectorOp::Ceil,    VectorOp::RoundEven, VectorOp::Sign,      VectorOp::Exp,      VectorOp::Log,
        VectorOp::Sqrt,    VectorOp::Rsqrt,     VectorOp::Tanh,      VectorOp::Erf,      VectorOp::Sin,
        VectorOp::Cos,     VectorOp::Sigmoid,   VectorOp::Reciprocal};
    pick(random.of(ops), floatType);
  }
  void integers() {
    static const std::vector<VectorOp> ops = {
        VectorOp::Move,    VectorOp::Add,    VectorOp::Subtract, VectorOp::Multiply, VectorOp::Minimum,
        VectorOp::Maximum, VectorOp::Negate, VectorOp::Absolute, VectorOp::Sign,     VectorOp::And,
        VectorOp::Or,      VectorOp::Xor,    VectorOp::Not};
    if (random.chance(20)) {
      static const std::vector<VectorOp> logic = {VectorOp::And, VectorOp::Or, VectorOp::Xor, VectorOp::Not};
      return pick(random.of(logic), E::Bool);
    }
    if (random.chance(15)) {
      int a = find(E::I32);
      unsigned by = emit(VectorOp::Constant, E::I32, 0, 0, 0, random.below(32));
      if (a >= 0)
        emit(random.chance(50) ? VectorOp::ShiftLeft : VectorOp::ShiftRight, E::I32, static_cast<unsigned>(a),
             by, 0);
      return;
    }
    pick(random.of(ops), E::I32);
  }
  void compare() {
    static const std::vector<VectorOp> ops = {VectorOp::Equal, VectorOp::Less, VectorOp::LessEqual};
    pick(random.of(ops), random.chance(50) ? floatType : E::I32);
  }
  void select() {
    E type = random.chance(50) ? floatType : E::I32;
    int a = find(E::Bool), b = find(type), c = find(type);
    if (a >= 0 && b >= 0)
      emit(VectorOp::Select, type, static_cast<unsigned>(a), static_cast<unsigned>(b),
           static_cast<unsigned>(c));
  }
  void convert() {
    unsigned a = any();
    emit(VectorOp::Convert, types[a] == floatType ? E::I32 : floatType, a, 0, 0);
  }
  void requantize() {
    int a = find(E::I32), b = find(E::I32);
    if (a < 0)
      return;
    switch (random.below(3)) {
    case 0: {
      unsigned scale = emit(VectorOp::Constant, E::F32, 0, 0, 0, random.between(1, 1000) / 65536.0);
      emit(VectorOp::Requantize, E::I32, static_cast<unsigned>(a), scale, 0);
      return;
    }
    case 1: {
      unsigned shift = emit(VectorOp::Constant, E::I32, 0, 0, 0, random.between(1, 62));
      emit(VectorOp::RequantizeFixedPoint, E::I32, static_cast<unsigned>(a), static_cast<unsigned>(b), shift);
      return;
    }
    default: {
      unsigned shift = emit(VectorOp::Constant, E::I32, 0, 0, 0, random.below(32) + 256 * random.below(48));
      emit(VectorOp::RequantizeShift, E::I32, static_cast<unsigned>(a), static_cast<unsigned>(b), shift);
    }
    }
  }
};

void runRandom(uint32_t seed) {
  Random random(seed);
  const std::vector<E> stored = {E::Bool, E::I4,     E::U4,     E::I8,  E::U8,   E::I16, E::U16, E::I32,
                                 E::I64,  E::F8E4M3, E::F8E5M2, E::F16, E::BF16, E::F32, E::U32};
  const E floatType = random.of(std::vector<E>{E::F32, E::F16, E::BF16});
  std::vector<int32_t> loops = randomSizes(random, random.between(1, 4), 6);
  if (random.chance(25))
    loops = {random.between(1, 2), random.between(1000, 1100)}; // Rows longer than a strip.
  else if (random.chance(25))
    loops = {random.between(1, 40), random.between(1, 40)};
  ProgramMaker maker(random, floatType);
  std::vector<isa::View> operands;
  /// Sizes of an operand: some dimensions may be 1, which broadcasts or reduces.
  auto someOnes = [&](int percent) {
    std::vector<int32_t> sizes = loops;
    for (int32_t &s : sizes)
      if (random.chance(percent))
        s = 1;
    return sizes;
  };
  auto add = [&](E type, const std::vector<int32_t> &sizes, bool source) {
    int64_t base = static_cast<int64_t>(operands.size()) * regionBytes;
    isa::View v = view(Space::Scratchpad, 0, type, base, randomDims(random, type, sizes, source));
    if (isa::reach(v, {})->end > base + regionBytes)
      v = dense(Space::Scratchpad, 0, bitWidth(type) == 4 ? E::I8 : type, base, sizes);
    operands.push_back(v);
    return static_cast<unsigned>(operands.size() - 1);
  };
  // The first operand has the whole nest; it carries the bound, if there is one.
  const int sources = random.between(1, 3);
  for (int s = 0; s < sources; ++s) {
    E type = random.of(stored);
    maker.load(add(type, s == 0 ? loops : someOnes(20), true), type);
  }
  if (int index = maker.find(E::I32); index >= 0 && random.chance(25)) {
    isa::View table = dense(Space::Scratchpad, 0, random.of(stored),
                            static_cast<int64_t>(operands.size()) * regionBytes, {random.between(1, 300)});
    if (bitWidth(table.type) != 4 && table.type != E::Bool) {
      operands.push_back(table);
      maker.instructions.push_back(instruction(VectorOp::Table, floatType, 200, static_cast<unsigned>(index),
                                               static_cast<unsigned>(operands.size() - 1), 0, -128));
      unsigned to = add(E::F32, loops, false);
      maker.instructions.push_back(instruction(VectorOp::Store, floatType, to, 200));
    }
  }
  for (int i = random.between(0, 12); i > 0; --i)
    maker.grow(loops);
  const int results = random.between(1, 3);
  for (int r = 0; r < results; ++r) {
    unsigned reg = maker.any();
    E type = maker.typeOf(reg), to = random.of(stored);
    if (type != E::Bool && random.chance(50)) {
      unsigned operand = add(to, someOnes(60), false);
      maker.instructions.push_back(instruction(
          random.of(std::vector<VectorOp>{VectorOp::StoreSum, VectorOp::StoreMax, VectorOp::StoreMin}), type,
          operand, reg, 0, 0, random.below(2)));
    } else {
      unsigned operand = add(to, loops, false);
      maker.instructions.push_back(instruction(VectorOp::Store, type, operand, reg));
    }
  }
  ProgramBuilder builder;
  builder.program.registers = {{"length", 0, 100}};
  if (random.chance(35)) {
    size_t d = static_cast<size_t>(random.below(static_cast<int>(loops.size())));
    for (isa::View &v : operands)
      if (v.rank == loops.size() && v.dims[d].size == loops[d] && loops[d] > 1)
        v.boundRegister = 0, v.boundDim = static_cast<uint8_t>(d), v.boundOffset = -1;
  }
  builder.loadAll();
  builder.vector(0, operands, maker.instructions);
  builder.storeAll();
  INFO("seed " << seed << ", " << name(floatType));
  compare(builder.program, randomMemory(random, random.of(std::vector<E>{E::F32, E::F16, E::BF16, E::I8})),
          {random.below(8)});
}

} // namespace

TEST_CASE("random vector programs give the reference's bits") {
  for (uint32_t seed = 0; seed < 600; ++seed)
    runRandom(seed);
}

TEST_CASE("sums keep the order of the loop nest") {
  // 2^24 + 1 − 2^24 + 1 in fp32: in order 2^24 + 1 = 2^24, so the sum is 1; any pairing of equals would
  // give 2.
  ProgramBuilder builder;
  builder.loadAll();
  const isa::View operands[] = {dense(Space::Scratchpad, 0, E::F32, 0, {3, 4}),
                                view(Space::Scratchpad, 0, E::F32, 4096, {{3, 1}, {4, 0}})};
  const VectorInstruction program[] = {instruction(VectorOp::Load, E::F32, 0, 0),
                                       instruction(VectorOp::StoreSum, E::F32, 1, 0)};
  builder.vector(0, operands, program);
  builder.storeAll();
  std::vector<uint8_t> input(memoryBytes, 0);
  for (int row = 0; row < 3; ++row) {
    const float values[] = {0x1p24f, 1, -0x1p24f, 1};
    std::memcpy(input.data() + row * 16, values, 16);
  }
  RunResult got = simulate(builder.program, input);
  REQUIRE(got.ok);
  float sums[3];
  std::memcpy(sums, got.output.data() + 4096, sizeof sums);
  for (float s : sums)
    CHECK(s == 1.0f);
}

TEST_CASE("requantization is exact in all three kinds") {
  // 4000 sums, multipliers and shifts; expected values in 128-bit integers. The scale is m · 2^−s with m of
  // 24 bits, sums stay below 2^29, so that the product in double is exact and the rounding is that of the
  // true product.
  Random random(5);
  constexpr int32_t count = 4000;
  std::vector<uint8_t> input(memoryBytes, 0);
  std::vector<int32_t> sums(count), multipliers(count), shifts(count), twice(count);
  std::vector<float> scales(count);
  std::vector<int> scaleShifts(count);
  std::vector<int32_t> mantissas(count);
  for (size_t i = 0; i < count; ++i) {
    sums[i] = static_cast<int32_t>(random.engine()) >> random.between(3, 31);
    multipliers[i] = static_cast<int32_t>(random.engine());
    shifts[i] = random.between(1, 62);
    twice[i] = random.below(12) + 256 * random.between(0, 40);
    mantissas[i] = random.between(1, (1 << 24) - 1);
    scaleShifts[i] = random.between(0, 50);
    scales[i] = std::ldexp(static_cast<float>(mantissas[i]), -scaleShifts[i]);
    if (random.chance(20)) // Ties: an odd sum times one half.
      sums[i] |= 1, mantissas[i] = 1, scaleShifts[i] = 1, scales[i] = 0.5f;
  }
  auto put = [&](size_t at, const auto &values) {
    std::memcpy(input.data() + at, values.data(), values.size() * 4);
  };
  constexpr int32_t step = 16 << 10;
  put(0, sums), put(step, multipliers), put(2 * step, shifts), put(3 * step, twice), put(4 * step, scales);
  std::vector<isa::View> operands;
  for (int32_t o = 0; o < 8; ++o)
    operands.push_back(dense(Space::Scratchpad, 0, o == 4 ? E::F32 : E::I32, o * step, {count}));
  std::vector<VectorInstruction> program;
  for (unsigned o = 0; o < 5; ++o)
    program.push_back(instruction(VectorOp::Load, o == 4 ? E::F32 : E::I32, o, o));
  program.push_back(instruction(VectorOp::Requantize, E::I32, 5, 0, 4));
  program.push_back(instruction(VectorOp::RequantizeFixedPoint, E::I32, 6, 0, 1, 2));
  program.push_back(instruction(VectorOp::RequantizeShift, E::I32, 7, 0, 1, 3));
  for (unsigned o = 5; o < 8; ++o)
    program.push_back(instruction(VectorOp::Store, E::I32, o, o));
  ProgramBuilder builder;
  builder.loadAll();
  builder.vector(0, operands, program);
  builder.storeAll();
  using Wide = __int128;
  auto saturated = [](Wide x) { return static_cast<int32_t>(std::clamp<Wide>(x, INT32_MIN, INT32_MAX)); };
  auto halfEven = [](Wide x, int shift) { // x / 2^shift
    Wide floor = x >> shift, rest = x - (floor << shift), half = shift ? Wide(1) << (shift - 1) : 0;
    return shift && (rest > half || (rest == half && floor % 2 != 0)) ? floor + 1 : floor;
  };
  for (SimdLevel level : simdLevels()) {
    FunctionalOptions options;
    options.simd = level;
    RunResult got = simulate(builder.program, input, {}, options);
    REQUIRE(got.errors == "");
    auto result = [&](int32_t operand, size_t i) {
      int32_t v;
      std::memcpy(&v, got.output.data() + static_cast<size_t>(operand * step) + i * 4, 4);
      return v;
    };
    for (size_t i = 0; i < count; ++i) {
      INFO(i << ": " << sums[i] << ", " << multipliers[i] << ", " << shifts[i] << ", " << scales[i]);
      REQUIRE(result(5, i) == saturated(halfEven(Wide(sums[i]) * mantissas[i], scaleShifts[i])));
      REQUIRE(result(6, i) ==
              saturated((Wide(sums[i]) * multipliers[i] + (Wide(1) << (shifts[i] - 1))) >> shifts[i]));
      REQUIRE(result(7, i) ==
              saturated((Wide(sums[i] >> (twice[i] & 255)) * multipliers[i]) >> (twice[i] >> 8)));
    }
  }
}

TEST_CASE("a vector program that is not valid names the instruction") {
  auto errors = [](std::vector<VectorInstruction> program) {
    ProgramBuilder builder;
    builder.loadAll();
    const isa::View operands[] = {dense(Space::Scratchpad, 0, E::F32, 0, {4})};
    builder.vector(0, operands, program);
    return simulate(builder.program, std::vector<uint8_t>(memoryBytes)).errors;
  };
  CHECK_THAT(
      errors({instruction(VectorOp::Add, E::F32, 1, 0, 0)}),
      Catch::Contains(
          "core 0, command 1 (vector): instruction 0 (add f32) is not valid: register 0 is read before it "
          "is written"));
  CHECK_THAT(errors({instruction(VectorOp::Load, E::I32, 0, 0), instruction(VectorOp::Exp, E::F32, 1, 0)}),
             Catch::Contains("instruction 1 (exp f32) is not valid: register 0 holds i32"));
  CHECK_THAT(errors({instruction(VectorOp::Load, E::I32, 0, 0), instruction(VectorOp::Tanh, E::I32, 1, 0)}),
             Catch::Contains("instruction 1 (tanh i32) is not valid: it does not compute in this type"));
}

} // namespace npuc::npu_sim::test
