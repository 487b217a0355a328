// RUN: npu-opt %s --npuc-fold-quantization | FileCheck %s --check-prefixes=CHECK,FLOAT
// RUN: npu-opt %s --npuc-fold-quantization --npuc-fold-quantization | FileCheck %s --check-prefixes=CHECK,FLOAT
// RUN: npu-opt %s --npuc-fold-quantization=requantization=fixedpoint | FileCheck %s --check-prefixes=CHECK,FIXED
// RUN: npu-opt %s --npuc-fold-quantization=requantization=shift | FileCheck %s --check-prefixes=CHECK,SHIFT

// Products count 0.5 · 0.25 = 0.125; the result 0.75: a step of it is 6 sums, half a step 3. The factor 1/6 =
// 1431655765.3 · 2^-33: the multiplier's shift is 33 - 31 = 2. The bias [1, -0.5] is [8, -4] sums, less 3 · [4, 2] for the
// zero point.
// CHECK-LABEL: @linear
// CHECK-DAG: %[[BIAS:.*]] = nn.constant dense<[-4, -10]> : tensor<2xi32>
// CHECK-DAG: %[[W:.*]] = nn.constant dense<{{.*}}> : tensor<2x2xi8>
// CHECK: %[[SUMS:.*]] = nn.linear %arg0, %[[W]], %[[BIAS]] : (tensor<4x2xi8>, tensor<2x2xi8>, tensor<2xi32>) -> tensor<4x2xi32>
// FLOAT: %[[Y:.*]] = nn.requantize float %[[SUMS]] {scales = array<f32: 0.166666672>, zero_point = 7 : i64}
// FIXED: %[[Y:.*]] = nn.requantize fixedpoint %[[SUMS]] {multipliers = array<i32: 1431655765>, rounding = #nn<rounding halfup>, shifts = array<i32: 2>, zero_point = 7 : i64}
// SHIFT: %[[ROUNDED:.*]] = nn.add %[[SUMS]], %{{.*}} : (tensor<4x2xi32>, tensor<1x1xi32>) -> tensor<4x2xi32>
// SHIFT: %[[Y:.*]] = nn.requantize fixedpoint %[[ROUNDED]] {multipliers = array<i32: 1431655765>, rounding = #nn<rounding down>, shifts = array<i32: 2>, zero_point = 7 : i64}
// CHECK: return %[[Y]]
func.func @linear(%q: tensor<4x2xi8>) -> tensor<4x2xi8> {
  %v = nn.constant dense<[[1, -2], [3, 4]]> : tensor<2x2xi8>
  %sx = nn.constant dense<0.5> : tensor<f32>
  %zx = nn.constant dense<3> : tensor<i8>
  %sw = nn.constant dense<0.25> : tensor<f32>
  %b = nn.constant dense<[1.0, -0.5]> : tensor<2xf32>
  %sy = nn.constant dense<0.75> : tensor<f32>
  %zy = nn.constant dense<7> : tensor<i8>
  %x = nn.dequantize %q, %sx, %zx : (tensor<4x2xi8>, tensor<f32>, tensor<i8>) -> tensor<4x2xf32>
  %w = nn.dequantize %v, %sw : (tensor<2x2xi8>, tensor<f32>) -> tensor<2x2xf32>
  %y = nn.linear %x, %w, %b : (tensor<4x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<4x2xf32>
  %r = nn.quantize %y, %sy, %zy : (tensor<4x2xf32>, tensor<f32>, tensor<i8>) -> tensor<4x2xi8>
  return %r : tensor<4x2xi8>
}

// A quantization moves above the heads' reshape and transpose to the sums, a dequantization below them to the product.
// CHECK-LABEL: @heads
// CHECK: %[[SUMS:.*]] = nn.linear {{.*}} -> tensor<4x6xi32>
// CHECK: %[[Q:.*]] = nn.requantize {{.*}} -> tensor<4x6xi8>
// CHECK: %[[SPLIT:.*]] = nn.reshape %[[Q]] : (tensor<4x6xi8>) -> tensor<4x2x3xi8>
// CHECK: %[[HEADS:.*]] = nn.transpose %[[SPLIT]] {{.*}} -> tensor<2x4x3xi8>
// CHECK: nn.matmul %[[HEADS]], %arg1 : (tensor<2x4x3xi8>, tensor<2x3x4xi8>) -> tensor<2x4x4xi32>
func.func @heads(%q: tensor<4x2xi8>, %k: tensor<2x3x4xi8>) -> tensor<2x4x4xf32> {
  %v = nn.constant dense<1> : tensor<2x6xi8>
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<0.75> : tensor<f32>
  %x = nn.dequantize %q, %s : (tensor<4x2xi8>, tensor<f32>) -> tensor<4x2xf32>
  %w = nn.dequantize %v, %s : (tensor<2x6xi8>, tensor<f32>) -> tensor<2x6xf32>
  %y = nn.linear %x, %w : (tensor<4x2xf32>, tensor<2x6xf32>) -> tensor<4x6xf32>
  %r = nn.quantize %y, %t : (tensor<4x6xf32>, tensor<f32>) -> tensor<4x6xi8>
  %d = nn.dequantize %r, %t : (tensor<4x6xi8>, tensor<f32>) -> tensor<4x6xf32>
  %split = nn.reshape %d : (tensor<4x6xf32>) -> tensor<4x2x3xf32>
  %heads = nn.transpose %split {permutation = array<i64: 1, 0, 2>} : (tensor<4x2x3xf32>) -> tensor<2x4x3xf32>
  %dk = nn.dequantize %k, %s : (tensor<2x3x4xi8>, tensor<f32>) -> tensor<2x3x4xf32>
  %z = nn.matmul %heads, %dk : (tensor<2x4x3xf32>, tensor<2x3x4xf32>) -> tensor<2x4x4xf32>
  return %z : tensor<2x4x4xf32>
}

// Projections computed together are requantized apart, each by its part of the scales: 0.25 / 0.5 and 0.5 / 0.5 for the first,
// 1 / 4 and 2 / 4 for the second.
// CHECK-LABEL: @slices
// CHECK: %[[SUMS:.*]] = nn.linear {{.*}} -> tensor<4x4xi32>
// CHECK: %[[A:.*]] = nn.slice %[[SUMS]] {{.*}} -> tensor<4x2xi32>
// CHECK: %[[B:.*]] = nn.slice %[[SUMS]] {{.*}} -> tensor<4x2xi32>
// FLOAT: nn.requantize float %[[A]] {axis = 1 : i64, scales = array<f32: 5.000000e-01, 1.000000e+00>}
// FLOAT: nn.requantize float %[[B]] {axis = 1 : i64, scales = array<f32: 2.500000e-01, 5.000000e-01>}
func.func @slices(%q: tensor<4x2xi8>) -> (tensor<4x2xi8>, tensor<4x2xi8>) {
  %v = nn.constant dense<1> : tensor<2x4xi8>
  %one = nn.constant dense<1.0> : tensor<f32>
  %s = nn.constant dense<[0.25, 0.5, 1.0, 2.0]> : tensor<4xf32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %four = nn.constant dense<4.0> : tensor<f32>
  %x = nn.dequantize %q, %one : (tensor<4x2xi8>, tensor<f32>) -> tensor<4x2xf32>
  %w = nn.dequantize %v, %s {axis = 1 : i64} : (tensor<2x4xi8>, tensor<4xf32>) -> tensor<2x4xf32>
  %y = nn.linear %x, %w : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  %a = nn.slice %y {starts = array<i64: 0, 0>, sizes = array<i64: 4, 2>, steps = array<i64: 1, 1>} : (tensor<4x4xf32>) -> tensor<4x2xf32>
  %b = nn.slice %y {starts = array<i64: 0, 2>, sizes = array<i64: 4, 2>, steps = array<i64: 1, 1>} : (tensor<4x4xf32>) -> tensor<4x2xf32>
  %qa = nn.quantize %a, %half : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xi8>
  %qb = nn.quantize %b, %four : (tensor<4x2xf32>, tensor<f32>) -> tensor<4x2xi8>
  return %qa, %qb : tensor<4x2xi8>, tensor<4x2xi8>
}

// The scales of query and key go into the scores' scale, 0.5 · 0.5 · 0.25; the value's stays beside.
// CHECK-LABEL: @attention
// CHECK: nn.attention %arg0, %arg0, %arg0 {scale = 6.250000e-02 : f32, value_scale = 5.000000e-01 : f32}
// CHECK-SAME: (tensor<1x2x4x8xi8>, tensor<1x2x4x8xi8>, tensor<1x2x4x8xi8>) -> tensor<1x2x4x8xf32>
func.func @attention(%q: tensor<1x2x4x8xi8>) -> tensor<1x2x4x8xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %x = nn.dequantize %q, %s : (tensor<1x2x4x8xi8>, tensor<f32>) -> tensor<1x2x4x8xf32>
  %y = nn.attention %x, %x, %x {scale = 0.25 : f32} : (tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32>
  return %y : tensor<1x2x4x8xf32>
}

// Outside of the input is 0, which is the zero point; Σ w = 6 for the only channel, so the bias is -5 · 6.
// CHECK-LABEL: @conv
// CHECK-DAG: %[[ZERO:.*]] = nn.constant dense<5> : tensor<i8>
// CHECK-DAG: %[[BIAS:.*]] = nn.constant dense<-30> : tensor<1xi32>
// CHECK: %[[PADDED:.*]] = nn.pad constant %arg0, %[[ZERO]] {high = array<i64: 0, 0, 2>, low = array<i64: 0, 0, 1>} : {{.*}} -> tensor<1x1x11xi8>
// CHECK: nn.conv %[[PADDED]], {{.*}}, %[[BIAS]] {{.*}}pads = array<i64: 0, 0>
func.func @conv(%q: tensor<1x1x8xi8>) -> tensor<1x1x9xf32> {
  %v = nn.constant dense<[[[1, 2, 3]]]> : tensor<1x1x3xi8>
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<5> : tensor<i8>
  %x = nn.dequantize %q, %s, %z : (tensor<1x1x8xi8>, tensor<f32>, tensor<i8>) -> tensor<1x1x8xf32>
  %w = nn.dequantize %v, %s : (tensor<1x1x3xi8>, tensor<f32>) -> tensor<1x1x3xf32>
  %y = nn.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 1, 2>} : (tensor<1x1x8xf32>, tensor<1x1x3xf32>) -> tensor<1x1x9xf32>
  return %y : tensor<1x1x9xf32>
}

// A scale for each index of k cannot leave the sum.
// CHECK-LABEL: @per_k
// CHECK: nn.matmul {{.*}} -> tensor<4x4xf32>
func.func @per_k(%q: tensor<4x2xi8>, %k: tensor<2x4xi8>) -> tensor<4x4xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %x = nn.dequantize %q, %s : (tensor<4x2xi8>, tensor<f32>) -> tensor<4x2xf32>
  %w = nn.dequantize %k, %t : (tensor<2x4xi8>, tensor<2xf32>) -> tensor<2x4xf32>
  %y = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}
