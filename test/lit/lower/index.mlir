// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s

// Along axis 1 of [2, 5, 4]: rows of 4; row 5 · a + i for index i, and i + 5 where i < 0. An index outside of 0…4 must not
// name the row of another a: it becomes 10, the number of rows, which the device refuses.
// CHECK-LABEL: @axis
// CHECK: %[[NUMBERS:.*]] = linalg.generic
// CHECK: linalg.index 0
// CHECK: arith.select %{{.*}}, %c10_i32
// CHECK: } -> tensor<2x3xi32>
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape %{{.*}} {{\[}}[0, 1], [2]] : tensor<2x5x4xf16> into tensor<10x4xf16>
// CHECK: linalg.generic {{.*}} ins(%[[NUMBERS]] : tensor<2x3xi32>)
// CHECK: tensor.extract %[[ROWS]]
func.func @axis(%t: tensor<2x5x4xf16>, %i: tensor<3xi32>) -> tensor<2x3x4xf16> {
  %0 = nn.gather %t, %i {axis = 1 : i64} : (tensor<2x5x4xf16>, tensor<3xi32>) -> tensor<2x3x4xf16>
  return %0 : tensor<2x3x4xf16>
}

// Constants of 0 and up need no arithmetic: they are the rows' numbers.
// CHECK-LABEL: @known
// CHECK-NOT: arith.cmpi
// CHECK: tensor.extract
// CHECK-NOT: arith.cmpi
// CHECK: return
func.func @known(%t: tensor<5x4xf16>) -> tensor<2x4xf16> {
  %i = nn.constant dense<[4, 0]> : tensor<2xi32>
  %0 = nn.gather %t, %i {axis = 0 : i64} : (tensor<5x4xf16>, tensor<2xi32>) -> tensor<2x4xf16>
  return %0 : tensor<2x4xf16>
}

// The last of 2 updates that falls on each of 5 rows wins: a greatest over the updates' numbers, from −1 for none.
// CHECK-LABEL: @scatter
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]}
// CHECK: arith.select %{{.*}}, %{{.*}}, %c-1_i32
// CHECK: arith.maxsi
// CHECK: } -> tensor<5xi32>
// CHECK: tensor.extract
func.func @scatter(%x: tensor<5x4xf16>, %i: tensor<2x1xi32>, %u: tensor<2x4xf16>) -> tensor<5x4xf16> {
  %0 = nn.scatter_nd none %x, %i, %u : (tensor<5x4xf16>, tensor<2x1xi32>, tensor<2x4xf16>) -> tensor<5x4xf16>
  return %0 : tensor<5x4xf16>
}

// A running sum along 6 elements: for each of them a sum over those up to it.
// CHECK-LABEL: @running
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]}
// CHECK: arith.cmpi sle
// CHECK: arith.addi
// CHECK: } -> tensor<3x6xi32>
func.func @running(%x: tensor<3x6xi32>) -> tensor<3x6xi32> {
  %0 = nn.cum_sum %x {axis = 1 : i64} : (tensor<3x6xi32>) -> tensor<3x6xi32>
  return %0 : tensor<3x6xi32>
}
