// RUN: npu-opt %s | npu-opt | FileCheck %s

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
!local = memref<16x384xf16, #npu.space<scratchpad>>
!weights = memref<128x384xf16, #npu.space<scratchpad>>
!sums = memref<16x128xf32, #npu.space<accumulator>>

// CHECK-LABEL: @contract
func.func @contract(%x: !local, %w: !weights, %s: !sums) {
  // CHECK: npu.fill %{{.*}}, 0.000000e+00 : memref<16x128xf32, #npu.space<accumulator>>
  npu.fill %s, 0.0 : !sums
  // CHECK: npu.contract
  npu.contract %x, %w, %s maps [#mk, #nk, #mn] : !local, !weights, !sums
  return
}

// A buffer of all cores: runs of 6144 elements, 16 rows of 384, one on each core.
// CHECK-LABEL: @copy
// CHECK-SAME: #npu.space<scratchpad, chunk = 6144>
func.func @copy(%all: memref<128x384xf16, #npu.space<scratchpad, chunk = 6144>>, %mine: !local, %i: index) {
  %rows = memref.subview %all[%i, 0] [16, 384] [1, 1] : memref<128x384xf16, #npu.space<scratchpad, chunk = 6144>> to memref<16x384xf16, strided<[384, 1], offset: ?>, #npu.space<scratchpad, chunk = 6144>>
  // CHECK: npu.copy
  npu.copy %rows to %mine : memref<16x384xf16, strided<[384, 1], offset: ?>, #npu.space<scratchpad, chunk = 6144>> to !local
  return
}

// CHECK-LABEL: @gather
func.func @gather(%table: memref<1000x384xf16>, %ids: memref<16xi32, #npu.space<scratchpad>>, %rows: !local) {
  // CHECK: npu.gather %{{.*}}[%{{.*}}] to
  npu.gather %table[%ids] to %rows : memref<1000x384xf16>, memref<16xi32, #npu.space<scratchpad>> to !local
  return
}

// CHECK-LABEL: @row_maximum
func.func @row_maximum(%x: !local, %m: memref<16xf32, #npu.space<scratchpad>>) {
  // CHECK: npu.vector ins(%{{.*}}) outs(%{{.*}}) maps [
  npu.vector ins(%x : !local) outs(%m : memref<16xf32, #npu.space<scratchpad>>) maps [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>] {
  ^bb0(%a: f16, %old: f32):
    %wide = arith.extf %a : f16 to f32
    %c = arith.maximumf %old, %wide : f32
    npu.yield %c : f32
  }
  return
}
