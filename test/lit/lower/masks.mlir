// RUN: npu-opt %s -npuc-set-float-type -cse | FileCheck %s

// The least number of f32 hides a score by being added: it stays what it is, with all that makes the mask of it.
// CHECK-LABEL: @added
// CHECK-DAG: %[[LEAST:.*]] = nn.constant dense<-3.40282347E+38> : tensor<f32>
// CHECK: %[[FILL:.*]] = nn.select %{{.*}}, %{{.*}}, %[[LEAST]] : (tensor<1x1x2x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x2x3xf32>
// CHECK: %[[MASK:.*]] = nn.add %[[FILL]], %{{.*}} : (tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x2x3xf32>
// CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}}, %[[MASK]] {{.*}} : (tensor<1x1x2x4xf16>, tensor<1x1x3x4xf16>, tensor<1x1x3x4xf16>, tensor<1x1x2x3xf32>) -> tensor<1x1x2x4xf16>
func.func @added(%q: tensor<1x1x2x4xf32>, %k: tensor<1x1x3x4xf32>, %keep: tensor<1x1x2x3xi1>, %bias: tensor<1x1x2x3xf32>) -> tensor<1x1x2x4xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %least = nn.constant dense<-3.40282347E+38> : tensor<f32>
  %fill = nn.select %keep, %zero, %least : (tensor<1x1x2x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x2x3xf32>
  %mask = nn.add %fill, %bias : (tensor<1x1x2x3xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x2x3xf32>
  %y = nn.attention %q, %k, %k, %mask {scale = 0.5 : f32} : (tensor<1x1x2x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x2x4xf32>
  return %y : tensor<1x1x2x4xf32>
}

// -10000 is a number of fp16.
// CHECK-LABEL: @moderate
// CHECK: nn.attention {{.*}}, tensor<1x1x2x3xf16>) -> tensor<1x1x2x4xf16>
func.func @moderate(%q: tensor<1x1x2x4xf32>, %k: tensor<1x1x3x4xf32>, %keep: tensor<1x1x2x3xi1>) -> tensor<1x1x2x4xf32> {
  %zero = nn.constant dense<0.0> : tensor<f32>
  %low = nn.constant dense<-10000.0> : tensor<f32>
  %mask = nn.select %keep, %zero, %low : (tensor<1x1x2x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x2x3xf32>
  %y = nn.attention %q, %k, %k, %mask {scale = 0.5 : f32} : (tensor<1x1x2x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>, tensor<1x1x2x3xf32>) -> tensor<1x1x2x4xf32>
  return %y : tensor<1x1x2x4xf32>
}
