// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s

// Sums that no bias follows and that stay integers of 32 bits are what was asked for: no step copies them.
// CHECK-LABEL: @sums
// CHECK: linalg.fill
// CHECK: linalg.generic
// CHECK-SAME: "reduction"
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @sums(%x: tensor<2x4xi8>, %w: tensor<4x3xi8>) -> tensor<2x3xi32> {
  %0 = nn.linear %x, %w : (tensor<2x4xi8>, tensor<4x3xi8>) -> tensor<2x3xi32>
  return %0 : tensor<2x3xi32>
}
