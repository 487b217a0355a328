// The npu dialect: memory spaces, the grid of cores, and the commands of the engines. See NpuOps.td.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/DeviceMappingInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/npu/IR/NpuDialect.h.inc"
#include "dialects/npu/IR/NpuEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/npu/IR/NpuAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/npu/IR/NpuOps.h.inc"

namespace npuc::npu {

/// The space of a buffer; a memref without one is in DRAM.
SpaceAttr spaceOf(mlir::BaseMemRefType type);

/// The role of a loop of a contraction.
enum class LoopRole : uint8_t { Batch, M, N, K };

/// What each loop of a contraction with these indexing maps {lhs, rhs, sums} is; fails if a loop has no role
/// (it is in one operand only) or the sums' map is not a projected permutation.
mlir::FailureOr<mlir::SmallVector<LoopRole>> loopRoles(mlir::ArrayRef<mlir::AffineMap> maps);

} // namespace npuc::npu
