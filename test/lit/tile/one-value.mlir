// RUN: npu-opt %s -npuc-plan-tiles=target=atom | FileCheck %s
// RUN: npu-opt %s -npuc-plan-tiles=target=atom -npuc-apply-tiles | FileCheck %s --check-prefix=TILE

// x / sum(x²) for one row: the sum has no parallel loop, and with it the division has none along which both can be cut. They
// are few steps, so both get one more loop, of one step, and run on one core.

// CHECK-LABEL: @row
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]} {{.*}} outs(%{{.*}} : tensor<1xf32>) {{.*}}npu.group = 0
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]} {{.*}} outs(%{{.*}} : tensor<1x64xf32>) {{.*}}npu.group = 0
// TILE-LABEL: @row
// TILE: scf.forall (%{{.*}}) in (1)
// TILE: linalg.generic
// TILE: linalg.generic
// TILE: mapping
// TILE: collapse_shape %{{.*}} : tensor<1x64xf32> into tensor<64xf32>

#id = affine_map<(i)->(i)>
#none = affine_map<(i)->()>
func.func @row(%x: tensor<64xf32> {npu.name="x", npu.role="input"}) -> tensor<64xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %s = linalg.generic {indexing_maps=[#id,#none], iterator_types=["reduction"]} ins(%x : tensor<64xf32>) outs(%f : tensor<f32>) {
     ^bb0(%a: f32, %o: f32):
       %p = arith.mulf %a, %a : f32
       %q = arith.addf %o, %p : f32
       linalg.yield %q : f32
  } -> tensor<f32>
  %e2 = tensor.empty() : tensor<64xf32>
  %y = linalg.generic {indexing_maps=[#id,#none,#id], iterator_types=["parallel"]} ins(%x, %s : tensor<64xf32>, tensor<f32>) outs(%e2 : tensor<64xf32>) {
     ^bb0(%a: f32, %c: f32, %o: f32):
       %p = arith.divf %a, %c : f32
       linalg.yield %p : f32
  } -> tensor<64xf32>
  return %y : tensor<64xf32>
}
