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
using Look = llvm::function_ref<void(const llvm::Module &, llvm::TargetMachine &)>;

/// Lowers the module's kernels to LLVM, links the transcendental functions that they call, optimizes, and
/// writes PTX for compute capability `capability` (80) in version `ptxVersion` (70: 7.0). Errors are the
/// module's.
mlir::FailureOr<std::string> toPtx(mlir::ModuleOp module, unsigned capability, unsigned ptxVersion,
                                   Look look);

} // namespace npuc::cuda
