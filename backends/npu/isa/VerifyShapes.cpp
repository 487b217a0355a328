// Shapes, bounds and types of a command's operands, as Program.h states them.
#include "backends/npu/isa/VerifyCommand.h"
#include "backends/npu/target/Target.h"

#include <fmt/format.h>

namespace npuc::isa::verifier {
namespace {

// One dimension of an operand, as a command sees it.
struct Extent {
  unsigned operand, dim;
};

// What a dimension's extent depends on, beside its size.
struct Bound {
  int16_t reg = noRegister;
  int64_t offset = 0;
  friend bool operator==(const Bound &, const Bound &) = default;
};

Bound boundOf(const View &view, unsigned dim) {
  if (view.boundRegister == noRegister || view.boundDim != dim)
    return {};
  return {view.boundRegister, view.boundOffset};
}

std::string describe(const View &view, unsigned dim) {
  Bound bound = boundOf(view, dim);
  std::string text = std::to_string(view.dims[dim].size);
  if (bound.reg != noRegister)
    text += fmt::format(" bounded by ${} - {}", bound.reg, bound.offset);
  return text;
}

void checkEqual(Context &context, Extent a, Extent b) {
  const View &left = context.operands()[a.operand], &right = context.operands()[b.operand];
  if (left.dims[a.dim].size == right.dims[b.dim].size && boundOf(left, a.dim) == boundOf(right, b.dim))
    return;
  context.error("the operands' shapes do not agree",
                fmt::format("dimension {} of operand {} is {}, dimension {} of operand {} is {}", a.dim,
                            a.operand, describe(left, a.dim), b.dim, b.operand, describe(right, b.dim)));
}

// Dimensions from `a` and `b` on, `count` of them, are the same ones.
void checkEqualRun(Context &context, Extent a, Extent b, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    checkEqual(context, {a.operand, a.dim + i}, {b.operand, b.dim + i});
}

bool checkRank(Context &context, unsigned operand, unsigned rank) {
  const View &view = context.operands()[operand];
  if (view.rank != rank)
    context.error("the operands' ranks do not agree",
                  fmt::format("operand {} has {} dimensions, but needs {}", operand, view.rank, rank));
  return view.rank == rank;
}

void checkSameType(Context &context, unsigned a, unsigned b) {
  const View &left = context.operands()[a], &right = context.operands()[b];
  if (left.type != right.type)
    context.error("the operands' types do not agree",
                  fmt::format("operand {} is {}, operand {} is {}", a, npuc::name(left.type), b,
                              npuc::name(right.type)));
}

// No element of the operand is written twice. Each dimension steps over all that the shorter-stepping ones
// reach: a layout of any dense array, transposed, cut or padded, does. `isOwn(d)` false: the dimension is
// reduced over, or chosen by an index.
template <typename IsOwn>
void checkDistinct(Context &context, unsigned operand, IsOwn isOwn) {
  const View &view = context.operands()[operand];
  struct Step {
    int32_t size;
    uint64_t stride;
  };
  std::array<Step, maxRank> dims;
  unsigned count = 0;
  for (unsigned d = 0; d < view.rank; ++d) {
    if (view.dims[d].size <= 1 || !isOwn(d))
      continue;
    const int64_t stride = view.dims[d].stride;
    const Step step = {view.dims[d].size, stride < 0 ? -uint64_t(stride) : uint64_t(stride)};
    unsigned at = count++; // ordered by stride
    for (; at > 0 && dims[at - 1].stride > step.stride; --at)
      dims[at] = dims[at - 1];
    dims[at] = step;
  }
  unsigned __int128 last = 0; // the greatest offset so far: at most eight terms below 2^94
  for (unsigned d = 0; d < count; ++d) {
    if (dims[d].stride <= last)
      return context.error(
          fmt::format("operand {} writes an element twice", operand),
          fmt::format("a stride of {} does not step over what the shorter strides reach", dims[d].stride));
    last += static_cast<unsigned __int128>(dims[d].stride) * static_cast<uint32_t>(dims[d].size - 1);
  }
}

void checkAllDistinct(Context &context, unsigned operand) {
  checkDistinct(context, operand, [](unsigned) { return true; });
}

void checkCopy(Context &context) {
  checkSameType(context, 0, 1);
  if (checkRank(context, 1, context.operands()[0].rank))
    checkEqualRun(context, {0, 0}, {1, 0}, context.operands()[0].rank);
  checkAllDistinct(context, 1);
}

// Gather: destination[i…, j…] = table[index[i…], j…]. Scatter is the same with `rows` (its source) in the
// destination's place.
void checkIndexed(Context &context, unsigned table, unsigned index, unsigned rows) {
  const View &t = context.operands()[table], &i = context.operands()[index];
  checkSameType(context, table, rows);
  if (i.type != ElementType::I32)
    context.error("the indices are not i32", fmt::format("operand {} is {}", index, npuc::name(i.type)));
  if (t.rank == 0)
    return context.error("the table has no dimension to choose from",
                         fmt::format("operand {} has rank 0", table));
  if (!checkRank(context, rows, i.rank + t.rank - 1u))
    return;
  checkEqualRun(context, {index, 0}, {rows, 0}, i.rank);
  checkEqualRun(context, {table, 1}, {rows, i.rank}, t.rank - 1u);
}

bool isNibble(ElementType type) {
  return type == ElementType::I4 || type == ElementType::U4;
}

// The entry of the engine's list under which the type runs: unsigned ones as the signed one of their width if
// they have none of their own.
std::optional<ElementType> contractedAs(const target::TargetDescription &target, ElementType type) {
  if (target::matrixType(target, type))
    return type;
  if (type == ElementType::U8 && target::matrixType(target, ElementType::I8))
    return ElementType::I8;
  if (type == ElementType::U4 && target::matrixType(target, ElementType::I4))
    return ElementType::I4;
  return std::nullopt;
}

void checkContractTypes(Context &context) {
  const ElementType a = context.operands()[0].type, b = context.operands()[1].type,
                    c = context.operands()[2].type;
  auto mismatch = [&](std::string why) {
    context.error("the matrix engine does not contract these types", std::move(why));
  };
  for (ElementType type : {a, b})
    if (!contractedAs(context.target, type))
      return mismatch(fmt::format("the target has no {}", npuc::name(type)));
  const bool mixesWidths =
      bitWidth(a) != bitWidth(b) && !(isNibble(b) && bitWidth(a) == 8) && !(isNibble(a) && bitWidth(b) == 8);
  if (isFloat(a) != isFloat(b) || mixesWidths)
    return mismatch(fmt::format("{} with {}", npuc::name(a), npuc::name(b)));
  const target::Accumulator *sums = target::accumulator(context.target, *contractedAs(context.target, a));
  const bool isWide = sums && sums->bits() > 32;
  const bool fits =
      isFloat(a) ? c == ElementType::F32 : c == ElementType::I32 || (isWide && c == ElementType::I64);
  if (!fits)
    mismatch(fmt::format("sums of {} are {}, not {}", npuc::name(a),
                         isFloat(a) ? "f32"
                         : isWide   ? "i32 or i64"
                                    : "i32",
                         npuc::name(c)));
}

void checkContract(Context &context) {
  const Command &command = context.command;
  const unsigned b = command.rankBatch, m = command.rankM, n = command.rankN, k = command.rankK;
  checkContractTypes(context);
  bool ranksAgree = checkRank(context, 0, b + m + k);
  ranksAgree &= checkRank(context, 1, b + k + n);
  ranksAgree &= checkRank(context, 2, b + m + n);
  if (!ranksAgree)
    return;
  checkEqualRun(context, {0, 0}, {1, 0}, b);
  checkEqualRun(context, {0, 0}, {2, 0}, b);
  checkEqualRun(context, {0, b}, {2, b}, m);
  checkEqualRun(context, {0, b + m}, {1, b}, k);
  checkEqualRun(context, {1, b + k}, {2, b + m}, n);
  checkAllDistinct(context, 2);
}

void checkVectorOperand(Context &context, const LoopNest &nest, unsigned operand,
                        std::array<int, maxRank> &full) {
  if (!checkRank(context, operand, nest.rank))
    return;
  const View &view = context.operands()[operand];
  for (unsigned d = 0; d < nest.rank; ++d) {
    if (view.dims[d].size != nest.sizes[d]) {
      if (view.dims[d].size != 1 || boundOf(view, d) != Bound{})
        context.error("the operands' shapes do not agree",
                      fmt::format("dimension {} of operand {} is {}, the loop's size is {}", d, operand,
                                  describe(view, d), nest.sizes[d]),
                      "an operand has each loop's size, or 1 without a bound to broadcast");
      continue;
    }
    if (full[d] < 0)
      full[d] = static_cast<int>(operand);
    checkEqual(context, {static_cast<unsigned>(full[d]), d}, {operand, d});
  }
}

void checkVector(Context &context) {
  std::array<bool, 256> isTable{};
  for (const VectorInstruction &i : context.program.instructionsOf(context.command))
    if (i.op == VectorOp::Table)
      isTable[i.b] = true;
  const LoopNest nest = loopNest(context.program, context.command);
  std::array<int, maxRank> full; // an operand that has the loop's size
  full.fill(-1);
  for (unsigned i = 0; i < context.operands().size(); ++i)
    if (!isTable[i])
      checkVectorOperand(context, nest, i, full);
  if (context.failed)
    return;
  for (const VectorInstruction &i : context.program.instructionsOf(context.command)) {
    if (info(i.op).dst != Field::Operand || i.dst >= context.operands().size())
      continue;
    const View &view = context.operands()[i.dst];
    auto broadcasts = [&](unsigned d) {
      return nest.sizes[d] > 1 && (view.dims[d].size == 1 || view.dims[d].stride == 0);
    };
    if (i.op != VectorOp::Store) {
      checkDistinct(context, i.dst, [&](unsigned d) { return !broadcasts(d); });
      continue;
    }
    for (unsigned d = 0; d < nest.rank; ++d)
      if (broadcasts(d))
        return context.error(
            fmt::format("operand {} writes an element twice", i.dst),
            fmt::format("it is stored in loop {} of {} steps, but does not move with it", d, nest.sizes[d]),
            "store_sum, store_max and store_min reduce");
    checkAllDistinct(context, i.dst);
  }
}

} // namespace

void checkShapes(Context &context) {
  switch (context.command.opcode) {
  case Opcode::Copy:
    return checkCopy(context);
  case Opcode::Fill:
    return checkAllDistinct(context, 0);
  case Opcode::Gather:
    checkIndexed(context, 0, 1, 2);
    return checkAllDistinct(context, 2);
  case Opcode::Scatter:
    checkIndexed(context, 2, 1, 0);
    return checkDistinct(context, 2, [](unsigned d) { return d > 0; });
  case Opcode::Contract:
    return checkContract(context);
  case Opcode::Vector:
    return checkVector(context);
  case Opcode::Barrier:
    return;
  }
}

} // namespace npuc::isa::verifier
