// What the verifiers refuse, and why they say so.
// RUN: npu-opt %s --split-input-file --verify-diagnostics

func.func @f(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{operands do not broadcast: 'tensor<2x3xf32>', 'tensor<2x4xf32>'}}
  %0 = nn.add %a, %b : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>, %b: tensor<2x3xf16>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{operands must have one element type, found 'tensor<2x3xf32>', 'tensor<2x3xf16>'}}
  %0 = nn.add %a, %b : (tensor<2x3xf32>, tensor<2x3xf16>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%a: tensor<?x3xf32>) {
  // expected-error @+1 {{must be statically shaped tensor of floating point values, but got 'tensor<?x3xf32>'}}
  %0 = nn.exp %a : (tensor<?x3xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @f(%a: tensor<2xi1>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{bools have no order: only eq and ne compare them}}
  %0 = nn.compare lt %a, %a : (tensor<2xi1>, tensor<2xi1>) -> tensor<2xi1>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{[0, 0] is not a permutation of the dimensions of 'tensor<2x3xf32>'}}
  %0 = nn.transpose %a {permutation = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>) {
  // expected-error @+1 {{cannot turn 6 elements of 'tensor<2x3xf32>' into 8 of 'tensor<8xf32>'}}
  %0 = nn.reshape %a : (tensor<2x3xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{dimension 1 reads from 1 to 3 of 3}}
  %0 = nn.slice %a {starts = array<i64: 0, 1>, sizes = array<i64: 2, 3>, steps = array<i64: 1, 1>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>, %b: tensor<2x4xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{operands must agree but in dimension 0, found 'tensor<2x3xf32>' and 'tensor<2x4xf32>'}}
  %0 = nn.concat %a, %b {axis = 0} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{'tensor<2x3xf32>' and 'tensor<4x5xf32>' do not multiply}}
  %0 = nn.matmul %a, %b : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x5xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>, %b: tensor<3x5xf16>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{elements of 'f32' and 'f16' do not contract}}
  %0 = nn.matmul %a, %b : (tensor<2x3xf32>, tensor<3x5xf16>) -> tensor<2x5xf32>
  return
}

// -----

func.func @f(%a: tensor<2x3xf32>, %w: tensor<3x5xf32>, %b: tensor<3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{bias must be 'tensor<5xf32>', found 'tensor<3xf32>'}}
  %0 = nn.linear %a, %w, %b : (tensor<2x3xf32>, tensor<3x5xf32>, tensor<3xf32>) -> tensor<2x5xf32>
  return
}

// -----

func.func @f(%a: tensor<1x4x8xf32>, %w: tensor<6x4x3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{'tensor<1x4x8xf32>' and weight 'tensor<6x4x3xf32>' do not fit 2 groups}}
  %0 = nn.conv %a, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 2} : (tensor<1x4x8xf32>, tensor<6x4x3xf32>) -> tensor<1x6x6xf32>
  return
}

// -----

func.func @f(%q: tensor<1x3x8x16xf32>, %k: tensor<1x2x8x16xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{query 'tensor<1x3x8x16xf32>', key 'tensor<1x2x8x16xf32>' and value 'tensor<1x2x8x16xf32>' do not fit together}}
  %0 = nn.attention %q, %k, %k {scale = 1.0 : f32} : (tensor<1x3x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>) -> tensor<1x3x8x16xf32>
  return
}

// -----

func.func @f(%q: tensor<1x2x8x16xf32>, %m: tensor<4x8xi1>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{mask 'tensor<4x8xi1>' does not broadcast to scores [1, 2, 8, 8]}}
  %0 = nn.attention %q, %q, %q, %m {scale = 1.0 : f32} : (tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<1x2x8x16xf32>, tensor<4x8xi1>) -> tensor<1x2x8x16xf32>
  return
}

// -----

func.func @f(%x: tensor<4x8xf32>, %s: tensor<5xf32>) {
  // expected-error @+1 {{scale must have shape [4] for 'tensor<4x8xf32>', axis 0 and block_size 0, found [5]}}
  %0 = nn.quantize %x, %s : (tensor<4x8xf32>, tensor<5xf32>) -> tensor<4x8xi8>
  return
}

// -----

func.func @f(%x: tensor<4x8xi32>) {
  // expected-error @+1 {{needs one factor, or one for each index of axis 0 of 'tensor<4x8xi32>', found 3}}
  %0 = nn.requantize float %x {scales = array<f32: 1.0, 2.0, 3.0>} : (tensor<4x8xi32>) -> tensor<4x8xi8>
  return
}

// -----

// expected-error @+1 {{offset in a file must not be negative, found -4}}
%0 = nn.constant #nn.external<"w", -4> : tensor<4xf32>

// -----

func.func @f() {
  // expected-error @+1 {{value must be dense elements or a handle of the nn dialect, found 1.000000e+00 : f32}}
  %0 = nn.constant 1.0 : f32
  return
}

// -----

func.func @f(%x: tensor<2x4xi8>, %w: tensor<3x4xi4>, %s: tensor<3x3xf32>) {
  // expected-error @+1 {{scale must have a row for each of weight's and a column for each of equal groups, found 'tensor<3x3xf32>' for 'tensor<3x4xi4>'}}
  %0 = nn.grouped_linear %x, %w, %s {operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<2x4xi8>, tensor<3x4xi4>, tensor<3x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xi8>, %w: tensor<3x4xi4>, %s: tensor<3x2xf32>, %z: tensor<3xi8>) {
  // expected-error @+1 {{zero point and offset must have the shape of 'tensor<3x2xf32>', found 'tensor<3xi8>'}}
  %0 = nn.grouped_linear %x, %w, %s, %z {operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>} : (tensor<2x4xi8>, tensor<3x4xi4>, tensor<3x2xf32>, tensor<3xi8>) -> tensor<2x3xf32>
  return
}

// -----

func.func @f(%x: tensor<2x4xi8>, %w: tensor<3x4xi4>, %s: tensor<3x2xf32>) {
  // expected-error @+1 {{result must be 'tensor<2x3xf32>', found 'tensor<2x4xf32>'}}
  %0 = nn.grouped_linear %x, %w, %s {operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<2x4xi8>, tensor<3x4xi4>, tensor<3x2xf32>) -> tensor<2x4xf32>
  return
}
