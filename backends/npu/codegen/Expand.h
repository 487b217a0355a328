// From an npu program to its tile graph: loops run at compile time, each allocation becomes a fresh virtual
// buffer.
#pragma once

#include "backends/npu/schedule/TileGraph.h"
#include "backends/npu/target/target.pb.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::codegen {

/// Names of a function argument's attributes: the DRAM buffer's name (string) and role ("constant", "input",
/// "output", "state").
inline constexpr llvm::StringLiteral nameAttr = "npu.name", roleAttr = "npu.role";

/// Runs `function`, whose body is npu operations on buffers, and returns one tile operation for each command.
/// Iterations of an scf.forall go in step, so that equal copies to several cores become one multicast. Its
/// errors go to the diagnostic engine of the context: an operation that has no command, a view that no
/// command can have.
mlir::FailureOr<schedule::TileGraph> expand(mlir::func::FuncOp function,
                                            const target::TargetDescription &target);

} // namespace npuc::codegen
