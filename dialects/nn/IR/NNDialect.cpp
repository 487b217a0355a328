#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Transforms/InliningUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace npuc::nn;

#include "dialects/nn/IR/NNDialect.cpp.inc"
#include "dialects/nn/IR/NNEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/nn/IR/NNAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/nn/IR/NNOps.cpp.inc"

namespace npuc::nn {
namespace {

/// nn operations have no side effects, so a call of a segment may become its body anywhere.
struct Inliner : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;
  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const override { return true; }
};

} // namespace

void NNDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/nn/IR/NNAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/nn/IR/NNOps.cpp.inc"
      >();
  addInterfaces<Inliner>();
}

Operation *NNDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  auto typed = dyn_cast<TypedAttr>(value);
  if (!typed || typed.getType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, typed);
}

bool isHandle(Attribute value) {
  return isa<ExternalAttr, TransposedAttr, ReshapedAttr, ConvertedAttr, SlicedAttr, ConcatenatedAttr,
             ScaledAttr, QuantizedAttr>(value);
}

int64_t byteSize(RankedTensorType type) {
  int64_t bits = std::max(1u, type.getElementTypeBitWidth());
  return type.getElementType().isInteger(1) ? type.getNumElements()
                                            : llvm::divideCeil(type.getNumElements() * bits, 8);
}

int64_t ExternalAttr::getByteSize() const {
  return byteSize(getType());
}

LogicalResult ExternalAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, StringRef,
                                   int64_t offset, RankedTensorType type) {
  if (offset < 0)
    return emitError() << "offset in a file must not be negative, found " << offset;
  if (!type.hasStaticShape())
    return emitError() << "a handle's type must be statically shaped, found " << type;
  return success();
}

/// One factor for each index of the axis of a source of f32 of the handle's shape.
static LogicalResult verifyFactors(llvm::function_ref<InFlightDiagnostic()> emitError, TypedAttr source,
                                   size_t factors, int64_t axis, RankedTensorType type) {
  auto from = dyn_cast<RankedTensorType>(source.getType());
  if (!from || !from.getElementType().isF32() || from.getShape() != type.getShape())
    return emitError() << "source must be of f32 and of the handle's shape, found " << source.getType()
                       << " for " << type;
  if (axis < 0 || axis >= type.getRank() || type.getDimSize(axis) != static_cast<int64_t>(factors))
    return emitError() << "needs one factor for each index of axis " << axis << " of " << type << ", found "
                       << factors;
  return success();
}

LogicalResult ScaledAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, TypedAttr source,
                                 DenseF32ArrayAttr factors, int64_t axis, RankedTensorType type) {
  if (!type.getElementType().isF32())
    return emitError() << "what is scaled is of f32, found " << type;
  return verifyFactors(emitError, source, factors.size(), axis, type);
}

LogicalResult QuantizedAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, TypedAttr source,
                                    DenseF32ArrayAttr scales, int64_t axis, RankedTensorType type) {
  if (!type.getElementType().isSignlessInteger(8))
    return emitError() << "what is quantized is of i8, found " << type;
  return verifyFactors(emitError, source, scales.size(), axis, type);
}

bool ConstantOp::isHandle() {
  return nn::isHandle(getValue());
}

LogicalResult ConstantOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  TypedAttr value = adaptor.getValue();
  if (!isa<DenseElementsAttr, DenseResourceElementsAttr>(value) && !nn::isHandle(value))
    return emitOptionalError(location, "value must be dense elements or a handle of the nn dialect, found ",
                             value);
  types.push_back(value.getType());
  return success();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) {
  return getValue();
}

} // namespace npuc::nn
