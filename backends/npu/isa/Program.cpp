#include "backends/npu/isa/Program.h"

#include <algorithm>

namespace npuc::isa {
namespace {

constexpr std::array<std::string_view, 4> spaceNames = {"dram", "shared", "scratchpad", "accumulator"};
constexpr std::array<std::string_view, 3> engineNames = {"matrix", "vector", "dma"};
constexpr std::array<std::string_view, 7> opcodeNames = {"copy",     "fill",   "gather", "scatter",
                                                         "contract", "vector", "barrier"};
constexpr std::array<std::string_view, 5> roleNames = {"constant", "input", "output", "state", "workspace"};

constexpr Field R = Field::Register, O = Field::Operand, L = Field::Loop, U = Field::Unused;

constexpr VectorOpInfo unary(std::string_view name) {
  return {name, R, R, U, U, false};
}
constexpr VectorOpInfo binary(std::string_view name) {
  return {name, R, R, R, U, false};
}
constexpr VectorOpInfo ternary(std::string_view name) {
  return {name, R, R, R, R, false};
}

// In the order of VectorOp.
constexpr std::array<VectorOpInfo, vectorOpCount> vectorOps = {{
    {"load", R, O, U, U, false},
    {"index", R, L, U, U, true},
    {"constant", R, U, U, U, true},
    unary("move"),
    binary("add"),
    binary("subtract"),
    binary("multiply"),
    binary("divide"),
    binary("minimum"),
    binary("maximum"),
    unary("negate"),
    unary("absolute"),
    unary("floor"),
    unary("ceil"),
    unary("round_even"),
    unary("sign"),
    unary("reciprocal"),
    unary("exp"),
    unary("log"),
    unary("sqrt"),
    unary("rsqrt"),
    unary("tanh"),
    unary("erf"),
    unary("sin"),
    unary("cos"),
    unary("sigmoid"),
    binary("equal"),
    binary("less"),
    binary("less_equal"),
    binary("and"),
    binary("or"),
    binary("xor"),
    unary("not"),
    ternary("select"),
    binary("shift_left"),
    binary("shift_right"),
    unary("convert"),
    binary("requantize"),
    ternary("requantize_fixed_point"),
    ternary("requantize_shift"),
    {"table", R, R, O, U, true},
    {"store", O, R, U, U, false},
    {"store_sum", O, R, U, U, true},
    {"store_max", O, R, U, U, true},
    {"store_min", O, R, U, U, true},
}};

template <typename Enum, size_t N>
std::optional<Enum> find(const std::array<std::string_view, N> &names, std::string_view name) {
  auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end())
    return std::nullopt;
  return static_cast<Enum>(it - names.begin());
}

template <typename T>
uint32_t append(std::vector<T> &pool, std::span<const T> values) {
  auto first = static_cast<uint32_t>(pool.size());
  pool.insert(pool.end(), values.begin(), values.end());
  return first;
}

bool equivalentCommands(const Program &p, const Command &a, const Program &q, const Command &b) {
  Command left = a, right = b;
  for (Command *c : {&left, &right})
    c->firstOperand = c->firstInstruction = c->firstWait = c->firstMulticast = c->source = 0;
  return left == right && std::ranges::equal(p.operandsOf(a), q.operandsOf(b)) &&
         std::ranges::equal(p.instructionsOf(a), q.instructionsOf(b)) &&
         std::ranges::equal(p.waitsOf(a), q.waitsOf(b)) &&
         std::ranges::equal(p.multicastOf(a), q.multicastOf(b)) && p.sources[a.source] == q.sources[b.source];
}

Access vectorAccess(const Pools &pools, const Command &command, unsigned operand) {
  Access result;
  for (const VectorInstruction &i : pools.instructionsOf(command)) {
    const VectorOpInfo &op = info(i.op);
    result.reads |= (op.a == O && i.a == operand) || (op.b == O && i.b == operand);
    if (op.dst == O && i.dst == operand) {
      result.writes = true;
      result.reads |= op.immediate && i.immediate == 1; // a reduction that goes on from the old value
    }
  }
  return result;
}

} // namespace

int64_t View::elements() const {
  int64_t product = 1;
  for (const Dim &d : shape())
    if (__builtin_mul_overflow(product, int64_t(d.size), &product))
      return std::numeric_limits<int64_t>::max();
  return product;
}

bool View::isDense() const {
  int64_t stride = 1;
  for (unsigned d = rank; d-- > 0;)
    if (dims[d].stride != stride || (__builtin_mul_overflow(stride, int64_t(dims[d].size), &stride) && d > 0))
      return false;
  return true;
}

Command Pools::add(Command command, std::span<const View> operands,
                   std::span<const VectorInstruction> instructions, std::span<const Wait> waits,
                   std::span<const uint16_t> multicast) {
  command.operandCount = static_cast<uint8_t>(operands.size());
  command.instructionCount = static_cast<uint16_t>(instructions.size());
  command.waitCount = static_cast<uint16_t>(waits.size());
  command.multicastCount = static_cast<uint16_t>(multicast.size());
  command.firstOperand = append(this->operands, operands);
  command.firstInstruction = append(this->instructions, instructions);
  command.firstWait = append(this->waits, waits);
  command.firstMulticast = append(this->multicast, multicast);
  return command;
}

uint32_t Pools::addSource(std::string_view source) {
  if (sources.empty())
    sources.emplace_back();
  if (source.empty())
    return 0;
  if (sources.back() != source)
    sources.emplace_back(source);
  return static_cast<uint32_t>(sources.size() - 1);
}

size_t Program::commandCount() const {
  size_t count = 0;
  for (const std::vector<Command> &stream : streams)
    count += stream.size();
  return count;
}

bool equivalent(const Program &a, const Program &b) {
  if (a.name != b.name || a.buffers != b.buffers || a.registers != b.registers ||
      a.semaphores != b.semaphores || a.streams.size() != b.streams.size())
    return false;
  for (size_t core = 0; core < a.streams.size(); ++core)
    if (!std::ranges::equal(a.streams[core], b.streams[core], [&](const Command &x, const Command &y) {
          return equivalentCommands(a, x, b, y);
        }))
      return false;
  return true;
}

std::string_view name(Space space) {
  return spaceNames[static_cast<size_t>(space)];
}
std::string_view name(Engine engine) {
  return engineNames[static_cast<size_t>(engine)];
}
std::string_view name(Opcode opcode) {
  return opcodeNames[static_cast<size_t>(opcode)];
}
std::string_view name(VectorOp op) {
  return info(op).name;
}
std::string_view name(Role role) {
  return roleNames[static_cast<size_t>(role)];
}

std::optional<Space> spaceFromName(std::string_view name) {
  return find<Space>(spaceNames, name);
}
std::optional<Engine> engineFromName(std::string_view name) {
  return find<Engine>(engineNames, name);
}
std::optional<Opcode> opcodeFromName(std::string_view name) {
  return find<Opcode>(opcodeNames, name);
}
std::optional<Role> roleFromName(std::string_view name) {
  return find<Role>(roleNames, name);
}

std::optional<VectorOp> vectorOpFromName(std::string_view name) {
  for (unsigned i = 0; i < vectorOpCount; ++i)
    if (vectorOps[i].name == name)
      return static_cast<VectorOp>(i);
  return std::nullopt;
}

const VectorOpInfo &info(VectorOp op) {
  return vectorOps[static_cast<size_t>(op)];
}

Access access(const Pools &pools, const Command &command, unsigned operand) {
  const bool last = operand + 1u == command.operandCount;
  switch (command.opcode) {
  case Opcode::Copy:
  case Opcode::Fill:
  case Opcode::Gather:
  case Opcode::Scatter:
    return {!last, last};
  case Opcode::Contract:
    return {!last || command.accumulate, last};
  case Opcode::Vector:
    return vectorAccess(pools, command, operand);
  case Opcode::Barrier:
    return {};
  }
  return {};
}

std::optional<ByteRange> reach(const View &view, std::span<const Register> registers) {
  // Sums of at most ten terms below 2^95 each: 128 bits hold every intermediate.
  using Wide = __int128;
  auto narrow = [](Wide value) -> std::optional<int64_t> {
    auto result = static_cast<int64_t>(value);
    return result == value ? std::optional(result) : std::nullopt;
  };
  auto isMissing = [&](int16_t number) {
    return number != noRegister && (number < 0 || static_cast<size_t>(number) >= registers.size());
  };
  if (isMissing(view.baseRegister) || isMissing(view.boundRegister))
    return std::nullopt;
  Wide least = 0, greatest = 0; // elements
  for (unsigned d = 0; d < view.rank; ++d) {
    Wide size = view.dims[d].size;
    if (view.boundRegister != noRegister && view.boundDim == d)
      size = std::min(size, Wide(registers[view.boundRegister].greatest) - view.boundOffset);
    if (size <= 0)
      return ByteRange{view.base, view.base};
    Wide last = (size - 1) * view.dims[d].stride;
    (last < 0 ? least : greatest) += last;
  }
  Wide low = view.base, high = view.base; // bytes
  if (view.baseRegister != noRegister) {
    const Register &r = registers[view.baseRegister];
    Wide a = Wide(r.least) * view.registerScale, b = Wide(r.greatest) * view.registerScale;
    low += std::min(a, b);
    high += std::max(a, b);
  }
  const int bits = static_cast<int>(bitWidth(view.type));
  auto floorBytes = [](Wide bitCount) { return bitCount >= 0 ? bitCount / 8 : -((-bitCount + 7) / 8); };
  auto begin = narrow(low + floorBytes(least * bits));
  auto end = narrow(high + floorBytes(greatest * bits + bits - 1) + 1);
  if (!begin || !end)
    return std::nullopt;
  return ByteRange{*begin, *end};
}

LoopNest loopNest(const Pools &pools, const Command &command) {
  auto operands = pools.operandsOf(command);
  std::array<bool, 256> isTable{};
  for (const VectorInstruction &i : pools.instructionsOf(command))
    if (i.op == VectorOp::Table)
      isTable[i.b] = true;
  LoopNest nest;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (isTable[i])
      continue;
    nest.rank = std::max(nest.rank, operands[i].rank);
    for (unsigned d = 0; d < operands[i].rank; ++d)
      nest.sizes[d] = std::max(nest.sizes[d], operands[i].dims[d].size);
  }
  return nest;
}

} // namespace npuc::isa
