// What nn prints, it reads back, in the custom form and in the generic one.
// RUN: npu-opt %s | npu-opt | FileCheck %s
// RUN: npu-opt %s --mlir-print-op-generic | npu-opt | FileCheck %s

// CHECK-LABEL: func.func @handles
func.func @handles() -> (tensor<384x1536xf32>, tensor<4x4608xf16>, tensor<6x64xf32>) {
  // CHECK: nn.constant #nn.transposed<#nn.external<"m.data", 64> : tensor<1536x384xf32>, [1, 0]> : tensor<384x1536xf32>
  %0 = nn.constant #nn.transposed<#nn.external<"m.data", 64> : tensor<1536x384xf32>, [1, 0]> : tensor<384x1536xf32>
  // CHECK: nn.constant #nn.converted<#nn.reshaped<#nn.sliced<#nn.external<"m.data", 8> : tensor<96x384xf32>, [0, 0], [2, 1]> : tensor<48x384xf32>> : tensor<4x4608xf32>> : tensor<4x4608xf16>
  %1 = nn.constant #nn.converted<#nn.reshaped<#nn.sliced<#nn.external<"m.data", 8> : tensor<96x384xf32>, [0, 0], [2, 1]> : tensor<48x384xf32>> : tensor<4x4608xf32>> : tensor<4x4608xf16>
  // CHECK: nn.constant #nn.concatenated<[#nn.external<"m.data", 0> : tensor<4x64xf32>, dense<1.000000e+00> : tensor<2x64xf32>], 0> : tensor<6x64xf32>
  %2 = nn.constant #nn.concatenated<[#nn.external<"m.data", 0> : tensor<4x64xf32>, dense<1.0> : tensor<2x64xf32>], 0> : tensor<6x64xf32>
  return %0, %1, %2 : tensor<384x1536xf32>, tensor<4x4608xf16>, tensor<6x64xf32>
}

// CHECK-LABEL: func.func @operations
func.func @operations(%x: tensor<2x4x8x16xf32>, %m: tensor<2x1x1x8xi1>, %c: tensor<1x1x8x8xf32>, %w: tensor<32x16xf32>,
                      %i: tensor<2x4xi8>, %a: tensor<2x4xi32>) {
  // CHECK: nn.range {start = 0 : i64, step = 2 : i64} : tensor<5xi64>
  %0 = nn.range {start = 0 : i64, step = 2 : i64} : tensor<5xi64>
  // CHECK: nn.reduce logsumexp %{{.*}} {axes = array<i64: 3>, keep}
  %1 = nn.reduce logsumexp %x {axes = array<i64: 3>, keep} : (tensor<2x4x8x16xf32>) -> tensor<2x4x8x1xf32>
  // CHECK: nn.compare lt %{{.*}}, %{{.*}} :
  %2 = nn.compare lt %x, %1 : (tensor<2x4x8x16xf32>, tensor<2x4x8x1xf32>) -> tensor<2x4x8x16xi1>
  // CHECK: nn.attention %{{.*}} {causal_offset = 0 : i64, scale = 2.500000e-01 : f32, zero_masked}
  %3 = nn.attention %x, %x, %x, %m {scale = 0.25 : f32, causal_offset = 0, zero_masked} : (tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x1x1x8xi1>) -> tensor<2x4x8x16xf32>
  // CHECK: nn.rope %{{.*}} {interleaved}
  %4 = nn.rope %x, %c, %c {interleaved} : (tensor<2x4x8x16xf32>, tensor<1x1x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<2x4x8x16xf32>
  // CHECK: nn.linear %{{.*}}, %{{.*}} {transposed} : (tensor<2x4x8x16xf32>, tensor<32x16xf32>) -> tensor<2x4x8x32xf32>
  %5 = nn.linear %x, %w {transposed} : (tensor<2x4x8x16xf32>, tensor<32x16xf32>) -> tensor<2x4x8x32xf32>
  // CHECK: nn.matmul %{{.*}} : (tensor<2x4xi8>, tensor<4x2xi8>) -> tensor<2x2xi32>
  %6 = nn.transpose %i {permutation = array<i64: 1, 0>} : (tensor<2x4xi8>) -> tensor<4x2xi8>
  %7 = nn.matmul %i, %6 : (tensor<2x4xi8>, tensor<4x2xi8>) -> tensor<2x2xi32>
  // CHECK: nn.requantize fixedpoint %{{.*}} {multipliers = array<i32: 1073741824>, rounding = #nn<rounding halfup>, shifts = array<i32: 3>}
  %8 = nn.requantize fixedpoint %a {multipliers = array<i32: 1073741824>, shifts = array<i32: 3>, rounding = #nn<rounding halfup>} : (tensor<2x4xi32>) -> tensor<2x4xi8>
  // CHECK: nn.pad reflect %{{.*}} {high = array<i64: 0, 1>, low = array<i64: 0, 2>}
  %9 = nn.pad reflect %i {low = array<i64: 0, 2>, high = array<i64: 0, 1>} : (tensor<2x4xi8>) -> tensor<2x7xi8>
  return
}
