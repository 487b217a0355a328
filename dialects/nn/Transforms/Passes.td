//===- Passes.td - passes on the nn dialect -------------------------------------===//
#ifndef NPUC_DIALECTS_NN_TRANSFORMS_PASSES_TD
#define NPUC_DIALECTS_NN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

// In the examples types are shortened to shapes where that is all that matters, and constants are written in place.

def NNSimplify : Pass<"nn-simplify", "::mlir::func::FuncOp"> {
  let summary = "Make movement and masks smaller without changing what they mean";
  let description = [{
    Beyond the operations' own folders:

    * a broadcast moves below pointwise operations, which repeat their operands anyway, and vanishes where they do;
    * a gather by every index in order, constant or computed, is a reshape; by consecutive indices, a slice;
    * a transpose of dimensions that a reshape joined is a reshape of their transpose, so that transposes meet;
    * a matmul, softmax or pointwise operation on joined leading dimensions keeps them apart;
    * a comparison takes in the `not` around it.

    ```mlir
    %flat = nn.reshape %padding : (2x11xi1) -> 22x1xi1
    %picked = nn.gather %flat, dense<[[[[0, 1, …, 10]]], [[[11, …, 21]]]]> {axis = 0 : i64} : … -> 2x1x1x11x1xi1
    %column = nn.reshape %picked : … -> 2x1x1x11xi1
    %both = nn.and %column, dense<true> : (2x1x1x11xi1, 1x1x11x1xi1) -> 2x1x11x11xi1
    %mask = nn.select %both, 0.0, -3.4e38 : … -> 2x1x11x11xf32
    ```
    becomes, with its uses reading the small mask where they broadcast it:
    ```mlir
    %column = nn.reshape %padding : (2x11xi1) -> 2x1x1x11xi1
    %mask = nn.select %column, 0.0, -3.4e38 : … -> 2x1x1x11xf32
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverLinear : Pass<"nn-recover-linear", "::mlir::func::FuncOp"> {
  let summary = "Make a matmul by weights, and the bias after it, one nn.linear";
  let description = [{
    Weights are constants of rank 2, also dequantized, or transposed at run time. Rows that were flattened around a linear
    keep their dimensions.

    ```mlir
    %0 = nn.matmul %x, %w : (tensor<2x11x64xf32>, tensor<64x128xf32>) -> tensor<2x11x128xf32>
    %1 = nn.add %b, %0 : (tensor<128xf32>, tensor<2x11x128xf32>) -> tensor<2x11x128xf32>
    ```
    becomes
    ```mlir
    %1 = nn.linear %x, %w, %b : (tensor<2x11x64xf32>, tensor<64x128xf32>, tensor<128xf32>) -> tensor<2x11x128xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverNorms : Pass<"nn-recover-norms", "::mlir::func::FuncOp"> {
  let summary = "Recover nn.layer_norm and nn.rms_norm from means, squares and roots";
  let description = [{
    The division by the root may be a product with its reciprocal, squares may be powers or products, means sums over a
    count. A norm computed in a wider type than its operand and result have is a norm of their type. Scale and bias are taken
    in where they are vectors over the normalized dimensions.

    ```mlir
    %mean = nn.reduce mean %x {axes = array<i64: 2>, keep} : (tensor<2x11x64xf32>) -> tensor<2x11x1xf32>
    %d = nn.sub %x, %mean : (tensor<2x11x64xf32>, tensor<2x11x1xf32>) -> tensor<2x11x64xf32>
    %square = nn.pow %d, 2.0 : (tensor<2x11x64xf32>, tensor<f32>) -> tensor<2x11x64xf32>
    %variance = nn.reduce mean %square {axes = array<i64: 2>, keep} : (tensor<2x11x64xf32>) -> tensor<2x11x1xf32>
    %sum = nn.add %variance, 1.0e-12 : (tensor<2x11x1xf32>, tensor<f32>) -> tensor<2x11x1xf32>
    %root = nn.sqrt %sum : (tensor<2x11x1xf32>) -> tensor<2x11x1xf32>
    %normal = nn.div %d, %root : (tensor<2x11x64xf32>, tensor<2x11x1xf32>) -> tensor<2x11x64xf32>
    %scaled = nn.mul %normal, %scale : (tensor<2x11x64xf32>, tensor<64xf32>) -> tensor<2x11x64xf32>
    %y = nn.add %scaled, %bias : (tensor<2x11x64xf32>, tensor<64xf32>) -> tensor<2x11x64xf32>
    ```
    becomes
    ```mlir
    %y = nn.layer_norm %x, %scale, %bias {axis = 2 : i64, epsilon = 1.0e-12 : f32} : …
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverActivations : Pass<"nn-recover-activations", "::mlir::func::FuncOp"> {
  let summary = "Recover nn.gelu, nn.sigmoid and nn.silu from arithmetic around erf, tanh and exp";
  let description = [{
    A gelu is recognized by the polynomial in x and erf (or tanh) that is computed, whatever the order of its factors and
    the placement of its constants.

    ```mlir
    %0 = nn.div %x, 1.41421354 : (tensor<2x128xf32>, tensor<f32>) -> tensor<2x128xf32>
    %1 = nn.erf %0 : (tensor<2x128xf32>) -> tensor<2x128xf32>
    %2 = nn.add %1, 1.0 : (tensor<2x128xf32>, tensor<f32>) -> tensor<2x128xf32>
    %3 = nn.mul %x, %2 : (tensor<2x128xf32>, tensor<2x128xf32>) -> tensor<2x128xf32>
    %4 = nn.mul %3, 0.5 : (tensor<2x128xf32>, tensor<f32>) -> tensor<2x128xf32>
    ```
    becomes
    ```mlir
    %4 = nn.gelu %x : (tensor<2x128xf32>) -> tensor<2x128xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverRope : Pass<"nn-recover-rope", "::mlir::func::FuncOp"> {
  let summary = "Recover nn.rope from slices, negations and concatenations";
  let description = [{
    Halves and interleaved pairs; by a rotated copy of x, or by computing both components and joining them. Where cos and sin
    are as wide as x, their two halves (or each pair) must be seen to be equal: the values are then computed once.

    ```mlir
    %angles = nn.concat %a, %a {axis = 2 : i64} : … -> tensor<2x1x16xf32>
    %cos = nn.cos %angles : (tensor<2x1x16xf32>) -> tensor<2x1x16xf32>        // sin likewise, both reshaped to 2x1x1x16
    %0 = nn.mul %x, %cos1 : (tensor<2x8x1x16xf32>, tensor<2x1x1x16xf32>) -> tensor<2x8x1x16xf32>
    %1 = nn.slice %x {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 2, 8, 1, 8>, …}
    %2 = nn.slice %x {starts = array<i64: 0, 0, 0, 8>, sizes = array<i64: 2, 8, 1, 8>, …}
    %3 = nn.neg %2 : (tensor<2x8x1x8xf32>) -> tensor<2x8x1x8xf32>
    %4 = nn.concat %3, %1 {axis = 3 : i64} : … -> tensor<2x8x1x16xf32>
    %5 = nn.mul %4, %sin1 : (tensor<2x8x1x16xf32>, tensor<2x1x1x16xf32>) -> tensor<2x8x1x16xf32>
    %6 = nn.add %0, %5 : (tensor<2x8x1x16xf32>, tensor<2x8x1x16xf32>) -> tensor<2x8x1x16xf32>
    ```
    becomes
    ```mlir
    %cos = nn.cos %a : (tensor<2x1x8xf32>) -> tensor<2x1x8xf32>               // sin likewise, both reshaped to 2x1x1x8
    %6 = nn.rope %x, %cos1, %sin1 : (tensor<2x8x1x16xf32>, tensor<2x1x1x8xf32>, tensor<2x1x1x8xf32>) -> tensor<2x8x1x16xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverKvUpdate : Pass<"nn-recover-kv-update", "::mlir::func::FuncOp"> {
  let summary = "Make a concatenation to a cache that the function takes and returns an nn.kv_update";
  let description = [{
    ```mlir
    func.func @f(%past: tensor<1x2x5x16xf32>, …) -> (…, tensor<1x2x6x16xf32>) {
      %keys = nn.concat %past, %new {axis = 2 : i64} : (tensor<1x2x5x16xf32>, tensor<1x2x1x16xf32>) -> tensor<1x2x6x16xf32>
      …
      return …, %keys
    ```
    becomes
    ```mlir
      %keys = nn.kv_update %past, %new {axis = 2 : i64} : …
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNRecoverAttention : Pass<"nn-recover-attention", "::mlir::func::FuncOp"> {
  let summary = "Recover nn.attention with its scale, mask, soft cap and grouped heads";
  let description = [{
    From matmul, softmax, matmul: scales of query, key and scores become one; everything that is added to the scores, or
    selected instead of them, becomes the mask; keys and values repeated for each head of a group are read unrepeated.

    A mask of 0 and -infinity becomes bools, and a part of it that is exactly a triangle becomes `causal_offset`. A fill of a
    large finite number stays a mask of floats: a row in which every key is masked then has equal probabilities, where
    -infinity gives NaN (or 0, `zero_masked`). Only where no row can be masked entirely, they are the same.

    ```mlir
    %0 = nn.mul %q, 0.5 : … -> tensor<2x4x11x16xf32>
    %1 = nn.mul %kt, 0.5 : … -> tensor<2x4x16x11xf32>
    %2 = nn.matmul %0, %1 : … -> tensor<2x4x11x11xf32>
    %3 = nn.select %keep, 0.0, -inf : … -> tensor<2x1x1x11xf32>
    %4 = nn.add %2, %3 : … -> tensor<2x4x11x11xf32>
    %5 = nn.softmax %4 {axis = 3 : i64} : (tensor<2x4x11x11xf32>) -> tensor<2x4x11x11xf32>
    %6 = nn.is_nan %5 : (tensor<2x4x11x11xf32>) -> tensor<2x4x11x11xi1>
    %7 = nn.select %6, 0.0, %5 : … -> tensor<2x4x11x11xf32>
    %8 = nn.matmul %7, %v : … -> tensor<2x4x11x16xf32>
    ```
    becomes
    ```mlir
    %8 = nn.attention %q, %k, %v, %keep {scale = 0.25 : f32, zero_masked} : … -> tensor<2x4x11x16xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNMergeProjections : Pass<"nn-merge-projections", "::mlir::func::FuncOp"> {
  let summary = "Make projections of one input one nn.linear and slices of it";
  let description = [{
    The input is then read once. Projections wider than their input stay apart: what they write outweighs what they read.

    ```mlir
    %q = nn.linear %x, %wq, %bq : (tensor<11x64xf32>, tensor<64x64xf32>, tensor<64xf32>) -> tensor<11x64xf32>
    %k = nn.linear %x, %wk, %bk : (tensor<11x64xf32>, tensor<64x64xf32>, tensor<64xf32>) -> tensor<11x64xf32>
    ```
    becomes
    ```mlir
    %qk = nn.linear %x, %w, %b : (tensor<11x64xf32>, tensor<64x128xf32>, tensor<128xf32>) -> tensor<11x128xf32>
    %q = nn.slice %qk {starts = array<i64: 0, 0>, sizes = array<i64: 11, 64>, …}
    %k = nn.slice %qk {starts = array<i64: 0, 64>, sizes = array<i64: 11, 64>, …}
    ```
    where %w is a constant `#nn.concatenated<[wq, wk], 1>`, or dense below 64 KiB.
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNNarrowIntegers : Pass<"nn-narrow-integers", "::mlir::func::FuncOp"> {
  let summary = "Compute in 32-bit integers what wider ones are not needed for";
  let description = [{
    Arguments and results of i64, ui64 and ui32 become i32, constants, index arithmetic and comparisons with them. Those that were
    narrowed carry `nn.narrowed`, the type that the model declares, and arguments
    `nn.range = array<i64: low, high>`, the values that the runtime must check it for: what an i32 and every table that it
    indexes can take, and less where arithmetic on it could overflow otherwise. A value that may leave the range of an i32 stays
    as it is.

    ```mlir
    func.func @f(%ids: tensor<1x7xi64> {nn.name = "ids"}) -> tensor<1x7x64xf32> {
      %0 = nn.gather %table, %ids {axis = 0 : i64} : (tensor<1000x64xf32>, tensor<1x7xi64>) -> tensor<1x7x64xf32>
    ```
    becomes
    ```mlir
    func.func @f(%ids: tensor<1x7xi32> {nn.name = "ids", nn.narrowed = i64, nn.range = array<i64: -1000, 999>}) -> tensor<1x7x64xf32> {
      %0 = nn.gather %table, %ids {axis = 0 : i64} : (tensor<1000x64xf32>, tensor<1x7xi32>) -> tensor<1x7x64xf32>
    ```
  }];
  let dependentDialects = ["::npuc::nn::NNDialect"];
}

def NNOutlineSegments : Pass<"nn-outline-segments", "::mlir::ModuleOp"> {
  let summary = "Make equal layers calls of one function";
  let description = [{
    Layers are runs of operations that repeat, each feeding the next: equal operations, attributes, types and connections.
    Constants that differ from layer to layer become operands of the function, as do activations; those that are the same in
    all stay inside. Of the ways to cut a run into layers, the one that passes the fewest activations is taken. Each call lists
    in `nn.nodes` the locations of the operations that it replaces.

    ```mlir
    %1 = nn.linear %0, %w1 : …
    %2 = nn.gelu %1 : …
    %3 = nn.add %0, %2 : …
    %4 = nn.linear %3, %w2 : …
    %5 = nn.gelu %4 : …
    %6 = nn.add %3, %5 : …
    ```
    becomes
    ```mlir
    %3 = call @main_segment_0(%0, %w1) : …
    %6 = call @main_segment_0(%3, %w2) : …

    func.func private @main_segment_0(%x: …, %w: …) -> … {
      %0 = nn.linear %x, %w : …
      %1 = nn.gelu %0 : …
      %2 = nn.add %x, %1 : …
      return %2 : …
    }
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::npuc::nn::NNDialect"];
}

def NNInlineSegments : Pass<"nn-inline-segments", "::mlir::ModuleOp"> {
  let summary = "Put layers in the place of their calls";
  let description = [{
    The opposite of nn-outline-segments: each operation is said to come from the node of its own layer, as the call's `nn.nodes`
    lists them.

    ```mlir
    %1 = call @main_segment_0(%0) {nn.nodes = [loc("layer.0/act")]} : …
    %2 = call @main_segment_0(%1) {nn.nodes = [loc("layer.1/act")]} : …
    ```
    becomes
    ```mlir
    %1 = nn.gelu %0 : … loc("layer.0/act")
    %2 = nn.gelu %1 : … loc("layer.1/act")
    ```
  }];
}

#endif // NPUC_DIALECTS_NN_TRANSFORMS_PASSES_TD
