#include "backends/cuda/time/Instructions.h"

#include "backends/cuda/codegen/Emit.h"
#include "backends/npu/target/Target.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/DataLayout.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Operator.h"

using namespace llvm;

namespace npuc::cuda {
namespace {

/// What a division of integers by no constant becomes, about.
constexpr double integerDivision = 20;
constexpr uint64_t greatestAccess = 16;

/// The name of the intrinsic, or the text of the assembly, that a call is of.
StringRef nameOf(const CallBase &call) {
  if (const auto *text = dyn_cast<InlineAsm>(call.getCalledOperand()))
    return text->getAsmString();
  const Function *function = call.getCalledFunction();
  return function ? function->getName() : StringRef();
}

double elementsOf(const Type *type) {
  const auto *vector = dyn_cast<FixedVectorType>(type);
  return vector ? vector->getNumElements() : 1;
}

uint64_t bytesOf(const Instruction &instruction, Type *type) {
  return instruction.getModule()->getDataLayout().getTypeStoreSize(type).getFixedValue();
}

Cost costOfDivision(const BinaryOperator &op) {
  const auto *divisor = dyn_cast<ConstantInt>(op.getOperand(1));
  if (!divisor)
    return {integerDivision, Pipe::Integers};
  const bool remains = op.getOpcode() == Instruction::URem || op.getOpcode() == Instruction::SRem;
  // The high half of a product and a shift; the remainder a product and a difference more.
  return {divisor->getValue().isPowerOf2() ? 1.0 : remains ? 4.0 : 2.0, Pipe::Integers};
}

} // namespace

Instructions::Instructions(const target::TargetDescription &target) {
  auto takes = [&](isa::VectorOp op) {
    const double rate = target::functionRate(target, op);
    return rate > 0 ? 1 / rate : 1;
  };
  divide = takes(isa::VectorOp::Divide);
  squareRoot = takes(isa::VectorOp::Sqrt);
}

Cost Instructions::costOf(const Instruction &instruction) const {
  if (const auto *call = dyn_cast<CallBase>(&instruction)) {
    const StringRef name = nameOf(*call);
    if (llvm::isa<DbgInfoIntrinsic, LifetimeIntrinsic, AssumeInst>(call) ||
        name.starts_with("llvm.experimental.noalias"))
      return {};
    if (multiplyAddsOf(instruction).count > 0)
      return {1, Pipe::Tensor};
    if (name.contains("cp.async.commit"))
      return {1, Pipe::Commit};
    if (name.contains("cp.async.wait"))
      return {1, Pipe::Wait};
    if (name.contains("cp.async"))
      return {1, Pipe::Copy};
    if (name.contains("ldmatrix") || name.contains("shfl"))
      return {1, Pipe::Shared};
    if (name.contains("sqrt"))
      return {squareRoot, Pipe::Floats};
    if (name.starts_with("llvm.fma") || name.starts_with("llvm.fmuladd"))
      return {elementsOf(call->getType()), Pipe::Floats};
    if (name.contains("barrier"))
      return {1, Pipe::Barrier};
    if (name.contains("sreg"))
      return {1, Pipe::Other};
    return {elementsOf(call->getType()), Pipe::Integers};
  }
  switch (instruction.getOpcode()) {
  case Instruction::Load:
  case Instruction::Store: {
    const MemoryAccess global = globalAccessOf(instruction);
    const uint64_t bytes = global.pointer ? global.bytes : sharedBytesOf(instruction);
    return {double(divideCeil(std::max<uint64_t>(bytes, 1), greatestAccess)),
            global.pointer ? Pipe::Global : Pipe::Shared};
  }
  case Instruction::FNeg:
  case Instruction::FAdd:
  case Instruction::FSub:
  case Instruction::FMul:
    return {elementsOf(instruction.getType()), Pipe::Floats};
  case Instruction::FDiv:
    return {elementsOf(instruction.getType()) * divide, Pipe::Floats};
  case Instruction::UDiv:
  case Instruction::URem:
  case Instruction::SDiv:
  case Instruction::SRem:
    return costOfDivision(cast<BinaryOperator>(instruction));
  case Instruction::GetElementPtr:
    return {cast<GEPOperator>(instruction).hasAllConstantIndices() ? 0.0 : 1.0, Pipe::Integers};
  case Instruction::PHI:
  case Instruction::ExtractValue:
  case Instruction::InsertValue:
  case Instruction::ExtractElement:
  case Instruction::InsertElement:
  case Instruction::ShuffleVector:
  case Instruction::BitCast:
  case Instruction::AddrSpaceCast:
  case Instruction::PtrToInt:
  case Instruction::IntToPtr:
  case Instruction::Freeze:
  case Instruction::Trunc:
    return {};
  case Instruction::Br:
  case Instruction::Ret:
  case Instruction::Switch:
    return {1, Pipe::Other};
  default:
    return {elementsOf(instruction.getType()), Pipe::Integers};
  }
}

MultiplyAdds multiplyAddsOf(const Instruction &instruction) {
  const auto *call = dyn_cast<CallBase>(&instruction);
  const StringRef name = call ? nameOf(*call) : StringRef();
  if (!name.contains("mma.m16") && !name.contains("mma.sync"))
    return {};
  // "…m16n8k32.…"
  MultiplyAdds result{1};
  StringRef shape = name.substr(name.find("m16"));
  for (char letter : {'m', 'n', 'k'}) {
    uint64_t extent = 0;
    if (!shape.consume_front(StringRef(&letter, 1)) || shape.consumeInteger(10, extent))
      return {};
    result.count *= extent;
  }
  result.type = name.contains(".bf16")                         ? ElementType::BF16
                : name.contains(".s8") || name.contains(".u8") ? ElementType::I8
                : name.contains(".e4m3")                       ? ElementType::F8E4M3
                : name.contains(".e5m2")                       ? ElementType::F8E5M2
                                                               : ElementType::F16;
  return result;
}

MemoryAccess globalAccessOf(const Instruction &instruction) {
  MemoryAccess access;
  if (const auto *load = dyn_cast<LoadInst>(&instruction);
      load && load->getPointerAddressSpace() == globalSpace)
    access = {load->getPointerOperand(), bytesOf(instruction, load->getType()), true, false};
  if (const auto *store = dyn_cast<StoreInst>(&instruction);
      store && store->getPointerAddressSpace() == globalSpace)
    access = {store->getPointerOperand(), bytesOf(instruction, store->getValueOperand()->getType()), false,
              true};
  if (const auto *call = dyn_cast<CallBase>(&instruction);
      call && nameOf(*call).contains("cp.async.c") && !nameOf(*call).contains("commit"))
    access = {call->getArgOperand(1), greatestAccess, true, false,
              call->arg_size() > 2 ? call->getArgOperand(2) : nullptr};
  return access;
}

std::optional<unsigned> argumentOf(const Value *pointer) {
  SmallVector<const Value *, 4> objects;
  getUnderlyingObjects(pointer, objects, nullptr, 0);
  for (const Value *object : objects)
    if (const auto *argument = dyn_cast<Argument>(object))
      return argument->getArgNo();
  return std::nullopt;
}

uint64_t sharedBytesOf(const Instruction &instruction) {
  if (const auto *load = dyn_cast<LoadInst>(&instruction))
    return load->getPointerAddressSpace() == sharedSpace ? bytesOf(instruction, load->getType()) : 0;
  if (const auto *store = dyn_cast<StoreInst>(&instruction))
    return store->getPointerAddressSpace() == sharedSpace
               ? bytesOf(instruction, store->getValueOperand()->getType())
               : 0;
  const auto *call = dyn_cast<CallBase>(&instruction);
  if (!call)
    return 0;
  const StringRef name = nameOf(*call);
  // Each lane gets four bytes of each matrix.
  if (name.contains("ldmatrix"))
    return name.contains(".x4") ? 16 : name.contains(".x2") ? 8 : 4;
  return globalAccessOf(instruction).pointer ? greatestAccess : 0;
}

} // namespace npuc::cuda
