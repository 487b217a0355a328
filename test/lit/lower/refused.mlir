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
