// npu-opt: runs passes on MLIR text, for compiler engineers and for tests.
#include "backends/npu/codegen/Passes.h"
#include "compiler/lower/Passes.h"
#include "compiler/pipeline/Dialects.h"
#include "compiler/quantize/Passes.h"
#include "compiler/tile/Passes.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry = npuc::pipeline::dialects();
  mlir::registerTransformsPasses();
  npuc::nn::registerNNPasses();
  npuc::nn::registerNNPipelines();
  npuc::quantize::registerQuantizePasses();
  npuc::lower::registerLowerPasses();
  npuc::tile::registerTilePasses();
  npuc::codegen::registerCodegenPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "npuc's optimizer driver\n", registry));
}
