#ifndef NPUC_COMPILER_LOWER_PASSES_TD
#define NPUC_COMPILER_LOWER_PASSES_TD

include "mlir/Pass/PassBase.td"

def SetFloatType : Pass<"npuc-set-float-type", "::mlir::func::FuncOp"> {
  let summary = "stores floats in 16 bits";
  let description = [{
    All but norms' scales and biases, the sums of residual streams, and angles: see docs/numerics.md.

    ```mlir
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
      return %y : tensor<4xf32>
    }
    // becomes
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %0 = nn.cast %x : (tensor<4xf32>) -> tensor<4xf16>
      %1 = nn.relu %0 : (tensor<4xf16>) -> tensor<4xf16>
      %2 = nn.cast %1 : (tensor<4xf16>) -> tensor<4xf32>
      return %2 : tensor<4xf32>
    }
    ```
  }];
  let options = [Option<"bfloat16", "bf16", "bool", "false", "bf16 instead of f16">,
                 Option<"multiplied", "multiplied", "bool", "false", "only what is multiplied as floats, and the products">];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def LowerToLinalg : Pass<"npuc-lower-to-linalg", "::mlir::func::FuncOp"> {
  let summary = "nn operations become linalg on tensors";
  let description = [{
    Floats are stored in their tensors' types and computed in f32. Constants and results become arguments.

    ```mlir
    %y = nn.linear %x, %w : (tensor<4x8xf16>, tensor<8x16xf16>) -> tensor<4x16xf16>
    // becomes
    %sums = linalg.generic … // f32 += f16 · f16
    %y = linalg.generic ins(%sums) outs(%output) … // rounded to f16
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

def UseFastForms : Pass<"npuc-use-fast-forms", "::mlir::func::FuncOp"> {
  let summary = "formulas in forms that engines compute in less time";
  let description = [{
    Sums of 8-bit integers along a loop become multiplications by ones, for the matrix engine; formulas of 8-bit results
    compute in 16-bit floats, if the target is faster in them; a sum of two integers up to 2^24 that becomes a float is added
    as floats.

    ```mlir
    %power = math.exp %difference : f32
    %rounded = math.roundeven %power : f32
    %result = arith.fptosi %rounded : f32 to i8
    // becomes
    %narrow = arith.truncf %difference : f32 to f16
    %power = math.exp %narrow : f16
    %rounded = math.roundeven %power : f16
    %result = arith.fptosi %rounded : f16 to i8
    ```
  }];
  let options = [Option<"float16", "float16", "bool", "false", "the vector engine is faster in f16 than in f32">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

#endif
