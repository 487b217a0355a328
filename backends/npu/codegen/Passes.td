#ifndef NPUC_BACKENDS_NPU_CODEGEN_PASSES_TD
#define NPUC_BACKENDS_NPU_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

class TargetOption : Option<"target", "target", "std::string", [{"toy"}], "name or file of the target description">;

def PlanTiles : Pass<"npuc-plan-tiles", "::mlir::func::FuncOp"> {
  let summary = "decides which operations form a group and how groups are cut";
  let description = [{
    Writes the plan as attributes; nothing else changes. See compiler/tile/Plan.h.

    ```mlir
    %y = linalg.generic … // a multiplication, then bias and gelu
    // becomes
    %y = linalg.generic … {npu.group = 0, npu.cores = array<i64: 16, 0>, npu.blocks = array<i64: 0, 128>}
    ```
  }];
  let options = [TargetOption<>];
}

def PlaceTensors : Pass<"npuc-place-tensors", "::mlir::func::FuncOp"> {
  let summary = "decides where each tensor between groups lives";
  let description = [{
    ```mlir
    %init = tensor.empty() : tensor<128x384xf16>
    // becomes, where each of 8 cores writes 16 rows and there is room for them,
    %init = bufferization.alloc_tensor() {memory_space = #npu.space<scratchpad, chunk = 6144>} : tensor<128x384xf16>
    ```
  }];
  let options = [TargetOption<>];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::npuc::npu::NpuDialect"];
}

def PromoteOperands : Pass<"npuc-promote-operands", "::mlir::func::FuncOp"> {
  let summary = "gives every operand of a computation a buffer on its core";
  let description = [{
    ```mlir
    %slice = tensor.extract_slice %weights[%j, 0] [128, 384] [1, 1] : …
    %y = linalg.generic ins(%x, %slice : …) …
    // becomes
    %slice = tensor.extract_slice %weights[%j, 0] [128, 384] [1, 1] : …
    %block = bufferization.alloc_tensor() copy(%slice) {memory_space = #npu.space<scratchpad>} : …
    %y = linalg.generic ins(%x, %block : …) …
    ```
  }];
  let options = [TargetOption<>];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect", "::mlir::tensor::TensorDialect", "::npuc::npu::NpuDialect"];
}

def BufferizeTiles : Pass<"npuc-bufferize", "::mlir::ModuleOp"> {
  let summary = "one-shot bufferization, results through arguments";
}

def MapToEngines : Pass<"npuc-map-to-engines", "::mlir::func::FuncOp"> {
  let summary = "linalg and memref operations become the commands of engines";
  let description = [{
    A contraction becomes npu.contract, data that only moves npu.copy, a load by index npu.gather, all else npu.vector.
  }];
  let dependentDialects = ["::npuc::npu::NpuDialect", "::mlir::memref::MemRefDialect"];
}

def JoinColumns : Pass<"npuc-join-columns", "::mlir::func::FuncOp"> {
  let summary = "a product with a column of one constant becomes a column of another product";
  let description = [{
    Of the same matrix, where the engine's lanes hold one more column. Attention's sums of weights are such a product.

    ```mlir
    npu.contract %weights, %values, %y : 96x384, 384x64, 96x64
    npu.contract %weights, %ones, %sums : 96x384, 384, 96
    // becomes, %y and %sums being views of %both, and %values one of %more, whose last column is 1,
    npu.contract %weights, %more, %both : 96x384, 384x65, 96x65
    ```
  }];
  let options = [TargetOption<>];
  let dependentDialects = ["::npuc::npu::NpuDialect", "::mlir::memref::MemRefDialect"];
}

#endif
