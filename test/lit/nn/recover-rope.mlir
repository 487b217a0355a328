// RUN: npu-opt %s --nn-recover-rope --canonicalize --cse | FileCheck %s
// RUN: npu-opt %s --nn-recover-rope --nn-recover-rope --canonicalize --cse | FileCheck %s

// Hugging Face's llama: cos and sin of angles written twice, side by side; each is computed once.
// CHECK-LABEL: @halves
// CHECK-SAME: (%[[X:.*]]: tensor<2x8x3x16xf32>, %[[A:.*]]: tensor<2x3x8xf32>)
// CHECK-DAG: %[[C:.*]] = nn.cos %[[A]] : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
// CHECK-DAG: %[[C4:.*]] = nn.reshape %[[C]] : (tensor<2x3x8xf32>) -> tensor<2x1x3x8xf32>
// CHECK-DAG: %[[S:.*]] = nn.sin %[[A]] : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
// CHECK-DAG: %[[S4:.*]] = nn.reshape %[[S]] : (tensor<2x3x8xf32>) -> tensor<2x1x3x8xf32>
// CHECK: %[[Y:.*]] = nn.rope %[[X]], %[[C4]], %[[S4]] : (tensor<2x8x3x16xf32>, tensor<2x1x3x8xf32>, tensor<2x1x3x8xf32>)
// CHECK-NEXT: return %[[Y]]
func.func @halves(%x: tensor<2x8x3x16xf32>, %a: tensor<2x3x8xf32>) -> tensor<2x8x3x16xf32> {
  %0 = nn.concat %a, %a {axis = 2 : i64} : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x16xf32>
  %1 = nn.cos %0 : (tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %2 = nn.sin %0 : (tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %3 = nn.reshape %1 : (tensor<2x3x16xf32>) -> tensor<2x1x3x16xf32>
  %4 = nn.reshape %2 : (tensor<2x3x16xf32>) -> tensor<2x1x3x16xf32>
  %5 = nn.mul %x, %3 : (tensor<2x8x3x16xf32>, tensor<2x1x3x16xf32>) -> tensor<2x8x3x16xf32>
  %6 = nn.slice %x {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 2, 8, 3, 8>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x8x3x16xf32>) -> tensor<2x8x3x8xf32>
  %7 = nn.slice %x {starts = array<i64: 0, 0, 0, 8>, sizes = array<i64: 2, 8, 3, 8>, steps = array<i64: 1, 1, 1, 1>} : (tensor<2x8x3x16xf32>) -> tensor<2x8x3x8xf32>
  %8 = nn.neg %7 : (tensor<2x8x3x8xf32>) -> tensor<2x8x3x8xf32>
  %9 = nn.concat %8, %6 {axis = 3 : i64} : (tensor<2x8x3x8xf32>, tensor<2x8x3x8xf32>) -> tensor<2x8x3x16xf32>
  %10 = nn.mul %4, %9 : (tensor<2x1x3x16xf32>, tensor<2x8x3x16xf32>) -> tensor<2x8x3x16xf32>
  %11 = nn.add %10, %5 : (tensor<2x8x3x16xf32>, tensor<2x8x3x16xf32>) -> tensor<2x8x3x16xf32>
  return %11 : tensor<2x8x3x16xf32>
}

// GPT-J's pairs: each angle repeated for two neighbours, by broadcasting.
// CHECK-LABEL: @interleaved
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x3x4xf32>, %[[C:.*]]: tensor<3x2xf32>, %[[S:.*]]: tensor<3x2xf32>)
// CHECK-DAG: %[[C4:.*]] = nn.reshape %[[C]] : (tensor<3x2xf32>) -> tensor<1x1x3x2xf32>
// CHECK-DAG: %[[S4:.*]] = nn.reshape %[[S]] : (tensor<3x2xf32>) -> tensor<1x1x3x2xf32>
// CHECK: nn.rope %[[X]], %[[C4]], %[[S4]] {interleaved}
func.func @interleaved(%x: tensor<1x2x3x4xf32>, %c: tensor<3x2xf32>, %s: tensor<3x2xf32>) -> tensor<1x2x3x4xf32> {
  %0 = nn.reshape %c : (tensor<3x2xf32>) -> tensor<3x2x1xf32>
  %1 = nn.broadcast %0 : (tensor<3x2x1xf32>) -> tensor<3x2x2xf32>
  %2 = nn.reshape %1 : (tensor<3x2x2xf32>) -> tensor<3x4xf32>
  %3 = nn.reshape %s : (tensor<3x2xf32>) -> tensor<3x2x1xf32>
  %4 = nn.broadcast %3 : (tensor<3x2x1xf32>) -> tensor<3x2x2xf32>
  %5 = nn.reshape %4 : (tensor<3x2x2xf32>) -> tensor<3x4xf32>
  %6 = nn.slice %x {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 2>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %7 = nn.slice %x {starts = array<i64: 0, 0, 0, 1>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 2>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %8 = nn.neg %7 : (tensor<1x2x3x2xf32>) -> tensor<1x2x3x2xf32>
  %9 = nn.reshape %8 : (tensor<1x2x3x2xf32>) -> tensor<1x2x3x2x1xf32>
  %10 = nn.reshape %6 : (tensor<1x2x3x2xf32>) -> tensor<1x2x3x2x1xf32>
  %11 = nn.concat %9, %10 {axis = 4 : i64} : (tensor<1x2x3x2x1xf32>, tensor<1x2x3x2x1xf32>) -> tensor<1x2x3x2x2xf32>
  %12 = nn.reshape %11 : (tensor<1x2x3x2x2xf32>) -> tensor<1x2x3x4xf32>
  %13 = nn.mul %x, %2 : (tensor<1x2x3x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3x4xf32>
  %14 = nn.mul %12, %5 : (tensor<1x2x3x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3x4xf32>
  %15 = nn.add %13, %14 : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %15 : tensor<1x2x3x4xf32>
}

// Both components computed and joined; and only the first half of each head rotated (GPT-NeoX), the rest passed.
// CHECK-LABEL: @components_of_a_part
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x3x8xf32>, %[[C:.*]]: tensor<1x1x3x2xf32>, %[[S:.*]]: tensor<1x1x3x2xf32>)
// CHECK-NEXT: %[[Y:.*]] = nn.rope %[[X]], %[[C]], %[[S]] : (tensor<1x2x3x8xf32>, tensor<1x1x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x2x3x8xf32>
// CHECK-NEXT: return %[[Y]]
func.func @components_of_a_part(%x: tensor<1x2x3x8xf32>, %c: tensor<1x1x3x2xf32>, %s: tensor<1x1x3x2xf32>) -> tensor<1x2x3x8xf32> {
  %r = nn.slice %x {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 1, 2, 3, 4>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x3x4xf32>
  %rest = nn.slice %x {starts = array<i64: 0, 0, 0, 4>, sizes = array<i64: 1, 2, 3, 4>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x3x4xf32>
  %a = nn.slice %r {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %b = nn.slice %r {starts = array<i64: 0, 0, 0, 2>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %0 = nn.mul %a, %c : (tensor<1x2x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x2x3x2xf32>
  %1 = nn.mul %b, %s : (tensor<1x2x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x2x3x2xf32>
  %2 = nn.sub %0, %1 : (tensor<1x2x3x2xf32>, tensor<1x2x3x2xf32>) -> tensor<1x2x3x2xf32>
  %3 = nn.mul %a, %s : (tensor<1x2x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x2x3x2xf32>
  %4 = nn.mul %b, %c : (tensor<1x2x3x2xf32>, tensor<1x1x3x2xf32>) -> tensor<1x2x3x2xf32>
  %5 = nn.add %3, %4 : (tensor<1x2x3x2xf32>, tensor<1x2x3x2xf32>) -> tensor<1x2x3x2xf32>
  %6 = nn.concat %2, %5 {axis = 3 : i64} : (tensor<1x2x3x2xf32>, tensor<1x2x3x2xf32>) -> tensor<1x2x3x4xf32>
  %7 = nn.concat %6, %rest {axis = 3 : i64} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x8xf32>
  return %7 : tensor<1x2x3x8xf32>
}

// cos given as wide as x, with halves that may differ, is not a rotation by pairs.
// CHECK-LABEL: @unknown_halves
// CHECK-NOT: nn.rope
func.func @unknown_halves(%x: tensor<1x2x3x4xf32>, %c: tensor<3x4xf32>, %s: tensor<3x4xf32>) -> tensor<1x2x3x4xf32> {
  %0 = nn.slice %x {starts = array<i64: 0, 0, 0, 0>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %1 = nn.slice %x {starts = array<i64: 0, 0, 0, 2>, sizes = array<i64: 1, 2, 3, 2>, steps = array<i64: 1, 1, 1, 1>} : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x2xf32>
  %2 = nn.neg %1 : (tensor<1x2x3x2xf32>) -> tensor<1x2x3x2xf32>
  %3 = nn.concat %2, %0 {axis = 3 : i64} : (tensor<1x2x3x2xf32>, tensor<1x2x3x2xf32>) -> tensor<1x2x3x4xf32>
  %4 = nn.mul %x, %c : (tensor<1x2x3x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3x4xf32>
  %5 = nn.mul %3, %s : (tensor<1x2x3x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3x4xf32>
  %6 = nn.add %4, %5 : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  return %6 : tensor<1x2x3x4xf32>
}
