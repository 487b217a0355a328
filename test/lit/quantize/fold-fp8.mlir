// RUN: npu-opt %s --npuc-fold-quantization | FileCheck %s

// Floats of 8 bits are multiplied as they are, summed in f32, and scaled after: each column by 0.5 times its own scale.
// CHECK-LABEL: @linear
// CHECK: %[[SUMS:.*]] = nn.linear %arg0, %arg1 {nn.in_f32} : (tensor<3x4xf8E4M3FN>, tensor<4x2xf8E4M3FN>) -> tensor<3x2xf32>
// CHECK: %[[Y:.*]] = nn.mul %[[SUMS]], %{{.*}} {nn.in_f32} : (tensor<3x2xf32>, tensor<1x2xf32>) -> tensor<3x2xf32>
// CHECK: return %[[Y]]
func.func @linear(%q: tensor<3x4xf8E4M3FN>, %v: tensor<4x2xf8E4M3FN>) -> tensor<3x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %t = nn.constant dense<[0.25, 2.0]> : tensor<2xf32>
  %x = nn.dequantize %q, %s : (tensor<3x4xf8E4M3FN>, tensor<f32>) -> tensor<3x4xf32>
  %w = nn.dequantize %v, %t {axis = 1 : i64} : (tensor<4x2xf8E4M3FN>, tensor<2xf32>) -> tensor<4x2xf32>
  %y = nn.linear %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// Floats do not meet integers.
// CHECK-LABEL: @mixed
// CHECK: nn.linear {{.*}} (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
func.func @mixed(%q: tensor<3x4xf8E4M3FN>, %v: tensor<4x2xi8>) -> tensor<3x2xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %x = nn.dequantize %q, %s : (tensor<3x4xf8E4M3FN>, tensor<f32>) -> tensor<3x4xf32>
  %w = nn.dequantize %v, %s : (tensor<4x2xi8>, tensor<f32>) -> tensor<4x2xf32>
  %y = nn.linear %x, %w : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
