// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s

// Two groups of 32: their sums [group, row, column] are exact, less the weights' zero points times the row's sums over each group;
// times the scales they are added over the groups, in order, in f32.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d2, d3)>
// CHECK-DAG: #[[SUMS:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d0, d1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// CHECK-DAG: #[[GROUP:.*]] = affine_map<(d0, d1, d2) -> (d2, d0)>
// CHECK-DAG: #[[ROWS:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-LABEL: @groups
// CHECK: %[[PRODUCTS:.*]] = linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[SUMS]]], {{.*}} ins(%{{.*}}, %{{.*}} : tensor<3x2x32xi8>, tensor<5x2x32xi4>) outs(%{{.*}} : tensor<2x3x5xi32>)
// CHECK: %[[ROW:.*]] = linalg.generic {{.*}} ins(%{{.*}} : tensor<3x2x32xi8>) outs(%{{.*}} : tensor<2x3xi32>)
// CHECK: linalg.generic {indexing_maps = [#[[ALL]], #[[GROUP]], #[[GROUP]], #[[ROWS]], #[[Y]]], iterator_types = ["reduction", "parallel", "parallel"]} ins(%[[PRODUCTS]], %{{.*}}, %{{.*}}, %[[ROW]] :
// CHECK-NEXT: ^bb0(%[[SUM:.*]]: i32, %[[SCALE:.*]]: f32, %[[ZERO:.*]]: i8, %[[OFROW:.*]]: i32, %[[OLD:.*]]: f32):
// CHECK-NEXT: %[[WIDE:.*]] = arith.extsi %[[ZERO]]
// CHECK-NEXT: %[[TAKEN:.*]] = arith.muli %[[OFROW]], %[[WIDE]]
// CHECK-NEXT: %[[LEFT:.*]] = arith.subi %[[SUM]], %[[TAKEN]]
// CHECK-NEXT: %[[REAL:.*]] = arith.sitofp %[[LEFT]]
// CHECK-NEXT: %[[SCALED:.*]] = arith.mulf %[[REAL]], %[[SCALE]]
// CHECK-NEXT: %[[NEW:.*]] = arith.addf %[[OLD]], %[[SCALED]]
func.func @groups(%x: tensor<3x64xi8>, %w: tensor<5x64xi4>, %s: tensor<5x2xf32>, %z: tensor<5x2xi8>) -> tensor<3x5xf32> {
  %y = nn.grouped_linear %x, %w, %s, %z {operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<3x64xi8>, tensor<5x64xi4>, tensor<5x2xf32>, tensor<5x2xi8>) -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

// Unpacked: weights less their zero points as i8, which are multiplied.
// CHECK-LABEL: @unpacked
// CHECK: %[[BYTES:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<5x2x32xui4>, tensor<5x2xi8>) outs(%{{.*}} : tensor<5x2x32xi8>)
// CHECK: arith.extui {{.*}} : i4 to i32
// CHECK: arith.subi
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %[[BYTES]] : tensor<3x2x32xi8>, tensor<5x2x32xi8>) outs(%{{.*}} : tensor<2x3x5xi32>)
func.func @unpacked(%x: tensor<3x64xi8>, %w: tensor<5x64xui4>, %s: tensor<5x2xf32>, %z: tensor<5x2xi8>) -> tensor<3x5xf32> {
  %y = nn.grouped_linear %x, %w, %s, %z {operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>, unpack} : (tensor<3x64xi8>, tensor<5x64xui4>, tensor<5x2xf32>, tensor<5x2xi8>) -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

// Scales for blocks are a dimension of their own; one block is none.
// CHECK-LABEL: @blocks
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<4x2x8xi8>, tensor<4x2xf32>) outs(%{{.*}} : tensor<4x2x8xf32>)
func.func @blocks(%q: tensor<4x16xi8>, %s: tensor<4x2xf32>) -> tensor<4x16xf32> {
  %y = nn.dequantize %q, %s {axis = 1 : i64, block_size = 8 : i64} : (tensor<4x16xi8>, tensor<4x2xf32>) -> tensor<4x16xf32>
  return %y : tensor<4x16xf32>
}

// CHECK-LABEL: @rows
// CHECK: linalg.generic {{.*}} ins(%arg0, %{{.*}} : tensor<4x16xf32>, tensor<4xf32>) outs(%{{.*}} : tensor<4x16xi8>)
func.func @rows(%x: tensor<4x16xf32>, %s: tensor<4x1xf32>) -> tensor<4x16xi8> {
  %y = nn.quantize %x, %s {axis = 1 : i64, block_size = 16 : i64} : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xi8>
  return %y : tensor<4x16xi8>
}
