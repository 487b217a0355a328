// The nn dialect: see NNBase.td for its rules and the other .td files for what each operation means.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace npuc::nn {

using namespace mlir;

/// See NN_Pointwise in NNBase.td.
template <typename ConcreteType>
class Pointwise : public OpTrait::TraitBase<ConcreteType, Pointwise> {};

/// The NumPy broadcast of two shapes; nothing if they do not broadcast.
std::optional<SmallVector<int64_t>> broadcastShapes(ArrayRef<int64_t> a, ArrayRef<int64_t> b);

/// Whether `value` of a constant is a handle (see NNBase.td) and not elements.
bool isHandle(Attribute value);

/// Bytes that the elements of `type` take, stored as #nn.external says.
int64_t byteSize(RankedTensorType type);

namespace detail {
/// The type of `tensor` with i1 elements.
Type boolLike(Type tensor);
/// Of operands of one element type that broadcast: the broadcast shape of that element type.
LogicalResult inferBroadcast(std::optional<Location> location, TypeRange operands,
                             SmallVectorImpl<Type> &types);
} // namespace detail

} // namespace npuc::nn

#include "dialects/nn/IR/NNDialect.h.inc"
#include "dialects/nn/IR/NNEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/nn/IR/NNAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/nn/IR/NNOps.h.inc"
