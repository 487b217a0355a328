// RUN: npu-opt %s --npuc-bound-sums=bits=16 | FileCheck %s
// RUN: npu-opt %s --npuc-bound-sums=bits=16 --npuc-bound-sums=bits=16 | FileCheck %s
// RUN: npu-opt %s --npuc-bound-sums=bits=24 | FileCheck %s --check-prefix=WIDE

// WIDE-NOT: nn.parts

// Weights are known: |100| + |-100| + |100| = 300 for the first column, and 300 · 128 = 38400 > 32767. Of the divisors of 3
// products only 3 parts of one are left: 100 · 128 = 12800.
// CHECK-LABEL: @by_weights
// CHECK: nn.linear %arg0, {{.*}} {nn.parts = 3 : i64}
func.func @by_weights(%x: tensor<1x3xi8>) -> tensor<1x2xi32> {
  %w = nn.constant dense<[[100, 1], [-100, 1], [100, -1]]> : tensor<3x2xi8>
  %y = nn.linear %x, %w : (tensor<1x3xi8>, tensor<3x2xi8>) -> tensor<1x2xi32>
  return %y : tensor<1x2xi32>
}

// The same number of products of small weights needs no parts.
// CHECK-LABEL: @small_weights
// CHECK: nn.linear
// CHECK-NOT: nn.parts
// CHECK: return
func.func @small_weights(%x: tensor<1x3xi8>) -> tensor<1x2xi32> {
  %w = nn.constant dense<[[50, 1], [-50, 1], [50, -1]]> : tensor<3x2xi8>
  %y = nn.linear %x, %w : (tensor<1x3xi8>, tensor<3x2xi8>) -> tensor<1x2xi32>
  return %y : tensor<1x2xi32>
}

// Nothing is known but the number of products: 2 · 128 · 128 = 32768 is one too many, so each is a part.
// CHECK-LABEL: @by_count
// CHECK: nn.matmul %arg0, %arg1 {nn.parts = 2 : i64}
func.func @by_count(%a: tensor<4x2xi8>, %b: tensor<2x4xi8>) -> tensor<4x4xi32> {
  %y = nn.matmul %a, %b : (tensor<4x2xi8>, tensor<2x4xi8>) -> tensor<4x4xi32>
  return %y : tensor<4x4xi32>
}

// Probabilities are at most 127: 4 · 127 · 128 = 65024 in two parts of 32512.
// CHECK-LABEL: @attention
// CHECK: nn.attention {{.*}}nn.parts = 2 : i64
func.func @attention(%q: tensor<1x1x4x1xi8>, %k: tensor<1x1x4x1xi8>) -> tensor<1x1x4x1xf32> {
  %y = nn.attention %q, %k, %k {scale = 1.0 : f32} : (tensor<1x1x4x1xi8>, tensor<1x1x4x1xi8>, tensor<1x1x4x1xi8>) -> tensor<1x1x4x1xf32>
  return %y : tensor<1x1x4x1xf32>
}
