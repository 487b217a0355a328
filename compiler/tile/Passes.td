#ifndef NPUC_COMPILER_TILE_PASSES_TD
#define NPUC_COMPILER_TILE_PASSES_TD

include "mlir/Pass/PassBase.td"

def ApplyTiles : Pass<"npuc-apply-tiles", "::mlir::func::FuncOp"> {
  let summary = "tiles and fuses each group as its attributes say";
  let description = [{
    ```mlir
    %s = linalg.generic … {npu.group = 0} // a multiplication
    %y = linalg.generic ins(%s, %bias) … {npu.group = 0, npu.cores = array<i64: 16, 0>, npu.blocks = array<i64: 0, 128>}
    // becomes
    %y = scf.forall (%i) = (0) to (128) step (16) shared_outs(%out = %init) {
      %block = scf.for %j = … step 128 iter_args(…) {
        // a 16x128 multiplication, then a 16x128 bias and gelu
      }
      …
    } {mapping = [#npu.core<0>]}
    ```

    A group with `npu.steps` becomes several first, one for each step, whose results are put together in one tensor.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::bufferization::BufferizationDialect",
                           "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect", "::npuc::npu::NpuDialect"];
}

#endif
