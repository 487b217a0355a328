// RUN: npu-opt %s --npuc-insert-quantization | FileCheck %s

// The range [-1, 1.55] has the scale 0.01 and
// the zero point -128 + 100; the weights' columns have greatest magnitudes 2.54 and 1.27.
// CHECK-LABEL: @linear
// CHECK: %[[ZERO:.*]] = nn.constant dense<-28> : tensor<i8>
// CHECK: %[[Q:.*]] = nn.quantize %arg0, %{{.*}}, %[[ZERO]] : (tensor<4x2xf32>, tensor<f32>, tensor<i8>) -> tensor<4x2xi8>
// CHECK: %[[X:.*]] = nn.dequantize %[[Q]], %{{.*}}, %[[ZERO]] : (tensor<4x2xi8>, tensor<f32>, tensor<i8>) -> tensor<4x2xf32>
// CHECK: %[[S:.*]] = nn.constant dense<[2.000000e-02, 0.00999999977]> : tensor<2xf32>
// CHECK: %[[W:.*]] = nn.constant dense<{{\[\[}}127, 127], [-127, 64]]> : tensor<2x2xi8>
// CHECK: %[[V:.*]] = nn.dequantize %[[W]], %[[S]] {axis = 1 : i64} : (tensor<2x2xi8>, tensor<2xf32>) -> tensor<2x2xf32>
// CHECK: nn.linear %[[X]], %[[V]] : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
func.func @linear(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %w = nn.constant dense<[[2.54, 1.27], [-2.54, 0.64]]> : tensor<2x2xf32>
  %y = nn.linear %x, %w {nn.ranges = [[array<f32: -1.0, -1.0>, array<f32: 1.55, 1.55>]]} : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// All that reads one input shares its integers.
// CHECK-LABEL: @shared_input
// CHECK-COUNT-1: nn.quantize
// CHECK-NOT: nn.quantize
// CHECK: return
func.func @shared_input(%x: tensor<4x2xf32>) -> (tensor<4x1xf32>, tensor<4x1xf32>) {
  %v = nn.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %w = nn.constant dense<[[3.0], [4.0]]> : tensor<2x1xf32>
  %y = nn.linear %x, %v {nn.ranges = [[array<f32: -1.0, -1.0>, array<f32: 1.0, 9.0>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  %z = nn.linear %x, %w {nn.ranges = [[array<f32: -1.0, -1.0>, array<f32: 1.0, 9.0>]]} : (tensor<4x2xf32>, tensor<2x1xf32>) -> tensor<4x1xf32>
  return %y, %z : tensor<4x1xf32>, tensor<4x1xf32>
}

// Operands without zero points: 2.54 / 127, and the probabilities' fixed range 1 / 127.
// CHECK-LABEL: @matmul
// CHECK-DAG: nn.constant dense<2.000000e-02> : tensor<f32>
// CHECK-DAG: nn.constant dense<0.00787401571> : tensor<f32>
// CHECK-DAG: nn.quantize %arg0, %{{[^,]*}} : (tensor<2x2xf32>, tensor<f32>) -> tensor<2x2xi8>
// CHECK-DAG: nn.quantize %arg1, %{{[^,]*}} : (tensor<2x2xf32>, tensor<f32>) -> tensor<2x2xi8>
func.func @matmul(%a: tensor<2x2xf32>, %b: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %y = nn.matmul %a, %b {nn.ranges = [[array<f32: -2.54>, array<f32: 1.0>], [array<f32: 0.0>, array<f32: 1.0>]]} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// What calibration did not see stays as it is.
// CHECK-LABEL: @unseen
// CHECK-NEXT: nn.matmul %arg0, %arg0
func.func @unseen(%a: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %y = nn.matmul %a, %a : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
