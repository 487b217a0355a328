// RUN: npu-opt %s --nn-recover-kv-update | FileCheck %s

// Only a cache that comes in as an argument and leaves as a result is kept between calls.
// CHECK-LABEL: @caches
// CHECK: %[[K:.*]] = nn.kv_update %arg0, %{{.*}} {axis = 2 : i64}
// CHECK: %[[V:.*]] = nn.concat %arg1, %{{.*}} {axis = 2 : i64}
// CHECK: %[[N:.*]] = nn.neg %[[V]]
// CHECK: return %[[K]], %[[N]]
func.func @caches(%k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>, %x: tensor<1x2x1x8xf32>) -> (tensor<1x2x6x8xf32>, tensor<1x2x6x8xf32>) {
  %new = nn.neg %x : (tensor<1x2x1x8xf32>) -> tensor<1x2x1x8xf32>
  %0 = nn.concat %k, %new {axis = 2 : i64} : (tensor<1x2x5x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x6x8xf32>
  %1 = nn.concat %v, %new {axis = 2 : i64} : (tensor<1x2x5x8xf32>, tensor<1x2x1x8xf32>) -> tensor<1x2x6x8xf32>
  %2 = nn.neg %1 : (tensor<1x2x6x8xf32>) -> tensor<1x2x6x8xf32>
  return %0, %2 : tensor<1x2x6x8xf32>, tensor<1x2x6x8xf32>
}
