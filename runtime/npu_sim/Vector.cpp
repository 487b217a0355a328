// Vector commands: the register program is interpreted over strips of the loop nest, one loop over a strip
// for each instruction. A strip is some rows of the innermost loop, or a part of one.
#include "runtime/npu_sim/Execute.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <limits>

namespace npuc::npu_sim {
namespace {

using isa::Field;
using isa::VectorInstruction;
using isa::VectorOp;

/// Lanes of a strip: registers in use stay in the first- and second-level caches.
constexpr size_t stripLanes = 1024;
constexpr uint8_t noSlot = 255;

bool isReduction(VectorOp op) {
  return op == VectorOp::StoreSum || op == VectorOp::StoreMax || op == VectorOp::StoreMin;
}

/// One loop: its extent and what one step adds to each operand's offset.
struct Loop {
  int64_t extent = 1;
  std::vector<int64_t> steps;
};

/// Running results of a reduction, dense over the loops that it does not reduce.
struct Reduction {
  const VectorInstruction *instruction = nullptr;
  std::vector<int64_t> steps; ///< Of each loop, into `results`; 0 where reduced.
  std::vector<Lane> results;
};

/// Offsets of the rows of a strip for one operand (or reduction), and the step within a row.
using Rows = std::vector<int64_t>;

class Execution {
public:
  Execution(std::span<const VectorInstruction> program, std::span<const Operand> operands,
            std::span<const isa::View> views, const Kernels &kernels, Scratch &scratch)
      : program(program), operands(operands), views(views), kernels(kernels), scratch(scratch) {}

  void run() {
    findTables();
    checkTypes();
    makeLoops();
    makeReductions();
    makeTables();
    bool empty = std::any_of(loops.begin(), loops.end(), [](const Loop &l) { return l.extent == 0; });
    if (!empty)
      runStrips();
    for (Reduction &r : reductions)
      transferResults(r, /*load=*/false);
  }

private:
  std::span<const VectorInstruction> program;
  std::span<const Operand> operands;
  std::span<const isa::View> views;
  const Kernels &kernels;
  Scratch &scratch;

  std::vector<Loop> loops;   ///< Outermost first; neighbours that continue each other are one.
  std::vector<bool> isTable; ///< Of each operand.
  std::vector<Reduction> reductions;
  std::vector<ElementType>
      sourceTypes; ///< Of each instruction, the type of the register that it takes first.
  std::array<uint8_t, 256> slots;
  std::array<const Lane *, 256> tables{}; ///< By operand.

  // The strip at hand.
  size_t rowCount = 0, rowLanes = 0;
  int64_t rowStart = 0; ///< Index of the innermost loop at which its rows start.
  std::vector<Rows> operandRows, reductionRows, indexRows;

  /// Null for a register that nothing writes: a field that its instruction does not use.
  Lane *lanes(uint8_t reg) {
    return slots[reg] == noSlot ? nullptr : scratch.lanes.data() + slots[reg] * stripLanes;
  }

  void findTables() {
    isTable.assign(operands.size(), false);
    for (const VectorInstruction &i : program)
      if (i.op == VectorOp::Table)
        isTable[i.b] = true;
  }

  size_t nestRank() const {
    size_t rank = 0;
    for (size_t o = 0; o < operands.size(); ++o)
      if (!isTable[o])
        rank = std::max<size_t>(rank, operands[o].rank);
    return rank;
  }

  [[noreturn]] static void wrong(size_t number, const VectorInstruction &i, const std::string &why) {
    throw Failure{
        fmt::format("instruction {} ({} {}) is not valid", number, info(i.op).name, name(i.type)), why, {}};
  }

  /// Every register is written before it is read and holds what its reader computes with.
  void checkTypes();
  void makeLoops();
  void makeReductions();
  void makeTables();
  void runStrips();
  void runInstruction(size_t number);
  void loadRun(const Operand &operand, int64_t offset, int64_t step, size_t count, ElementType type,
               Lane *to);
  void storeRun(const Operand &operand, int64_t offset, int64_t step, size_t count, bool fromFloat,
                const Lane *from);
  template <class F>
  void eachRun(const Rows &rows, int64_t step, F f);
  void transferResults(Reduction &r, bool load);
  void checkShifts(size_t number, const Lane *shifts, size_t count);
  void reduce(Reduction &r, const Lane *from, const Rows &rows);
};

//===- Checks
//-----------------------------------------------------------------------------------------------------------===//

bool computesIntegers(VectorOp op) {
  switch (op) {
  case VectorOp::Divide: // I32 has none: what a division by 0 gives differs among machines.
  case VectorOp::Floor:
  case VectorOp::Ceil:
  case VectorOp::RoundEven:
  case VectorOp::Reciprocal:
  case VectorOp::Exp:
  case VectorOp::Log:
  case VectorOp::Sqrt:
  case VectorOp::Rsqrt:
  case VectorOp::Tanh:
  case VectorOp::Erf:
  case VectorOp::Sin:
  case VectorOp::Cos:
  case VectorOp::Sigmoid:
    return false;
  default:
    return true;
  }
}

bool integersOnly(VectorOp op) {
  switch (op) {
  case VectorOp::Index:
  case VectorOp::And:
  case VectorOp::Or:
  case VectorOp::Xor:
  case VectorOp::Not:
  case VectorOp::ShiftLeft:
  case VectorOp::ShiftRight:
  case VectorOp::Requantize:
  case VectorOp::RequantizeFixedPoint:
  case VectorOp::RequantizeShift:
    return true;
  default:
    return false;
  }
}

bool takesBool(VectorOp op) {
  switch (op) {
  case VectorOp::Load:
  case VectorOp::Constant:
  case VectorOp::Move:
  case VectorOp::And:
  case VectorOp::Or:
  case VectorOp::Xor:
  case VectorOp::Not:
  case VectorOp::Select:
  case VectorOp::Store:
    return true;
  default:
    return false;
  }
}

bool isCompare(VectorOp op) {
  return op == VectorOp::Equal || op == VectorOp::Less || op == VectorOp::LessEqual;
}

/// Class of what a register holds.
enum class Kind : uint8_t { Nothing, Float, Integer, Bool };
Kind kindOf(ElementType type) {
  return type == ElementType::Bool ? Kind::Bool : isFloat(type) ? Kind::Float : Kind::Integer;
}

/// Kind that source number `source` (0: a, 1: b, 2: c) of an instruction must have; Nothing: any.
Kind wantedKind(const VectorInstruction &i, unsigned source) {
  switch (i.op) {
  case VectorOp::Convert:
  case VectorOp::Store:
    return Kind::Nothing;
  case VectorOp::Select:
    return source == 0 ? Kind::Bool : kindOf(i.type);
  case VectorOp::Requantize:
    return source == 1 ? Kind::Float : Kind::Integer;
  case VectorOp::Table:
    return Kind::Integer;
  default:
    return kindOf(i.type);
  }
}

void Execution::checkTypes() {
  std::array<ElementType, 256> types{};
  std::array<bool, 256> holds{};
  slots.fill(noSlot);
  size_t used = 0;
  sourceTypes.assign(program.size(), ElementType::F32);
  for (size_t n = 0; n < program.size(); ++n) {
    const VectorInstruction &i = program[n];
    const isa::VectorOpInfo &fields = info(i.op);
    bool known = i.type == ElementType::F32 || i.type == ElementType::F16 || i.type == ElementType::BF16 ||
                 i.type == ElementType::I32 || i.type == ElementType::Bool;
    if (!known)
      wrong(n, i, "registers hold f32, f16, bf16, i32 or bool");
    if ((i.type == ElementType::Bool && !takesBool(i.op)) ||
        (i.type == ElementType::I32 && !computesIntegers(i.op)) || (isFloat(i.type) && integersOnly(i.op)))
      wrong(n, i, "it does not compute in this type");
    const std::pair<Field, uint8_t> sources[] = {{fields.a, i.a}, {fields.b, i.b}, {fields.c, i.c}};
    for (unsigned s = 0; s < 3; ++s) {
      auto [field, reg] = sources[s];
      if (field == Field::Operand && reg >= operands.size())
        wrong(n, i, fmt::format("there is no operand {}", reg));
      if (field != Field::Register)
        continue;
      if (!holds[reg])
        wrong(n, i, fmt::format("register {} is read before it is written", reg));
      if (s == 0)
        sourceTypes[n] = types[reg];
      Kind wanted = wantedKind(i, s);
      if (wanted != Kind::Nothing && kindOf(types[reg]) != wanted)
        wrong(n, i, fmt::format("register {} holds {}", reg, name(types[reg])));
    }
    if (i.op == VectorOp::Index && i.a >= nestRank())
      wrong(n, i, fmt::format("there is no loop {}", i.a));
    if (fields.dst == Field::Operand && i.dst >= operands.size())
      wrong(n, i, fmt::format("there is no operand {}", i.dst));
    if (i.op == VectorOp::Load && i.type == ElementType::Bool && operands[i.a].type != ElementType::Bool)
      wrong(n, i, fmt::format("operand {} holds {}", i.a, name(operands[i.a].type)));
    if (fields.dst == Field::Register) {
      holds[i.dst] = true;
      types[i.dst] = isCompare(i.op) ? ElementType::Bool : i.type;
      if (slots[i.dst] == noSlot)
        slots[i.dst] = static_cast<uint8_t>(used++);
      if (used >= noSlot)
        wrong(n, i, "more than 254 registers are in use");
    }
  }
  scratch.lanes.resize(std::max(scratch.lanes.size(), used * stripLanes));
}

//===- Loops
//------------------------------------------------------------------------------------------------------------===//

void Execution::makeLoops() {
  const size_t rank = nestRank();
  bool indexed =
      std::any_of(program.begin(), program.end(), [](const auto &i) { return i.op == VectorOp::Index; });
  for (size_t d = 0; d < rank; ++d) {
    Loop loop;
    int64_t size = 1;
    for (size_t o = 0; o < operands.size(); ++o)
      if (!isTable[o])
        size = std::max<int64_t>(size, views[o].dims[d].size);
    loop.extent = size;
    loop.steps.assign(operands.size(), 0);
    for (size_t o = 0; o < operands.size(); ++o) {
      if (isTable[o] || views[o].dims[d].size != size)
        continue;
      loop.extent = std::min(loop.extent, operands[o].size[d]);
      loop.steps[o] = size == 1 ? 0 : operands[o].stride[d];
    }
    if (!loops.empty() && !indexed) {
      Loop &outer = loops.back();
      bool continues = true;
      for (size_t o = 0; o < operands.size(); ++o)
        continues &= outer.steps[o] == loop.steps[o] * loop.extent;
      // A loop of one step continues whatever surrounds it; a loop around which there is only one step takes
      // its place.
      if (loop.extent == 1)
        continue;
      if (outer.extent == 1) {
        outer = loop;
        continue;
      }
      if (continues && loop.extent > 0) {
        loop.extent *= outer.extent;
        outer = loop;
        continue;
      }
    }
    loops.push_back(loop);
  }
  if (loops.empty())
    loops.push_back({1, std::vector<int64_t>(operands.size(), 0)});
}

void Execution::makeReductions() {
  for (const VectorInstruction &i : program) {
    if (!isReduction(i.op))
      continue;
    Reduction r;
    r.instruction = &i;
    r.steps.assign(loops.size(), 0);
    int64_t count = 1;
    for (size_t d = loops.size(); d-- > 0;)
      if (loops[d].steps[i.dst] != 0) {
        r.steps[d] = count;
        count *= loops[d].extent;
      }
    bool floats = isFloat(i.type);
    Lane identity;
    if (floats)
      identity.f = i.op == VectorOp::StoreSum ? 0.0f : i.op == VectorOp::StoreMax ? -INFINITY : INFINITY;
    else
      identity.i = i.op == VectorOp::StoreSum ? 0 : i.op == VectorOp::StoreMax ? INT32_MIN : INT32_MAX;
    r.results.assign(static_cast<size_t>(count), identity);
    if (i.immediate != 0)
      transferResults(r, /*load=*/true);
    reductions.push_back(std::move(r));
  }
}

void Execution::makeTables() {
  size_t total = 0;
  for (const VectorInstruction &i : program)
    if (i.op == VectorOp::Table)
      total += static_cast<size_t>(operands[i.b].size[0]);
  scratch.table.resize(std::max(scratch.table.size(), total));
  Lane *next = scratch.table.data();
  for (const VectorInstruction &i : program)
    if (i.op == VectorOp::Table) {
      const Operand &table = operands[i.b];
      if (table.size[0] == 0)
        throw Failure{fmt::format("operand {} is a look-up table without entries", i.b), {}, {}};
      tables[i.b] = next;
      loadRun(table, 0, table.stride[0], static_cast<size_t>(table.size[0]), i.type, next);
      next += table.size[0];
    }
}

/// Calls f(index of the first row, offsets kept in Rows) for every strip.
void Execution::runStrips() {
  const Loop &inner = loops.back();
  size_t outerRank = loops.size() - 1;
  int64_t rowsLeft = 1;
  for (size_t d = 0; d < outerRank; ++d)
    rowsLeft *= loops[d].extent;
  operandRows.assign(operands.size(), {});
  reductionRows.assign(reductions.size(), {});
  indexRows.assign(outerRank, {});
  const size_t perStrip =
      std::max<size_t>(1, stripLanes / static_cast<size_t>(std::max<int64_t>(inner.extent, 1)));
  std::vector<int64_t> index(outerRank, 0);
  while (rowsLeft > 0) {
    rowCount = std::min<size_t>(perStrip, static_cast<size_t>(rowsLeft));
    rowsLeft -= static_cast<int64_t>(rowCount);
    for (auto *lists : {&operandRows, &reductionRows, &indexRows})
      for (Rows &rows : *lists)
        rows.resize(rowCount);
    for (size_t r = 0; r < rowCount; ++r) {
      for (size_t o = 0; o < operands.size(); ++o) {
        int64_t offset = 0;
        for (size_t d = 0; d < outerRank; ++d)
          offset += index[d] * loops[d].steps[o];
        operandRows[o][r] = offset;
      }
      for (size_t k = 0; k < reductions.size(); ++k) {
        int64_t offset = 0;
        for (size_t d = 0; d < outerRank; ++d)
          offset += index[d] * reductions[k].steps[d];
        reductionRows[k][r] = offset;
      }
      for (size_t d = 0; d < outerRank; ++d)
        indexRows[d][r] = index[d];
      for (size_t d = outerRank; d-- > 0;) {
        if (++index[d] < loops[d].extent)
          break;
        index[d] = 0;
      }
    }
    for (rowStart = 0; rowStart < inner.extent; rowStart += static_cast<int64_t>(rowLanes)) {
      rowLanes = std::min(stripLanes, static_cast<size_t>(inner.extent - rowStart));
      for (size_t n = 0; n < program.size(); ++n)
        runInstruction(n);
    }
  }
}

//===- Instructions
//-----------------------------------------------------------------------------------------------------===//

/// Rows that follow each other at `step` as one run: f(offset of the run, its first lane, its lanes).
template <class F>
void Execution::eachRun(const Rows &rows, int64_t step, F f) {
  for (size_t r = 0; r < rowCount;) {
    size_t last = r + 1;
    while (last < rowCount && rows[last] == rows[last - 1] + static_cast<int64_t>(rowLanes) * step)
      ++last;
    f(rows[r] + rowStart * step, r * rowLanes, (last - r) * rowLanes);
    r = last;
  }
}

/// `count` elements from `offset` on, `step` apart, as lanes of `type`.
void Execution::loadRun(const Operand &operand, int64_t offset, int64_t step, size_t count, ElementType type,
                        Lane *to) {
  const std::byte *from = operand.at(offset);
  ElementType stored = operand.type;
  size_t distinct = step == 0 ? 1 : count;
  if (operand.fourBit() && (step > 1 || step < 0 || offset % 2 != 0)) {
    scratch.gathered.resize(std::max(scratch.gathered.size(), distinct));
    bool isSigned = stored == ElementType::I4;
    for (size_t i = 0; i < distinct; ++i) {
      int64_t at = offset + static_cast<int64_t>(i) * step;
      uint32_t half = static_cast<uint32_t>(*operand.at(at)) >> (4 * (at & 1)) & 15;
      scratch.gathered[i] = static_cast<std::byte>(isSigned ? static_cast<int32_t>(half << 28) >> 28
                                                            : static_cast<int32_t>(half));
    }
    from = scratch.gathered.data();
    stored = isSigned ? ElementType::I8 : ElementType::U8;
  } else if (step != 1 && step != 0) {
    const size_t width = bitWidth(stored) / 8;
    scratch.gathered.resize(std::max(scratch.gathered.size(), distinct * width));
    const int64_t stepBytes = step * static_cast<int64_t>(width);
    std::byte *next = scratch.gathered.data();
    for (size_t i = 0; i < distinct; ++i, from += stepBytes, next += width)
      switch (width) {
      case 1:
        *next = *from;
        break;
      case 2:
        std::memcpy(next, from, 2);
        break;
      case 4:
        std::memcpy(next, from, 4);
        break;
      default:
        std::memcpy(next, from, 8);
      }
    from = scratch.gathered.data();
  }
  if (isFloat(type)) {
    kernels.toF32(stored, from, &to->f, distinct);
    if (type != ElementType::F32 && type != stored)
      kernels.execute(VectorOp::Move, type, ElementType::F32, to, to, nullptr, nullptr, distinct);
  } else {
    kernels.toI32(stored, from, &to->i, distinct);
  }
  if (distinct < count)
    std::fill(to + 1, to + count, to[0]);
}

void Execution::storeRun(const Operand &operand, int64_t offset, int64_t step, size_t count, bool fromFloat,
                         const Lane *from) {
  auto convert = [&](const Lane *lanes, std::byte *to, size_t n) {
    if (fromFloat)
      kernels.fromF32(operand.type, &lanes->f, to, n);
    else
      kernels.fromI32(operand.type, &lanes->i, to, n);
  };
  if (step == 1 && !(operand.fourBit() && offset % 2 != 0))
    return convert(from, operand.at(offset), count);
  if (step == 0) // Each point writes the same element; the last one stays.
    from += count - 1, count = 1;
  if (operand.fourBit()) {
    for (size_t i = 0; i < count; ++i) {
      int64_t at = offset + static_cast<int64_t>(i) * step;
      std::byte half{}, &byte = *operand.at(at);
      convert(from + i, &half, 1);
      byte = at % 2 ? (byte & std::byte{15}) | half << 4 : (byte & std::byte{0xf0}) | (half & std::byte{15});
    }
    return;
  }
  const size_t width = bitWidth(operand.type) / 8;
  scratch.gathered.resize(std::max(scratch.gathered.size(), count * width));
  convert(from, scratch.gathered.data(), count);
  std::byte *to = operand.at(offset);
  for (size_t i = 0; i < count; ++i)
    std::memcpy(to + static_cast<int64_t>(i) * step * static_cast<int64_t>(width),
                scratch.gathered.data() + i * width, width);
}

/// The reduction's results to its operand, or the operand's old values to them.
void Execution::transferResults(Reduction &r, bool load) {
  const Operand &operand = operands[r.instruction->dst];
  std::vector<size_t> kept;
  for (size_t d = 0; d < loops.size(); ++d)
    if (r.steps[d] != 0)
      kept.push_back(d);
  auto transfer = [&](int64_t offset, int64_t step, size_t count, Lane *at) {
    if (load)
      loadRun(operand, offset, step, count, r.instruction->type, at);
    else
      storeRun(operand, offset, step, count, isFloat(r.instruction->type), at);
  };
  if (kept.empty())
    return transfer(0, 1, 1, r.results.data());
  const Loop &inner = loops[kept.back()];
  const size_t run = static_cast<size_t>(inner.extent);
  for (size_t first = 0; run > 0 && first < r.results.size(); first += run) {
    int64_t offset = 0;
    size_t rest = first / run;
    for (size_t k = kept.size() - 1; k-- > 0;) {
      size_t extent = static_cast<size_t>(loops[kept[k]].extent);
      offset += static_cast<int64_t>(rest % extent) * loops[kept[k]].steps[r.instruction->dst];
      rest /= extent;
    }
    transfer(offset, inner.steps[r.instruction->dst], run, r.results.data() + first);
  }
}

void Execution::reduce(Reduction &r, const Lane *from, const Rows &rows) {
  const VectorInstruction &i = *r.instruction;
  const VectorOp op = i.op == VectorOp::StoreSum   ? VectorOp::Add
                      : i.op == VectorOp::StoreMax ? VectorOp::Maximum
                                                   : VectorOp::Minimum;
  const int64_t step = r.steps.back();
  if (step != 0) { // Along the innermost loop each lane has its own result.
    for (size_t row = 0; row < rowCount; ++row) {
      Lane *to = r.results.data() + rows[row] + rowStart * step;
      kernels.execute(op, i.type, i.type, to, to, from + row * rowLanes, nullptr, rowLanes);
    }
    return;
  }
  if (i.op == VectorOp::StoreSum) {
    for (size_t row = 0; row < rowCount;) {
      size_t last = row + 1; // Rows with results side by side.
      while (last < rowCount && rows[last] == rows[last - 1] + 1)
        ++last;
      kernels.sumRows(i.type, from + row * rowLanes, last - row, rowLanes, r.results.data() + rows[row]);
      row = last;
    }
    return;
  }
  for (size_t row = 0; row < rowCount; ++row) // Greatest and least: any order gives the same.
    kernels.reduceRow(op, i.type, from + row * rowLanes, rowLanes, r.results.data() + rows[row]);
}

void Execution::checkShifts(size_t number, const Lane *shifts, size_t count) {
  bool fixedPoint = program[number].op == VectorOp::RequantizeFixedPoint;
  for (size_t n = 0; n < count; ++n) {
    int32_t c = shifts[n].i;
    if (fixedPoint ? c < 1 || c > 62 : c < 0 || (c & 255) > 62 || c >> 8 > 62)
      throw Failure{
          fmt::format("instruction {} ({}) has the shift {}", number, info(program[number].op).name, c),
          fixedPoint ? "it shifts by 1 to 62" : "it shifts by 0 to 62, twice: first + 256 · second",
          "correct the requantization constants"};
  }
}

void Execution::runInstruction(size_t number) {
  const VectorInstruction &i = program[number];
  const size_t count = rowCount * rowLanes;
  switch (i.op) {
  case VectorOp::Load: {
    int64_t step = loops.back().steps[i.a];
    eachRun(operandRows[i.a], step, [&](int64_t offset, size_t lane, size_t n) {
      loadRun(operands[i.a], offset, step, n, i.type, lanes(i.dst) + lane);
    });
    return;
  }
  case VectorOp::Store: {
    int64_t step = loops.back().steps[i.dst];
    eachRun(operandRows[i.dst], step, [&](int64_t offset, size_t lane, size_t n) {
      storeRun(operands[i.dst], offset, step, n, isFloat(sourceTypes[number]), lanes(i.a) + lane);
    });
    return;
  }
  case VectorOp::StoreSum:
  case VectorOp::StoreMax:
  case VectorOp::StoreMin:
    for (size_t k = 0; k < reductions.size(); ++k)
      if (reductions[k].instruction == &i)
        reduce(reductions[k], lanes(i.a), reductionRows[k]);
    return;
  case VectorOp::Constant: {
    Lane value;
    if (isFloat(i.type))
      value.f = static_cast<float>(i.immediate);
    else
      value.i =
          i.type == ElementType::Bool
              ? i.immediate != 0
              : static_cast<int32_t>(std::clamp<double>(std::nearbyint(i.immediate), INT32_MIN, INT32_MAX));
    Lane *to = lanes(i.dst);
    std::fill(to, to + count, value);
    kernels.execute(VectorOp::Move, i.type, i.type, to, to, nullptr, nullptr, count);
    return;
  }
  case VectorOp::Index: {
    uint32_t first = static_cast<uint32_t>(static_cast<int64_t>(i.immediate));
    bool inner = i.a + 1u == loops.size();
    for (size_t r = 0; r < rowCount; ++r) {
      Lane *to = lanes(i.dst) + r * rowLanes;
      uint32_t start = first + static_cast<uint32_t>(inner ? rowStart : indexRows[i.a][r]);
      for (size_t n = 0; n < rowLanes; ++n)
        to[n].i = static_cast<int32_t>(start + (inner ? static_cast<uint32_t>(n) : 0));
    }
    return;
  }
  case VectorOp::Table: {
    const int64_t last = operands[i.b].size[0] - 1, first = static_cast<int64_t>(i.immediate);
    const Lane *from = lanes(i.a), *table = tables[i.b];
    Lane *to = lanes(i.dst);
    for (size_t n = 0; n < count; ++n)
      to[n] = table[std::clamp<int64_t>(from[n].i - first, 0, last)];
    return;
  }
  case VectorOp::RequantizeFixedPoint:
  case VectorOp::RequantizeShift:
    checkShifts(number, lanes(i.c), count);
    [[fallthrough]];
  default:
    kernels.execute(i.op, i.type, sourceTypes[number], lanes(i.dst), lanes(i.a), lanes(i.b), lanes(i.c),
                    count);
  }
}

} // namespace

void runVector(std::span<const isa::VectorInstruction> program, std::span<const Operand> operands,
               std::span<const isa::View> views, const Kernels &kernels, Scratch &scratch) {
  Execution(program, operands, views, kernels, scratch).run();
}

} // namespace npuc::npu_sim
