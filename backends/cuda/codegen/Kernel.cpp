#include "backends/cuda/codegen/Kernel.h"

#include "backends/npu/target/Target.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace npuc::cuda;

Machine::Machine(const npuc::target::TargetDescription &target)
    : capability(target.gpu().compute_capability()),
      sharedBytesPerBlock(int64_t(target.gpu().shared_bytes_per_block())),
      cores(npuc::target::coreCount(target)),
      sharedBytesOfTwo(int64_t(target.scratchpad().bytes() / 2 - target.gpu().shared_bytes_reserved())),
      target(target) {}

bool Machine::multiplies(Type element) const {
  auto has = [&](npuc::ElementType type) { return npuc::target::matrixType(target, type) != nullptr; };
  return (element.isF16() && has(npuc::ElementType::F16)) ||
         (element.isBF16() && has(npuc::ElementType::BF16)) ||
         (mlir::isa<Float8E4M3FNType>(element) && has(npuc::ElementType::F8E4M3)) ||
         (mlir::isa<Float8E5M2Type>(element) && has(npuc::ElementType::F8E5M2)) ||
         (element.isInteger(8) && has(npuc::ElementType::I8));
}

Kernel::Kernel(ModuleOp module, Location loc) : loc(loc), b(module.getContext()) {
  b.setInsertionPointToEnd(module.getBody());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {});
  function = LLVM::LLVMFuncOp::create(b, loc, "kernel", type);
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
  b.setInsertionPointToStart(function.addEntryBlock(b));
}

Value Kernel::pointerTo(Value root) {
  Block &entry = function.getBody().front();
  for (auto [i, known] : llvm::enumerate(roots))
    if (known == root)
      return entry.getArgument(i);
  roots.push_back(root);
  return entry.addArgument(LLVM::LLVMPointerType::get(b.getContext(), globalSpace), loc);
}

Value Kernel::shared() {
  constexpr StringRef name = "shared";
  auto module = function->getParentOfType<ModuleOp>();
  auto global = module.lookupSymbol<LLVM::GlobalOp>(name);
  if (!global) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    global =
        LLVM::GlobalOp::create(b, loc, LLVM::LLVMArrayType::get(b.getI8Type(), 0), /*isConstant=*/false,
                               LLVM::Linkage::External, name, Attribute(), /*alignment=*/128, sharedSpace);
  }
  return LLVM::AddressOfOp::create(b, loc, global);
}

void Kernel::finish() {
  LLVM::ReturnOp::create(b, loc, ValueRange());
  auto types = llvm::to_vector(function.getBody().getArgumentTypes());
  function.setFunctionType(LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), types));
  for (unsigned i = 0; i < types.size(); ++i) {
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
    function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(16));
  }
  function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(), b.getDenseI32ArrayAttr({int32_t(threads)}));
}

Value Combiner::combine(Emit e, Value x, Value y) const {
  IRMapping mapping;
  mapping.map(op->getOperand(0), x);
  mapping.map(op->getOperand(1), y);
  return e.b.clone(*op, mapping)->getResult(0);
}

std::optional<Combiner> npuc::cuda::combinerOf(linalg::LinalgOp op) {
  Block *body = op.getBlock();
  if (op.getNumDpsInits() != 1)
    return std::nullopt;
  Value out = body->getArguments().back();
  Operation *last = body->getTerminator()->getOperand(0).getDefiningOp();
  if (!last || last->getNumOperands() != 2 || !out.hasOneUse() || *out.getUsers().begin() != last)
    return std::nullopt;
  // What else has a neutral element is not reduced.
  bool isKnown = mlir::isa<arith::AddFOp, arith::MaximumFOp, arith::MinimumFOp, arith::AddIOp, arith::MaxSIOp,
                           arith::MinSIOp>(last);
  if (!isKnown || out.getType().getIntOrFloatBitWidth() != 32)
    return std::nullopt;
  // To a sum of floats only −0 adds nothing.
  if (auto add = dyn_cast<arith::AddFOp>(last))
    return Combiner{last, FloatAttr::get(add.getType(), -0.0)};
  return Combiner{last, *arith::getNeutralElement(last)};
}

SmallVector<linalg::LinalgOp> npuc::cuda::outputsOf(const tile::Group &group) {
  auto isMember = [&](Operation *user) { return llvm::is_contained(group.operations, user); };
  SmallVector<linalg::LinalgOp> outputs;
  llvm::copy_if(group.operations, std::back_inserter(outputs), [&](linalg::LinalgOp op) {
    return op == group.root() || !llvm::all_of(op->getUsers(), isMember);
  });
  return outputs;
}

int64_t npuc::cuda::lanesOf(const tile::Group &group, int64_t extent) {
  SmallVector<linalg::LinalgOp> outputs = outputsOf(group);
  int64_t widest = 2, lanes = 1;
  for (linalg::LinalgOp op : group.operations)
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<RankedTensorType>(operand.getType());
      auto producer = operand.getDefiningOp<linalg::LinalgOp>();
      bool inMemory = type && (!producer || !llvm::is_contained(group.operations, producer)) &&
                      !operand.getDefiningOp<linalg::FillOp>() &&
                      (llvm::is_contained(outputs, op) || !llvm::is_contained(op.getDpsInits(), operand));
      if (inMemory)
        widest = std::max<int64_t>(widest, memoryType(type.getElementType()).getIntOrFloatBitWidth() / 8);
    }
  while (lanes * 2 * widest <= 16 && extent % (lanes * 2) == 0)
    lanes *= 2;
  return lanes;
}
