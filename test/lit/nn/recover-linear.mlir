// RUN: npu-opt %s --nn-recover-linear --canonicalize | FileCheck %s
// RUN: npu-opt %s --nn-recover-linear --nn-recover-linear --canonicalize | FileCheck %s

// CHECK-LABEL: @matmul_and_bias
// CHECK-DAG: %[[W:.*]] = nn.constant #nn.external<"w", 0> : tensor<8x4xf32>
// CHECK-DAG: %[[B:.*]] = nn.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]>
// CHECK: %[[Y:.*]] = nn.linear %arg0, %[[W]], %[[B]] : (tensor<2x3x8xf32>, tensor<8x4xf32>, tensor<4xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @matmul_and_bias(%x: tensor<2x3x8xf32>) -> tensor<2x3x4xf32> {
  %w = nn.constant #nn.external<"w", 0> : tensor<8x4xf32>
  %b = nn.constant dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>
  %0 = nn.matmul %x, %w : (tensor<2x3x8xf32>, tensor<8x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.add %b, %0 : (tensor<1x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %1 : tensor<2x3x4xf32>
}

// Weights only stored as integers, and transposed at run time.
// CHECK-LABEL: @dequantized_transposed
// CHECK: %[[W:.*]] = nn.dequantize
// CHECK-NEXT: %[[Y:.*]] = nn.linear %arg0, %[[W]] {transposed} : (tensor<3x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @dequantized_transposed(%x: tensor<3x8xf32>) -> tensor<3x4xf32> {
  %q = nn.constant #nn.external<"w", 0> : tensor<4x8xi8>
  %s = nn.constant dense<0.5> : tensor<f32>
  %w = nn.dequantize %q, %s : (tensor<4x8xi8>, tensor<f32>) -> tensor<4x8xf32>
  %t = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %0 = nn.matmul %x, %t : (tensor<3x8xf32>, tensor<8x4xf32>) -> tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// Gemm takes matrices: exporters flatten before and split after.
// CHECK-LABEL: @flattened
// CHECK: %[[Y:.*]] = nn.linear %arg0, %{{.*}} : (tensor<2x3x8xf32>, tensor<8x4xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @flattened(%x: tensor<2x3x8xf32>) -> tensor<2x3x4xf32> {
  %w = nn.constant #nn.external<"w", 0> : tensor<8x4xf32>
  %0 = nn.reshape %x : (tensor<2x3x8xf32>) -> tensor<6x8xf32>
  %1 = nn.linear %0, %w : (tensor<6x8xf32>, tensor<8x4xf32>) -> tensor<6x4xf32>
  %2 = nn.reshape %1 : (tensor<6x4xf32>) -> tensor<2x3x4xf32>
  return %2 : tensor<2x3x4xf32>
}

// After attention the flattening also joins the heads: it becomes a join of heads alone.
// CHECK-LABEL: @flattened_heads
// CHECK: %[[J:.*]] = nn.reshape %arg0 : (tensor<2x3x4x2xf32>) -> tensor<2x3x8xf32>
// CHECK-NEXT: %[[Y:.*]] = nn.linear %[[J]], %{{.*}} : (tensor<2x3x8xf32>, tensor<8x4xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT: return %[[Y]]
func.func @flattened_heads(%x: tensor<2x3x4x2xf32>) -> tensor<2x3x4xf32> {
  %w = nn.constant #nn.external<"w", 0> : tensor<8x4xf32>
  %0 = nn.reshape %x : (tensor<2x3x4x2xf32>) -> tensor<6x8xf32>
  %1 = nn.linear %0, %w : (tensor<6x8xf32>, tensor<8x4xf32>) -> tensor<6x4xf32>
  %2 = nn.reshape %1 : (tensor<6x4xf32>) -> tensor<2x3x4xf32>
  return %2 : tensor<2x3x4xf32>
}

// A product of activations, a residual, and a linear with another use are left alone.
// CHECK-LABEL: @no_linear
// CHECK: nn.matmul %arg0, %arg1
// CHECK: nn.linear %arg0, %{{.*}} : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
// CHECK-NEXT: nn.add %{{.*}}, %arg0
func.func @no_linear(%x: tensor<3x8xf32>, %y: tensor<8x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
  %w = nn.constant #nn.external<"w", 0> : tensor<8x8xf32>
  %0 = nn.matmul %x, %y : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
  %1 = nn.matmul %x, %w : (tensor<3x8xf32>, tensor<8x8xf32>) -> tensor<3x8xf32>
  %2 = nn.add %1, %x : (tensor<3x8xf32>, tensor<3x8xf32>) -> tensor<3x8xf32>
  return %0, %2 : tensor<3x8xf32>, tensor<3x8xf32>
}
