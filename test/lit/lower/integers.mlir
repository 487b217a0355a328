// Integers of fewer than 32 bits are computed in 32, and wrap where they are stored.
// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s
// RUN: npu-opt %s -npuc-lower-to-linalg -npuc-plan-tiles=target=atom -npuc-apply-tiles -npuc-place-tensors=target=atom -npuc-promote-operands=target=atom -npuc-bufferize -npuc-map-to-engines | FileCheck %s --check-prefix=NPU

// 200 + 100 = 300 = 44 modulo 256.
// CHECK-LABEL: func.func @unsigned
// CHECK: ^bb0(%[[X:[a-z0-9_]*]]: ui8, %{{.*}}: ui8
// CHECK: builtin.unrealized_conversion_cast %[[X]] : ui8 to i8
// CHECK: arith.extui {{.*}} : i8 to i32
// CHECK: %[[SUM:.*]] = arith.addi {{.*}} : i32
// CHECK: %[[LOW:.*]] = arith.andi %[[SUM]], %{{.*}} : i32
// CHECK: %[[BITS:.*]] = arith.trunci %[[LOW]] : i32 to i8
// CHECK: %[[RESULT:.*]] = builtin.unrealized_conversion_cast %[[BITS]] : i8 to ui8
// CHECK: linalg.yield %[[RESULT]] : ui8
// NPU-LABEL: func.func @unsigned
// NPU: npu.vector
func.func @unsigned(%x: tensor<4xui8>, %y: tensor<4xui8>) -> tensor<4xui8> {
  %0 = nn.add %x, %y : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xui8>
  return %0 : tensor<4xui8>
}

// The greater of two numbers fits without.
// CHECK-LABEL: func.func @greater
// CHECK: arith.maxsi {{.*}} : i32
// CHECK-NEXT: arith.trunci {{.*}} : i32 to i16
func.func @greater(%x: tensor<4xi16>, %y: tensor<4xi16>) -> tensor<4xi16> {
  %0 = nn.max %x, %y : (tensor<4xi16>, tensor<4xi16>) -> tensor<4xi16>
  return %0 : tensor<4xi16>
}
