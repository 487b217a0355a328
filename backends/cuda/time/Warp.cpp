#include "backends/cuda/time/Warp.h"

#include "llvm/ADT/PostOrderIterator.h"
#include "llvm/Analysis/ScalarEvolutionExpressions.h"
#include "llvm/IR/CFG.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsNVPTX.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Operator.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace npuc::cuda {
namespace {

using Values = std::optional<LaneValues>;

unsigned bitsOf(const Type *type) {
  return type->isPointerTy()                                       ? 64
         : type->isIntegerTy() && type->getIntegerBitWidth() <= 64 ? type->getIntegerBitWidth()
                                                                   : 0;
}

uint64_t cut(uint64_t value, unsigned bits) {
  return bits < 64 ? value & ((uint64_t{1} << bits) - 1) : value;
}

Values splat(uint64_t value) {
  LaneValues values;
  values.fill(value);
  return values;
}

template <typename Function>
Values forEach(const Values &x, const Values &y, unsigned bits, Function function) {
  if (!x || !y)
    return std::nullopt;
  LaneValues result;
  for (size_t lane = 0; lane < result.size(); ++lane)
    result[lane] = cut(function((*x)[lane], (*y)[lane]), bits);
  return result;
}

bool compare(CmpInst::Predicate predicate, uint64_t x, uint64_t y, unsigned bits) {
  return ICmpInst::compare(APInt(bits, x), APInt(bits, y), predicate);
}

} // namespace

Warp::Warp(Function &function, const LoopInfo &loops, ScalarEvolution &evolution, Place place)
    : loops(loops), evolution(evolution), layout(function.getParent()->getDataLayout()),
      place(std::move(place)) {
  for (const BasicBlock *block : ReversePostOrderTraversal<Function *>(&function)) {
    uint32_t all = 0;
    if (block == &function.getEntryBlock())
      for (unsigned lane = 0; lane < 32; ++lane)
        all |= uint32_t(this->place.firstThread + lane < this->place.threads) << lane;
    for (const BasicBlock *from : predecessors(block))
      all |= lanesAlong(from, block);
    lanes[block] = all;
  }
}

uint32_t Warp::lanesAlong(const BasicBlock *from, const BasicBlock *to) {
  const uint32_t all = lanes.lookup(from); // 0 along the way back of a loop.
  const Loop *loop = loops.getLoopFor(from);
  const auto *branch = dyn_cast<BranchInst>(from->getTerminator());
  if (!branch || !branch->isConditional() || (loop && !loop->contains(to)))
    return all;
  const Values &condition = of(branch->getCondition());
  if (!condition || branch->getSuccessor(0) == branch->getSuccessor(1))
    return all;
  uint32_t taken = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    taken |= uint32_t(((*condition)[lane] != 0) == (branch->getSuccessor(0) == to)) << lane;
  return all & taken;
}

const Values &Warp::of(const Value *value) {
  if (auto found = known.find(value); found != known.end())
    return *found->second;
  auto computed = std::make_unique<Values>(compute(value));
  return *(known[value] = std::move(computed));
}

Values Warp::compute(const Value *value) {
  if (bitsOf(value->getType()) == 0)
    return std::nullopt;
  if (const auto *constant = dyn_cast<ConstantInt>(value))
    return splat(constant->getZExtValue());
  if (llvm::isa<Argument, GlobalVariable>(value) && value->getType()->isPointerTy())
    return splat(0);
  if (const auto *instruction = dyn_cast<Instruction>(value))
    return ofInstruction(*instruction);
  return std::nullopt;
}

Values Warp::ofPhi(const PHINode &phi) {
  const Loop *loop = loops.getLoopFor(phi.getParent());
  if (loop && loop->getHeader() == phi.getParent()) {
    const BasicBlock *latch = loop->getLoopLatch();
    if (latch && place.iteration(*loop) > 0)
      if (const Value *again = phi.getIncomingValueForBlock(latch); loop->isLoopInvariant(again))
        return of(again);
    if (const BasicBlock *before = loop->getLoopPredecessor(); before && place.iteration(*loop) == 0)
      return of(phi.getIncomingValueForBlock(before));
    if (!evolution.isSCEVable(phi.getType()))
      return std::nullopt;
    auto *recurrence = dyn_cast<SCEVAddRecExpr>(evolution.getSCEV(const_cast<PHINode *>(&phi)));
    auto *step = recurrence && recurrence->getLoop() == loop && recurrence->isAffine()
                     ? dyn_cast<SCEVConstant>(recurrence->getStepRecurrence(evolution))
                     : nullptr;
    const BasicBlock *before = loop->getLoopPredecessor();
    if (!step || !before)
      return std::nullopt;
    const uint64_t ahead = step->getValue()->getSExtValue() * place.iteration(*loop);
    return forEach(of(phi.getIncomingValueForBlock(before)), splat(ahead), bitsOf(phi.getType()),
                   [](uint64_t x, uint64_t y) { return x + y; });
  }
  // Of those that come from where lanes run.
  Values result;
  for (auto [incoming, from] : zip_equal(phi.incoming_values(), phi.blocks())) {
    if (lanes.lookup(from) == 0)
      continue;
    const Values &one = of(incoming);
    if (!one || (result && *result != *one))
      return std::nullopt;
    result = one;
  }
  return result;
}

Values Warp::ofCall(const CallBase &call) {
  auto extreme = [&](CmpInst::Predicate keepsFirst) {
    const unsigned bits = bitsOf(call.getType());
    return forEach(of(call.getArgOperand(0)), of(call.getArgOperand(1)), bits,
                   [&](uint64_t x, uint64_t y) { return compare(keepsFirst, x, y, bits) ? x : y; });
  };
  switch (call.getIntrinsicID()) {
  case Intrinsic::nvvm_read_ptx_sreg_tid_x: {
    LaneValues values;
    for (unsigned lane = 0; lane < 32; ++lane)
      values[lane] = place.firstThread + lane;
    return values;
  }
  case Intrinsic::nvvm_read_ptx_sreg_ctaid_x:
    return splat(place.block[0]);
  case Intrinsic::nvvm_read_ptx_sreg_ctaid_y:
    return splat(place.block[1]);
  case Intrinsic::nvvm_read_ptx_sreg_ctaid_z:
    return splat(place.block[2]);
  case Intrinsic::umin:
    return extreme(CmpInst::ICMP_ULT);
  case Intrinsic::umax:
    return extreme(CmpInst::ICMP_UGT);
  case Intrinsic::smin:
    return extreme(CmpInst::ICMP_SLT);
  case Intrinsic::smax:
    return extreme(CmpInst::ICMP_SGT);
  default:
    return std::nullopt;
  }
}

Values Warp::ofInstruction(const Instruction &instruction) {
  const unsigned bits = bitsOf(instruction.getType());
  if (const auto *phi = dyn_cast<PHINode>(&instruction))
    return ofPhi(*phi);
  if (const auto *call = dyn_cast<CallBase>(&instruction))
    return ofCall(*call);
  if (const auto *load = dyn_cast<LoadInst>(&instruction)) {
    // Which row all lanes read of a table makes no difference.
    const Values &address = of(load->getPointerOperand());
    return address && llvm::all_equal(*address) ? splat(0) : std::nullopt;
  }
  if (const auto *gep = dyn_cast<GEPOperator>(&instruction)) {
    if (layout.getIndexTypeSizeInBits(gep->getType()) != 64)
      return std::nullopt; // Shared memory: nobody asks where.
    SmallMapVector<Value *, APInt, 4> parts;
    APInt constant(64, 0);
    if (!gep->collectOffset(layout, 64, parts, constant))
      return std::nullopt;
    Values result = forEach(of(gep->getPointerOperand()), splat(constant.getZExtValue()), 64,
                            [](uint64_t x, uint64_t y) { return x + y; });
    for (const auto &[part, scale] : parts) {
      const unsigned width = bitsOf(part->getType());
      const uint64_t factor = scale.getZExtValue();
      result = forEach(result, of(part), 64, [&](uint64_t x, uint64_t y) {
        return x + static_cast<uint64_t>(SignExtend64(y, width)) * factor;
      });
    }
    return result;
  }
  if (const auto *select = dyn_cast<SelectInst>(&instruction)) {
    const Values &condition = of(select->getCondition()), &x = of(select->getTrueValue()),
                 &y = of(select->getFalseValue());
    if (!condition || !x || !y)
      return std::nullopt;
    LaneValues result;
    for (size_t lane = 0; lane < result.size(); ++lane)
      result[lane] = (*condition)[lane] ? (*x)[lane] : (*y)[lane];
    return result;
  }
  if (const auto *cast = dyn_cast<CastInst>(&instruction)) {
    const Values &from = of(cast->getOperand(0));
    const unsigned width = bitsOf(cast->getSrcTy());
    if (!from || width == 0)
      return std::nullopt;
    return forEach(from, from, bits, [&](uint64_t x, uint64_t) {
      return llvm::isa<SExtInst>(cast) ? static_cast<uint64_t>(SignExtend64(x, width)) : x;
    });
  }
  if (llvm::isa<FreezeInst>(&instruction))
    return of(instruction.getOperand(0));
  if (instruction.getNumOperands() != 2 || bitsOf(instruction.getOperand(0)->getType()) == 0)
    return std::nullopt;
  const Values &x = of(instruction.getOperand(0)), &y = of(instruction.getOperand(1));
  if (const auto *comparison = dyn_cast<ICmpInst>(&instruction)) {
    const unsigned width = bitsOf(comparison->getOperand(0)->getType());
    return forEach(x, y, 1, [&](uint64_t a, uint64_t b) {
      return uint64_t(compare(comparison->getPredicate(), a, b, width));
    });
  }
  auto by = [&](auto function) { return forEach(x, y, bits, function); };
  switch (instruction.getOpcode()) {
  case Instruction::Add:
    return by([](uint64_t a, uint64_t b) { return a + b; });
  case Instruction::Sub:
    return by([](uint64_t a, uint64_t b) { return a - b; });
  case Instruction::Mul:
    return by([](uint64_t a, uint64_t b) { return a * b; });
  case Instruction::UDiv:
    return by([](uint64_t a, uint64_t b) { return b ? a / b : 0; });
  case Instruction::URem:
    return by([](uint64_t a, uint64_t b) { return b ? a % b : 0; });
  case Instruction::Shl:
    return by([](uint64_t a, uint64_t b) { return b < 64 ? a << b : 0; });
  case Instruction::LShr:
    return by([](uint64_t a, uint64_t b) { return b < 64 ? a >> b : 0; });
  case Instruction::And:
    return by([](uint64_t a, uint64_t b) { return a & b; });
  case Instruction::Or:
    return by([](uint64_t a, uint64_t b) { return a | b; });
  case Instruction::Xor:
    return by([](uint64_t a, uint64_t b) { return a ^ b; });
  default:
    return std::nullopt;
  }
}

} // namespace npuc::cuda
