// RUN: npu-opt %s --npuc-fold-quantization --canonicalize | FileCheck %s --check-prefixes=CHECK,NATIVE
// RUN: npu-opt %s --npuc-fold-quantization=four-bits=false --canonicalize | FileCheck %s --check-prefixes=CHECK,UNPACK

// Two groups of two products. Weights lie as [n, k] then, scales and zero points as [n, groups]. The groups' sums of weights less
// their zero points are (1 - 1) + (3 - 1) = 2, (5 - 3) + (7 - 3) = 6 and (2 - 2) + (4 - 2) = 2, (6 - 4) + (8 - 4) = 6: the input's
// zero point 3 takes away that many times 3. Engines without weights of 4 bits unpack them.
// CHECK-LABEL: @groups
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[}}[1, 3, 5, 7], [2, 4, 6, 8]]> : tensor<2x4xui4>
// CHECK-DAG: %[[S:.*]] = nn.constant dense<{{\[}}[5.000000e-01, 1.000000e+00], [2.500000e-01, 2.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[Z:.*]] = nn.constant dense<{{\[}}[1, 3], [2, 4]]> : tensor<2x2xi8>
// CHECK-DAG: %[[O:.*]] = nn.constant dense<{{\[}}[-6, -18], [-6, -18]]> : tensor<2x2xi32>
// NATIVE: %[[SUMS:.*]] = nn.grouped_linear %arg0, %[[W]], %[[S]], %[[Z]], %[[O]] {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>} :
// UNPACK: %[[SUMS:.*]] = nn.grouped_linear %arg0, %[[W]], %[[S]], %[[Z]], %[[O]] {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1>, unpack} :
// CHECK: %[[Y:.*]] = nn.mul %[[SUMS]], %{{.*}} {nn.in_f32}
// CHECK: return %[[Y]]
func.func @groups(%q: tensor<3x4xi8>) -> tensor<3x2xf32> {
  %v = nn.constant dense<[[1, 2], [3, 4], [5, 6], [7, 8]]> : tensor<4x2xui4>
  %t = nn.constant dense<[[0.5, 0.25], [1.0, 2.0]]> : tensor<2x2xf32>
  %u = nn.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xui4>
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %x = nn.dequantize %q, %s, %z : (tensor<3x4xi8>, tensor<f32>, tensor<i8>) -> tensor<3x4xf32>
  %w = nn.dequantize %v, %t, %u {axis = 0 : i64, block_size = 2 : i64} : (tensor<4x2xui4>, tensor<2x2xf32>, tensor<2x2xui4>) -> tensor<4x2xf32>
  %y = nn.linear %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// A scale for each row, and a last group that is filled up.
// CHECK-LABEL: @filled
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{\[}}[1, 2, 3, 0]]> : tensor<1x4xi4>
// CHECK-DAG: %[[X:.*]] = nn.pad constant %arg0 {high = array<i64: 0, 1>, low = array<i64: 0, 0>} : (tensor<2x3xi8>) -> tensor<2x4xi8>
// CHECK: %[[SUMS:.*]] = nn.grouped_linear %[[X]], %[[W]]
// CHECK: nn.mul %[[SUMS]], %arg1 {nn.in_f32} : (tensor<2x1xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
func.func @filled(%q: tensor<2x3xi8>, %s: tensor<2x1xf32>) -> tensor<2x1xf32> {
  %v = nn.constant dense<[[1], [2], [3]]> : tensor<3x1xi4>
  %t = nn.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %x = nn.dequantize %q, %s {axis = 1 : i64, block_size = 3 : i64} : (tensor<2x3xi8>, tensor<2x1xf32>) -> tensor<2x3xf32>
  %w = nn.dequantize %v, %t {axis = 0 : i64, block_size = 2 : i64} : (tensor<3x1xi4>, tensor<2x1xf32>) -> tensor<3x1xf32>
  %y = nn.linear %x, %w : (tensor<2x3xf32>, tensor<3x1xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// By floats: dequantized along k.
// CHECK-LABEL: @floats
// CHECK: %[[W:.*]] = nn.dequantize %{{.*}}, %{{.*}} {axis = 1 : i64, block_size = 2 : i64} : (tensor<2x4xi4>, tensor<2x2xf32>) -> tensor<2x4xf32>
// CHECK: nn.linear %arg0, %[[W]] {transposed}
func.func @floats(%x: tensor<3x4xf32>) -> tensor<3x2xf32> {
  %v = nn.constant dense<[[1, 2], [3, 4], [5, 6], [7, -8]]> : tensor<4x2xi4>
  %t = nn.constant dense<[[0.5, 0.25], [1.0, 2.0]]> : tensor<2x2xf32>
  %w = nn.dequantize %v, %t {axis = 0 : i64, block_size = 2 : i64} : (tensor<4x2xi4>, tensor<2x2xf32>) -> tensor<4x2xf32>
  %y = nn.linear %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
