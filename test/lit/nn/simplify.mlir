// RUN: npu-opt %s --nn-simplify --canonicalize --cse | FileCheck %s
// RUN: npu-opt %s --nn-simplify --nn-simplify --canonicalize --cse | FileCheck %s

// TorchScript's padding mask: rows picked by every index in order, 0 to 5, from the flattened mask.
// CHECK-LABEL: @padding_mask
// CHECK-NEXT: %[[M:.*]] = nn.reshape %arg0 : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
// CHECK-NEXT: return %[[M]]
func.func @padding_mask(%m: tensor<2x3xi1>) -> tensor<2x1x1x3xi1> {
  %i = nn.constant dense<[[[[0, 1, 2]]], [[[3, 4, 5]]]]> : tensor<2x1x1x3xi64>
  %0 = nn.reshape %m : (tensor<2x3xi1>) -> tensor<6x1xi1>
  %1 = nn.gather %0, %i {axis = 0 : i64} : (tensor<6x1xi1>, tensor<2x1x1x3xi64>) -> tensor<2x1x1x3x1xi1>
  %2 = nn.reshape %1 : (tensor<2x1x1x3x1xi1>) -> tensor<2x1x1x3xi1>
  return %2 : tensor<2x1x1x3xi1>
}

// The same indices, computed: batch · 3 + position.
// CHECK-LABEL: @padding_mask_computed
// CHECK-NEXT: %[[M:.*]] = nn.reshape %arg0 : (tensor<2x3xi1>) -> tensor<2x1x1x3x1xi1>
// CHECK-NEXT: return %[[M]]
func.func @padding_mask_computed(%m: tensor<2x3xi1>) -> tensor<2x1x1x3x1xi1> {
  %three = nn.constant dense<3> : tensor<i64>
  %b = nn.range {start = 0 : i64, step = 1 : i64} : tensor<2xi64>
  %p = nn.range {start = 0 : i64, step = 1 : i64} : tensor<3xi64>
  %b4 = nn.reshape %b : (tensor<2xi64>) -> tensor<2x1x1x1xi64>
  %rows = nn.mul %b4, %three : (tensor<2x1x1x1xi64>, tensor<i64>) -> tensor<2x1x1x1xi64>
  %i = nn.add %rows, %p : (tensor<2x1x1x1xi64>, tensor<3xi64>) -> tensor<2x1x1x3xi64>
  %0 = nn.reshape %m : (tensor<2x3xi1>) -> tensor<6x1xi1>
  %1 = nn.gather %0, %i {axis = 0 : i64} : (tensor<6x1xi1>, tensor<2x1x1x3xi64>) -> tensor<2x1x1x3x1xi1>
  return %1 : tensor<2x1x1x3x1xi1>
}

// The dynamo exporter's: tuples (batch, position).
// CHECK-LABEL: @padding_mask_tuples
// CHECK-NEXT: %[[M:.*]] = nn.reshape %arg0 : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
// CHECK-NEXT: return %[[M]]
func.func @padding_mask_tuples(%m: tensor<2x3xi1>) -> tensor<2x1x1x3xi1> {
  %i = nn.constant dense<[[[[[0, 0], [0, 1], [0, 2]]]], [[[[1, 0], [1, 1], [1, 2]]]]]> : tensor<2x1x1x3x2xi64>
  %0 = nn.gather_nd %m, %i : (tensor<2x3xi1>, tensor<2x1x1x3x2xi64>) -> tensor<2x1x1x3xi1>
  return %0 : tensor<2x1x1x3xi1>
}

// Indices out of order stay a gather; the last row, by -1, is a slice.
// CHECK-LABEL: @gathers
// CHECK: nn.gather %arg0
// CHECK: nn.slice %arg0 {sizes = array<i64: 1, 4>, starts = array<i64: 2, 0>, steps = array<i64: 1, 1>}
func.func @gathers(%x: tensor<3x4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>) {
  %i = nn.constant dense<[2, 0]> : tensor<2xi64>
  %last = nn.constant dense<-1> : tensor<i64>
  %0 = nn.gather %x, %i {axis = 0 : i64} : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  %1 = nn.gather %x, %last {axis = 0 : i64} : (tensor<3x4xf32>, tensor<i64>) -> tensor<4xf32>
  return %0, %1 : tensor<2x4xf32>, tensor<4xf32>
}

// What is repeated is computed once: the mask's 3 elements, not 3 · 5. Where the result has the repeated shape anyway, no
// broadcast is left.
// CHECK-LABEL: @broadcasts
// CHECK: %[[M:.*]] = nn.select %arg0, %{{.*}}, %{{.*}} : (tensor<3x1xi1>, tensor<f32>, tensor<f32>) -> tensor<3x1xf32>
// CHECK-NEXT: %[[Y:.*]] = nn.add %arg1, %[[M]] : (tensor<3x5xf32>, tensor<3x1xf32>) -> tensor<3x5xf32>
// CHECK-NEXT: return %[[Y]]
func.func @broadcasts(%c: tensor<3x1xi1>, %x: tensor<3x5xf32>) -> tensor<3x5xf32> {
  %zero = nn.constant dense<0.0> : tensor<1x1xf32>
  %fill = nn.constant dense<-1.0> : tensor<3x5xf32>
  %0 = nn.broadcast %c : (tensor<3x1xi1>) -> tensor<3x5xi1>
  %1 = nn.select %0, %zero, %fill : (tensor<3x5xi1>, tensor<1x1xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
  %2 = nn.add %x, %1 : (tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
  return %2 : tensor<3x5xf32>
}

// Keys transposed as matrices of joined heads.
// CHECK-LABEL: @joined_transpose
// CHECK-NEXT: %[[Y:.*]] = nn.transpose %arg0 {permutation = array<i64: 0, 1, 3, 2>}
// CHECK-NEXT: return %[[Y]]
func.func @joined_transpose(%x: tensor<2x4x5x16xf32>) -> tensor<2x4x16x5xf32> {
  %0 = nn.reshape %x : (tensor<2x4x5x16xf32>) -> tensor<8x5x16xf32>
  %1 = nn.transpose %0 {permutation = array<i64: 0, 2, 1>} : (tensor<8x5x16xf32>) -> tensor<8x16x5xf32>
  %2 = nn.reshape %1 : (tensor<8x16x5xf32>) -> tensor<2x4x16x5xf32>
  return %2 : tensor<2x4x16x5xf32>
}

// NaN makes both a < b and a ≥ b false.
// CHECK-LABEL: @inverted
// CHECK: nn.compare ge %arg0, %arg1
// CHECK: nn.compare lt %arg2, %arg3
// CHECK: nn.not
func.func @inverted(%a: tensor<3xi64>, %b: tensor<3xi64>, %x: tensor<3xf32>, %y: tensor<3xf32>) -> (tensor<3xi1>, tensor<3xi1>) {
  %0 = nn.compare lt %a, %b : (tensor<3xi64>, tensor<3xi64>) -> tensor<3xi1>
  %1 = nn.not %0 : (tensor<3xi1>) -> tensor<3xi1>
  %2 = nn.compare lt %x, %y : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>
  %3 = nn.not %2 : (tensor<3xi1>) -> tensor<3xi1>
  return %1, %3 : tensor<3xi1>, tensor<3xi1>
}

// Every tuple of the first two dimensions in order, the last one's computed: the updates are the result.
// CHECK-LABEL: @scatter_everything
// CHECK-SAME: %{{.*}}: tensor<2x3x4xf32>, %[[U:.*]]: tensor<2x3x4xf32>
// CHECK-NEXT: return %[[U]]
func.func @scatter_everything(%x: tensor<2x3x4xf32>, %updates: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %rows = nn.constant dense<[[[0], [0], [0]], [[1], [1], [1]]]> : tensor<2x3x1xi64>
  %range = nn.range {start = 0 : i64, step = 1 : i64} : tensor<3xi64>
  %shaped = nn.reshape %range : (tensor<3xi64>) -> tensor<1x3x1xi64>
  %columns = nn.broadcast %shaped : (tensor<1x3x1xi64>) -> tensor<2x3x1xi64>
  %tuples = nn.concat %rows, %columns {axis = 2 : i64} : (tensor<2x3x1xi64>, tensor<2x3x1xi64>) -> tensor<2x3x2xi64>
  %0 = nn.scatter_nd none %x, %tuples, %updates : (tensor<2x3x4xf32>, tensor<2x3x2xi64>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// The rows in another order stay; so do sums, and a part.
// CHECK-LABEL: @scatter_otherwise
// CHECK-COUNT-3: nn.scatter_nd
func.func @scatter_otherwise(%x: tensor<2x4xf32>, %updates: tensor<2x4xf32>, %one: tensor<1x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
  %swapped = nn.constant dense<[[1], [0]]> : tensor<2x1xi64>
  %ordered = nn.constant dense<[[0], [1]]> : tensor<2x1xi64>
  %first = nn.constant dense<0> : tensor<1x1xi64>
  %0 = nn.scatter_nd none %x, %swapped, %updates : (tensor<2x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = nn.scatter_nd add %x, %ordered, %updates : (tensor<2x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = nn.scatter_nd none %x, %first, %one : (tensor<2x4xf32>, tensor<1x1xi64>, tensor<1x4xf32>) -> tensor<2x4xf32>
  return %0, %1, %2 : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
}
