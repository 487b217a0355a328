//===- Passes.td - quantization passes on the nn dialect ---------------------===//
#ifndef NPUC_COMPILER_QUANTIZE_PASSES_TD
#define NPUC_COMPILER_QUANTIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

// In the examples constants are written in place.

def InsertQuantization : Pass<"npuc-insert-quantization", "::mlir::func::FuncOp"> {
  let summary = "Put quantize and dequantize around the operands of multiplications whose ranges are known";
  let description = [{
    Ranges are those of calibration, an attribute on each multiplication: for each operand that is no weight [least, greatest], for
    the input of a linear by channel. Its format is the attribute `nn.format`, or int8: weights become i8, symmetric, with a scale for
    each output channel; the input of a linear or convolution i8 with a zero point, query, key, value and both operands of a matmul
    without one. Channels of a linear's input are divided by the factors of `nn.factors` that its weights are multiplied by, so that
    outliers take less of the common range. Other formats: `int8-token`, a computed scale for each row of a linear's input; `int4-32`,
    `int4-64` and `int4-128`, weights of 4 bits with a scale for each so many products, also with an `a` behind (asymmetric) and `-token`
    or `-float` for the input; `fp8`; `float`.

    ```mlir
    %y = nn.linear %x, %w {nn.ranges = [[array<f32: -1.0, …>, array<f32: 2.0, …>]]} : (tensor<4x8xf32>, tensor<8x16xf32>) -> …
    ```
    becomes
    ```mlir
    %q = nn.quantize %x, dense<[…]> : tensor<8xf32>, dense<-43> : tensor<i8> {axis = 1} : … -> tensor<4x8xi8>
    %0 = nn.dequantize %q, dense<0.0117647> : tensor<f32>, dense<-43> : tensor<i8> : … -> tensor<4x8xf32>
    %1 = nn.dequantize dense<…> : tensor<8x16xi8>, dense<[…]> : tensor<16xf32> {axis = 1} : … -> tensor<8x16xf32>
    %y = nn.linear %0, %1 : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def FoldQuantization : Pass<"npuc-fold-quantization", "::mlir::func::FuncOp"> {
  let summary = "Multiply integers where operands are dequantized, and requantize sums";
  let description = [{
    Dequantizations move below reshapes, transposes and slices, and quantizations above them towards the sums that they
    quantize. An input's zero point goes into the bias, with the weights' sums of columns; zero points of two computed operands
    into sums of rows. Unsigned integers become signed ones. Scales and zero points that are computed, and integers of i32 less their
    zero points, fold too: into integers less sums of rows and columns, and factors after them. Floats of 8 bits are multiplied as
    they are. Linears of integers by weights of 4 bits, or with scales for groups of products, become `nn.grouped_linear`.

    ```mlir
    %0 = nn.dequantize %q, dense<0.5> : tensor<f32>, dense<3> : tensor<i8> : … -> tensor<4x8xf32>
    %1 = nn.dequantize %w, dense<0.25> : tensor<f32> : … -> tensor<8x16xf32>
    %2 = nn.linear %0, %1, %b : (tensor<4x8xf32>, tensor<8x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    %y = nn.quantize %2, dense<0.75> : tensor<f32> : … -> tensor<4x16xi8>
    ```
    becomes, with bias b / 0.125 - 3 · Σ_k w[k, n]
    ```mlir
    %0 = nn.linear %q, %w, %bias : (tensor<4x8xi8>, tensor<8x16xi8>, tensor<16xi32>) -> tensor<4x16xi32>
    %y = nn.requantize float %0 {scales = array<f32: 0.166666672>} : (tensor<4x16xi32>) -> tensor<4x16xi8>
    ```
  }];
  let options = [Option<"requantization", "requantization", "std::string", "\"float\"",
                        "how sums are requantized: float, fixedpoint or shift">,
                 Option<"fourBits", "four-bits", "bool", "true", "the engine multiplies weights of 4 bits">];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def BoundSums : Pass<"npuc-bound-sums", "::mlir::func::FuncOp"> {
  let summary = "Prove that sums of integers fit the accumulators, or cut them into parts";
  let description = [{
    A sum by known weights is at most 128 · Σ_k |w|; others by the number of products. Where that exceeds 2^(bits-1) - 1 the
    attribute `nn.parts` says into how many equal parts of its products the sum is cut, which are added in 32 bits.
  }];
  let options = [Option<"bits", "bits", "unsigned", "32", "of an accumulator">];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

#endif // NPUC_COMPILER_QUANTIZE_PASSES_TD
