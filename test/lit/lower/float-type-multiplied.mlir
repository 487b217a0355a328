// RUN: npu-opt %s -npuc-set-float-type=multiplied | FileCheck %s

// Between integers that came with the model floats stay f32: only what is multiplied as floats is rounded, and the products.
// CHECK-LABEL: @between
// CHECK-DAG: %[[BIAS:.*]] = nn.constant dense<0.333333343> : tensor<4xf32>
// CHECK-DAG: %[[ROUNDED:.*]] = nn.constant dense<3.332520e-01> : tensor<4x4xf16>
// CHECK: %[[X:.*]] = nn.dequantize %{{.*}} -> tensor<2x4xf32>
// CHECK: %[[SUM:.*]] = nn.add %[[X]], %[[BIAS]] : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
// CHECK: nn.quantize %[[SUM]], %{{[^{}]*}} :
// CHECK: %[[NARROW:.*]] = nn.cast %{{.*}} : (tensor<2x4xf32>) -> tensor<2x4xf16>
// CHECK: nn.linear %[[NARROW]], %[[ROUNDED]] : (tensor<2x4xf16>, tensor<4x4xf16>) -> tensor<2x4xf16>
func.func @between(%q: tensor<2x4xi8>) -> tensor<2x4xf32> {
  %scale = nn.constant dense<0.1> : tensor<f32>
  %bias = nn.constant dense<0.333333343> : tensor<4xf32>
  %w = nn.constant dense<0.333333343> : tensor<4x4xf32>
  %x = nn.dequantize %q, %scale : (tensor<2x4xi8>, tensor<f32>) -> tensor<2x4xf32>
  %sum = nn.add %x, %bias : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %p = nn.quantize %sum, %scale : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xi8>
  %y = nn.dequantize %p, %scale : (tensor<2x4xi8>, tensor<f32>) -> tensor<2x4xf32>
  %z = nn.linear %y, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %z : tensor<2x4xf32>
}

// An infinite scale, as quantizers give to masks, makes NaN, which is the least integer.
// CHECK-LABEL: @infinite
// CHECK: nn.quantize %{{.*}} {nn.may_be_nan}
func.func @infinite(%x: tensor<2x4xf32>) -> tensor<2x4xi8> {
  %scale = nn.constant dense<0x7F800000> : tensor<f32>
  %q = nn.quantize %x, %scale : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xi8>
  return %q : tensor<2x4xi8>
}
