#include "backends/npu/codegen/VectorProgram.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::codegen;
using isa::VectorInstruction;
using Opcode = isa::VectorOp;

namespace {

/// The type that an instruction on values of `type` computes in.
ElementType computeType(Type type) {
  if (type.isInteger(1))
    return ElementType::Bool;
  if (type.isF16())
    return ElementType::F16;
  if (type.isBF16())
    return ElementType::BF16;
  return llvm::isa<FloatType>(type) ? ElementType::F32 : ElementType::I32;
}

/// Operations that are one instruction on their operands in order.
std::optional<Opcode> plainInstruction(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Opcode>>(op)
      .Case<arith::AddFOp, arith::AddIOp>([](auto) { return Opcode::Add; })
      .Case<arith::SubFOp, arith::SubIOp>([](auto) { return Opcode::Subtract; })
      .Case<arith::MulFOp, arith::MulIOp>([](auto) { return Opcode::Multiply; })
      .Case<arith::DivFOp>([](auto) { return Opcode::Divide; })
      .Case<arith::MinimumFOp, arith::MinSIOp>([](auto) { return Opcode::Minimum; })
      .Case<arith::MaximumFOp, arith::MaxSIOp>([](auto) { return Opcode::Maximum; })
      .Case<arith::NegFOp>([](auto) { return Opcode::Negate; })
      .Case<math::AbsFOp, math::AbsIOp>([](auto) { return Opcode::Absolute; })
      .Case<math::FloorOp>([](auto) { return Opcode::Floor; })
      .Case<math::CeilOp>([](auto) { return Opcode::Ceil; })
      .Case<math::RoundEvenOp>([](auto) { return Opcode::RoundEven; })
      .Case<math::ExpOp>([](auto) { return Opcode::Exp; })
      .Case<math::LogOp>([](auto) { return Opcode::Log; })
      .Case<math::SqrtOp>([](auto) { return Opcode::Sqrt; })
      .Case<math::RsqrtOp>([](auto) { return Opcode::Rsqrt; })
      .Case<math::TanhOp>([](auto) { return Opcode::Tanh; })
      .Case<math::ErfOp>([](auto) { return Opcode::Erf; })
      .Case<math::SinOp>([](auto) { return Opcode::Sin; })
      .Case<math::CosOp>([](auto) { return Opcode::Cos; })
      .Case<arith::AndIOp>([](auto) { return Opcode::And; })
      .Case<arith::OrIOp>([](auto) { return Opcode::Or; })
      .Case<arith::XOrIOp>([](auto) { return Opcode::Xor; })
      .Case<arith::ShLIOp>([](auto) { return Opcode::ShiftLeft; })
      .Case<arith::ShRSIOp>([](auto) { return Opcode::ShiftRight; })
      .Case<arith::SelectOp>([](auto) { return Opcode::Select; })
      .Case<arith::ExtFOp, arith::TruncFOp, arith::SIToFPOp, arith::FPToSIOp, arith::ExtSIOp, arith::TruncIOp,
            arith::IndexCastOp, arith::ExtUIOp, arith::UIToFPOp>([](auto) { return Opcode::Convert; })
      .Default([](auto) { return std::nullopt; });
}

/// How a comparison is made of Equal, Less and LessEqual.
struct Comparison {
  Opcode op;
  bool swapped, negated;
};

std::optional<Comparison> comparison(arith::CmpFOp op) {
  using P = arith::CmpFPredicate;
  switch (op.getPredicate()) {
  case P::OEQ:
    return Comparison{Opcode::Equal, false, false};
  case P::UNE:
    return Comparison{Opcode::Equal, false, true};
  case P::OLT:
    return Comparison{Opcode::Less, false, false};
  case P::OLE:
    return Comparison{Opcode::LessEqual, false, false};
  case P::OGT:
    return Comparison{Opcode::Less, true, false};
  case P::OGE:
    return Comparison{Opcode::LessEqual, true, false};
  // Unordered: true where the opposite ordered comparison is false.
  case P::ULT:
    return Comparison{Opcode::LessEqual, true, true};
  case P::ULE:
    return Comparison{Opcode::Less, true, true};
  case P::UGT:
    return Comparison{Opcode::LessEqual, false, true};
  case P::UGE:
    return Comparison{Opcode::Less, false, true};
  default:
    return std::nullopt;
  }
}

std::optional<Comparison> comparison(arith::CmpIOp op) {
  using P = arith::CmpIPredicate;
  switch (op.getPredicate()) {
  case P::eq:
    return Comparison{Opcode::Equal, false, false};
  case P::ne:
    return Comparison{Opcode::Equal, false, true};
  case P::slt:
    return Comparison{Opcode::Less, false, false};
  case P::sle:
    return Comparison{Opcode::LessEqual, false, false};
  case P::sgt:
    return Comparison{Opcode::Less, true, false};
  case P::sge:
    return Comparison{Opcode::LessEqual, true, false};
  default:
    return std::nullopt;
  }
}

std::optional<Opcode> reduction(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Opcode>>(op)
      .Case<arith::AddFOp, arith::AddIOp>([](auto) { return Opcode::StoreSum; })
      .Case<arith::MaximumFOp, arith::MaxSIOp>([](auto) { return Opcode::StoreMax; })
      .Case<arith::MinimumFOp, arith::MinSIOp>([](auto) { return Opcode::StoreMin; })
      .Default([](auto) { return std::nullopt; });
}

/// An output whose map lacks a loop, with what is combined into it.
struct Reduction {
  Opcode store;
  Value value;
  Operation *combiner;
};

bool isReduced(npu::VectorOp op, unsigned output) {
  auto map = cast<AffineMapAttr>(op.getMaps()[op.getInputs().size() + output]).getValue();
  for (unsigned loop = 0; loop < map.getNumDims(); ++loop)
    if (!map.isFunctionOfDim(loop))
      return true;
  return false;
}

FailureOr<Reduction> reductionOf(npu::VectorOp op, unsigned output) {
  Block &body = op.getBody().front();
  Value old = body.getArgument(op.getInputs().size() + output);
  Operation *combiner = body.getTerminator()->getOperand(output).getDefiningOp();
  std::optional<Opcode> store = combiner ? reduction(combiner) : std::nullopt;
  if (!store || combiner->getNumOperands() != 2 || !combiner->hasOneUse() || !old.hasOneUse() ||
      *old.getUsers().begin() != combiner)
    return failure();
  return Reduction{*store, combiner->getOperand(combiner->getOperand(0) == old ? 1 : 0), combiner};
}

/// A value that an engine's instruction gives from others than its operands in the body.
struct Idiom {
  Opcode op;
  ElementType type;
  SmallVector<Value> operands;
};

/// The value before it was extended to 64 bits, where products of 32 bits are written; a constant stays.
Value before64(Value value) {
  auto extended = value.getDefiningOp<arith::ExtSIOp>();
  return extended ? extended.getIn() : value;
}

/// (x · multiplier [+ 2^(shift-1)]) >> shift in 64 bits: the engine's requantizations, whose first shift is
/// 0.
std::optional<Idiom> requantization(Operation &op) {
  auto shift = dyn_cast<arith::ShRSIOp>(op);
  if (!shift || !shift.getType().isInteger(64))
    return std::nullopt;
  auto sum = shift.getLhs().getDefiningOp<arith::AddIOp>();
  auto half = sum ? sum.getRhs().getDefiningOp<arith::ShLIOp>() : arith::ShLIOp();
  auto below = half ? half.getRhs().getDefiningOp<arith::SubIOp>() : arith::SubIOp();
  bool rounds = below && matchPattern(half.getLhs(), m_One()) && matchPattern(below.getRhs(), m_One()) &&
                below.getLhs() == shift.getRhs();
  APInt number, step;
  if (sum && !rounds) // Of a constant shift the half step is one too.
    rounds = matchPattern(sum.getRhs(), m_ConstantInt(&number)) &&
             matchPattern(shift.getRhs(), m_ConstantInt(&step)) && number.isPowerOf2() &&
             number.logBase2() + 1 == step.getZExtValue();
  auto product = (rounds ? sum.getLhs() : shift.getLhs()).getDefiningOp<arith::MulIOp>();
  if (!product || (sum && !rounds))
    return std::nullopt;
  return Idiom{rounds ? Opcode::RequantizeFixedPoint : Opcode::RequantizeShift,
               ElementType::I32,
               {before64(product.getLhs()), before64(product.getRhs()), before64(shift.getRhs())}};
}

/// The number that a value is, if it is a constant.
std::optional<double> numberOf(Value value) {
  APFloat real(0.0f);
  APInt integer;
  if (matchPattern(value, m_ConstantFloat(&real)))
    return real.convertToDouble();
  if (matchPattern(value, m_ConstantInt(&integer)))
    return double(integer.getSExtValue());
  return std::nullopt;
}

/// x of min(max(x, least), greatest).
Value clamped(Value value, double least, double greatest) {
  Operation *min = value.getDefiningOp();
  if (!isa_and_nonnull<arith::MinimumFOp, arith::MinSIOp>(min) || numberOf(min->getOperand(1)) != greatest)
    return {};
  Operation *max = min->getOperand(0).getDefiningOp();
  if (!isa_and_nonnull<arith::MaximumFOp, arith::MaxSIOp>(max) || numberOf(max->getOperand(1)) != least)
    return {};
  return max->getOperand(0);
}

/// What stands for `value` in a store: engines need not compute in the type that a result is stored in, since
/// stores convert, saturate, and round floats to nearest even.
Value stored(Value value) {
  auto declared = dyn_cast<IntegerType>(value.getType());
  // What is stored in fewer bits than 32 fits into them, by the body's own arithmetic.
  auto reinterpreted = value.getDefiningOp<UnrealizedConversionCastOp>();
  if (reinterpreted)
    value = reinterpreted.getOperand(0);
  if (auto truncated = value.getDefiningOp<arith::TruncIOp>();
      truncated && truncated.getIn().getType().isInteger(32) && !truncated.getType().isInteger(1))
    value = truncated.getIn();
  Operation *convert = value.getDefiningOp();
  bool narrows = mlir::isa<FloatType>(value.getType()) && value.getType().getIntOrFloatBitWidth() < 32;
  if (isa_and_nonnull<arith::TruncFOp>(convert) || (narrows && isa_and_nonnull<arith::SIToFPOp>(convert)))
    return convert->getOperand(0);
  if (!isa_and_nonnull<arith::FPToSIOp, arith::TruncIOp>(convert) || declared.getWidth() > 16)
    return value;
  Value x = convert->getOperand(0);
  double values = std::ldexp(1.0, int(declared.getWidth())), least = declared.isUnsigned() ? 0 : -values / 2,
         greatest = least + values - 1;
  if (Value inner = clamped(x, least, greatest)) {
    auto rounding = inner.getDefiningOp<math::RoundEvenOp>();
    return rounding ? rounding.getOperand() : inner;
  }
  auto sum = x.getDefiningOp<arith::AddIOp>();
  std::optional<double> term = sum ? numberOf(sum.getRhs()) : std::nullopt;
  return term && clamped(sum.getLhs(), least - *term, greatest - *term) ? x : value;
}

/// The operand of `body` that a conversion between floats, a widening or one to floats converts, which its
/// load does.
std::optional<unsigned> loadedOperand(Value value, Block &body) {
  Value loaded = value;
  if (auto narrowed = value.getDefiningOp<arith::TruncFOp>())
    loaded = narrowed.getIn();
  else if (isa_and_nonnull<arith::SIToFPOp>(loaded.getDefiningOp()))
    loaded = loaded.getDefiningOp()->getOperand(0);
  if (isa_and_nonnull<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp>(loaded.getDefiningOp()))
    loaded = loaded.getDefiningOp()->getOperand(0);
  if (isa_and_nonnull<UnrealizedConversionCastOp>(loaded.getDefiningOp()))
    loaded = loaded.getDefiningOp()->getOperand(0);
  auto argument = dyn_cast<BlockArgument>(loaded);
  if (loaded == value || value.getType().isInteger(64) || !argument || argument.getOwner() != &body ||
      argument.getType().isInteger(1))
    return std::nullopt;
  return argument.getArgNumber();
}

std::optional<Idiom> idiom(Operation &inner) {
  if (auto toInteger = dyn_cast<arith::FPToSIOp>(inner))
    if (auto rounding = toInteger.getIn().getDefiningOp<math::RoundEvenOp>())
      return Idiom{Opcode::Convert, ElementType::I32, {rounding.getOperand()}};
  return requantization(inner);
}

/// Assigns registers to a body's values in order, giving a value's register back after its last use.
class Translator {
public:
  Translator(npu::VectorOp op, llvm::function_ref<int64_t(Value)> outside) : op(op), outside(outside) {}

  FailureOr<VectorProgram> run(ArrayRef<bool> keep) {
    Block &body = op.getBody().front();
    unsigned inputs = op.getInputs().size();
    SmallVector<std::optional<Reduction>> reductions(op.getOutputs().size());
    for (unsigned i = 0; i < op.getOutputs().size(); ++i) {
      if (!isReduced(op, i))
        continue;
      FailureOr<Reduction> found = reductionOf(op, i);
      if (failed(found))
        return op.emitError("output ") << i << " is not a sum, maximum or minimum of one value";
      reductions[i] = *found;
    }
    SmallVector<Value> results;
    for (auto [i, yielded] : llvm::enumerate(body.getTerminator()->getOperands()))
      results.push_back(reductions[i] ? reductions[i]->value : stored(yielded));
    for (Value result : results)
      need(result);
    for (Operation &inner : body.without_terminator())
      if (failed(translate(inner)))
        return failure();
    for (auto [i, value] : llvm::enumerate(results)) {
      VectorInstruction store;
      store.op = reductions[i] ? reductions[i]->store : Opcode::Store;
      store.type = registerType(value);
      store.dst = inputs + i;
      store.a = use(value);
      store.immediate = reductions[i] && keep[i];
      program.instructions.push_back(store);
      reuseOperands();
    }
    program.registers = nextRegister;
    if (nextRegister > 255)
      return op.emitError("needs ") << nextRegister
                                    << " registers at the same time; a program has at most 255";
    return program;
  }

private:
  /// Counts a use of `value`; the first one needs what the value is made of.
  void need(Value value) {
    if (++uses[value] > 1 || loadedOperand(value, op.getBody().front()))
      return;
    Operation *inner = value.getDefiningOp();
    if (!inner || inner->getBlock() != &op.getBody().front())
      return;
    std::optional<Idiom> found = idiom(*inner);
    for (Value operand : found ? ValueRange(found->operands) : ValueRange(inner->getOperands()))
      need(operand);
  }

  unsigned allocate() {
    if (!free.empty())
      return free.pop_back_val();
    return nextRegister++;
  }

  /// Registers of operands become free once the instruction that reads them is complete: not for its other
  /// operands.
  void reuseOperands() {
    free.append(released);
    released.clear();
  }

  /// A float of 16 bits that the body only stores, what it loaded or a constant, passes through a register of
  /// 32 bits: engines need not compute in the type that a result is stored in.
  ElementType registerType(Value value) {
    bool onlyStored = llvm::all_of(value.getUsers(), [&](Operation *user) {
      return llvm::isa<npu::YieldOp>(user) || user->getParentOp() != op;
    });
    bool isMade = llvm::isa<BlockArgument>(value) || value.getDefiningOp<arith::ConstantOp>();
    return llvm::isa<FloatType>(value.getType()) && isMade && onlyStored ? ElementType::F32
                                                                         : computeType(value.getType());
  }

  /// The register that holds `value`, loaded or made if it is none of the body's results yet.
  unsigned use(Value value) {
    auto found = registers.find(value);
    if (found == registers.end()) {
      VectorInstruction make;
      make.type = registerType(value);
      if (auto argument = dyn_cast<BlockArgument>(value);
          argument && argument.getOwner() == &op.getBody().front()) {
        make.op = Opcode::Load;
        make.a = argument.getArgNumber();
      } else if (std::optional<unsigned> operand = loadedOperand(value, op.getBody().front())) {
        make.op = Opcode::Load;
        make.a = *operand;
      } else if (auto index = value.getDefiningOp<npu::IndexOp>()) {
        make.op = Opcode::Index;
        make.a = index.getLoop();
      } else {
        make.op = Opcode::Constant;
        make.immediate = constantOf(value);
      }
      make.dst = allocate();
      program.instructions.push_back(make);
      found = registers.try_emplace(value, make.dst).first;
    }
    unsigned result = found->second;
    if (--uses[value] == 0) {
      released.push_back(result);
      registers.erase(value);
    }
    return result;
  }

  /// Of a constant in the body or outside, or of an index from outside.
  double constantOf(Value value) {
    if (auto known = constants.find(value); known != constants.end())
      return known->second;
    auto constant = value.getDefiningOp<arith::ConstantOp>();
    if (!constant)
      return static_cast<double>(outside(value));
    if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
      return number.getValueAsDouble();
    auto number = cast<IntegerAttr>(constant.getValue());
    return number.getType().isInteger(1) ? double(number.getValue().getBoolValue())
                                         : double(number.getValue().getSExtValue());
  }

  void emit(Opcode opcode, ElementType type, Value result, ArrayRef<Value> operands) {
    VectorInstruction instruction{opcode, type, 0, 0, 0, 0, 0};
    uint8_t *fields[] = {&instruction.a, &instruction.b, &instruction.c};
    for (auto [i, operand] : llvm::enumerate(operands))
      *fields[i] = use(operand);
    define(instruction, result);
  }

  /// The instruction takes both its shifts in one register, the second above the first, which is 0.
  void emitShift(const Idiom &idiom, Value result) {
    unsigned x = use(idiom.operands[0]), multiplier = use(idiom.operands[1]), shifts;
    if (std::optional<double> known = numberOf(idiom.operands[2])) {
      uses[idiom.operands[2]] -= 1;
      shifts = allocate();
      program.instructions.push_back(
          {Opcode::Constant, ElementType::I32, uint8_t(shifts), 0, 0, 0, *known * 256});
    } else {
      unsigned plain = use(idiom.operands[2]), eight = allocate();
      program.instructions.push_back({Opcode::Constant, ElementType::I32, uint8_t(eight), 0, 0, 0, 8});
      shifts = allocate();
      program.instructions.push_back(
          {Opcode::ShiftLeft, ElementType::I32, uint8_t(shifts), uint8_t(plain), uint8_t(eight), 0, 0});
      released.push_back(eight);
    }
    released.push_back(shifts);
    define(
        {Opcode::RequantizeShift, ElementType::I32, 0, uint8_t(x), uint8_t(multiplier), uint8_t(shifts), 0},
        result);
  }

  void define(VectorInstruction instruction, Value result) {
    reuseOperands();
    if (uses[result] == 0)
      return;
    instruction.dst = allocate();
    program.instructions.push_back(instruction);
    registers[result] = instruction.dst;
  }

  LogicalResult translate(Operation &inner) {
    if (inner.getNumResults() == 1 &&
        (uses.lookup(inner.getResult(0)) == 0 || loadedOperand(inner.getResult(0), op.getBody().front())))
      return success(); // Part of an instruction that stands for several operations.
    if (std::optional<Idiom> found = idiom(inner)) {
      if (found->op == Opcode::RequantizeShift)
        emitShift(*found, inner.getResult(0));
      else
        emit(found->op, found->type, inner.getResult(0), found->operands);
      return success();
    }
    if (llvm::isa<arith::ConstantOp>(inner))
      return success(); // Made where it is used.
    if (llvm::isa<npu::IndexOp>(inner))
      return success(); // Made where it is used: often only as part of an affine.apply.
    if (auto apply = dyn_cast<affine::AffineApplyOp>(inner))
      return translateAffine(apply);
    if (auto compare = dyn_cast<arith::CmpFOp>(inner))
      return translateComparison(inner, comparison(compare));
    if (auto compare = dyn_cast<arith::CmpIOp>(inner))
      return translateComparison(inner, comparison(compare));
    std::optional<Opcode> opcode = plainInstruction(&inner);
    if (!opcode)
      return inner.emitError("has no instruction on the vector engine");
    Type result = inner.getResult(0).getType();
    emit(*opcode, computeType(result), inner.getResult(0), llvm::to_vector(inner.getOperands()));
    return success();
  }

  LogicalResult translateComparison(Operation &inner, std::optional<Comparison> how) {
    if (!how)
      return inner.emitError("compares in a way that the vector engine cannot");
    Value a = inner.getOperand(how->swapped), b = inner.getOperand(!how->swapped);
    emit(how->op, computeType(a.getType()), inner.getResult(0), {a, b});
    if (how->negated && registers.contains(inner.getResult(0))) {
      unsigned r = registers[inner.getResult(0)];
      program.instructions.push_back({Opcode::Not, ElementType::Bool, uint8_t(r), uint8_t(r), 0, 0, 0});
    }
    return success();
  }

  /// An index that is a loop's index plus values from outside.
  LogicalResult translateAffine(affine::AffineApplyOp apply) {
    AffineMap map = apply.getAffineMap();
    npu::IndexOp loop;
    SmallVector<int64_t> values;
    unsigned loopOperand = 0;
    for (auto [i, operand] : llvm::enumerate(apply.getMapOperands())) {
      if (auto index = operand.getDefiningOp<npu::IndexOp>()) {
        if (loop)
          return apply.emitError("adds the indices of two loops, which the vector engine cannot");
        loop = index;
        loopOperand = i;
        values.push_back(0);
        continue;
      }
      values.push_back(outside(operand));
    }
    auto evaluate = [&](int64_t at) {
      if (loop)
        values[loopOperand] = at;
      SmallVector<Attribute> constants, results;
      for (int64_t v : values)
        constants.push_back(IntegerAttr::get(IndexType::get(apply.getContext()), v));
      (void)map.constantFold(constants, results);
      return cast<IntegerAttr>(results[0]).getInt();
    };
    if (!loop) {
      constants[apply.getResult()] = evaluate(0);
      return success();
    }
    if (evaluate(1) - evaluate(0) != 1 || evaluate(1000) - evaluate(0) != 1000)
      return apply.emitError("scales a loop's index, which the vector engine cannot");
    --uses[loop.getResult()];
    define({Opcode::Index, ElementType::I32, 0, uint8_t(loop.getLoop()), 0, 0, double(evaluate(0))}, apply);
    return success();
  }

  npu::VectorOp op;
  llvm::function_ref<int64_t(Value)> outside;
  VectorProgram program;
  llvm::DenseMap<Value, unsigned> uses, registers;
  llvm::DenseMap<Value, double> constants;
  SmallVector<unsigned> free, released;
  unsigned nextRegister = 0;
};

} // namespace

std::vector<VectorInstruction> npuc::codegen::instructionsOf(Block &body) {
  std::vector<VectorInstruction> instructions;
  llvm::SmallVector<Value> needed;
  llvm::DenseSet<Value> seen;
  for (Value result : body.getTerminator()->getOperands())
    needed.push_back(stored(result));
  while (!needed.empty()) {
    Value value = needed.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != &body || !seen.insert(value).second || loadedOperand(value, body))
      continue;
    if (std::optional<Idiom> found = idiom(*op)) {
      instructions.push_back({found->op, found->type, 0, 0, 0, 0, 0});
      needed.append(found->operands);
      continue;
    }
    needed.append(op->operand_begin(), op->operand_end());
    if (llvm::isa<arith::CmpFOp, arith::CmpIOp>(op))
      instructions.push_back({Opcode::Less, computeType(op->getOperand(0).getType()), 0, 0, 0, 0, 0});
    else if (std::optional<Opcode> opcode = plainInstruction(op))
      instructions.push_back({*opcode, computeType(op->getResult(0).getType()), 0, 0, 0, 0, 0});
  }
  return instructions;
}

FailureOr<ElementType> npuc::codegen::elementType(Type type) {
  if (llvm::isa<IndexType>(type))
    return ElementType::I32;
  if (type.isF16())
    return ElementType::F16;
  if (type.isBF16())
    return ElementType::BF16;
  if (type.isF32())
    return ElementType::F32;
  if (llvm::isa<Float8E4M3FNType>(type))
    return ElementType::F8E4M3;
  if (llvm::isa<Float8E5M2Type>(type))
    return ElementType::F8E5M2;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return failure();
  switch (integer.getWidth()) {
  case 1:
    return ElementType::Bool;
  case 4:
    return integer.isUnsigned() ? ElementType::U4 : ElementType::I4;
  case 8:
    return integer.isUnsigned() ? ElementType::U8 : ElementType::I8;
  case 16:
    return integer.isUnsigned() ? ElementType::U16 : ElementType::I16;
  case 32:
    return integer.isUnsigned() ? ElementType::U32 : ElementType::I32;
  case 64:
    return integer.isUnsigned() ? ElementType::U64 : ElementType::I64;
  default:
    return failure();
  }
}

FailureOr<VectorProgram> npuc::codegen::vectorProgram(npu::VectorOp op, ArrayRef<bool> keep,
                                                      llvm::function_ref<int64_t(Value)> outside) {
  return Translator(op, outside).run(keep);
}

std::optional<double> npuc::codegen::reductionIdentity(npu::VectorOp op, unsigned output) {
  if (!isReduced(op, output))
    return std::nullopt;
  FailureOr<Reduction> found = reductionOf(op, output);
  if (failed(found))
    return std::nullopt;
  bool isFloat = llvm::isa<FloatType>(found->value.getType());
  switch (found->store) {
  case Opcode::StoreMax:
    return isFloat ? -std::numeric_limits<double>::infinity() : double(std::numeric_limits<int32_t>::min());
  case Opcode::StoreMin:
    return isFloat ? std::numeric_limits<double>::infinity() : double(std::numeric_limits<int32_t>::max());
  default:
    return 0.0;
  }
}
