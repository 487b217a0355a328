// RUN: npu-opt %s -npuc-set-float-type | FileCheck %s
// RUN: npu-opt %s -npuc-set-float-type=bf16 | FileCheck %s --check-prefix=BF16

// Scales and biases of norms keep f32, also where others use the same constant, which
// get 1365/4096, the number of 11 bits next to 1/3. A mask's lowest number becomes fp16's, -65504.
// CHECK-LABEL: @parameters(%{{.*}}: tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK-DAG: %[[X:.*]] = nn.cast %{{.*}} : (tensor<2x4xf32>) -> tensor<2x4xf16>
// CHECK-DAG: %[[SCALE:.*]] = nn.constant dense<0.333333343> : tensor<4xf32>
// CHECK-DAG: %[[ROUNDED:.*]] = nn.constant dense<3.332520e-01> : tensor<4xf16>
// CHECK-DAG: %[[BIAS:.*]] = nn.constant dense<1.000000e-01> : tensor<4xf32>
// CHECK-DAG: %[[LOWEST:.*]] = nn.constant dense<-6.550400e+04> : tensor<4xf16>
// CHECK: %[[NORM:.*]] = nn.layer_norm %[[X]], %[[SCALE]], %[[BIAS]] {{.*}} -> tensor<2x4xf16>
// CHECK: %[[SUM:.*]] = nn.add %[[NORM]], %[[ROUNDED]]
// CHECK: nn.max %[[SUM]], %[[LOWEST]]
// BF16: nn.layer_norm %{{.*}} : (tensor<2x4xbf16>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xbf16>
func.func @parameters(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %scale = nn.constant dense<0.333333343> : tensor<4xf32>
  %bias = nn.constant dense<0.1> : tensor<4xf32>
  %lowest = nn.constant dense<-3.40282347E+38> : tensor<4xf32>
  %0 = nn.layer_norm %x, %scale, %bias {axis = 1 : i64, epsilon = 1.000000e-05 : f32} : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %1 = nn.add %0, %scale : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %2 = nn.max %1, %lowest : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %2 : tensor<2x4xf32>
}

// A residual stream keeps f32, and norms read it so; their results are rounded, and so are the terms: what is multiplied.
// CHECK-LABEL: @stream
// CHECK: %[[A32:.*]] = nn.cast %{{.*}} : (tensor<2x4xf16>) -> tensor<2x4xf32>
// CHECK: %[[FIRST:.*]] = nn.add %{{.*}}, %[[A32]] : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK: %[[N32:.*]] = nn.rms_norm %[[FIRST]], %{{.*}} -> tensor<2x4xf32>
// CHECK: %[[N:.*]] = nn.cast %[[N32]] : (tensor<2x4xf32>) -> tensor<2x4xf16>
// CHECK: %[[B:.*]] = nn.linear %[[N]], %{{.*}} -> tensor<2x4xf16>
// CHECK: %[[B32:.*]] = nn.cast %[[B]]
// CHECK: %[[SECOND:.*]] = nn.add %[[FIRST]], %[[B32]] : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK: nn.rms_norm %[[SECOND]], %{{.*}} -> tensor<2x4xf32>
func.func @stream(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %scale = nn.constant dense<0.333333343> : tensor<4xf32>
  %a = nn.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %first = nn.add %x, %a : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %n = nn.rms_norm %first, %scale {axis = 1 : i64, epsilon = 1.000000e-05 : f32} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %b = nn.linear %n, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %second = nn.add %first, %b : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %out = nn.rms_norm %second, %scale {axis = 1 : i64, epsilon = 1.000000e-05 : f32} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %out : tensor<2x4xf32>
}

// The sum before a norm whose result goes on as the stream is no stream itself: 16 bits.
// CHECK-LABEL: @after
// CHECK: %[[SUM:.*]] = nn.add %{{.*}} -> tensor<2x4xf16>
// CHECK: nn.rms_norm %[[SUM]], %{{.*}} -> tensor<2x4xf16>
func.func @after(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %scale = nn.constant dense<0.333333343> : tensor<4xf32>
  %a = nn.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %sum = nn.add %x, %a : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %n = nn.rms_norm %sum, %scale {axis = 1 : i64, epsilon = 1.000000e-05 : f32} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %n : tensor<2x4xf32>
}
