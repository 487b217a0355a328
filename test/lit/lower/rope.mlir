// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s

// Two ropes by the same angles: the rotations are made once. R = 4 of D = 6 elements turn, in two pairs; the last two are copied.
// CHECK-DAG: #[[ANGLE:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d3)>
// Pair p is (x[p], x[p + 2]): the vectors' components stand before the pairs. The sum is over j, the fourth loop.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d3, d4)>
// CHECK-DAG: #[[R:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d1, d2, d3, d4)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d4)>
// Interleaved, pair p is (x[2p], x[2p + 1]): they stand after them.
// CHECK-DAG: #[[INTERLEAVED:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d4, d3)>

// CHECK-LABEL: @rope
// CHECK: %[[ROTATIONS:.*]] = linalg.generic {indexing_maps = [#[[ANGLE]], #[[ANGLE]], #{{.*}}]
// CHECK: -> tensor<3x2x2x2xf16>
// CHECK: linalg.generic {indexing_maps = [#[[X]], #[[R]], #[[Y]]], iterator_types = ["parallel", "parallel", "parallel", "reduction", "parallel"]}
// CHECK-SAME: ins(%{{.*}}, %[[ROTATIONS]] :
// CHECK: linalg.generic {indexing_maps = [#[[INTERLEAVED]], #[[R]], #[[Y]]], iterator_types = ["parallel", "parallel", "parallel", "reduction", "parallel"]}
// CHECK-SAME: ins(%{{.*}}, %[[ROTATIONS]] :
func.func @rope(%x: tensor<1x2x3x6xf16>, %z: tensor<1x2x3x4xf16>, %c: tensor<1x1x3x2xf16>, %s: tensor<1x1x3x2xf16>) -> (tensor<1x2x3x6xf16>, tensor<1x2x3x4xf16>) {
  %0 = nn.rope %x, %c, %s : (tensor<1x2x3x6xf16>, tensor<1x1x3x2xf16>, tensor<1x1x3x2xf16>) -> tensor<1x2x3x6xf16>
  %1 = nn.rope %z, %c, %s {interleaved} : (tensor<1x2x3x4xf16>, tensor<1x1x3x2xf16>, tensor<1x1x3x2xf16>) -> tensor<1x2x3x4xf16>
  return %0, %1 : tensor<1x2x3x6xf16>, tensor<1x2x3x4xf16>
}
