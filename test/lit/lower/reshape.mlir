// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s

// A part of wider rows in another shape: only dimensions that change are split or joined, never all of them at once, so that rows
// that lie apart need not be brought together.
// CHECK-LABEL: @part
// CHECK: %[[PART:.*]] = tensor.extract_slice
// CHECK: %[[HEADS:.*]] = tensor.expand_shape %[[PART]] {{\[}}[0], [1], [2], [3, 4]] output_shape [2, 1, 11, 4, 16]
// CHECK: tensor.collapse_shape %[[HEADS]] {{\[}}[0], [1, 2], [3], [4]]
func.func @part(%x: tensor<2x1x11x96xf32>) -> tensor<2x11x4x16xf32> {
  %0 = nn.slice %x {sizes = array<i64: 2, 1, 11, 64>, starts = array<i64: 0, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x1x11x96xf32>) -> tensor<2x1x11x64xf32>
  %1 = nn.reshape %0 : (tensor<2x1x11x64xf32>) -> tensor<2x11x4x16xf32>
  return %1 : tensor<2x11x4x16xf32>
}

// 4 x 6 and 3 x 8 have no dimension in common, the 5 before them is.
// CHECK-LABEL: @regrouped
// CHECK: tensor.collapse_shape {{.*}} {{\[}}[0], [1, 2]] : tensor<5x4x6xf32> into tensor<5x24xf32>
// CHECK: tensor.expand_shape {{.*}} {{\[}}[0], [1, 2]] output_shape [5, 3, 8]
func.func @regrouped(%x: tensor<5x4x6xf32>) -> tensor<5x3x8xf32> {
  %0 = nn.reshape %x : (tensor<5x4x6xf32>) -> tensor<5x3x8xf32>
  return %0 : tensor<5x3x8xf32>
}
