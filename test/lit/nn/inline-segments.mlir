// RUN: npu-opt %s --nn-inline-segments --mlir-print-debuginfo | FileCheck %s

// Operations take the names of their own layer's nodes; what is shared (the constant) and what the call does not list keep
// theirs.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: %[[X:.*]]: tensor<2xf32>
// CHECK: nn.constant dense<5.000000e-01> : tensor<f32> loc(#[[HALF:.*]])
// CHECK: %[[M0:.*]] = nn.mul %[[X]], %{{.*}} loc(#[[SCALE0:.*]])
// CHECK: %[[Y0:.*]] = nn.gelu %[[M0]]{{.*}} loc(#[[ACT0:.*]])
// CHECK: %[[M1:.*]] = nn.mul %[[Y0]], %{{.*}} loc(#[[SCALE1:.*]])
// CHECK: %[[Y1:.*]] = nn.gelu %[[M1]]{{.*}} loc(#[[ACT1:.*]])
// CHECK: %[[M2:.*]] = nn.mul %[[Y1]], %{{.*}} loc(#[[SCALE0]])
// CHECK: %[[Y2:.*]] = nn.gelu %[[M2]]{{.*}} loc(#[[ACT0]])
// CHECK: return %[[Y2]]
// CHECK-NOT: func.func
// CHECK-DAG: #[[HALF]] = loc("half")
// CHECK-DAG: #[[SCALE0]] = loc("layer.0/scale")
// CHECK-DAG: #[[ACT0]] = loc("layer.0/act")
// CHECK-DAG: #[[SCALE1]] = loc("layer.1/scale")
// CHECK-DAG: #[[ACT1]] = loc("layer.1/act")
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = call @segment(%x) {nn.nodes = [loc("layer.0/scale"), loc("layer.0/act")]} : (tensor<2xf32>) -> tensor<2xf32>
  %1 = call @segment(%0) {nn.nodes = [loc("layer.1/scale"), loc("layer.1/act")]} : (tensor<2xf32>) -> tensor<2xf32>
  %2 = call @segment(%1) : (tensor<2xf32>) -> tensor<2xf32>
  return %2 : tensor<2xf32>
}
func.func private @segment(%x: tensor<2xf32>) -> tensor<2xf32> {
  %half = nn.constant dense<0.5> : tensor<f32> loc("half")
  %0 = nn.mul %x, %half : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32> loc("layer.0/scale")
  %1 = nn.gelu %0 : (tensor<2xf32>) -> tensor<2xf32> loc("layer.0/act")
  return %1 : tensor<2xf32>
}
