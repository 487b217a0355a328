// RUN: npu-opt %s --npuc-insert-quantization | FileCheck %s

// Factors [4, 0.5] make the range [-1.02, 2.04] and [-0.5, 1] over factors: [-0.255, 0.51] and [-1, 2]. The common one, [-1, 2], has
// the step 3/255 and the zero point -128 + 85; channels have that step times their factor. The weights times the factors, [[0.5], [-0.635]],
// have the step 0.635 / 127 = 0.005.
// CHECK-LABEL: @factors
// CHECK-DAG: %[[ZERO:.*]] = nn.constant dense<-43> : tensor<i8>
// CHECK-DAG: %[[S:.*]] = nn.constant dense<[0.04705882{{.*}}, 0.00588235{{.*}}]> : tensor<2xf32>
// CHECK: %[[Q:.*]] = nn.quantize %arg0, %[[S]], %[[ZERO]] {axis = 1 : i64}
// CHECK: nn.dequantize %[[Q]], %{{.*}}, %[[ZERO]] : (tensor<4x2xi8>, tensor<f32>, tensor<i8>) -> tensor<4x2xf32>
// CHECK: nn.constant dense<{{\[\[}}100], [-127]]> : tensor<2x1xi8>
// CHECK-NOT: nn.factors
func.func @factors(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<[[0.125], [-1.27]]> : tensor<2x1xf32>
  %y = nn.linear %x, %w {nn.factors = array<f32: 4.0, 0.5>, nn.ranges = [[array<f32: -1.02, -0.5>, array<f32: 2.04, 1.0>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// A scale for each row is computed; the weights are those of int8.
// CHECK-LABEL: @rows
// CHECK: nn.reduce max
// CHECK: nn.quantize %arg0, %{{.*}} {axis = 1 : i64, block_size = 2 : i64} : (tensor<4x2xf32>, tensor<4x1xf32>) -> tensor<4x2xi8>
// CHECK: nn.constant dense<{{\[\[}}64], [-127]]> : tensor<2x1xi8>
func.func @rows(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<[[0.64], [-1.27]]> : tensor<2x1xf32>
  %y = nn.linear %x, %w {nn.format = "int8-token", nn.ranges = [[array<f32: -1.0, -0.5>, array<f32: 2.0, 1.0>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// Of 33 weights the first 32 share a scale, 0.7 / 7, and the last has its own, 3.5 / 7, both negative: -8 is further out than 7, and what
// is greatest is positive; activations stay floats.
// CHECK-LABEL: @groups
// CHECK-NOT: nn.quantize
// CHECK: %[[W:.*]] = nn.constant dense<-7> : tensor<33x1xi4>
// CHECK: %[[S:.*]] = nn.constant dense<{{\[\[}}-1.000000e-01], [-5.000000e-01]]> : tensor<2x1xf32>
// CHECK: %[[V:.*]] = nn.dequantize %[[W]], %[[S]] {block_size = 32 : i64} : (tensor<33x1xi4>, tensor<2x1xf32>) -> tensor<33x1xf32>
// CHECK: nn.linear %arg0, %[[V]]
func.func @groups(%x: tensor<4x33xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<[[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[0.7],[3.5]]> : tensor<33x1xf32>
  %y = nn.linear %x, %w {nn.format = "int4-32-float", nn.ranges = [[array<f32: -1.0>, array<f32: 2.0>]]} : (tensor<4x33xf32>, tensor<33x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// Asymmetric weights over [-0.5, 1]: the step 0.1, and 0 is 5 of 0 to 15. The weights are transposed: a group runs along the second dimension.
// CHECK-LABEL: @unsigned
// CHECK: nn.constant dense<{{\[\[}}15, 0]]> : tensor<1x2xui4>
// CHECK: nn.constant dense<1.000000e-01> : tensor<1x1xf32>
// CHECK: nn.constant dense<5> : tensor<1x1xui4>
// CHECK: nn.dequantize {{.*}} {axis = 1 : i64, block_size = 64 : i64} : (tensor<1x2xui4>, tensor<1x1xf32>, tensor<1x1xui4>) -> tensor<1x2xf32>
func.func @unsigned(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<[[1.0, -0.5]]> : tensor<1x2xf32>
  %y = nn.linear %x, %w {transposed, nn.format = "int4-64a-float", nn.ranges = [[array<f32: -1.0>, array<f32: 2.0>]]} : (tensor<4x2xf32>, tensor<1x2xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// e4m3 reaches 448: 44.8 / 448, and 2.24 / 448 for the weights, whose two are 448 and -224 then.
// CHECK-LABEL: @fp8
// CHECK: nn.quantize %arg0, %{{.*}} : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xf8E4M3FN>
// CHECK: nn.constant dense<{{\[\[}}4.480000e+02], [-2.240000e+02]]> : tensor<2x1xf8E4M3FN>
func.func @fp8(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<[[2.24], [-1.12]]> : tensor<2x1xf32>
  %y = nn.linear %x, %w {nn.format = "fp8", nn.ranges = [[array<f32: -1.0>, array<f32: 44.8>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// CHECK-LABEL: @float
// CHECK: %[[Y:.*]] = nn.linear %arg0, %{{.*}} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
// CHECK-NEXT: return %[[Y]]
func.func @float(%x: tensor<4x2xf32>) -> tensor<4x1xf32> {
  %w = nn.constant dense<1.0> : tensor<2x1xf32>
  %y = nn.linear %x, %w {nn.format = "float", nn.ranges = [[array<f32: -1.0>, array<f32: 1.0>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}
