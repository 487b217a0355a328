// RUN: not npu-opt %s -npuc-lower-to-linalg 2>&1 | FileCheck %s

// Of the input: image, group and channel, and for each of the 3 spatial dimensions its position and the window's: 9 dimensions.
// CHECK: nn.conv is compiled only where its input, seen through the windows, is a view of at most 8 dimensions
func.func @f(%x: tensor<2x4x5x5x5xf16>, %w: tensor<4x2x2x2x2xf16>) -> tensor<2x4x4x4x4xf16> {
  %0 = nn.conv %x, %w {dilations = array<i64: 1, 1, 1>, groups = 2, pads = array<i64: 0, 0, 0, 0, 0, 0>, strides = array<i64: 1, 1, 1>} : (tensor<2x4x5x5x5xf16>, tensor<4x2x2x2x2xf16>) -> tensor<2x4x4x4x4xf16>
  return %0 : tensor<2x4x4x4x4xf16>
}
