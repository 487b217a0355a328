// RUN: npu-opt %s -npuc-lower-to-linalg -split-input-file -verify-diagnostics

func.func @product(%x: tensor<5x4xf16>, %i: tensor<2x1xi32>, %u: tensor<2x4xf16>) -> tensor<5x4xf16> {
  // expected-error @below {{nn.scatter_nd is compiled only where it replaces, adds or takes the greatest or least: products have no reduction on a vector engine}}
  %0 = nn.scatter_nd mul %x, %i, %u : (tensor<5x4xf16>, tensor<2x1xi32>, tensor<2x4xf16>) -> tensor<5x4xf16>
  return %0 : tensor<5x4xf16>
}

// -----

func.func @wide(%x: tensor<4xi64>) -> tensor<4xi64> {
  // expected-error @below {{nn.mul is compiled only where its integers have at most 32 bits, or 16 if they are unsigned}}
  %0 = nn.mul %x, %x : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>
  return %0 : tensor<4xi64>
}

// -----

func.func @blocks(%q: tensor<4x10xi8>, %s: tensor<4x2xf32>) -> tensor<4x10xf32> {
  // expected-error @below {{nn.dequantize is compiled only where its blocks, if it has scales for blocks, are of one size}}
  %0 = nn.dequantize %q, %s {axis = 1 : i64, block_size = 8 : i64} : (tensor<4x10xi8>, tensor<4x2xf32>) -> tensor<4x10xf32>
  return %0 : tensor<4x10xf32>
}

// -----

func.func @oddRows(%q: tensor<4x5xi4>) -> tensor<4x5xf32> {
  // expected-error @below {{nn.cast cannot be compiled: its integers of 4 bits lie in rows of an odd number}}
  %0 = nn.cast %q : (tensor<4x5xi4>) -> tensor<4x5xf32>
  return %0 : tensor<4x5xf32>
}

// -----

func.func @moved(%q: tensor<4x6xi4>) -> tensor<6x4xi4> {
  // expected-error @below {{nn.transpose cannot be compiled: it has integers of 4 bits}}
  %0 = nn.transpose %q {permutation = array<i64: 1, 0>} : (tensor<4x6xi4>) -> tensor<6x4xi4>
  return %0 : tensor<6x4xi4>
}

// -----

func.func @oddGroups(%x: tensor<2x6xi8>, %w: tensor<3x6xi4>, %s: tensor<3x2xf32>) -> tensor<2x3xf32> {
  // expected-error @below {{nn.grouped_linear is compiled only where its groups have an even number of products, if its weights have 4 bits}}
  %0 = nn.grouped_linear %x, %w, %s {operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : (tensor<2x6xi8>, tensor<3x6xi4>, tensor<3x2xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
