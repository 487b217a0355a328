// RUN: npu-opt %s --nn-outline-segments | FileCheck %s
// A second run leaves calls and functions alone.
// RUN: npu-opt %s --nn-outline-segments --nn-outline-segments | FileCheck %s

// Three layers that differ in their weights and share their scale; the bias computed before is an operand of each. The final
// gelu is none of them.
// CHECK-LABEL: func.func @main(
// CHECK-SAME: %[[X:.*]]: tensor<2x4xf32>, %[[A:.*]]: tensor<4xf32>)
// CHECK-DAG: %[[W1:.*]] = nn.constant #nn.external<"w", 0> : tensor<4x4xf32>
// CHECK-DAG: %[[W2:.*]] = nn.constant #nn.external<"w", 64> : tensor<4x4xf32>
// CHECK-DAG: %[[W3:.*]] = nn.constant #nn.external<"w", 128> : tensor<4x4xf32>
// CHECK: %[[B:.*]] = nn.neg %[[A]]
// CHECK: %[[Y1:.*]] = call @main_segment_0(%[[X]], %[[W1]], %[[B]])
// CHECK: %[[Y2:.*]] = call @main_segment_0(%[[Y1]], %[[W2]], %[[B]])
// CHECK: %[[Y3:.*]] = call @main_segment_0(%[[Y2]], %[[W3]], %[[B]])
// CHECK: %[[Z:.*]] = nn.gelu %[[Y3]]
// CHECK: return %[[Z]]
// CHECK: func.func private @main_segment_0(%[[H:.*]]: tensor<2x4xf32>, %[[W:.*]]: tensor<4x4xf32>, %[[C:.*]]: tensor<4xf32>) -> tensor<2x4xf32>
// CHECK-NEXT: %[[HALF:.*]] = nn.constant dense<5.000000e-01>
// CHECK-NEXT: %[[L:.*]] = nn.linear %[[H]], %[[W]]
// CHECK-NEXT: %[[S:.*]] = nn.mul %[[L]], %[[HALF]]
// CHECK-NEXT: %[[T:.*]] = nn.add %[[S]], %[[C]]
// CHECK-NEXT: %[[R:.*]] = nn.add %[[T]], %[[H]]
// CHECK-NEXT: return %[[R]]
func.func @main(%x: tensor<2x4xf32>, %a: tensor<4xf32>) -> tensor<2x4xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %w1 = nn.constant #nn.external<"w", 0> : tensor<4x4xf32>
  %w2 = nn.constant #nn.external<"w", 64> : tensor<4x4xf32>
  %w3 = nn.constant #nn.external<"w", 128> : tensor<4x4xf32>
  %0 = nn.linear %x, %w1 : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  // Computed within the first layer, but shared by all.
  %b = nn.neg %a : (tensor<4xf32>) -> tensor<4xf32>
  %1 = nn.mul %0, %half : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %2 = nn.add %1, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %3 = nn.add %2, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %4 = nn.linear %3, %w2 : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %5 = nn.mul %4, %half : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %6 = nn.add %5, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %7 = nn.add %6, %3 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %8 = nn.linear %7, %w3 : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %9 = nn.mul %8, %half : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  %10 = nn.add %9, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %11 = nn.add %10, %7 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %12 = nn.gelu %11 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %12 : tensor<2x4xf32>
}

// The second layer adds its own product where the first adds its input: equal operations, but not connected alike.
// CHECK-LABEL: func.func @different
// CHECK-NOT: call
func.func @different(%x: tensor<2x4xf32>, %w1: tensor<4x4xf32>, %w2: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %0 = nn.linear %x, %w1 : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %1 = nn.gelu %0 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = nn.add %1, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = nn.linear %2, %w2 : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %4 = nn.gelu %3 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %5 = nn.add %4, %3 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %5 : tensor<2x4xf32>
}
