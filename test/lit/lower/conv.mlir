// RUN: npu-opt %s -split-input-file -npuc-lower-to-linalg | FileCheck %s
// RUN: npu-opt %s -split-input-file -npuc-lower-to-linalg -npuc-plan-tiles=target=toy -npuc-apply-tiles -npuc-place-tensors=target=toy -npuc-promote-operands=target=toy -npuc-bufferize -npuc-map-to-engines | FileCheck %s --check-prefix=NPU

// Two convolutions of stride 2 and 1 over 16 positions, a function between them. Channels go last: the input's transpose and the
// function are computed straight into the larger tensors that the windows run over: the last window of the first ends at position 2·7 + 2 of
// the padded input, which are 17 = 1 + 16 positions, and 10 = 1 + 8 + 1 are the second's. Loops: position, output channel; window,
// input channel. Position y of the first reads 2·y + k.

// CHECK-DAG: #[[STRIDE2:.*]] = affine_map<(d0, d1, d2, d3) -> (d0 * 2 + d2, d3)>
// CHECK-DAG: #[[STRIDE1:.*]] = affine_map<(d0, d1, d2, d3) -> (d0 + d2, d3)>
// CHECK-DAG: #[[WEIGHT:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d3, d2)>
// CHECK-DAG: #[[SUMS:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1)>
// CHECK-LABEL: func.func @chain
// CHECK: tensor.extract_slice {{.*}}[0, 1, 0] [1, 16, 6] [1, 1, 1] : tensor<1x17x6xf16> to tensor<16x6xf16>
// CHECK: linalg.generic {{.*}}indexing_maps = [#[[STRIDE2]], #[[WEIGHT]], #[[SUMS]]]
// CHECK-SAME: tensor<17x6xf16>, tensor<4x6x3xf16>
// CHECK: %[[SLOT:.*]] = tensor.extract_slice {{.*}}[0, 1, 0] [1, 8, 4] [1, 1, 1] : tensor<1x10x4xf16> to tensor<8x4xf16>
// Bias and function.
// CHECK: linalg.generic {{.*}} outs(%[[SLOT]] : tensor<8x4xf16>)
// CHECK: linalg.generic {{.*}}indexing_maps = [#[[STRIDE1]], #[[WEIGHT]], #[[SUMS]]]
// CHECK-SAME: tensor<10x4xf16>, tensor<5x4x3xf16>

// Nothing is copied that was computed in its place.
// NPU-LABEL: func.func @chain
// NPU-NOT: memref.copy
// NPU: npu.contract {{.*}} : memref<{{.*}}x6xf16, #npu.space<scratchpad>>, memref<4x6x3xf16, #npu.space<scratchpad>>
func.func @chain(%x: tensor<1x6x16xf16>, %w: tensor<4x6x3xf16>, %b: tensor<4xf16>, %w2: tensor<5x4x3xf16>) -> tensor<1x5x8xf16> {
  %0 = nn.conv %x, %w, %b {dilations = array<i64: 1>, pads = array<i64: 1, 1>, strides = array<i64: 2>} : (tensor<1x6x16xf16>, tensor<4x6x3xf16>, tensor<4xf16>) -> tensor<1x4x8xf16>
  %1 = nn.relu %0 : (tensor<1x4x8xf16>) -> tensor<1x4x8xf16>
  %2 = nn.conv %1, %w2 {dilations = array<i64: 1>, pads = array<i64: 1, 1>, strides = array<i64: 1>} : (tensor<1x4x8xf16>, tensor<5x4x3xf16>) -> tensor<1x5x8xf16>
  return %2 : tensor<1x5x8xf16>
}

// -----

// Windows of 4 by 4 that touch and do not overlap are patches: 8 by 12 pixels are 2·4 by 3·4, a view, and the contraction is a plain
// one over row, column and channel of a patch. The transpose to a list of 6 patches is in the last computation.

// CHECK-DAG: #[[PIXELS:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d5, d0, d3, d1, d4)>
// CHECK-DAG: #[[FILTER:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d2, d5, d3, d4)>
// CHECK-LABEL: func.func @patches
// CHECK: tensor.expand_shape {{.*}} : tensor<1x3x8x12xf16> into tensor<{{.*}}3x2x4x3x4xf16>
// CHECK: linalg.generic {{.*}}indexing_maps = [#[[PIXELS]], #[[FILTER]], #{{.*}}], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<2x3x16xf16>)
func.func @patches(%x: tensor<1x3x8x12xf16>, %w: tensor<16x3x4x4xf16>, %b: tensor<16xf16>) -> tensor<1x6x16xf16> {
  %0 = nn.conv %x, %w, %b {dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 4, 4>} : (tensor<1x3x8x12xf16>, tensor<16x3x4x4xf16>, tensor<16xf16>) -> tensor<1x16x2x3xf16>
  %1 = nn.transpose %0 {permutation = array<i64: 0, 2, 3, 1>} : (tensor<1x16x2x3xf16>) -> tensor<1x2x3x16xf16>
  %2 = nn.reshape %1 : (tensor<1x2x3x16xf16>) -> tensor<1x6x16xf16>
  return %2 : tensor<1x6x16xf16>
}

// -----

// A filter of each channel is a batch of the contraction: loops row, column, channel; row and column of the window. Dilation 2 by 1.

// CHECK-DAG: #[[WINDOW:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d0 + d3 * 2, d1 + d4)>
// CHECK-DAG: #[[OWN:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d2, d3, d4)>
// CHECK-DAG: #[[SUM:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2)>
// CHECK-LABEL: func.func @depthwise
// CHECK: linalg.generic {{.*}}indexing_maps = [#[[WINDOW]], #[[OWN]], #[[SUM]]]
func.func @depthwise(%x: tensor<1x8x9x7xf16>, %w: tensor<8x1x3x3xf16>) -> tensor<1x8x5x5xf16> {
  %0 = nn.conv %x, %w {dilations = array<i64: 2, 1>, groups = 8, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>} : (tensor<1x8x9x7xf16>, tensor<8x1x3x3xf16>) -> tensor<1x8x5x5xf16>
  return %0 : tensor<1x8x5x5xf16>
}
