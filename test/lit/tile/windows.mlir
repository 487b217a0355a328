// RUN: npu-opt %s -npuc-apply-tiles | FileCheck %s

// Windows of 3, dilated by 2, over 8 positions 3 apart, cut by hand: 2 cores with 4 positions each, in blocks of 2. A block reads
// (2 - 1)·3 + (3 - 1)·2 + 1 = 8 of the 26 rows, from three times its first position on: that of the block, and of the core.

// CHECK-DAG: #[[FROM:.*]] = affine_map<(d0, d1) -> (d0 * 3 + d1 * 3)>
// CHECK: scf.forall (%[[CORE:.*]]) = (0) to (8) step (4)
// CHECK: scf.for %[[BLOCK:.*]] = %c0 to %c4 step %c2
// CHECK: %[[ROW:.*]] = affine.apply #[[FROM]](%[[BLOCK]], %[[CORE]])
// CHECK: tensor.extract_slice %{{.*}}[%[[ROW]], 0] [8, 6] [1, 1] : tensor<26x6xf16> to tensor<8x6xf16>
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<8x6xf16>, tensor<4x6x3xf16>) outs(%{{.*}} : tensor<2x4xf32>)
func.func @f(%x: tensor<26x6xf16>, %w: tensor<4x6x3xf16>, %out: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = linalg.generic {indexing_maps = [affine_map<(y, o, k, c) -> (y * 3 + k * 2, c)>, affine_map<(y, o, k, c) -> (o, c, k)>,
                                        affine_map<(y, o, k, c) -> (y, o)>],
                       iterator_types = ["parallel", "parallel", "reduction", "reduction"],
                       npu.group = 0 : i64, npu.cores = array<i64: 4, 0, 0, 0>, npu.blocks = array<i64: 2, 0, 0, 0>}
      ins(%x, %w : tensor<26x6xf16>, tensor<4x6x3xf16>) outs(%out : tensor<8x4xf32>) {
  ^bb0(%a: f16, %b: f16, %s: f32):
    %1 = arith.extf %a : f16 to f32
    %2 = arith.extf %b : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.addf %s, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
