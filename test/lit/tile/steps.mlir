// RUN: npu-opt %s -npuc-plan-tiles=target=atom | FileCheck %s --check-prefix=PLAN
// RUN: npu-opt %s -npuc-plan-tiles=target=atom -npuc-apply-tiles | FileCheck %s --check-prefix=TILE
// RUN: npu-opt %s -npuc-plan-tiles=target=atom -npuc-apply-tiles -npuc-place-tensors=target=atom | FileCheck %s --check-prefix=PLACE

// A multiplication, then a norm of its rows, then another. The first finishes 64 rows at a time, all of 8 cores together,
// each 128 columns (fewer rows would not hide the 64 cycles in which the engine loads its weights): the norm of these rows,
// 8 to a core, is done while the next are multiplied, and the second multiplication begins with them.
// PLAN-LABEL: func @norm_of_rows
// PLAN: npu.blocks = array<i64: 64, 0>, npu.cores = array<i64: 0, 128>, {{.*}}npu.group = 0
// PLAN: npu.cores = array<i64: 8, 0>, {{.*}}npu.group = 1 : i64, npu.steps = array<i64: 64, 0>
// PLAN: npu.blocks = array<i64: 64, 0, 0>, npu.cores = array<i64: 0, 128, 0>, {{.*}}npu.group = 2

// TILE-LABEL: func @norm_of_rows
// TILE: scf.forall (%{{.*}}) = (0) to (1024) step (128)
// TILE:   scf.for {{.*}} step %c64
// TILE: %[[FIRST:.*]] = scf.forall (%{{.*}}) = (0) to (64) step (8)
// TILE: %[[A:.*]] = tensor.insert_slice %[[FIRST]] into %{{.*}}[{{.*}}] [64, 1024]
// TILE: %[[SECOND:.*]] = scf.forall (%{{.*}}) = (0) to (64) step (8)
// TILE: tensor.insert_slice %[[SECOND]] into %[[A]]
// TILE-COUNT-4: scf.forall (%{{.*}}) = (0) to (64) step (8)
// TILE: scf.forall (%{{.*}}) = (0) to (1024) step (128)

// All of the norm stands in one tensor, where each core reaches all.
// PLACE-LABEL: func @norm_of_rows
// PLACE: bufferization.alloc_tensor() {memory_space = #npu.space<shared>} : tensor<384x1024xf16>
// PLACE: bufferization.alloc_tensor() {memory_space = #npu.space<shared>} : tensor<384x1024xf16>

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>
func.func @norm_of_rows(%x: tensor<384x4096xi8> {npu.name = "x", npu.role = "input"}, %w: tensor<4096x1024xi8> {npu.name = "w", npu.role = "constant"},
    %w2: tensor<1024x1024xf16> {npu.name = "w2", npu.role = "constant"}, %out: tensor<384x1024xf32> {npu.name = "y", npu.role = "output"}) -> tensor<384x1024xf32> {
  %i0 = arith.constant 0 : i32
  %f0 = arith.constant 0.0 : f32
  %ei = tensor.empty() : tensor<384x1024xi32>
  %zi = linalg.fill ins(%i0 : i32) outs(%ei : tensor<384x1024xi32>) -> tensor<384x1024xi32>
  %s = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<384x4096xi8>, tensor<4096x1024xi8>) outs(%zi : tensor<384x1024xi32>) {
  ^bb0(%a: i8, %b: i8, %o: i32):
    %ae = arith.extsi %a : i8 to i32
    %be = arith.extsi %b : i8 to i32
    %p = arith.muli %ae, %be : i32
    %q = arith.addi %o, %p : i32
    linalg.yield %q : i32
  } -> tensor<384x1024xi32>
  %eh = tensor.empty() : tensor<384x1024xf16>
  %h = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%s : tensor<384x1024xi32>) outs(%eh : tensor<384x1024xf16>) {
  ^bb0(%a: i32, %o: f16):
    %f = arith.sitofp %a : i32 to f32
    %t = arith.truncf %f : f32 to f16
    linalg.yield %t : f16
  } -> tensor<384x1024xf16>
  %er = tensor.empty() : tensor<384xf32>
  %zr = linalg.fill ins(%f0 : f32) outs(%er : tensor<384xf32>) -> tensor<384xf32>
  %r = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
      ins(%h : tensor<384x1024xf16>) outs(%zr : tensor<384xf32>) {
  ^bb0(%a: f16, %o: f32):
    %e = arith.extf %a : f16 to f32
    %e2 = arith.mulf %e, %e : f32
    %q = arith.addf %o, %e2 : f32
    linalg.yield %q : f32
  } -> tensor<384xf32>
  %n = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%h, %r : tensor<384x1024xf16>, tensor<384xf32>) outs(%eh : tensor<384x1024xf16>) {
  ^bb0(%a: f16, %c: f32, %o: f16):
    %e = arith.extf %a : f16 to f32
    %d = math.rsqrt %c : f32
    %p = arith.mulf %e, %d : f32
    %e3 = arith.mulf %p, %p : f32
    %t = arith.truncf %e3 : f32 to f16
    linalg.yield %t : f16
  } -> tensor<384x1024xf16>
  %zo = linalg.fill ins(%f0 : f32) outs(%out : tensor<384x1024xf32>) -> tensor<384x1024xf32>
  %y = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%n, %w2 : tensor<384x1024xf16>, tensor<1024x1024xf16>) outs(%zo : tensor<384x1024xf32>) {
  ^bb0(%a: f16, %b: f16, %o: f32):
    %ae = arith.extf %a : f16 to f32
    %be = arith.extf %b : f16 to f32
    %p = arith.mulf %ae, %be : f32
    %q = arith.addf %o, %p : f32
    linalg.yield %q : f32
  } -> tensor<384x1024xf32>
  return %y : tensor<384x1024xf32>
}
