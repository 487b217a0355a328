// Random programs for property tests: structurally valid (what the text form and the encoding can hold),
// otherwise arbitrary.
#pragma once

#include "backends/npu/isa/Program.h"

#include <random>

namespace npuc::isa {

class RandomProgram {
public:
  explicit RandomProgram(uint64_t seed) : random_(seed) {}

  Program make(size_t commands) {
    Program p;
    p.name = "random \"program\"\n";
    p.sources = {""};
    for (int64_t i = between(0, 4); i-- > 0;)
      p.buffers.push_back(buffer());
    for (int64_t i = between(0, 3); i-- > 0;)
      p.registers.push_back({text(), between(-1000, 0), between(0, int64_t{1} << 40)});
    p.semaphores = static_cast<uint32_t>(between(0, 64));
    p.streams.resize(static_cast<size_t>(between(1, 5)));
    for (size_t i = 0; i < commands; ++i)
      p.streams[static_cast<size_t>(between(0, int64_t(p.streams.size()) - 1))].push_back(command(p));
    return p;
  }

  int64_t between(int64_t least, int64_t greatest) {
    return std::uniform_int_distribution<int64_t>(least, greatest)(random_);
  }
  bool oneIn(int64_t n) { return between(1, n) == 1; }
  double real() {
    switch (between(0, 4)) {
    case 0:
      return 0;
    case 1:
      return -std::numeric_limits<double>::infinity();
    case 2:
      return double(between(-100, 100));
    default:
      return std::uniform_real_distribution<double>(-1, 1)(random_) * 1e-5;
    }
  }
  template <typename Enum>
  Enum pick(unsigned count) {
    return static_cast<Enum>(between(0, count - 1));
  }
  std::string text() {
    std::string s;
    for (int64_t i = between(0, 8); i-- > 0;)
      s += static_cast<char>(oneIn(8) ? between(1, 127) : between('a', 'z'));
    return s;
  }

  View view() {
    View v;
    v.space = pick<Space>(4);
    v.type = pick<ElementType>(elementTypeCount);
    v.rank = static_cast<uint8_t>(between(0, maxRank));
    v.buffer = static_cast<uint32_t>(oneIn(20) ? none : between(0, 5));
    v.base = oneIn(4) ? between(-5000, int64_t{1} << 50) : between(0, 64) * 64;
    if (oneIn(4)) {
      v.baseRegister = static_cast<int16_t>(between(0, 40));
      v.registerScale = between(-1000, 1000);
    }
    if (v.rank && oneIn(4)) {
      v.boundRegister = static_cast<int16_t>(between(0, 32767));
      v.boundDim = static_cast<uint8_t>(between(0, v.rank - 1));
      v.boundOffset = between(-100, 100);
    }
    int64_t stride = 1;
    const bool dense = oneIn(2);
    for (unsigned d = v.rank; d-- > 0;) {
      v.dims[d].size = static_cast<int32_t>(between(dense ? 1 : 0, 40));
      v.dims[d].stride = dense ? stride : between(-600, 100000);
      stride *= v.dims[d].size;
    }
    return v;
  }

  VectorInstruction instruction() {
    VectorInstruction i;
    i.op = pick<VectorOp>(vectorOpCount);
    i.type = pick<ElementType>(elementTypeCount);
    const VectorOpInfo &op = info(i.op);
    for (auto [field, value] :
         {std::pair(op.dst, &i.dst), std::pair(op.a, &i.a), std::pair(op.b, &i.b), std::pair(op.c, &i.c)})
      if (field != Field::Unused)
        *value = static_cast<uint8_t>(between(0, 255));
    if (op.immediate)
      i.immediate = real();
    return i;
  }

  Command command(Program &p) {
    Command c;
    c.opcode = pick<Opcode>(7);
    c.engine = pick<Engine>(3);
    if (c.engine == Engine::Dma) {
      c.dmaClass = static_cast<uint8_t>(between(0, 3));
      c.queue = static_cast<uint8_t>(between(0, 255));
    }
    c.accumulate = oneIn(3);
    if (oneIn(3)) {
      c.rankBatch = static_cast<uint8_t>(between(0, 2));
      c.rankM = static_cast<uint8_t>(between(0, 8));
      c.rankK = 1;
    }
    if (oneIn(6)) {
      c.predicateRegister = static_cast<int16_t>(between(0, 32767));
      c.predicateBound = between(-5, int64_t{1} << 40);
    }
    c.signal = oneIn(2) ? none : static_cast<uint32_t>(between(0, 70));
    if (oneIn(2))
      c.source = p.addSource(text());
    c.immediate = real();
    std::vector<View> operands(static_cast<size_t>(between(0, 4)));
    for (View &v : operands)
      v = view();
    std::vector<VectorInstruction> instructions(static_cast<size_t>(oneIn(3) ? between(0, 12) : 0));
    for (VectorInstruction &i : instructions)
      i = instruction();
    std::vector<Wait> waits(static_cast<size_t>(oneIn(2) ? between(0, 3) : 0));
    for (Wait &w : waits)
      w = {static_cast<uint32_t>(between(0, 70)), static_cast<uint32_t>(between(0, none))};
    std::vector<uint16_t> multicast(static_cast<size_t>(oneIn(5) ? between(0, 6) : 0));
    for (uint16_t &core : multicast)
      core = static_cast<uint16_t>(between(0, 65535));
    return p.add(c, operands, instructions, waits, multicast);
  }

private:
  Buffer buffer() {
    Buffer b;
    b.name = text();
    b.role = pick<Role>(5);
    b.type = pick<ElementType>(elementTypeCount);
    for (int64_t i = between(0, 4); i-- > 0;)
      b.shape.push_back(between(0, 1000));
    b.bytes = between(0, int64_t{1} << 45);
    b.alignment = 1u << between(0, 12);
    return b;
  }

  std::mt19937_64 random_;
};

} // namespace npuc::isa
