// RUN: npu-opt %s --nn-recover | FileCheck %s
// The pipeline is idempotent.
// RUN: npu-opt %s --nn-recover --nn-recover | FileCheck %s

// One BERT layer as TorchScript writes it (opset 11: norms and gelu decomposed, the mask gathered from a flattened one, biases on
// the left) and as the dynamo exporter does (keys transposed as joined heads, the mask picked by tuples): the same operations but
// for the mask, which each exporter fills with another number.

// CHECK-LABEL: @torchscript
// CHECK: nn.cast %{{.*}} : (tensor<1x3xi32>) -> tensor<1x3xi1>
// CHECK: nn.reshape
// CHECK: nn.select
// CHECK: %[[M:.*]] = nn.reshape %{{.*}} -> tensor<1x1x1x3xf32>
// CHECK: %[[X:.*]] = nn.layer_norm
// CHECK: nn.linear %[[X]], %{{.*}}, %{{.*}} : (tensor<1x3x8xf32>, tensor<8x8xf32>, tensor<8xf32>)
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x2x4xf32>
// CHECK: %[[Q:.*]] = nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.linear %[[X]]
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x2x4xf32>
// CHECK: %[[K:.*]] = nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.attention %[[Q]], %[[K]], %[[K]], %[[M]] {scale = 2.500000e-01 : f32}
// CHECK: nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x8xf32>
// CHECK: nn.linear
// CHECK: nn.add
// CHECK: nn.layer_norm
// CHECK: nn.linear
// CHECK: nn.gelu
// CHECK: nn.linear
// CHECK: nn.add
// CHECK-NEXT: return
func.func @torchscript(%x: tensor<1x3x8xf32>, %padding: tensor<1x3xi64>) -> tensor<1x3x8xf32> {
  %scale = nn.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %bias = nn.constant dense<[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]> : tensor<8xf32>
  %wide = nn.constant dense<2.0> : tensor<16xf32>
  %w1 = nn.constant #nn.external<"w", 0> : tensor<8x8xf32>
  %w2 = nn.constant #nn.external<"w", 256> : tensor<8x8xf32>
  %w3 = nn.constant #nn.external<"w", 512> : tensor<8x8xf32>
  %w4 = nn.constant #nn.external<"w", 768> : tensor<8x16xf32>
  %w5 = nn.constant #nn.external<"w", 1280> : tensor<16x8xf32>
  %two = nn.constant dense<2.0> : tensor<f32>
  %eps = nn.constant dense<1.0e-12> : tensor<f32>
  %half = nn.constant dense<0.5> : tensor<f32>
  %quarter = nn.constant dense<0.25> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %fill = nn.constant dense<-3.40282347E+38> : tensor<f32>
  %root = nn.constant dense<1.41421354> : tensor<f32>
  %true = nn.constant dense<true> : tensor<1x1x3x1xi1>
  %order = nn.constant dense<[[[[0, 1, 2]]]]> : tensor<1x1x1x3xi64>
  %m0 = nn.cast %padding : (tensor<1x3xi64>) -> tensor<1x3xi1>
  %m1 = nn.reshape %m0 : (tensor<1x3xi1>) -> tensor<3x1xi1>
  %m2 = nn.gather %m1, %order {axis = 0 : i64} : (tensor<3x1xi1>, tensor<1x1x1x3xi64>) -> tensor<1x1x1x3x1xi1>
  %m3 = nn.reshape %m2 : (tensor<1x1x1x3x1xi1>) -> tensor<3xi1>
  %m4 = nn.reshape %m3 : (tensor<3xi1>) -> tensor<1x1x1x3xi1>
  %m5 = nn.and %true, %m4 : (tensor<1x1x3x1xi1>, tensor<1x1x1x3xi1>) -> tensor<1x1x3x3xi1>
  %mask = nn.select %m5, %zero, %fill : (tensor<1x1x3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x3x3xf32>
  %a0 = nn.reduce mean %x {axes = array<i64: 2>, keep} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %a1 = nn.sub %x, %a0 : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %a2 = nn.pow %a1, %two : (tensor<1x3x8xf32>, tensor<f32>) -> tensor<1x3x8xf32>
  %a3 = nn.reduce mean %a2 {axes = array<i64: 2>, keep} : (tensor<1x3x8xf32>) -> tensor<1x3x1xf32>
  %a4 = nn.add %a3, %eps : (tensor<1x3x1xf32>, tensor<f32>) -> tensor<1x3x1xf32>
  %a5 = nn.sqrt %a4 : (tensor<1x3x1xf32>) -> tensor<1x3x1xf32>
  %a6 = nn.div %a1, %a5 : (tensor<1x3x8xf32>, tensor<1x3x1xf32>) -> tensor<1x3x8xf32>
  %a7 = nn.mul %a6, %scale : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %h = nn.add %a7, %bias : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %q0 = nn.matmul %h, %w1 : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32>
  %q1 = nn.add %bias, %q0 : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %q2 = nn.reshape %q1 : (tensor<1x3x8xf32>) -> tensor<1x3x2x4xf32>
  %q = nn.transpose %q2 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %k0 = nn.matmul %h, %w2 : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32>
  %k1 = nn.add %bias, %k0 : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %k2 = nn.reshape %k1 : (tensor<1x3x8xf32>) -> tensor<1x3x2x4xf32>
  %v = nn.transpose %k2 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %k = nn.transpose %k2 {permutation = array<i64: 0, 2, 3, 1>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x4x3xf32>
  %s0 = nn.matmul %q, %k : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %s1 = nn.mul %s0, %quarter : (tensor<1x2x3x3xf32>, tensor<f32>) -> tensor<1x2x3x3xf32>
  %s2 = nn.add %s1, %mask : (tensor<1x2x3x3xf32>, tensor<1x1x3x3xf32>) -> tensor<1x2x3x3xf32>
  %s3 = nn.softmax %s2 {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %s4 = nn.matmul %s3, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %s5 = nn.transpose %s4 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x2x3x4xf32>) -> tensor<1x3x2x4xf32>
  %s6 = nn.reshape %s5 : (tensor<1x3x2x4xf32>) -> tensor<1x3x8xf32>
  %o0 = nn.matmul %s6, %w3 : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32>
  %o1 = nn.add %bias, %o0 : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %o2 = nn.add %o1, %h : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %n = nn.layer_norm %o2, %scale, %bias {axis = 2 : i64, epsilon = 1.0e-12 : f32} : (tensor<1x3x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %f0 = nn.matmul %n, %w4 : (tensor<1x3x8xf32>, tensor<8x16xf32>) -> tensor<1x3x16xf32>
  %f1 = nn.add %wide, %f0 : (tensor<16xf32>, tensor<1x3x16xf32>) -> tensor<1x3x16xf32>
  %f2 = nn.div %f1, %root : (tensor<1x3x16xf32>, tensor<f32>) -> tensor<1x3x16xf32>
  %f3 = nn.erf %f2 : (tensor<1x3x16xf32>) -> tensor<1x3x16xf32>
  %f4 = nn.add %f3, %one : (tensor<1x3x16xf32>, tensor<f32>) -> tensor<1x3x16xf32>
  %f5 = nn.mul %f1, %f4 : (tensor<1x3x16xf32>, tensor<1x3x16xf32>) -> tensor<1x3x16xf32>
  %f6 = nn.mul %f5, %half : (tensor<1x3x16xf32>, tensor<f32>) -> tensor<1x3x16xf32>
  %f7 = nn.matmul %f6, %w5 : (tensor<1x3x16xf32>, tensor<16x8xf32>) -> tensor<1x3x8xf32>
  %f8 = nn.add %bias, %f7 : (tensor<8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %y = nn.add %f8, %n : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return %y : tensor<1x3x8xf32>
}

// CHECK-LABEL: @dynamo
// CHECK: nn.cast %{{.*}} : (tensor<1x3xi32>) -> tensor<1x3xi1>
// CHECK: %[[M:.*]] = nn.reshape %{{.*}} -> tensor<1x1x1x3xi1>
// CHECK: %[[X:.*]] = nn.layer_norm
// CHECK: nn.linear %[[X]], %{{.*}}, %{{.*}} : (tensor<1x3x8xf32>, tensor<8x8xf32>, tensor<8xf32>)
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x2x4xf32>
// CHECK: %[[Q:.*]] = nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.linear %[[X]]
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x2x4xf32>
// CHECK: %[[K:.*]] = nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.attention %[[Q]], %[[K]], %[[K]], %[[M]] {scale = 2.500000e-01 : f32, zero_masked}
// CHECK: nn.transpose %{{.*}} {permutation = array<i64: 0, 2, 1, 3>}
// CHECK: nn.reshape %{{.*}} -> tensor<1x3x8xf32>
// CHECK: nn.linear
// CHECK: nn.add
// CHECK: nn.layer_norm
// CHECK: nn.linear
// CHECK: nn.gelu
// CHECK: nn.linear
// CHECK: nn.add
// CHECK-NEXT: return
func.func @dynamo(%x: tensor<1x3x8xf32>, %padding: tensor<1x3xi64>) -> tensor<1x3x8xf32> {
  %scale = nn.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %bias = nn.constant dense<[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]> : tensor<8xf32>
  %wide = nn.constant dense<2.0> : tensor<16xf32>
  %w1 = nn.constant #nn.external<"w", 0> : tensor<8x8xf32>
  %w2 = nn.constant #nn.external<"w", 256> : tensor<8x8xf32>
  %w3 = nn.constant #nn.external<"w", 512> : tensor<8x8xf32>
  %w4 = nn.constant #nn.external<"w", 768> : tensor<8x16xf32>
  %w5 = nn.constant #nn.external<"w", 1280> : tensor<16x8xf32>
  // √¼, so that the product of both is ¼.
  %rootScale = nn.constant dense<0.5> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %fill = nn.constant dense<0xFF800000> : tensor<f32>
  %true = nn.constant dense<true> : tensor<1x1x3x1xi1>
  %tuples = nn.constant dense<[[[[[0, 0], [0, 1], [0, 2]]]]]> : tensor<1x1x1x3x2xi64>
  %m0 = nn.cast %padding : (tensor<1x3xi64>) -> tensor<1x3xi1>
  %m1 = nn.gather_nd %m0, %tuples : (tensor<1x3xi1>, tensor<1x1x1x3x2xi64>) -> tensor<1x1x1x3xi1>
  %m2 = nn.and %true, %m1 : (tensor<1x1x3x1xi1>, tensor<1x1x1x3xi1>) -> tensor<1x1x3x3xi1>
  %mask = nn.select %m2, %zero, %fill : (tensor<1x1x3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x3x3xf32>
  %h = nn.layer_norm %x, %scale, %bias {axis = 2 : i64, epsilon = 1.0e-12 : f32} : (tensor<1x3x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %q0 = nn.matmul %h, %w1 : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32>
  %q1 = nn.add %q0, %bias : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %q2 = nn.reshape %q1 : (tensor<1x3x8xf32>) -> tensor<1x3x2x4xf32>
  %q3 = nn.transpose %q2 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %k0 = nn.matmul %h, %w2 : (tensor<1x3x8xf32>, tensor<8x8xf32>) -> tensor<1x3x8xf32>
  %k1 = nn.add %k0, %bias : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %k2 = nn.reshape %k1 : (tensor<1x3x8xf32>) -> tensor<1x3x2x4xf32>
  %v = nn.transpose %k2 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %k4 = nn.reshape %v : (tensor<1x2x3x4xf32>) -> tensor<2x3x4xf32>
  %k5 = nn.transpose %k4 {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %k6 = nn.reshape %k5 : (tensor<2x4x3xf32>) -> tensor<1x2x4x3xf32>
  %q = nn.mul %q3, %rootScale : (tensor<1x2x3x4xf32>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %k = nn.mul %k6, %rootScale : (tensor<1x2x4x3xf32>, tensor<f32>) -> tensor<1x2x4x3xf32>
  %s0 = nn.matmul %q, %k : (tensor<1x2x3x4xf32>, tensor<1x2x4x3xf32>) -> tensor<1x2x3x3xf32>
  %s2 = nn.add %s0, %mask : (tensor<1x2x3x3xf32>, tensor<1x1x3x3xf32>) -> tensor<1x2x3x3xf32>
  %s3 = nn.softmax %s2 {axis = 3 : i64} : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %nan = nn.is_nan %s3 : (tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xi1>
  %p = nn.select %nan, %zero, %s3 : (tensor<1x2x3x3xi1>, tensor<f32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %s4 = nn.matmul %p, %v : (tensor<1x2x3x3xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %s5 = nn.transpose %s4 {permutation = array<i64: 0, 2, 1, 3>} : (tensor<1x2x3x4xf32>) -> tensor<1x3x2x4xf32>
  %s6 = nn.reshape %s5 : (tensor<1x3x2x4xf32>) -> tensor<3x8xf32>
  %o0 = nn.linear %s6, %w3, %bias : (tensor<3x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<3x8xf32>
  %o1 = nn.reshape %o0 : (tensor<3x8xf32>) -> tensor<1x3x8xf32>
  %o2 = nn.add %o1, %h : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %n = nn.layer_norm %o2, %scale, %bias {axis = 2 : i64, epsilon = 1.0e-12 : f32} : (tensor<1x3x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %f0 = nn.matmul %n, %w4 : (tensor<1x3x8xf32>, tensor<8x16xf32>) -> tensor<1x3x16xf32>
  %f1 = nn.add %f0, %wide : (tensor<1x3x16xf32>, tensor<16xf32>) -> tensor<1x3x16xf32>
  %f2 = nn.gelu %f1 : (tensor<1x3x16xf32>) -> tensor<1x3x16xf32>
  %f3 = nn.matmul %f2, %w5 : (tensor<1x3x16xf32>, tensor<16x8xf32>) -> tensor<1x3x8xf32>
  %f4 = nn.add %f3, %bias : (tensor<1x3x8xf32>, tensor<8xf32>) -> tensor<1x3x8xf32>
  %y = nn.add %f4, %n : (tensor<1x3x8xf32>, tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return %y : tensor<1x3x8xf32>
}
