// RUN: npu-opt %s --npuc-insert-quantization --verify-diagnostics

func.func @unknown(%a: tensor<2x2xf32>) -> tensor<2x2xf32> {
  // expected-error @below {{has the unknown format 'int5'}}
  %y = nn.matmul %a, %a {nn.format = "int5", nn.ranges = [[array<f32: -1.0>, array<f32: 1.0>], [array<f32: -1.0>, array<f32: 1.0>]]} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
