#include "test/unit/npu_sim/Reference.h"

#include "support/Transcendental.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace npuc::npu_sim::test {
namespace t = npuc::transcendental;
using isa::Command;
using isa::Opcode;
using isa::VectorInstruction;
using isa::VectorOp;
using isa::View;

std::vector<uint8_t> &Reference::memory(isa::Space space, uint32_t buffer) {
  auto &m = memories[{space, buffer}];
  if (m.empty())
    m.assign(memoryBytes, 0);
  return m;
}

Reference::Index Reference::sizes(const View &view) const {
  Index out;
  for (unsigned d = 0; d < view.rank; ++d)
    out.push_back(view.dims[d].size);
  if (view.boundRegister != isa::noRegister)
    out[view.boundDim] =
        std::clamp<int64_t>(registers[view.boundRegister] - view.boundOffset, 0, out[view.boundDim]);
  return out;
}

namespace {

/// Position of an element in bits from the start of its memory.
int64_t bitPosition(const View &view, const std::vector<int64_t> &index,
                    const std::vector<int64_t> &registers) {
  int64_t base = view.base;
  if (view.baseRegister != isa::noRegister)
    base += registers[view.baseRegister] * view.registerScale;
  int64_t elements = 0;
  for (unsigned d = 0; d < view.rank; ++d)
    elements += index[d] * view.dims[d].stride;
  return base * 8 + elements * bitWidth(view.type);
}

__int128 saturate(__int128 x, __int128 least, __int128 greatest) {
  return std::max(least, std::min(greatest, x));
}

__int128 leastOf(ElementType type) {
  return isSigned(type) ? -(__int128(1) << (bitWidth(type) - 1)) : 0;
}
__int128 greatestOf(ElementType type) {
  return (__int128(1) << (bitWidth(type) - (isSigned(type) ? 1 : 0))) - 1;
}

__int128 roundToInteger(double x, ElementType type) {
  if (std::isnan(x))
    return 0;
  if (x >= 0x1p100)
    return greatestOf(type);
  if (x <= -0x1p100)
    return leastOf(type);
  return saturate(static_cast<__int128>(std::nearbyint(x)), leastOf(type), greatestOf(type));
}

} // namespace

Reference::Value Reference::read(const View &view, const Index &index) {
  int64_t bit = bitPosition(view, index, registers);
  const uint8_t *p = memory(view.space, view.buffer).data() + bit / 8;
  uint64_t raw = 0;
  unsigned width = bitWidth(view.type);
  for (unsigned byte = 0; byte < (width + 7) / 8; ++byte)
    raw |= uint64_t{p[byte]} << (8 * byte);
  if (width == 4)
    raw = (raw >> (bit % 8)) & 15;
  Value v;
  v.isFloat = isFloat(view.type);
  switch (view.type) {
  case ElementType::F8E4M3:
    v.f = fromF8E4M3(static_cast<uint8_t>(raw));
    break;
  case ElementType::F8E5M2:
    v.f = fromF8E5M2(static_cast<uint8_t>(raw));
    break;
  case ElementType::F16:
    v.f = fromF16(static_cast<uint16_t>(raw));
    break;
  case ElementType::BF16:
    v.f = fromBF16(static_cast<uint16_t>(raw));
    break;
  case ElementType::F32:
    v.f = std::bit_cast<float>(static_cast<uint32_t>(raw));
    break;
  case ElementType::F64:
    v.f = std::bit_cast<double>(raw);
    break;
  case ElementType::Bool:
    v.i = raw != 0;
    break;
  default:
    v.i = raw;
    if (isSigned(view.type) && (raw >> (width - 1)))
      v.i -= __int128(1) << width;
  }
  return v;
}

void Reference::write(const View &view, const Index &index, Value value) {
  uint64_t raw;
  double f = value.isFloat ? value.f : static_cast<double>(static_cast<float>(value.i));
  bool nan = std::isnan(f);
  switch (view.type) {
  case ElementType::F8E4M3:
    raw = nan ? 0x7f : toF8E4M3(static_cast<float>(f), true);
    break;
  case ElementType::F8E5M2:
    raw = nan ? 0x7e : toF8E5M2(static_cast<float>(f), true);
    break;
  case ElementType::F16:
    raw = nan ? 0x7e00 : toF16(static_cast<float>(f));
    break;
  case ElementType::BF16:
    raw = nan ? 0x7fc0 : toBF16(static_cast<float>(f));
    break;
  case ElementType::F32:
    raw = nan ? 0x7fc00000 : std::bit_cast<uint32_t>(static_cast<float>(f));
    break;
  case ElementType::F64:
    throw std::logic_error("f64 is not written here");
  case ElementType::Bool:
    raw = value.isFloat ? value.f != 0 : value.i != 0;
    break;
  default:
    raw = static_cast<uint64_t>(value.isFloat ? roundToInteger(value.f, view.type)
                                              : saturate(value.i, leastOf(view.type), greatestOf(view.type)));
  }
  int64_t bit = bitPosition(view, index, registers);
  uint8_t *p = memory(view.space, view.buffer).data() + bit / 8;
  if (bitWidth(view.type) == 4) {
    *p = bit % 8 ? static_cast<uint8_t>((*p & 15) | (raw << 4))
                 : static_cast<uint8_t>((*p & 0xf0) | (raw & 15));
    return;
  }
  for (unsigned byte = 0; byte < bitWidth(view.type) / 8; ++byte)
    p[byte] = static_cast<uint8_t>(raw >> (8 * byte));
}

Reference::Value Reference::toRegister(ElementType type, Value v) {
  Value out;
  out.isFloat = isFloat(type);
  double f = v.isFloat ? v.f : static_cast<double>(static_cast<float>(v.i));
  switch (type) {
  case ElementType::F32:
    out.f = static_cast<float>(f);
    break;
  case ElementType::F16:
    out.f = std::isnan(f) ? f : fromF16(toF16(static_cast<float>(f)));
    break;
  case ElementType::BF16:
    out.f = std::isnan(f) ? f : fromBF16(toBF16(static_cast<float>(f)));
    break;
  case ElementType::I32:
    out.i = v.isFloat ? roundToInteger(v.f, type) : saturate(v.i, leastOf(type), greatestOf(type));
    break;
  case ElementType::Bool:
    out.i = v.i != 0;
    break;
  default:
    throw std::logic_error("not a register's type");
  }
  return out;
}

void Reference::run(uint32_t core) {
  for (const Command &command : program.streams[core]) {
    if (command.predicateRegister != isa::noRegister &&
        registers[command.predicateRegister] <= command.predicateBound)
      continue;
    switch (command.opcode) {
    case Opcode::Barrier:
      break;
    case Opcode::Contract:
      contract(command);
      break;
    case Opcode::Vector:
      vector(command);
      break;
    default:
      transfer(command);
    }
  }
}

void Reference::transfer(const Command &command) {
  auto views = program.operandsOf(command);
  auto copyElement = [&](const View &from, const Index &i, const View &to, const Index &j) {
    // Bits move as they are: a NaN keeps its own.
    View rawFrom = from, rawTo = to;
    ElementType bits = bitWidth(from.type) == 4    ? ElementType::U4
                       : bitWidth(from.type) == 8  ? ElementType::U8
                       : bitWidth(from.type) == 16 ? ElementType::U16
                       : bitWidth(from.type) == 32 ? ElementType::U32
                                                   : ElementType::U64;
    rawFrom.type = rawTo.type = bits;
    write(rawTo, j, read(rawFrom, i));
  };
  auto join = [](int64_t row, const Index &index, size_t from) {
    Index out{row};
    out.insert(out.end(), index.begin() + static_cast<long>(from), index.end());
    return out;
  };
  switch (command.opcode) {
  case Opcode::Copy:
    if (command.multicastCount == 0 && views[0].rank == 1 && views[0].isDense() && views[1].isDense() &&
        views[0].type == ElementType::I8) { // Whole memories, for the tests' speed.
      std::copy_n(memory(views[0].space, views[0].buffer).begin() + views[0].base, views[0].dims[0].size,
                  memory(views[1].space, views[1].buffer).begin() + views[1].base);
      break;
    }
    forEachIndex(sizes(views[0]), [&](const Index &i) {
      if (command.multicastCount == 0)
        return copyElement(views[0], i, views[1], i);
      for (uint16_t core : program.multicastOf(command)) {
        View to = views[1];
        to.buffer = core;
        copyElement(views[0], i, to, i);
      }
    });
    break;
  case Opcode::Fill:
    forEachIndex(sizes(views[0]), [&](const Index &i) { write(views[0], i, {true, 0, command.immediate}); });
    break;
  case Opcode::Gather:
  case Opcode::Scatter: {
    const bool gather = command.opcode == Opcode::Gather;
    const View &whole = gather ? views[2] : views[0];
    size_t rank = views[1].rank;
    forEachIndex(sizes(whole), [&](const Index &i) {
      Index at(i.begin(), i.begin() + static_cast<long>(rank));
      Index row = join(static_cast<int64_t>(read(views[1], at).i), i, rank);
      gather ? copyElement(views[0], row, views[2], i) : copyElement(views[0], i, views[2], row);
    });
    break;
  }
  default:
    throw std::logic_error("not a transfer");
  }
}

void Reference::contract(const Command &command) {
  auto views = program.operandsOf(command);
  const View &a = views[0], &b = views[1], &c = views[2];
  const size_t nb = command.rankBatch, nm = command.rankM, nk = command.rankK;
  Index sizeA = sizes(a), sizeC = sizes(c);
  Index sizeK(sizeA.begin() + static_cast<long>(nb + nm), sizeA.end());
  forEachIndex(sizeC, [&](const Index &at) {
    Value old;
    old.isFloat = isFloat(c.type);
    if (command.accumulate)
      old = read(c, at);
    float sum = static_cast<float>(old.f);
    __int128 exact = old.i;
    // A's index is batch, m, k; B's is batch, k, n.
    Index atA(nb + nm + nk), atB(nb + nk + at.size() - nb - nm);
    std::copy_n(at.begin(), nb + nm, atA.begin());
    std::copy_n(at.begin(), nb, atB.begin());
    std::copy(at.begin() + static_cast<long>(nb + nm), at.end(), atB.begin() + static_cast<long>(nb + nk));
    forEachIndex(sizeK, [&](const Index &k) {
      std::copy(k.begin(), k.end(), atA.begin() + static_cast<long>(nb + nm));
      std::copy(k.begin(), k.end(), atB.begin() + static_cast<long>(nb));
      Value x = read(a, atA), y = read(b, atB);
      sum = std::fma(static_cast<float>(x.f), static_cast<float>(y.f), sum);
      exact += x.i * y.i;
    });
    write(c, at, {old.isFloat, exact, sum});
  });
}

Reference::Value Reference::compute(const VectorInstruction &i, Value a, Value b, Value c) {
  float x = static_cast<float>(a.f), y = static_cast<float>(b.f);
  auto f = [](float value) { return Value{true, 0, value}; };
  auto n = [](__int128 value) { return Value{false, value, 0}; };
  auto wrap = [](__int128 value) {
    return Value{false, static_cast<int32_t>(static_cast<uint32_t>(value)), 0};
  };
  const bool floats = isFloat(i.type);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  switch (i.op) {
  case VectorOp::Move:
  case VectorOp::Convert:
    return a;
  case VectorOp::Add:
    return floats ? f(x + y) : wrap(a.i + b.i);
  case VectorOp::Subtract:
    return floats ? f(x - y) : wrap(a.i - b.i);
  case VectorOp::Multiply:
    return floats ? f(x * y) : wrap(a.i * b.i);
  case VectorOp::Divide:
    return f(x / y);
  case VectorOp::Minimum:
    if (!floats)
      return n(std::min(a.i, b.i));
    return f(x != x || y != y ? nan : x == y ? (std::signbit(x) ? x : y) : std::min(x, y));
  case VectorOp::Maximum:
    if (!floats)
      return n(std::max(a.i, b.i));
    return f(x != x || y != y ? nan : x == y ? (std::signbit(x) ? y : x) : std::max(x, y));
  case VectorOp::Negate:
    return floats ? f(-x) : wrap(-a.i);
  case VectorOp::Absolute:
    return floats ? f(std::fabs(x)) : wrap(a.i < 0 ? -a.i : a.i);
  case VectorOp::Floor:
    return f(std::floor(x));
  case VectorOp::Ceil:
    return f(std::ceil(x));
  case VectorOp::RoundEven:
    return f(std::nearbyint(x));
  case VectorOp::Sign:
    return floats ? f(x > 0 ? 1 : x < 0 ? -1 : x) : n(a.i > 0 ? 1 : a.i < 0 ? -1 : 0);
  case VectorOp::Reciprocal:
    return f(1 / x);
  case VectorOp::Exp:
    return f(t::exp(x));
  case VectorOp::Log:
    return f(t::log(x));
  case VectorOp::Sqrt:
    return f(std::sqrt(x));
  case VectorOp::Rsqrt:
    return f(1 / std::sqrt(x));
  case VectorOp::Tanh:
    return f(t::tanh(x));
  case VectorOp::Erf:
    return f(t::erf(x));
  case VectorOp::Sin:
    return f(t::sin(x));
  case VectorOp::Cos:
    return f(t::cos(x));
  case VectorOp::Sigmoid:
    return f(t::sigmoid(x));
  case VectorOp::Equal:
    return n(floats ? x == y : a.i == b.i);
  case VectorOp::Less:
    return n(floats ? x < y : a.i < b.i);
  case VectorOp::LessEqual:
    return n(floats ? x <= y : a.i <= b.i);
  case VectorOp::And:
    return n(a.i & b.i);
  case VectorOp::Or:
    return n(a.i | b.i);
  case VectorOp::Xor:
    return n(a.i ^ b.i);
  case VectorOp::Not:
    return i.type == ElementType::Bool ? n(1 - a.i) : n(-1 - a.i);
  case VectorOp::Select:
    return a.i ? b : c;
  case VectorOp::ShiftLeft:
    return wrap(a.i << static_cast<int>(b.i));
  case VectorOp::ShiftRight:
    return n(a.i >> static_cast<int>(b.i));
  case VectorOp::Requantize:
    return n(roundToInteger(static_cast<double>(a.i) * y, ElementType::I32));
  case VectorOp::RequantizeFixedPoint:
    return n(saturate((a.i * b.i + (__int128(1) << (static_cast<int>(c.i) - 1))) >> static_cast<int>(c.i),
                      INT32_MIN, INT32_MAX));
  case VectorOp::RequantizeShift:
    return n(saturate(((a.i >> static_cast<int>(c.i & 255)) * b.i) >> static_cast<int>(c.i >> 8), INT32_MIN,
                      INT32_MAX));
  default:
    throw std::logic_error("not computed from registers");
  }
}

void Reference::vector(const Command &command) {
  auto views = program.operandsOf(command);
  auto instructions = program.instructionsOf(command);
  std::vector<bool> isTable(views.size(), false);
  for (const VectorInstruction &i : instructions)
    if (i.op == VectorOp::Table)
      isTable[i.b] = true;
  Index greatest, extents;
  for (size_t o = 0; o < views.size(); ++o) {
    if (isTable[o])
      continue;
    greatest.resize(std::max<size_t>(greatest.size(), views[o].rank), 1);
    for (unsigned d = 0; d < views[o].rank; ++d)
      greatest[d] = std::max<int64_t>(greatest[d], views[o].dims[d].size);
  }
  extents = greatest;
  for (size_t o = 0; o < views.size(); ++o)
    for (unsigned d = 0; !isTable[o] && d < views[o].rank; ++d)
      if (views[o].dims[d].size == greatest[d])
        extents[d] = std::min(extents[d], sizes(views[o])[d]);

  /// The element of an operand at a point of the nest: dimensions of size 1 broadcast.
  auto place = [&](const View &view, const Index &point) {
    Index out = point;
    for (unsigned d = 0; d < view.rank; ++d)
      if (view.dims[d].size == 1)
        out[d] = 0;
    return out;
  };
  auto isReduction = [](VectorOp op) {
    return op == VectorOp::StoreSum || op == VectorOp::StoreMax || op == VectorOp::StoreMin;
  };
  auto kept = [&](const View &view, const Index &point) {
    Index out = place(view, point);
    for (unsigned d = 0; d < view.rank; ++d)
      if (view.dims[d].stride == 0)
        out[d] = 0;
    return out;
  };
  // Running results of each reduction, by the index of their element.
  std::vector<std::map<Index, Value>> results(instructions.size());
  auto start = [&](const VectorInstruction &i, const Index &at) {
    if (i.immediate != 0)
      return toRegister(i.type, read(views[i.dst], at));
    if (isFloat(i.type))
      return Value{true, 0,
                   i.op == VectorOp::StoreSum   ? 0.0
                   : i.op == VectorOp::StoreMax ? -INFINITY
                                                : INFINITY};
    return Value{false,
                 i.op == VectorOp::StoreSum   ? 0
                 : i.op == VectorOp::StoreMax ? INT32_MIN
                                              : INT32_MAX,
                 0};
  };
  for (size_t n = 0; n < instructions.size(); ++n)
    if (isReduction(instructions[n].op)) {
      const View &view = views[instructions[n].dst];
      Index all = extents;
      for (unsigned d = 0; d < view.rank; ++d)
        if (view.dims[d].size == 1 || view.dims[d].stride == 0)
          all[d] = 1;
      forEachIndex(all, [&](const Index &at) { results[n][at] = start(instructions[n], at); });
    }
  forEachIndex(extents, [&](const Index &point) {
    std::vector<Value> registers(256);
    for (size_t number = 0; number < instructions.size(); ++number) {
      const VectorInstruction &i = instructions[number];
      Value a = registers[i.a], b = registers[i.b], c = registers[i.c];
      switch (i.op) {
      case VectorOp::Load:
        registers[i.dst] = toRegister(i.type, read(views[i.a], place(views[i.a], point)));
        break;
      case VectorOp::Index:
        registers[i.dst] = {false, point[i.a] + static_cast<int64_t>(i.immediate), 0};
        break;
      case VectorOp::Constant:
        registers[i.dst] = toRegister(i.type, {true, 0, i.immediate});
        break;
      case VectorOp::Table: {
        int64_t entries = views[i.b].dims[0].size;
        int64_t entry = std::clamp<int64_t>(static_cast<int64_t>(a.i) - static_cast<int64_t>(i.immediate), 0,
                                            entries - 1);
        registers[i.dst] = toRegister(i.type, read(views[i.b], {entry}));
        break;
      }
      case VectorOp::Store:
        write(views[i.dst], place(views[i.dst], point), a);
        break;
      case VectorOp::StoreSum:
      case VectorOp::StoreMax:
      case VectorOp::StoreMin: {
        Value &result = results[number][kept(views[i.dst], point)];
        VectorInstruction step = i;
        step.op = i.op == VectorOp::StoreSum   ? VectorOp::Add
                  : i.op == VectorOp::StoreMax ? VectorOp::Maximum
                                               : VectorOp::Minimum;
        result = toRegister(i.type, compute(step, result, a, {}));
        break;
      }
      case VectorOp::Equal:
      case VectorOp::Less:
      case VectorOp::LessEqual:
        registers[i.dst] = compute(i, a, b, c);
        break;
      default:
        registers[i.dst] = toRegister(i.type, compute(i, a, b, c));
      }
    }
  });
  for (size_t n = 0; n < instructions.size(); ++n)
    for (auto &[at, value] : results[n])
      write(views[instructions[n].dst], at, value);
}

} // namespace npuc::npu_sim::test
