// Vector programs: registers hold a value before they are read, of the type that is read, and the engine has
// what is asked.
#include "backends/npu/isa/VerifyCommand.h"
#include "backends/npu/target/Target.h"

#include <fmt/format.h>

namespace npuc::isa::verifier {
namespace {

class VectorChecker {
public:
  explicit VectorChecker(Context &context)
      : context_(context), instructions_(context.program.instructionsOf(context.command)),
        nest_(loopNest(context.program, context.command)) {}

  void check() {
    const auto &engine = context_.target.vector();
    if (instructions_.size() > engine.program_length())
      context_.error("the vector program is longer than the engine's program memory",
                     fmt::format("{} instructions of {}", instructions_.size(), engine.program_length()));
    for (at_ = 0; at_ < instructions_.size() && !context_.failed; ++at_)
      checkInstruction(instructions_[at_]);
  }

private:
  void error(std::string what, std::string why) {
    context_.error(fmt::format("instruction {} ({}.{}): {}", at_, name(instructions_[at_].op),
                               npuc::name(instructions_[at_].type), what),
                   std::move(why));
  }

  void checkInstruction(const VectorInstruction &i) {
    checkType(i);
    checkFunction(i);
    const VectorOpInfo &op = info(i.op);
    for (auto [field, value] :
         {std::pair(op.dst, i.dst), std::pair(op.a, i.a), std::pair(op.b, i.b), std::pair(op.c, i.c)})
      checkRange(field, value);
    if (context_.failed)
      return;
    checkReads(i, op);
    if (op.dst == Field::Register)
      types_[i.dst] = resultType(i);
  }

  void checkRange(Field field, uint8_t value) {
    auto check = [&](size_t limit, const char *what) {
      if (value >= limit)
        error(fmt::format("there is no such {}", what), fmt::format("{} of {}", value, limit));
    };
    if (field == Field::Register)
      check(context_.target.vector().registers(), "register");
    else if (field == Field::Operand)
      check(context_.operands().size(), "operand");
    else if (field == Field::Loop)
      check(nest_.rank, "loop");
  }

  static bool isLogic(VectorOp op) {
    return op == VectorOp::And || op == VectorOp::Or || op == VectorOp::Xor || op == VectorOp::Not;
  }

  // Moves values without computing on them.
  static bool isMove(VectorOp op) {
    return op == VectorOp::Load || op == VectorOp::Constant || op == VectorOp::Move ||
           op == VectorOp::Select || op == VectorOp::Store;
  }

  static bool needsFloat(VectorOp op) {
    return op == VectorOp::Divide || (op >= VectorOp::Floor && op <= VectorOp::RoundEven) ||
           (op >= VectorOp::Reciprocal && op <= VectorOp::Sigmoid);
  }

  static bool needsI32(VectorOp op) {
    return op == VectorOp::Index || op == VectorOp::ShiftLeft || op == VectorOp::ShiftRight ||
           isRequantize(op);
  }

  static bool isRequantize(VectorOp op) {
    return op == VectorOp::Requantize || op == VectorOp::RequantizeFixedPoint ||
           op == VectorOp::RequantizeShift;
  }

  void checkType(const VectorInstruction &i) {
    const ElementType t = i.type;
    if (t != ElementType::F32 && t != ElementType::F16 && t != ElementType::BF16 && t != ElementType::I32 &&
        t != ElementType::Bool)
      return error("the vector engine does not compute in this type",
                   "types are f32, f16, bf16, i32 and bool");
    const bool allowed = t == ElementType::Bool            ? isLogic(i.op) || isMove(i.op)
                         : isLogic(i.op) || needsI32(i.op) ? t == ElementType::I32
                                                           : !needsFloat(i.op) || isFloat(t);
    if (!allowed)
      return error("the operation does not exist in this type", "see the list of vector operations");
    if (!isMove(i.op) && t != ElementType::Bool && !target::vectorType(context_.target, t))
      error("the target's vector engine does not compute in this type", "it is not among vector.types");
  }

  void checkFunction(const VectorInstruction &i) {
    const auto &engine = context_.target.vector();
    if (i.op == VectorOp::Table ? engine.table_ports() == 0
                                : target::functionRate(context_.target, i.op) == 0)
      error("the target's vector engine lacks the operation",
            i.op == VectorOp::Table ? "it has no table ports" : "its rate is 0");
    if (info(i.op).dst == Field::Operand && info(i.op).immediate && i.immediate != 0 && i.immediate != 1)
      error("the immediate of a reduction is 0 or 1", fmt::format("it is {}", i.immediate));
    if (i.op == VectorOp::Index || i.op == VectorOp::Table ||
        (i.op == VectorOp::Constant && i.type == ElementType::I32)) {
      const bool isInteger = i.immediate >= -2147483648.0 && i.immediate <= 2147483647.0 &&
                             i.immediate == double(int64_t(i.immediate));
      if (!isInteger)
        error("the immediate is no 32-bit integer", fmt::format("it is {}", i.immediate));
    }
  }

  void read(uint8_t reg, std::optional<ElementType> wanted) {
    auto type = types_[reg];
    if (!type)
      error("reads a register that nothing was written to", fmt::format("r{}", reg));
    else if (wanted && type != wanted)
      error("reads a register of another type",
            fmt::format("r{} holds {}, not {}", reg, npuc::name(*type), npuc::name(*wanted)));
  }

  void checkReads(const VectorInstruction &i, const VectorOpInfo &op) {
    switch (i.op) {
    case VectorOp::Load:
      return checkStored(i.a);
    case VectorOp::Convert:
      return read(i.a, std::nullopt);
    case VectorOp::Store:
      read(i.a, std::nullopt);
      return checkStored(i.dst);
    case VectorOp::Select:
      read(i.a, ElementType::Bool);
      read(i.b, i.type);
      return read(i.c, i.type);
    case VectorOp::Requantize:
      read(i.a, ElementType::I32);
      return read(i.b, ElementType::F32);
    case VectorOp::Table:
      read(i.a, ElementType::I32);
      checkStored(i.b);
      return checkTable(context_.operands()[i.b]);
    default:
      for (auto [field, value] : {std::pair(op.a, i.a), std::pair(op.b, i.b), std::pair(op.c, i.c)})
        if (field == Field::Register)
          read(value, i.type);
      if (op.dst == Field::Operand)
        checkStored(i.dst);
    }
  }

  // A type that loads and stores convert.
  void checkStored(uint8_t operand) {
    const ElementType type = context_.operands()[operand].type;
    if (type == ElementType::U32 || type == ElementType::I64 || type == ElementType::U64 ||
        type == ElementType::F64)
      error("the vector engine neither loads nor stores this type",
            fmt::format("operand {} is {}", operand, npuc::name(type)));
  }

  void checkTable(const View &table) {
    const uint32_t entries = context_.target.vector().table_entries();
    if (table.rank != 1 || table.boundRegister != noRegister)
      error("a table has one dimension, without a bound", fmt::format("it has {}", table.rank));
    else if (static_cast<uint32_t>(table.dims[0].size) > entries)
      error("the table is larger than the engine's",
            fmt::format("{} entries of {}", table.dims[0].size, entries));
  }

  static ElementType resultType(const VectorInstruction &i) {
    const bool compares = i.op == VectorOp::Equal || i.op == VectorOp::Less || i.op == VectorOp::LessEqual;
    return compares ? ElementType::Bool : i.type;
  }

  Context &context_;
  std::span<const VectorInstruction> instructions_;
  LoopNest nest_;
  std::array<std::optional<ElementType>, 256> types_{};
  size_t at_ = 0;
};

} // namespace

void checkVectorProgram(Context &context) {
  VectorChecker(context).check();
}

} // namespace npuc::isa::verifier
