// From tiled linalg on tensors to npu operations on buffers.
#pragma once

#include "backends/npu/target/target.pb.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace npuc::codegen {

/// Decides where each tensor between groups lives: cut over the scratchpads as its producer's grid cuts it if
/// that leaves each core room, else shared memory, else DRAM. Writes it as the memory space of
/// bufferization.alloc_tensor.
void placeTensors(mlir::func::FuncOp function, const target::TargetDescription &target);

/// Inside each scf.forall, gives every operand of a computation a buffer on the core: what comes from outside
/// is copied in, as far out as its loops allow; what goes outside is computed on the core and copied out,
/// unless it is the core's own shard.
mlir::LogicalResult promoteOperands(mlir::func::FuncOp function, const target::TargetDescription &target);

/// One-shot bufferization of the module, in place; results are arguments.
mlir::LogicalResult bufferize(mlir::ModuleOp module);

/// linalg and memref operations become npu operations; an error at each that no engine runs.
mlir::LogicalResult mapToEngines(mlir::func::FuncOp function);

/// Of npu operations: a product with a column of one constant becomes a column of another product of the same
/// matrix, where the engine has a lane free for it.
void joinColumns(mlir::func::FuncOp function, const target::TargetDescription &target);

#define GEN_PASS_DECL
#include "backends/npu/codegen/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "backends/npu/codegen/Passes.h.inc"

} // namespace npuc::codegen
