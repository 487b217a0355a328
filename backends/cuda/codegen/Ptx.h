// From a module of kernels to PTX.
#pragma once

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace npuc::cuda {

/// Sees the kernels as LLVM has optimized them, and what they are compiled for.
using Look = llvm::function_ref<void(llvm::Module &, llvm::TargetMachine &)>;

/// Lowers the module's kernels to LLVM for compute capability `capability` (80) and PTX of version
/// `ptxVersion` (70: 7.0), links the transcendental functions that they call, and optimizes. Errors are the
/// module's.
mlir::LogicalResult toLlvm(mlir::ModuleOp module, unsigned capability, unsigned ptxVersion, Look look);

/// The PTX of what `toLlvm` makes.
mlir::FailureOr<std::string> toPtx(llvm::Module &kernels, llvm::TargetMachine &machine);

} // namespace npuc::cuda
