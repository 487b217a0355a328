#include "dialects/npu/IR/Npu.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace npuc::npu;

#include "dialects/npu/IR/NpuDialect.cpp.inc"
#include "dialects/npu/IR/NpuEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/npu/IR/NpuAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/npu/IR/NpuOps.cpp.inc"

void NpuDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/npu/IR/NpuAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/npu/IR/NpuOps.cpp.inc"
      >();
}

LogicalResult SpaceAttr::verify(function_ref<InFlightDiagnostic()> emitError, MemorySpace value,
                                int64_t chunk) {
  if (chunk < 0)
    return emitError() << "chunk is " << chunk << "; it counts elements";
  if (chunk > 0 && value != MemorySpace::Scratchpad)
    return emitError() << "only a scratchpad is cut into chunks; " << stringifyMemorySpace(value)
                       << " is one memory";
  return success();
}

int64_t CoreAttr::getMappingId() const {
  return getDimension();
}
bool CoreAttr::isLinearMapping() const {
  return false;
}
int64_t CoreAttr::getRelativeIndex() const {
  return getDimension();
}

SpaceAttr npuc::npu::spaceOf(BaseMemRefType type) {
  if (auto space = dyn_cast_or_null<SpaceAttr>(type.getMemorySpace()))
    return space;
  return SpaceAttr::get(type.getContext(), MemorySpace::Dram, 0);
}

FailureOr<SmallVector<LoopRole>> npuc::npu::loopRoles(ArrayRef<AffineMap> maps) {
  if (maps.size() != 3 || !maps[1].isProjectedPermutation() || !maps[2].isProjectedPermutation())
    return failure();
  SmallVector<LoopRole> roles;
  for (unsigned loop = 0; loop < maps[2].getNumDims(); ++loop) {
    bool lhs = maps[0].isFunctionOfDim(loop), rhs = maps[1].isFunctionOfDim(loop),
         sums = maps[2].isFunctionOfDim(loop);
    if (lhs && rhs)
      roles.push_back(sums ? LoopRole::Batch : LoopRole::K);
    else if (sums && (lhs || rhs))
      roles.push_back(lhs ? LoopRole::M : LoopRole::N);
    else
      return failure();
  }
  return roles;
}

namespace {

/// Sizes that are both known and differ.
bool differ(int64_t a, int64_t b) {
  return !ShapedType::isDynamic(a) && !ShapedType::isDynamic(b) && a != b;
}

LogicalResult verifySameShape(Operation *op, MemRefType a, MemRefType b) {
  if (a.getElementType() != b.getElementType())
    return op->emitOpError("copies between element types ")
           << a.getElementType() << " and " << b.getElementType();
  if (a.getRank() != b.getRank() || llvm::any_of(llvm::zip_equal(a.getShape(), b.getShape()), [](auto pair) {
        return differ(std::get<0>(pair), std::get<1>(pair));
      }))
    return op->emitOpError("copies between different shapes ") << a << " and " << b;
  return success();
}

/// The maps fit the operands, and loops have one size wherever a plain dimension gives it.
LogicalResult verifyMaps(Operation *op, ArrayAttr maps, ValueRange operands) {
  if (maps.size() != operands.size())
    return op->emitOpError("has ") << operands.size() << " operands and " << maps.size() << " indexing maps";
  SmallVector<int64_t> sizes;
  for (auto [map, operand] : llvm::zip_equal(maps.getAsValueRange<AffineMapAttr>(), operands)) {
    auto type = cast<MemRefType>(operand.getType());
    if (map.getNumResults() != type.getRank() || map.getNumSymbols() != 0)
      return op->emitOpError("indexing map ")
             << AffineMapAttr::get(map) << " does not fit operand of type " << type;
    if (sizes.empty())
      sizes.assign(map.getNumDims(), ShapedType::kDynamic);
    if (sizes.size() != map.getNumDims())
      return op->emitOpError("indexing maps have different numbers of loops");
    for (auto [expr, size] : llvm::zip_equal(map.getResults(), type.getShape())) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!dim)
        continue;
      if (differ(sizes[dim.getPosition()], size))
        return op->emitOpError("loop ")
               << dim.getPosition() << " has the sizes " << sizes[dim.getPosition()] << " and " << size;
      if (!ShapedType::isDynamic(size))
        sizes[dim.getPosition()] = size;
    }
  }
  return success();
}

} // namespace

LogicalResult CopyOp::verify() {
  auto source = cast<MemRefType>(getSource().getType()), target = cast<MemRefType>(getTarget().getType());
  for (MemRefType type : {source, target})
    if (spaceOf(type).getValue() == MemorySpace::Accumulator)
      return emitOpError("reaches the accumulators: only the matrix and vector engines do");
  return verifySameShape(*this, source, target);
}

LogicalResult GatherOp::verify() {
  auto table = cast<MemRefType>(getTable().getType()), target = cast<MemRefType>(getTarget().getType());
  auto indices = cast<MemRefType>(getIndices().getType());
  if (!indices.getElementType().isInteger(32))
    return emitOpError("needs i32 indices, not ") << indices.getElementType();
  if (table.getElementType() != target.getElementType())
    return emitOpError("gathers ") << table.getElementType() << " into " << target.getElementType();
  if (table.getRank() < 1 || target.getRank() != indices.getRank() + table.getRank() - 1)
    return emitOpError("needs a target of rank ")
           << indices.getRank() + table.getRank() - 1 << " (indices' dimensions, then the row's)";
  return success();
}

LogicalResult ContractOp::verify() {
  if (failed(verifyMaps(*this, getMaps(), getOperands())))
    return failure();
  if (failed(loopRoles(llvm::to_vector(getMaps().getAsValueRange<AffineMapAttr>()))))
    return emitOpError("has a loop that is neither batch, m, n nor k");
  Type a = cast<MemRefType>(getLhs().getType()).getElementType(),
       sums = cast<MemRefType>(getSums().getType()).getElementType();
  if (isa<FloatType>(a) ? !sums.isF32() : !sums.isInteger(32) && !sums.isInteger(64))
    return emitOpError("keeps the sums of ") << a << " products in " << sums;
  return success();
}

LogicalResult VectorOp::verify() {
  if (failed(verifyMaps(*this, getMaps(), getOperands())))
    return failure();
  Block &body = getBody().front();
  if (body.getNumArguments() != getNumOperands())
    return emitOpError("needs one block argument for each of its ") << getNumOperands() << " operands";
  for (auto [argument, operand] : llvm::zip_equal(body.getArguments(), getOperands()))
    if (argument.getType() != cast<MemRefType>(operand.getType()).getElementType())
      return emitOpError("block argument ") << argument.getArgNumber() << " has type " << argument.getType()
                                            << ", its operand has " << operand.getType();
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getNumOperands() != getOutputs().size())
    return emitOpError("must yield one value for each output");
  for (auto [value, output] : llvm::zip_equal(yield.getOperands(), getOutputs()))
    if (value.getType() != cast<MemRefType>(output.getType()).getElementType())
      return emitOpError("yields ") << value.getType() << " to an output of " << output.getType();
  return success();
}
