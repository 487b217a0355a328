// RUN: npu-opt %s --nn-merge-projections | FileCheck %s
// RUN: npu-opt %s --nn-merge-projections --nn-merge-projections | FileCheck %s

// Columns of [k, n] weights side by side; a missing bias is 0.
// CHECK-LABEL: @columns
// CHECK: %[[W:.*]] = nn.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00, 5.000000e+00], [3.000000e+00, 4.000000e+00, 6.000000e+00]]> : tensor<2x3xf32>
// CHECK: %[[B:.*]] = nn.constant dense<[7.000000e+00, 8.000000e+00, 0.000000e+00]> : tensor<3xf32>
// CHECK: %[[Y:.*]] = nn.linear %arg0, %[[W]], %[[B]] : (tensor<5x2xf32>, tensor<2x3xf32>, tensor<3xf32>) -> tensor<5x3xf32>
// CHECK: %[[Q:.*]] = nn.slice %[[Y]] {sizes = array<i64: 5, 2>, starts = array<i64: 0, 0>, steps = array<i64: 1, 1>}
// CHECK: %[[K:.*]] = nn.slice %[[Y]] {sizes = array<i64: 5, 1>, starts = array<i64: 0, 2>, steps = array<i64: 1, 1>}
// CHECK: return %[[Q]], %[[K]]
func.func @columns(%x: tensor<5x2xf32>) -> (tensor<5x2xf32>, tensor<5x1xf32>) {
  %wq = nn.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %wk = nn.constant dense<[[5.0], [6.0]]> : tensor<2x1xf32>
  %bq = nn.constant dense<[7.0, 8.0]> : tensor<2xf32>
  %q = nn.linear %x, %wq, %bq : (tensor<5x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<5x2xf32>
  %k = nn.linear %x, %wk : (tensor<5x2xf32>, tensor<2x1xf32>) -> tensor<5x1xf32>
  return %q, %k : tensor<5x2xf32>, tensor<5x1xf32>
}

// Rows of [n, k] weights in files; together 128 KiB, so a handle. The wide projection stays apart.
// CHECK-LABEL: @handles
// CHECK: nn.constant #nn.concatenated<[#nn.external<"w", 0> : tensor<128x128xf32>, #nn.external<"w", 65536> : tensor<128x128xf32>], 0> : tensor<256x128xf32>
// CHECK: nn.linear %arg0, %{{.*}} {transposed} : (tensor<5x128xf32>, tensor<256x128xf32>) -> tensor<5x256xf32>
// CHECK: nn.linear %arg0, %{{.*}} {transposed} : (tensor<5x128xf32>, tensor<129x128xf32>) -> tensor<5x129xf32>
func.func @handles(%x: tensor<5x128xf32>) -> (tensor<5x128xf32>, tensor<5x128xf32>, tensor<5x129xf32>) {
  %wq = nn.constant #nn.external<"w", 0> : tensor<128x128xf32>
  %wk = nn.constant #nn.external<"w", 65536> : tensor<128x128xf32>
  %wide = nn.constant #nn.external<"w", 131072> : tensor<129x128xf32>
  %q = nn.linear %x, %wq {transposed} : (tensor<5x128xf32>, tensor<128x128xf32>) -> tensor<5x128xf32>
  %k = nn.linear %x, %wk {transposed} : (tensor<5x128xf32>, tensor<128x128xf32>) -> tensor<5x128xf32>
  %y = nn.linear %x, %wide {transposed} : (tensor<5x128xf32>, tensor<129x128xf32>) -> tensor<5x129xf32>
  return %q, %k, %y : tensor<5x128xf32>, tensor<5x128xf32>, tensor<5x129xf32>
}
