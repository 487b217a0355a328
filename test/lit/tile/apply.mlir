// RUN: npu-opt %s -npuc-apply-tiles | FileCheck %s --check-prefix=TILE
// RUN: npu-opt %s -npuc-apply-tiles -npuc-place-tensors=target=atom -npuc-promote-operands=target=atom -npuc-bufferize -npuc-map-to-engines | FileCheck %s --check-prefix=NPU

// Two multiplications by constants: one followed by bias and a function, the other by a sum over its rows. The plan stands in
// the attributes: 128 rows over 8 cores are 16 for each; of the first weights a block has 384 columns, of the second, where
// the sum needs whole rows, one command multiplies 128 columns.

// TILE: scf.forall (%{{.*}}) = (0) to (128) step (16)
// TILE:   scf.for {{.*}} step %c384
// TILE:     linalg.generic {{.*}} ins(%{{.*}} : tensor<16x384xf16>, tensor<384x384xf16>)
// TILE:     math.erf
// TILE: mapping = [#npu.core<0>]
// TILE: scf.forall (%{{.*}}) = (0) to (128) step (16)
// Once, though the sum and the last operation both use it.
// TILE:   scf.for {{.*}} step %c128
// TILE-NOT: scf.for %
// TILE: mapping = [#npu.core<0>]

// What only its own core reads later stays in its scratchpad: 16 rows of 1536.
// NPU: %[[Y:.*]] = memref.alloc() {{.*}} : memref<128x1536xf16, #npu.space<scratchpad, chunk = 24576>>
// NPU: scf.forall
// NPU:   scf.for
// NPU:     npu.copy %{{.*}} to %[[W:.*]] : {{.*}} to memref<384x384xf16, #npu.space<scratchpad>>
// NPU:     npu.fill %[[S:.*]], 0.0
// NPU:     npu.contract %{{.*}}, %[[W]], %[[S]]
// The last operation writes the core's shard in place.
// NPU:     %[[MINE:.*]] = memref.subview {{.*}} chunk = 24576>> to
// NPU:     npu.vector {{.*}} outs(%[[MINE]]
// NPU: scf.forall

#id = affine_map<(i,j)->(i,j)>
#bias = affine_map<(i,j)->(j)>
func.func @f(%x: tensor<128x384xf16> {npu.name="x", npu.role="input"}, %w: tensor<1536x384xf16> {npu.name="w", npu.role="constant"}, %b: tensor<1536xf16> {npu.name="b", npu.role="constant"},
   %w2: tensor<384x1536xf16> {npu.name="w2", npu.role="constant"}, %out: tensor<128x384xf16> {npu.name="y", npu.role="output"}) -> tensor<128x384xf16> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<128x1536xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<128x1536xf32>) -> tensor<128x1536xf32>
  %s = linalg.generic {indexing_maps=[affine_map<(m,n,k)->(m,k)>,affine_map<(m,n,k)->(n,k)>,affine_map<(m,n,k)->(m,n)>], iterator_types=["parallel","parallel","reduction"],
     npu.group = 0}
     ins(%x, %w : tensor<128x384xf16>, tensor<1536x384xf16>) outs(%f : tensor<128x1536xf32>) {
     ^bb0(%a: f16, %c: f16, %o: f32):
       %ae = arith.extf %a : f16 to f32
       %ce = arith.extf %c : f16 to f32
       %p = arith.mulf %ae, %ce : f32
       %q = arith.addf %o, %p : f32
       linalg.yield %q : f32
  } -> tensor<128x1536xf32>
  %e2 = tensor.empty() : tensor<128x1536xf16>
  %y = linalg.generic {indexing_maps=[#id,#bias,#id], iterator_types=["parallel","parallel"],
     npu.group = 0, npu.cores = array<i64: 16, 0>, npu.blocks = array<i64: 0, 384>}
     ins(%s, %b : tensor<128x1536xf32>, tensor<1536xf16>) outs(%e2 : tensor<128x1536xf16>) {
     ^bb0(%a: f32, %c: f16, %o: f16):
       %ce = arith.extf %c : f16 to f32
       %p = arith.addf %a, %ce : f32
       %g = math.erf %p : f32
       %t = arith.truncf %g : f32 to f16
       linalg.yield %t : f16
  } -> tensor<128x1536xf16>
  %e3 = tensor.empty() : tensor<128x384xf32>
  %f3 = linalg.fill ins(%z : f32) outs(%e3 : tensor<128x384xf32>) -> tensor<128x384xf32>
  %s2 = linalg.generic {indexing_maps=[affine_map<(m,n,k)->(m,k)>,affine_map<(m,n,k)->(n,k)>,affine_map<(m,n,k)->(m,n)>], iterator_types=["parallel","parallel","reduction"],
     npu.group = 1, npu.contraction_blocks = array<i64: 0, 128, 0>}
     ins(%y, %w2 : tensor<128x1536xf16>, tensor<384x1536xf16>) outs(%f3 : tensor<128x384xf32>) {
     ^bb0(%a: f16, %c: f16, %o: f32):
       %ae = arith.extf %a : f16 to f32
       %ce = arith.extf %c : f16 to f32
       %p = arith.mulf %ae, %ce : f32
       %q = arith.addf %o, %p : f32
       linalg.yield %q : f32
  } -> tensor<128x384xf32>
  // row sum, subtract: a "norm"
  %er = tensor.empty() : tensor<128xf32>
  %fr = linalg.fill ins(%z : f32) outs(%er : tensor<128xf32>) -> tensor<128xf32>
  %r = linalg.generic {indexing_maps=[#id,affine_map<(i,j)->(i)>], iterator_types=["parallel","reduction"], npu.group = 1} ins(%s2 : tensor<128x384xf32>) outs(%fr : tensor<128xf32>) {
     ^bb0(%a: f32, %o: f32):
       %q = arith.addf %o, %a : f32
       linalg.yield %q : f32
  } -> tensor<128xf32>
  %n = linalg.generic {indexing_maps=[#id,affine_map<(i,j)->(i)>, #id, #id], iterator_types=["parallel","parallel"],
     npu.group = 1, npu.cores = array<i64: 16, 0>, npu.blocks = array<i64: 0, 0>}
     ins(%s2, %r, %x : tensor<128x384xf32>, tensor<128xf32>, tensor<128x384xf16>) outs(%out : tensor<128x384xf16>) {
     ^bb0(%a: f32, %c: f32, %x0: f16, %o: f16):
       %xe = arith.extf %x0 : f16 to f32
       %p = arith.subf %a, %c : f32
       %p2 = arith.addf %p, %xe : f32
       %t = arith.truncf %p2 : f32 to f16
       linalg.yield %t : f16
  } -> tensor<128x384xf16>
  return %n : tensor<128x384xf16>
}
