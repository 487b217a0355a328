// RUN: npu-opt %s -npuc-lower-to-linalg | FileCheck %s
// RUN: npu-opt %s -npuc-lower-to-linalg -npuc-plan-tiles=target=atom -npuc-apply-tiles -npuc-place-tensors=target=atom -npuc-promote-operands=target=atom -npuc-bufferize -npuc-map-to-engines | FileCheck %s --check-prefix=NPU

// The new row is made for the result alone, so it is computed into its slice, where it is made; the past is copied to its own.
// CHECK-LABEL: @cache
// CHECK-SAME: %[[PAST:.*]]: tensor<2x3x4xf16> {{.*}}, %[[X:.*]]: tensor<2x4xf16> {{.*}}, %[[OUT:.*]]: tensor<2x4x4xf16> {npu.name = "present", npu.role = "output"}
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %[[OUT]][0, 3, 0] [2, 1, 4] [1, 1, 1]
// CHECK-SAME: to tensor<2x4xf16>
// CHECK: linalg.generic {{.*}} ins(%[[X]] {{.*}} outs(%[[SLICE]]
// CHECK: math.exp
// CHECK: %[[FIRST:.*]] = tensor.insert_slice %{{.*}} into %[[OUT]][0, 3, 0] [2, 1, 4] [1, 1, 1]
// CHECK: %[[REST:.*]] = tensor.extract_slice %[[FIRST]][0, 0, 0] [2, 3, 4] [1, 1, 1]
// CHECK: %[[COPY:.*]] = linalg.generic {{.*}} ins(%[[PAST]] {{.*}} outs(%[[REST]]
// CHECK: %[[WHOLE:.*]] = tensor.insert_slice %[[COPY]] into %[[FIRST]][0, 0, 0] [2, 3, 4] [1, 1, 1]
// CHECK: return %[[WHOLE]]

// Nothing but the two writes: no buffer stands between them and the result.
// NPU-LABEL: @cache
// NPU-SAME: %[[OUT:.*]]: memref<2x4x4xf16> {npu.name = "present"
// NPU-NOT: memref.alloc() {{.*}} : memref<2x4x4
// NPU: scf.forall
// NPU: npu.vector
// NPU: npu.copy
// NPU: scf.forall
// NPU-COUNT-2: npu.copy
// NPU-NOT: npu.copy
// NPU: return
func.func @cache(%past: tensor<2x3x4xf16> {nn.name = "past"}, %x: tensor<2x4xf16> {nn.name = "x"}) -> (tensor<2x4x4xf16> {nn.name = "present"}) {
  %new = nn.exp %x : (tensor<2x4xf16>) -> tensor<2x4xf16>
  %row = nn.reshape %new : (tensor<2x4xf16>) -> tensor<2x1x4xf16>
  %0 = nn.kv_update %past, %row {axis = 1 : i64} : (tensor<2x3x4xf16>, tensor<2x1x4xf16>) -> tensor<2x4x4xf16>
  return %0 : tensor<2x4x4xf16>
}

// A past of length 0: the result is the update.
// CHECK-LABEL: @first
// CHECK-SAME: %[[OUT:[^ ]*]]: tensor<2x1x4xf16> {npu.name = "present"
// CHECK-NOT: insert_slice
// CHECK: %[[SEEN:.*]] = tensor.collapse_shape %[[OUT]]
// CHECK: linalg.generic {{.*}} outs(%[[SEEN]]
// CHECK-NOT: insert_slice
// CHECK: return
func.func @first(%past: tensor<2x0x4xf16>, %x: tensor<2x1x4xf16>) -> (tensor<2x1x4xf16> {nn.name = "present"}) {
  %new = nn.exp %x : (tensor<2x1x4xf16>) -> tensor<2x1x4xf16>
  %0 = nn.kv_update %past, %new {axis = 1 : i64} : (tensor<2x0x4xf16>, tensor<2x1x4xf16>) -> tensor<2x1x4xf16>
  return %0 : tensor<2x1x4xf16>
}

// A part that something else needs too, and a constant, are copied. What is put together and used again has a buffer of its own.
// CHECK-LABEL: @shared
// CHECK: %[[BUFFER:.*]] = bufferization.alloc_tensor() : tensor<2x4xf16>
// CHECK: %[[NEW:.*]] = linalg.generic
// CHECK: math.exp
// CHECK: %[[S0:.*]] = tensor.extract_slice %[[BUFFER]][0, 0] [2, 3] [1, 1]
// CHECK: %[[C0:.*]] = linalg.generic {{.*}} ins(%[[NEW]] {{.*}} outs(%[[S0]]
// CHECK: %[[I0:.*]] = tensor.insert_slice %[[C0]] into %[[BUFFER]]
// CHECK: %[[S1:.*]] = tensor.extract_slice %[[I0]][0, 3] [2, 1] [1, 1]
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<2x1xf16>) outs(%[[S1]]
// CHECK: math.sqrt
func.func @shared(%x: tensor<2x3xf16> {nn.name = "x"}) -> (tensor<2x4xf16> {nn.name = "y"}, tensor<2x3xf16> {nn.name = "z"}) {
  %last = nn.constant dense<[[1.0], [2.0]]> : tensor<2x1xf16>
  %new = nn.exp %x : (tensor<2x3xf16>) -> tensor<2x3xf16>
  %0 = nn.concat %new, %last {axis = 1 : i64} : (tensor<2x3xf16>, tensor<2x1xf16>) -> tensor<2x4xf16>
  %1 = nn.sqrt %0 : (tensor<2x4xf16>) -> tensor<2x4xf16>
  return %1, %new : tensor<2x4xf16>, tensor<2x3xf16>
}
