// RUN: npu-opt %s --nn-recover-attention --canonicalize --cse --split-input-file | FileCheck %s
// RUN: npu-opt %s --nn-recover-attention --nn-recover-attention --canonicalize --cse --split-input-file | FileCheck %s

// TorchScript with sdpa: both operands scaled by √scale (½ · ½ = ¼), 0 and -infinity, NaN of masked rows replaced by 0. What is
// kept stays bools, since -infinity is exactly what a false bool adds.
// CHECK-LABEL: @sdpa
// CHECK-SAME: (%[[Q:.*]]: tensor<2x4x3x16xf32>, %[[KT:.*]]: tensor<2x4x16x5xf32>, %[[V:.*]]: tensor<2x4x5x16xf32>, %[[M:.*]]: tensor<2x1x1x5xi1>)
// CHECK-NEXT: %[[K:.*]] = nn.transpose %[[KT]] {permutation = array<i64: 0, 1, 3, 2>}
// CHECK-NEXT: %[[Y:.*]] = nn.attention %[[Q]], %[[K]], %[[V]], %[[M]] {scale = 2.500000e-01 : f32, zero_masked}
// CHECK-NEXT: return %[[Y]]
func.func @sdpa(%q: tensor<2x4x3x16xf32>, %kt: tensor<2x4x16x5xf32>, %v: tensor<2x4x5x16xf32>, %m: tensor<2x1x1x5xi1>) -> tensor<2x4x3x16xf32> {
  %half = nn.constant dense<0.5> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<1xf32>
  %fill = nn.constant dense<0xFF800000> : tensor<1xf32>
  %true = nn.constant dense<true> : tensor<1x1x3x1xi1>
  %0 = nn.mul %q, %half : (tensor<2x4x3x16xf32>, tensor<f32>) -> tensor<2x4x3x16xf32>
  %1 = nn.mul %kt, %half : (tensor<2x4x16x5xf32>, tensor<f32>) -> tensor<2x4x16x5xf32>
  %2 = nn.matmul %0, %1 : (tensor<2x4x3x16xf32>, tensor<2x4x16x5xf32>) -> tensor<2x4x3x5xf32>
  %3 = nn.and %true, %m : (tensor<1x1x3x1xi1>, tensor<2x1x1x5xi1>) -> tensor<2x1x3x5xi1>
  %4 = nn.select %3, %zero, %fill : (tensor<2x1x3x5xi1>, tensor<1xf32>, tensor<1xf32>) -> tensor<2x1x3x5xf32>
  %5 = nn.add %2, %4 : (tensor<2x4x3x5xf32>, tensor<2x1x3x5xf32>) -> tensor<2x4x3x5xf32>
  %6 = nn.softmax %5 {axis = 3 : i64} : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %7 = nn.is_nan %6 : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xi1>
  %8 = nn.select %7, %zero, %6 : (tensor<2x4x3x5xi1>, tensor<1xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %9 = nn.matmul %8, %v : (tensor<2x4x3x5xf32>, tensor<2x4x5x16xf32>) -> tensor<2x4x3x16xf32>
  return %9 : tensor<2x4x3x16xf32>
}

// -----

// Eager attention with a large finite fill: a row whose keys are all masked has equal probabilities, so the mask stays floats, of
// the size of what masks.
// CHECK-LABEL: @finite_fill
// CHECK: %[[M:.*]] = nn.select %arg3, %{{.*}}, %{{.*}} : (tensor<2x1x1x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x1x5xf32>
// CHECK: nn.attention %arg0, %{{.*}}, %arg2, %[[M]] {scale = 1.250000e-01 : f32} : {{.*}}tensor<2x1x1x5xf32>
func.func @finite_fill(%q: tensor<2x4x3x16xf32>, %kt: tensor<2x4x16x5xf32>, %v: tensor<2x4x5x16xf32>, %m: tensor<2x1x1x5xi1>) -> tensor<2x4x3x16xf32> {
  %eight = nn.constant dense<8.0> : tensor<f32>
  %zero = nn.constant dense<0.0> : tensor<f32>
  %fill = nn.constant dense<-3.40282347E+38> : tensor<f32>
  %0 = nn.matmul %q, %kt : (tensor<2x4x3x16xf32>, tensor<2x4x16x5xf32>) -> tensor<2x4x3x5xf32>
  %1 = nn.div %0, %eight : (tensor<2x4x3x5xf32>, tensor<f32>) -> tensor<2x4x3x5xf32>
  %2 = nn.broadcast %m : (tensor<2x1x1x5xi1>) -> tensor<2x1x3x5xi1>
  %3 = nn.select %2, %zero, %fill : (tensor<2x1x3x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x3x5xf32>
  %4 = nn.add %1, %3 : (tensor<2x4x3x5xf32>, tensor<2x1x3x5xf32>) -> tensor<2x4x3x5xf32>
  %5 = nn.softmax %4 {axis = 3 : i64} : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %6 = nn.matmul %5, %v : (tensor<2x4x3x5xf32>, tensor<2x4x5x16xf32>) -> tensor<2x4x3x16xf32>
  return %6 : tensor<2x4x3x16xf32>
}

// -----

// A finite fill in a triangle alone masks no whole row: -infinity is the same. Three rows that see 3, 4 and 5 of 5 keys: j ≤ i + 2.
// The mask is added to joined heads, as in Falcon and OPT, and selects in place of the scores.
// CHECK-LABEL: @causal_alone
// CHECK: nn.attention %arg0, %{{.*}}, %arg2 {causal_offset = 2 : i64, scale = 1.000000e+00 : f32} : (tensor<1x4x3x16xf32>,
// CHECK-NEXT: return
func.func @causal_alone(%q: tensor<1x4x3x16xf32>, %kt: tensor<1x4x16x5xf32>, %v: tensor<1x4x5x16xf32>) -> tensor<1x4x3x16xf32> {
  %keep = nn.constant dense<[[true, true, true, false, false], [true, true, true, true, false], [true, true, true, true, true]]> : tensor<3x5xi1>
  %fill = nn.constant dense<-3.40282347E+38> : tensor<f32>
  %0 = nn.reshape %q : (tensor<1x4x3x16xf32>) -> tensor<4x3x16xf32>
  %1 = nn.reshape %kt : (tensor<1x4x16x5xf32>) -> tensor<4x16x5xf32>
  %2 = nn.matmul %0, %1 : (tensor<4x3x16xf32>, tensor<4x16x5xf32>) -> tensor<4x3x5xf32>
  %3 = nn.reshape %2 : (tensor<4x3x5xf32>) -> tensor<1x4x3x5xf32>
  %4 = nn.select %keep, %3, %fill : (tensor<3x5xi1>, tensor<1x4x3x5xf32>, tensor<f32>) -> tensor<1x4x3x5xf32>
  %5 = nn.reshape %4 : (tensor<1x4x3x5xf32>) -> tensor<4x3x5xf32>
  %6 = nn.softmax %5 {axis = 2 : i64} : (tensor<4x3x5xf32>) -> tensor<4x3x5xf32>
  %7 = nn.reshape %v : (tensor<1x4x5x16xf32>) -> tensor<4x5x16xf32>
  %8 = nn.matmul %6, %7 : (tensor<4x3x5xf32>, tensor<4x5x16xf32>) -> tensor<4x3x16xf32>
  %9 = nn.reshape %8 : (tensor<4x3x16xf32>) -> tensor<1x4x3x16xf32>
  return %9 : tensor<1x4x3x16xf32>
}

// -----

// Causal and padding with -infinity: the triangle, computed here by comparing positions (i + 2 ≥ j), leaves the padding's bools.
// Heads in groups of 2: keys and values are read unrepeated.
// CHECK-LABEL: @causal_and_padding_grouped
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x3x16xf32>, %[[K:.*]]: tensor<2x2x5x16xf32>, %[[V:.*]]: tensor<2x2x5x16xf32>, %[[M:.*]]: tensor<2x1x1x5xi1>
// CHECK: %[[Y:.*]] = nn.attention %[[Q]], %[[K]], %[[V]], %[[M]] {causal_offset = 2 : i64, scale = 1.000000e+00 : f32}
// CHECK-NEXT: return %[[Y]]
func.func @causal_and_padding_grouped(%q: tensor<2x4x3x16xf32>, %k: tensor<2x2x5x16xf32>, %v: tensor<2x2x5x16xf32>, %m: tensor<2x1x1x5xi1>) -> tensor<2x4x3x16xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %fill = nn.constant dense<0xFF800000> : tensor<f32>
  %rows = nn.range {start = 2 : i64, step = 1 : i64} : tensor<3xi64>
  %i = nn.reshape %rows : (tensor<3xi64>) -> tensor<3x1xi64>
  %j = nn.range {start = 0 : i64, step = 1 : i64} : tensor<5xi64>
  %causal = nn.compare ge %i, %j : (tensor<3x1xi64>, tensor<5xi64>) -> tensor<3x5xi1>
  %both = nn.and %causal, %m : (tensor<3x5xi1>, tensor<2x1x1x5xi1>) -> tensor<2x1x3x5xi1>
  %mask = nn.select %both, %zero, %fill : (tensor<2x1x3x5xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x3x5xf32>
  %0 = nn.reshape %k : (tensor<2x2x5x16xf32>) -> tensor<2x2x1x5x16xf32>
  %1 = nn.broadcast %0 : (tensor<2x2x1x5x16xf32>) -> tensor<2x2x2x5x16xf32>
  %2 = nn.reshape %1 : (tensor<2x2x2x5x16xf32>) -> tensor<2x4x5x16xf32>
  %3 = nn.reshape %v : (tensor<2x2x5x16xf32>) -> tensor<2x2x1x5x16xf32>
  %4 = nn.broadcast %3 : (tensor<2x2x1x5x16xf32>) -> tensor<2x2x2x5x16xf32>
  %5 = nn.reshape %4 : (tensor<2x2x2x5x16xf32>) -> tensor<2x4x5x16xf32>
  %6 = nn.transpose %2 {permutation = array<i64: 0, 1, 3, 2>} : (tensor<2x4x5x16xf32>) -> tensor<2x4x16x5xf32>
  %7 = nn.matmul %q, %6 : (tensor<2x4x3x16xf32>, tensor<2x4x16x5xf32>) -> tensor<2x4x3x5xf32>
  %8 = nn.add %mask, %7 : (tensor<2x1x3x5xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %9 = nn.softmax %8 {axis = 3 : i64} : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %10 = nn.matmul %9, %5 : (tensor<2x4x3x5xf32>, tensor<2x4x5x16xf32>) -> tensor<2x4x3x16xf32>
  return %10 : tensor<2x4x3x16xf32>
}

// -----

// A soft cap (30 · tanh(scores / 30)), computed in fp32 around fp16, and a bias by head (T5's positions) added to the padding.
// CHECK-LABEL: @softcap
// CHECK: nn.attention %arg0, %{{.*}}, %arg2 {scale = 1.000000e+00 : f32, softcap = 3.000000e+01 : f32} : {{.*}} -> tensor<1x4x3x16xf16>
// CHECK-LABEL: @position_bias
// CHECK: %[[M:.*]] = nn.add %arg4, %arg3 : (tensor<2x1x1x5xf32>, tensor<1x4x3x5xf32>) -> tensor<2x4x3x5xf32>
// CHECK: nn.attention %arg0, %{{.*}}, %arg2, %[[M]] {scale = 1.000000e+00 : f32}
func.func @softcap(%q: tensor<1x4x3x16xf16>, %kt: tensor<1x4x16x5xf16>, %v: tensor<1x4x5x16xf16>) -> tensor<1x4x3x16xf16> {
  %cap = nn.constant dense<30.0> : tensor<f16>
  %0 = nn.matmul %q, %kt : (tensor<1x4x3x16xf16>, tensor<1x4x16x5xf16>) -> tensor<1x4x3x5xf16>
  %1 = nn.div %0, %cap : (tensor<1x4x3x5xf16>, tensor<f16>) -> tensor<1x4x3x5xf16>
  %2 = nn.tanh %1 : (tensor<1x4x3x5xf16>) -> tensor<1x4x3x5xf16>
  %3 = nn.mul %2, %cap : (tensor<1x4x3x5xf16>, tensor<f16>) -> tensor<1x4x3x5xf16>
  %4 = nn.cast %3 : (tensor<1x4x3x5xf16>) -> tensor<1x4x3x5xf32>
  %5 = nn.softmax %4 {axis = 3 : i64} : (tensor<1x4x3x5xf32>) -> tensor<1x4x3x5xf32>
  %6 = nn.cast %5 : (tensor<1x4x3x5xf32>) -> tensor<1x4x3x5xf16>
  %7 = nn.matmul %6, %v : (tensor<1x4x3x5xf16>, tensor<1x4x5x16xf16>) -> tensor<1x4x3x16xf16>
  return %7 : tensor<1x4x3x16xf16>
}
func.func @position_bias(%q: tensor<2x4x3x16xf32>, %kt: tensor<2x4x16x5xf32>, %v: tensor<2x4x5x16xf32>, %b: tensor<1x4x3x5xf32>, %m: tensor<2x1x1x5xf32>) -> tensor<2x4x3x16xf32> {
  %0 = nn.matmul %q, %kt : (tensor<2x4x3x16xf32>, tensor<2x4x16x5xf32>) -> tensor<2x4x3x5xf32>
  %1 = nn.add %0, %b : (tensor<2x4x3x5xf32>, tensor<1x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %2 = nn.add %1, %m : (tensor<2x4x3x5xf32>, tensor<2x1x1x5xf32>) -> tensor<2x4x3x5xf32>
  %3 = nn.softmax %2 {axis = 3 : i64} : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %4 = nn.matmul %3, %v : (tensor<2x4x3x5xf32>, tensor<2x4x5x16xf32>) -> tensor<2x4x3x16xf32>
  return %4 : tensor<2x4x3x16xf32>
}

// -----

// Probabilities that something else reads are still computed for it; a softmax over queries, and a mask that is scaled, are not
// attention.
// CHECK-LABEL: @no_attention
// CHECK-NOT: nn.attention
func.func @no_attention(%q: tensor<1x4x3x16xf32>, %kt: tensor<1x4x16x3xf32>, %v: tensor<1x4x3x16xf32>, %m: tensor<3x3xf32>) -> (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>) {
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.matmul %q, %kt : (tensor<1x4x3x16xf32>, tensor<1x4x16x3xf32>) -> tensor<1x4x3x3xf32>
  %1 = nn.softmax %0 {axis = 2 : i64} : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %2 = nn.matmul %1, %v : (tensor<1x4x3x3xf32>, tensor<1x4x3x16xf32>) -> tensor<1x4x3x16xf32>
  %3 = nn.add %0, %m : (tensor<1x4x3x3xf32>, tensor<3x3xf32>) -> tensor<1x4x3x3xf32>
  %4 = nn.mul %3, %two : (tensor<1x4x3x3xf32>, tensor<f32>) -> tensor<1x4x3x3xf32>
  %5 = nn.softmax %4 {axis = 3 : i64} : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %6 = nn.matmul %5, %v : (tensor<1x4x3x3xf32>, tensor<1x4x3x16xf32>) -> tensor<1x4x3x16xf32>
  return %2, %6 : tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>
}
