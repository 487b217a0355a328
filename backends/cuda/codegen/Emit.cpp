#include "backends/cuda/codegen/Emit.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace npuc::cuda;

SmallVector<Value> Emit::delinearize(Value linear, ArrayRef<int64_t> extents) const {
  SmallVector<Value> indices(extents.size());
  for (size_t i = extents.size(); i-- > 0;) {
    if (i == 0) {
      indices[i] = linear;
      break;
    }
    indices[i] = extents[i] == 1 ? index(0) : rem(linear, extents[i]);
    linear = extents[i] == 1 ? linear : div(linear, extents[i]);
  }
  return indices;
}

Value Emit::address(Value pointer, Type type, Value offset) const {
  return LLVM::GEPOp::create(b, loc, pointer.getType(), type, pointer, ArrayRef<LLVM::GEPArg>{toI32(offset)},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value Emit::load(Type type, Value address, unsigned alignment) const {
  return LLVM::LoadOp::create(b, loc, type, address, alignment);
}

void Emit::store(Value value, Value address, unsigned alignment) const {
  LLVM::StoreOp::create(b, loc, value, address, alignment);
}

Value Emit::pack(ArrayRef<Value> lanes) const {
  if (lanes.size() == 1)
    return lanes[0];
  auto type = VectorType::get(int64_t(lanes.size()), lanes[0].getType());
  Value vector = LLVM::PoisonOp::create(b, loc, type);
  for (auto [i, lane] : llvm::enumerate(lanes))
    vector = LLVM::InsertElementOp::create(b, loc, vector, lane, i32(int32_t(i)));
  return vector;
}

SmallVector<Value> Emit::unpack(Value vector) const {
  auto type = dyn_cast<VectorType>(vector.getType());
  if (!type)
    return {vector};
  SmallVector<Value> lanes;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    lanes.push_back(LLVM::ExtractElementOp::create(b, loc, vector, i32(int32_t(i))));
  return lanes;
}

Value Emit::shuffleXor(Value value, unsigned mask) const {
  return NVVM::ShflOp::create(b, loc, value.getType(), i32(-1), value, i32(int32_t(mask)), i32(31),
                              NVVM::ShflKind::bfly, UnitAttr());
}

Value Emit::call(StringRef name, Type result, Value operand) const {
  auto module = b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  auto callee = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
  if (!callee) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    callee = LLVM::LLVMFuncOp::create(b, loc, name, LLVM::LLVMFunctionType::get(result, {operand.getType()}));
  }
  return LLVM::CallOp::create(b, loc, callee, operand).getResult();
}

static std::string nameOf(Type float8) {
  return isa<Float8E4M3FNType>(float8) ? "f8e4m3" : "f8e5m2";
}

Value Emit::decode(Type element, Value code) const {
  Value wide = arith::ExtUIOp::create(b, loc, b.getI32Type(), code);
  return call("npuc_from_" + nameOf(element), b.getF32Type(), wide);
}

Value Emit::encode(Type element, Value f32) const {
  Value wide = call("npuc_to_" + nameOf(element), b.getI32Type(), f32);
  return arith::TruncIOp::create(b, loc, b.getI8Type(), wide);
}

void Emit::when(Value condition, llvm::function_ref<void()> body) const {
  if (!condition)
    return body();
  auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  body();
}

bool npuc::cuda::isFloat8(Type element) {
  return isa<Float8E4M3FNType, Float8E5M2Type>(element);
}

Type npuc::cuda::memoryType(Type element) {
  if (isFloat8(element))
    return IntegerType::get(element.getContext(), 8);
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return element;
  return IntegerType::get(element.getContext(), std::max(8u, integer.getWidth()));
}
