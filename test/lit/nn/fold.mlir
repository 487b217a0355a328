// Identities vanish, and what is done to a handle becomes one of its steps.
// RUN: npu-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @neutral(
// CHECK-SAME: %[[X:.*]]: tensor<2x3xf32>
// CHECK-NEXT: return %[[X]]
func.func @neutral(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %one = nn.constant dense<1.0> : tensor<3xf32>
  %0 = nn.add %x, %zero : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %1 = nn.mul %one, %0 : (tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = nn.div %1, %one : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %3 = nn.neg %2 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %4 = nn.neg %3 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %5 = nn.cast %4 : (tensor<2x3xf32>) -> tensor<2x3xf64>
  %6 = nn.cast %5 : (tensor<2x3xf64>) -> tensor<2x3xf32>
  return %6 : tensor<2x3xf32>
}

// A neutral element that makes the result larger stays: 1 of [2, 3] times x of [3] is x twice.
// CHECK-LABEL: func.func @broadcasting(
// CHECK: nn.mul
func.func @broadcasting(%x: tensor<3xf32>) -> tensor<2x3xf32> {
  %one = nn.constant dense<1.0> : tensor<2x3xf32>
  %0 = nn.mul %x, %one : (tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// A cast that loses bits on the way stays.
// CHECK-LABEL: func.func @narrowed(
// CHECK-COUNT-2: nn.cast
func.func @narrowed(%x: tensor<3xf32>) -> tensor<3xf32> {
  %0 = nn.cast %x : (tensor<3xf32>) -> tensor<3xf16>
  %1 = nn.cast %0 : (tensor<3xf16>) -> tensor<3xf32>
  return %1 : tensor<3xf32>
}

// CHECK-LABEL: func.func @merged(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x4xf32>
// CHECK-NEXT: %[[T:.*]] = nn.transpose %[[X]] {permutation = array<i64: 2, 0, 1>}
// CHECK-NEXT: %[[R:.*]] = nn.reshape %[[T]] : (tensor<4x2x3xf32>) -> tensor<24xf32>
// CHECK-NEXT: return %[[R]]
func.func @merged(%x: tensor<2x3x4xf32>) -> tensor<24xf32> {
  // [2,3,4] by [1,0,2] is [3,2,4], by [2,1,0] is [4,2,3]: dimensions 2, 0, 1 of x.
  %0 = nn.transpose %x {permutation = array<i64: 1, 0, 2>} : (tensor<2x3x4xf32>) -> tensor<3x2x4xf32>
  %1 = nn.transpose %0 {permutation = array<i64: 2, 1, 0>} : (tensor<3x2x4xf32>) -> tensor<4x2x3xf32>
  %2 = nn.reshape %1 : (tensor<4x2x3xf32>) -> tensor<8x3xf32>
  %3 = nn.reshape %2 : (tensor<8x3xf32>) -> tensor<24xf32>
  return %3 : tensor<24xf32>
}

// The past of a first decoding step has no element.
// CHECK-LABEL: func.func @empty_past(
// CHECK-SAME: %{{.*}}: tensor<1x2x0x4xf32>, %[[N:.*]]: tensor<1x2x3x4xf32>
// CHECK-NEXT: return %[[N]]
func.func @empty_past(%past: tensor<1x2x0x4xf32>, %new: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %0 = nn.concat %past, %new {axis = 2} : (tensor<1x2x0x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %0 : tensor<1x2x3x4xf32>
}

// CHECK-LABEL: func.func @handle(
// CHECK-NEXT: %[[C:.*]] = nn.constant #nn.converted<#nn.transposed<#nn.sliced<#nn.external<"w", 0> : tensor<512x64xf32>, [8, 0], [1, 1]> : tensor<128x64xf32>, [1, 0]> : tensor<64x128xf32>> : tensor<64x128xf16>
// CHECK-NEXT: return %[[C]]
func.func @handle() -> tensor<64x128xf16> {
  %w = nn.constant #nn.external<"w", 0> : tensor<512x64xf32>
  %0 = nn.slice %w {starts = array<i64: 8, 0>, sizes = array<i64: 128, 64>, steps = array<i64: 1, 1>} : (tensor<512x64xf32>) -> tensor<128x64xf32>
  %1 = nn.transpose %0 {permutation = array<i64: 1, 0>} : (tensor<128x64xf32>) -> tensor<64x128xf32>
  %2 = nn.cast %1 : (tensor<64x128xf32>) -> tensor<64x128xf16>
  return %2 : tensor<64x128xf16>
}

// Transposing twice is the file's own order again.
// CHECK-LABEL: func.func @handle_twice(
// CHECK-NEXT: nn.constant #nn.external<"w", 0> : tensor<512x64xf32>
func.func @handle_twice() -> tensor<512x64xf32> {
  %w = nn.constant #nn.external<"w", 0> : tensor<512x64xf32>
  %0 = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<512x64xf32>) -> tensor<64x512xf32>
  %1 = nn.transpose %0 {permutation = array<i64: 1, 0>} : (tensor<64x512xf32>) -> tensor<512x64xf32>
  return %1 : tensor<512x64xf32>
}
