// Reshapes go into the loops of what stands beside them, until nothing changes.
// RUN: npu-opt %s -npuc-set-float-type -npuc-lower-to-linalg | FileCheck %s

// A layer norm written out, over rows that outside are two dimensions. The statistics keep their dimension of 1 and go
// several ways: it must not come out of one formula and go into the next without end.
// CHECK-DAG: #[[ALL:.*]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// CHECK-DAG: #[[ROWS:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-LABEL: func.func @main
// The sums of x and of x · x, with 2 · 3 rows; no loop is of one step.
// CHECK-COUNT-2: indexing_maps = [#[[ALL]], #[[ROWS]]], iterator_types = ["parallel", "parallel", "reduction"]{{.*}} outs({{.*}} : tensor<2x3xf32>)
// y: one formula of x, the mean, the deviation and the scale.
// CHECK: indexing_maps = [#[[ALL]], #[[ROWS]], #[[ROWS]], {{.*}}, #[[ALL]]], iterator_types = ["parallel", "parallel", "parallel"]{{.*}} outs({{.*}} : tensor<2x3x5xf32>)
// CHECK: return {{.*}} : tensor<2x3x5xf32>, tensor<2x3x1xf32>, tensor<2x3x1xf32>
func.func @main(%x: tensor<2x3x5xf32>, %scale: tensor<5xf32>) -> (tensor<2x3x5xf32>, tensor<2x3x1xf32>, tensor<2x3x1xf32>) {
  %epsilon = nn.constant dense<1.0e-01> : tensor<f32>
  %rows = nn.reshape %x : (tensor<2x3x5xf32>) -> tensor<6x5xf32>
  %mean = nn.reduce mean %rows {axes = array<i64: 1>, keep} : (tensor<6x5xf32>) -> tensor<6x1xf32>
  %squares = nn.mul %x, %x : (tensor<2x3x5xf32>, tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %squareRows = nn.reshape %squares : (tensor<2x3x5xf32>) -> tensor<6x5xf32>
  %ofSquares = nn.reduce mean %squareRows {axes = array<i64: 1>, keep} : (tensor<6x5xf32>) -> tensor<6x1xf32>
  %square = nn.mul %mean, %mean : (tensor<6x1xf32>, tensor<6x1xf32>) -> tensor<6x1xf32>
  %variance = nn.sub %ofSquares, %square : (tensor<6x1xf32>, tensor<6x1xf32>) -> tensor<6x1xf32>
  %positive = nn.add %variance, %epsilon : (tensor<6x1xf32>, tensor<f32>) -> tensor<6x1xf32>
  %deviation = nn.sqrt %positive : (tensor<6x1xf32>) -> tensor<6x1xf32>
  %centred = nn.sub %rows, %mean : (tensor<6x5xf32>, tensor<6x1xf32>) -> tensor<6x5xf32>
  %normed = nn.div %centred, %deviation : (tensor<6x5xf32>, tensor<6x1xf32>) -> tensor<6x5xf32>
  %row = nn.reshape %scale : (tensor<5xf32>) -> tensor<1x5xf32>
  %scaled = nn.mul %normed, %row : (tensor<6x5xf32>, tensor<1x5xf32>) -> tensor<6x5xf32>
  %y = nn.reshape %scaled : (tensor<6x5xf32>) -> tensor<2x3x5xf32>
  %inverse = nn.reciprocal %deviation : (tensor<6x1xf32>) -> tensor<6x1xf32>
  %m = nn.reshape %mean : (tensor<6x1xf32>) -> tensor<2x3x1xf32>
  %d = nn.reshape %inverse : (tensor<6x1xf32>) -> tensor<2x3x1xf32>
  return %y, %m, %d : tensor<2x3x5xf32>, tensor<2x3x1xf32>, tensor<2x3x1xf32>
}
