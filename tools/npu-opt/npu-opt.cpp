// npu-opt: runs passes on MLIR text, for compiler engineers and for tests.
#include "dialects/nn/IR/NN.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/Extensions/AllExtensions.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::func::FuncDialect, npuc::nn::NNDialect>();
  mlir::func::registerAllExtensions(registry);
  mlir::registerTransformsPasses();
  npuc::nn::registerNNPasses();
  npuc::nn::registerNNPipelines();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "npuc's optimizer driver\n", registry));
}
