#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

namespace npuc::nn {

void buildRecoverPipeline(mlir::OpPassManager &manager) {
  mlir::OpPassManager &functions = manager.nest<mlir::func::FuncOp>();
  auto clean = [&] {
    functions.addPass(mlir::createCanonicalizerPass());
    functions.addPass(mlir::createCSEPass());
  };
  // Equal values become one first: most matchers ask whether two operands are the same.
  clean();
  functions.addPass(createNNSimplify());
  clean();
  functions.addPass(createNNRecoverLinear());
  functions.addPass(createNNRecoverNorms());
  functions.addPass(createNNRecoverActivations());
  functions.addPass(createNNRecoverRope());
  functions.addPass(createNNRecoverKvUpdate());
  functions.addPass(createNNRecoverAttention());
  clean();
  functions.addPass(createNNNarrowIntegers());
  clean();
  manager.addPass(createNNOutlineSegments());
}

void registerNNPipelines() {
  mlir::PassPipelineRegistration<>(
      "nn-recover", "Recover the meaning of an imported model and outline its layers", buildRecoverPipeline);
}

} // namespace npuc::nn
