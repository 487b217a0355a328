// A sum cut into blocks starts once: the fill stands before the loop over k. The blocks come from the attributes, so that
// no plan's choice matters here.
// RUN: npu-opt %s --npuc-apply-tiles | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#c = affine_map<(m, n, k) -> (m, n)>
#row = affine_map<(m, n) -> (m, n)>

// Two cores of 8 rows; 64 = 2 blocks of 32 columns, each with 128 = 4 blocks of 32 along k.
// CHECK-LABEL: func @blocks_of_a_sum
// CHECK:       scf.forall {{.*}} = (0, 0) to (16, 64) step (8, 64)
// CHECK:         scf.for %[[N:.*]] = %{{.*}} to %c64 step %c32
// CHECK:           %[[START:.*]] = linalg.fill
// CHECK:           scf.for %[[K:.*]] = %{{.*}} to %c128 step %c32 iter_args(%{{.*}} = %[[START]])
// CHECK-NOT:         linalg.fill
// CHECK:             arith.mulf
// CHECK:           scf.yield
func.func @blocks_of_a_sum(%x: tensor<16x128xf16>, %w: tensor<128x64xf16>, %y: tensor<16x64xf16>) -> tensor<16x64xf16> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<16x64xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<16x64xf32>) -> tensor<16x64xf32>
  %s = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"],
                       npu.group = 0, npu.contraction_blocks = array<i64: 0, 32, 32>}
      ins(%x, %w : tensor<16x128xf16>, tensor<128x64xf16>) outs(%f : tensor<16x64xf32>) {
  ^bb0(%p: f16, %q: f16, %o: f32):
    %pw = arith.extf %p : f16 to f32
    %qw = arith.extf %q : f16 to f32
    %m = arith.mulf %pw, %qw : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<16x64xf32>
  %r = linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel", "parallel"],
                       npu.group = 0, npu.cores = array<i64: 8, 64>, npu.blocks = array<i64: 0, 0>}
      ins(%s : tensor<16x64xf32>) outs(%y : tensor<16x64xf16>) {
  ^bb0(%p: f32, %o: f16):
    %h = arith.truncf %p : f32 to f16
    linalg.yield %h : f16
  } -> tensor<16x64xf16>
  return %r : tensor<16x64xf16>
}
