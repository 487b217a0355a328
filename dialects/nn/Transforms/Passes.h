// Passes on the nn dialect: see Passes.td for what each does to the IR.
#pragma once

#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir {
class OpPassManager;
class RewritePatternSet;
} // namespace mlir

namespace npuc::nn {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "dialects/nn/Transforms/Passes.h.inc"

/// Of a call of a segment: the locations of the operations that it stands for, those of the callee's last
/// ones.
inline constexpr llvm::StringLiteral nodesAttr = "nn.nodes";

/// What makes movement and masks smaller without changing what they mean: see nn-simplify. The passes that
/// recover meaning add these patterns to their own, so that one sees what another has made.
void populateSimplifyPatterns(mlir::RewritePatternSet &patterns);

/// Recovers the meaning of an imported module, with equal layers outlined and 64-bit integers narrowed: all
/// passes of this folder in the order in which they serve each other. Runs on a module; is idempotent.
void buildRecoverPipeline(mlir::OpPassManager &manager);

/// Makes the pipeline `nn-recover` known to the command line of an optimizer driver, as registerNNPasses()
/// does the passes.
void registerNNPipelines();

} // namespace npuc::nn
