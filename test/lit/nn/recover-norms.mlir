// RUN: npu-opt %s --canonicalize --cse --nn-recover-norms --canonicalize | FileCheck %s
// A second run finds nothing more.
// RUN: npu-opt %s --canonicalize --cse --nn-recover-norms --nn-recover-norms --canonicalize | FileCheck %s

// PyTorch's TorchScript exporter at opset 11: power, mean, root, quotient.
// CHECK-LABEL: @layer_norm_by_division
// CHECK-SAME: (%[[X:.*]]: tensor<2x5x8xf32>, %[[S:.*]]: tensor<8xf32>, %[[B:.*]]: tensor<8xf32>)
// CHECK-NEXT: %[[Y:.*]] = nn.layer_norm %[[X]], %[[S]], %[[B]] {axis = 2 : i64, epsilon = 9.99999974E-6 : f32}
// CHECK-NEXT: return %[[Y]]
func.func @layer_norm_by_division(%x: tensor<2x5x8xf32>, %s: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<2x5x8xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.reduce mean %x {axes = array<i64: 2>, keep} : (tensor<2x5x8xf32>) -> tensor<2x5x1xf32>
  %1 = nn.sub %x, %0 : (tensor<2x5x8xf32>, tensor<2x5x1xf32>) -> tensor<2x5x8xf32>
  %2 = nn.pow %1, %two : (tensor<2x5x8xf32>, tensor<f32>) -> tensor<2x5x8xf32>
  %3 = nn.reduce mean %2 {axes = array<i64: 2>, keep} : (tensor<2x5x8xf32>) -> tensor<2x5x1xf32>
  %4 = nn.add %3, %eps : (tensor<2x5x1xf32>, tensor<f32>) -> tensor<2x5x1xf32>
  %5 = nn.sqrt %4 : (tensor<2x5x1xf32>) -> tensor<2x5x1xf32>
  %6 = nn.div %1, %5 : (tensor<2x5x8xf32>, tensor<2x5x1xf32>) -> tensor<2x5x8xf32>
  %7 = nn.mul %6, %s : (tensor<2x5x8xf32>, tensor<8xf32>) -> tensor<2x5x8xf32>
  %8 = nn.add %7, %b : (tensor<2x5x8xf32>, tensor<8xf32>) -> tensor<2x5x8xf32>
  return %8 : tensor<2x5x8xf32>
}

// TensorFlow's form: products, reciprocal roots, sums over a count, the deviation computed twice; over two dimensions.
// CHECK-LABEL: @layer_norm_by_rsqrt
// CHECK: %[[Y:.*]] = nn.layer_norm %{{.*}}, %{{.*}} {axis = 1 : i64, epsilon = 9.99999974E-6 : f32}
// CHECK-NEXT: return %[[Y]]
func.func @layer_norm_by_rsqrt(%x: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
  %count = nn.constant dense<32.0> : tensor<f32>
  %share = nn.constant dense<0.03125> : tensor<f32>
  %eps = nn.constant dense<1.0e-5> : tensor<f32>
  %0 = nn.reduce sum %x {axes = array<i64: 1, 2>, keep} : (tensor<2x4x8xf32>) -> tensor<2x1x1xf32>
  %1 = nn.div %0, %count : (tensor<2x1x1xf32>, tensor<f32>) -> tensor<2x1x1xf32>
  %2 = nn.sub %x, %1 : (tensor<2x4x8xf32>, tensor<2x1x1xf32>) -> tensor<2x4x8xf32>
  %3 = nn.sub %x, %1 : (tensor<2x4x8xf32>, tensor<2x1x1xf32>) -> tensor<2x4x8xf32>
  %4 = nn.mul %3, %3 : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %5 = nn.reduce sum %4 {axes = array<i64: 1, 2>} : (tensor<2x4x8xf32>) -> tensor<2xf32>
  %6 = nn.reshape %5 : (tensor<2xf32>) -> tensor<2x1x1xf32>
  %7 = nn.mul %6, %share : (tensor<2x1x1xf32>, tensor<f32>) -> tensor<2x1x1xf32>
  %8 = nn.add %eps, %7 : (tensor<f32>, tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
  %9 = nn.rsqrt %8 : (tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
  %10 = nn.mul %9, %2 : (tensor<2x1x1xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  return %10 : tensor<2x4x8xf32>
}

// Llama in fp16: computed in fp32 (the casts around are part of the norm), 1 / √ as a quotient, scaled afterwards.
// CHECK-LABEL: @rms_norm_widened
// CHECK-SAME: (%[[X:.*]]: tensor<2x8xf16>, %[[S:.*]]: tensor<8xf16>)
// CHECK-NEXT: %[[Y:.*]] = nn.rms_norm %[[X]], %[[S]] {axis = 1 : i64, epsilon = 9.99999997E-7 : f32} : {{.*}} -> tensor<2x8xf16>
// CHECK-NEXT: return %[[Y]]
func.func @rms_norm_widened(%x: tensor<2x8xf16>, %s: tensor<8xf16>) -> tensor<2x8xf16> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %eps = nn.constant dense<1.0e-6> : tensor<f32>
  %0 = nn.cast %x : (tensor<2x8xf16>) -> tensor<2x8xf32>
  %1 = nn.pow %0, %two : (tensor<2x8xf32>, tensor<f32>) -> tensor<2x8xf32>
  %2 = nn.reduce mean %1 {axes = array<i64: 1>, keep} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %3 = nn.add %2, %eps : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %4 = nn.sqrt %3 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %5 = nn.div %one, %4 : (tensor<f32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %6 = nn.mul %0, %5 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %7 = nn.cast %6 : (tensor<2x8xf32>) -> tensor<2x8xf16>
  %8 = nn.mul %s, %7 : (tensor<8xf16>, tensor<2x8xf16>) -> tensor<2x8xf16>
  return %8 : tensor<2x8xf16>
}

// The mean of the squares of something else, and a mean over the first dimension, are no norms.
// CHECK-LABEL: @no_norm
// CHECK-NOT: _norm
func.func @no_norm(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %0 = nn.mul %y, %y : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = nn.reduce mean %0 {axes = array<i64: 1>, keep} : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %2 = nn.rsqrt %1 : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %3 = nn.mul %x, %2 : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %4 = nn.mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %5 = nn.reduce mean %4 {axes = array<i64: 0>, keep} : (tensor<4x8xf32>) -> tensor<1x8xf32>
  %6 = nn.rsqrt %5 : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %7 = nn.mul %x, %6 : (tensor<4x8xf32>, tensor<1x8xf32>) -> tensor<4x8xf32>
  return %3, %7 : tensor<4x8xf32>, tensor<4x8xf32>
}
