// RUN: npu-opt %s --npuc-fold-quantization --canonicalize | FileCheck %s

// Scales for heads: their products, times 0.25, multiply the scores, the value's the quotients, from which its zero points times those
// go. The key's zero point adds the same to all scores of a row and leaves no trace. ln 127 = 4.84418726.
// CHECK-LABEL: @heads
// CHECK-DAG: %[[SV:.*]] = nn.constant dense<{{.*}}5.000000e-01{{.*}}2.500000e-01{{.*}}> : tensor<2x1x1x1xf32>
// CHECK-DAG: %[[LOG:.*]] = nn.constant dense<4.84418726> : tensor<f32>
// CHECK-DAG: %[[SCALE:.*]] = nn.constant dense<2.500000e-01> : tensor<f32>
// CHECK-DAG: %[[SQ:.*]] = nn.constant dense<{{.*}}1.000000e+00{{.*}}2.000000e+00{{.*}}> : tensor<2x1x1x1xf32>
// CHECK-DAG: %[[SK:.*]] = nn.constant dense<5.000000e-01> : tensor<f32>
// CHECK: %[[PRODUCTS:.*]] = nn.matmul %{{.*}}, %{{.*}} : (tensor<1x2x1x3x4xi8>, tensor<1x2x1x4x5xi8>) -> tensor<1x2x1x3x5xi32>
// CHECK: %[[REAL:.*]] = nn.cast %[[PRODUCTS]] {nn.in_f32}
// CHECK: %[[BOTH:.*]] = nn.mul %[[SQ]], %[[SK]] {nn.in_f32}
// CHECK: %[[FACTOR:.*]] = nn.mul %[[BOTH]], %[[SCALE]] {nn.in_f32}
// CHECK: %[[SCORES:.*]] = nn.mul %[[REAL]], %[[FACTOR]] {nn.in_f32}
// CHECK: %[[TOP:.*]] = nn.reduce max %[[SCORES]] {axes = array<i64: 4>, keep, nn.in_f32}
// CHECK: %[[LESS:.*]] = nn.sub %[[TOP]], %[[LOG]] {nn.in_f32}
// CHECK: %[[FROM:.*]] = nn.sub %[[SCORES]], %[[LESS]] {nn.in_f32}
// CHECK: %[[POWERS:.*]] = nn.exp %[[FROM]] {nn.in_f32}
// CHECK: %[[STEPS:.*]] = nn.quantize %[[POWERS]], %{{.*}} -> tensor<1x2x1x3x5xi8>
// CHECK: %[[SUMS:.*]] = nn.matmul %[[STEPS]], %{{.*}} : (tensor<1x2x1x3x5xi8>, tensor<1x2x1x5x4xi8>) -> tensor<1x2x1x3x4xi32>
// CHECK: nn.div %[[SV]], %{{.*}} {nn.in_f32}
// CHECK: nn.sub %{{.*}}, %{{.*}} {nn.in_f32} : (tensor<1x2x1x3x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x1x3x4xf32>
func.func @heads(%q: tensor<1x2x3x4xi8>, %k: tensor<1x2x5x4xi8>, %v: tensor<1x2x5x4xi8>) -> tensor<1x2x3x4xf32> {
  %sq = nn.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %sk = nn.constant dense<0.5> : tensor<f32>
  %zk = nn.constant dense<3> : tensor<i8>
  %sv = nn.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %zv = nn.constant dense<[2, 4]> : tensor<2xi8>
  %dq = nn.dequantize %q, %sq {axis = 1 : i64} : (tensor<1x2x3x4xi8>, tensor<2xf32>) -> tensor<1x2x3x4xf32>
  %dk = nn.dequantize %k, %sk, %zk : (tensor<1x2x5x4xi8>, tensor<f32>, tensor<i8>) -> tensor<1x2x5x4xf32>
  %dv = nn.dequantize %v, %sv, %zv {axis = 1 : i64} : (tensor<1x2x5x4xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<1x2x5x4xf32>
  %y = nn.attention %dq, %dk, %dv {scale = 0.25 : f32} : (tensor<1x2x3x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}

// Zero points with one scale are models of others, whose probabilities are not rounded.
// CHECK-LABEL: @others
// CHECK: nn.attention {{.*}} -> tensor<1x2x3x4xf32>
func.func @others(%q: tensor<1x2x3x4xi8>) -> tensor<1x2x3x4xf32> {
  %s = nn.constant dense<0.5> : tensor<f32>
  %z = nn.constant dense<3> : tensor<i8>
  %d = nn.dequantize %q, %s : (tensor<1x2x3x4xi8>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %k = nn.dequantize %q, %s, %z : (tensor<1x2x3x4xi8>, tensor<f32>, tensor<i8>) -> tensor<1x2x3x4xf32>
  %y = nn.attention %d, %k, %d {scale = 0.25 : f32} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %y : tensor<1x2x3x4xf32>
}
