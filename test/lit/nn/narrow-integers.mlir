// RUN: npu-opt %s --nn-narrow-integers --canonicalize | FileCheck %s
// RUN: npu-opt %s --nn-narrow-integers --nn-narrow-integers --canonicalize | FileCheck %s

// A table of 1000 rows takes -1000 to 999; what only becomes floats may be any i32.
// CHECK-LABEL: @indices
// CHECK-SAME: %[[I:.*]]: tensor<1x7xi32> {nn.name = "ids", nn.narrowed = i64, nn.range = array<i64: -1000, 999>}
// CHECK-SAME: %[[P:.*]]: tensor<1x7xi32> {nn.narrowed = i64, nn.range = array<i64: -2147483648, 2147483647>}
// CHECK: nn.gather %{{.*}}, %[[I]] {axis = 0 : i64} : (tensor<1000x4xf32>, tensor<1x7xi32>)
// CHECK: nn.cast %[[P]] : (tensor<1x7xi32>) -> tensor<1x7xf32>
func.func @indices(%ids: tensor<1x7xi64> {nn.name = "ids"}, %p: tensor<1x7xi64>) -> (tensor<1x7x4xf32>, tensor<1x7xf32>) {
  %table = nn.constant #nn.external<"t", 0> : tensor<1000x4xf32>
  %0 = nn.gather %table, %ids {axis = 0 : i64} : (tensor<1000x4xf32>, tensor<1x7xi64>) -> tensor<1x7x4xf32>
  %1 = nn.cast %p : (tensor<1x7xi64>) -> tensor<1x7xf32>
  return %0, %1 : tensor<1x7x4xf32>, tensor<1x7xf32>
}

// x + 1 must stay within 32 bits: x is held to 31.
// CHECK-LABEL: @arithmetic
// CHECK-SAME: %[[X:.*]]: tensor<3xi32> {nn.narrowed = i64, nn.range = array<i64: -1073741824, 1073741823>}
// CHECK-SAME: -> (tensor<3xi32> {nn.narrowed = i64}, tensor<3xi1>)
// CHECK-DAG: %[[ONE:.*]] = nn.constant dense<1> : tensor<i32>
// CHECK: %[[Y:.*]] = nn.add %[[X]], %[[ONE]] : (tensor<3xi32>, tensor<i32>) -> tensor<3xi32>
// CHECK: %[[C:.*]] = nn.compare lt %[[Y]], %{{.*}} : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi1>
// CHECK: return %[[Y]], %[[C]]
func.func @arithmetic(%x: tensor<3xi64>) -> (tensor<3xi64>, tensor<3xi1>) {
  %one = nn.constant dense<1> : tensor<i64>
  %range = nn.range {start = 0 : i64, step = 1 : i64} : tensor<3xi64>
  %0 = nn.add %x, %one : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
  %1 = nn.compare lt %0, %range : (tensor<3xi64>, tensor<3xi64>) -> tensor<3xi1>
  return %0, %1 : tensor<3xi64>, tensor<3xi1>
}

// A product with a large prime may need 64 bits for any 17-bit argument: it stays i64.
// CHECK-LABEL: @wide
// CHECK-SAME: %[[X:.*]]: tensor<3xi32> {nn.narrowed = i64, nn.range = array<i64: -2147483648, 2147483647>}
// CHECK-SAME: -> tensor<3xi64>
// CHECK-DAG: %[[W:.*]] = nn.cast %[[X]] : (tensor<3xi32>) -> tensor<3xi64>
// CHECK: nn.mul %[[W]], %{{.*}} : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
func.func @wide(%x: tensor<3xi64>) -> tensor<3xi64> {
  %prime = nn.constant dense<2147483647> : tensor<i64>
  %0 = nn.mul %x, %prime : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
  return %0 : tensor<3xi64>
}

// Positions of greatest elements are i64 by ONNX's rule, and small.
// CHECK-LABEL: @positions
// CHECK-SAME: -> (tensor<2xi32> {nn.narrowed = i64})
// CHECK: %[[A:.*]] = nn.arg_reduce max %arg0 {axis = 1 : i64} : (tensor<2x9xf32>) -> tensor<2xi64>
// CHECK: %[[N:.*]] = nn.cast %[[A]] : (tensor<2xi64>) -> tensor<2xi32>
// CHECK: return %[[N]]
func.func @positions(%x: tensor<2x9xf32>) -> tensor<2xi64> {
  %0 = nn.arg_reduce max %x {axis = 1 : i64} : (tensor<2x9xf32>) -> tensor<2xi64>
  return %0 : tensor<2xi64>
}

// Positions counted in i32, as exporters of RoBERTa do, are no wider for having been i64 in between: of 7 bools at most
// 7 are set.
// CHECK-LABEL: @counted
// CHECK-NOT: i64>
// CHECK: return
func.func @counted(%ids: tensor<2x7xi64>) -> tensor<2x7x4xf32> {
  %table = nn.constant #nn.external<"t", 0> : tensor<1000x4xf32>
  %one = nn.constant dense<1> : tensor<i64>
  %0 = nn.compare ne %ids, %one : (tensor<2x7xi64>, tensor<i64>) -> tensor<2x7xi1>
  %1 = nn.cast %0 : (tensor<2x7xi1>) -> tensor<2x7xi32>
  %2 = nn.cum_sum %1 {axis = 1 : i64} : (tensor<2x7xi32>) -> tensor<2x7xi32>
  %3 = nn.mul %2, %1 : (tensor<2x7xi32>, tensor<2x7xi32>) -> tensor<2x7xi32>
  %4 = nn.cast %3 : (tensor<2x7xi32>) -> tensor<2x7xi64>
  %5 = nn.add %4, %one : (tensor<2x7xi64>, tensor<i64>) -> tensor<2x7xi64>
  %6 = nn.gather %table, %5 {axis = 0 : i64} : (tensor<1000x4xf32>, tensor<2x7xi64>) -> tensor<2x7x4xf32>
  return %6 : tensor<2x7x4xf32>
}

// A sum of i32 may wrap, and then be anything: adding to it in i64 may leave 32 bits.
// CHECK-LABEL: @wraps
// CHECK: nn.add %{{.*}} : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
func.func @wraps(%x: tensor<3xi32>) -> tensor<3xi64> {
  %one = nn.constant dense<1> : tensor<i64>
  %0 = nn.add %x, %x : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi32>
  %1 = nn.cast %0 : (tensor<3xi32>) -> tensor<3xi64>
  %2 = nn.add %1, %one : (tensor<3xi64>, tensor<i64>) -> tensor<3xi64>
  return %2 : tensor<3xi64>
}

// OPT's positions: the running sum of a mask times the mask. Only the mask is held to few values, 7·2^8·2^8 < 2^31.
// CHECK-LABEL: @masked_positions
// CHECK-SAME: nn.range = array<i64: -256, 255>
// CHECK-SAME: nn.range = array<i64: -1000, 999>
// CHECK-NOT: i64>
// CHECK: return
func.func @masked_positions(%mask: tensor<2x7xi64>, %ids: tensor<2x7xi64>) -> (tensor<2x7x4xf32>, tensor<2x7x4xf32>) {
  %table = nn.constant #nn.external<"t", 0> : tensor<1000x4xf32>
  %one = nn.constant dense<1> : tensor<i64>
  %0 = nn.cum_sum %mask {axis = 1 : i64} : (tensor<2x7xi64>) -> tensor<2x7xi64>
  %1 = nn.mul %0, %mask : (tensor<2x7xi64>, tensor<2x7xi64>) -> tensor<2x7xi64>
  %2 = nn.add %1, %one : (tensor<2x7xi64>, tensor<i64>) -> tensor<2x7xi64>
  %3 = nn.gather %table, %2 {axis = 0 : i64} : (tensor<1000x4xf32>, tensor<2x7xi64>) -> tensor<2x7x4xf32>
  %4 = nn.gather %table, %ids {axis = 0 : i64} : (tensor<1000x4xf32>, tensor<2x7xi64>) -> tensor<2x7x4xf32>
  return %3, %4 : tensor<2x7x4xf32>, tensor<2x7x4xf32>
}

// -----

// Unsigned integers of 32 and 64 bits are narrowed where they cannot be too great, nor negative: what a sum is, but not a difference.

// CHECK-LABEL: func.func @unsigned
// CHECK-SAME: %[[X:.*]]: tensor<3xi32> {nn.narrowed = ui32, nn.range = array<i64: 0, 1073741823>}
// CHECK-SAME: -> (tensor<3xi32> {nn.narrowed = ui32}, tensor<3xui32>)
// CHECK: nn.add %[[X]], %[[X]] : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi32>
// CHECK: nn.sub {{.*}} : (tensor<3xui32>, tensor<3xui32>) -> tensor<3xui32>
func.func @unsigned(%x: tensor<3xui32>) -> (tensor<3xui32>, tensor<3xui32>) {
  %0 = nn.add %x, %x : (tensor<3xui32>, tensor<3xui32>) -> tensor<3xui32>
  %1 = nn.sub %x, %0 : (tensor<3xui32>, tensor<3xui32>) -> tensor<3xui32>
  return %0, %1 : tensor<3xui32>, tensor<3xui32>
}
