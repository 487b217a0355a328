// RUN: npu-opt %s -npuc-plan-tiles=target=toy | FileCheck %s

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#y = affine_map<(m, n, k) -> (m, n)>
#wt = affine_map<(m, n, k) -> (n, k)>
#id = affine_map<(m, n) -> (m, n)>
#col = affine_map<(m, n) -> (n)>

// Two cores, 64 rows of work that depend on nothing else: half each. 32 x 4 numbers of 16 bits in and out fit a scratchpad
// of 32 KiB many times, and blocks of 32 rows or fewer would each pay the start of a transfer.
// CHECK-LABEL: func @halves
// CHECK: linalg.generic {{.*}}npu.cores = array<i64: 32, 0>
func.func @halves(%a: tensor<64x4xf16> {npu.role = "input"}, %out: tensor<64x4xf16>) -> tensor<64x4xf16> {
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<64x4xf16>) outs(%out : tensor<64x4xf16>) {
  ^bb0(%p: f16, %o: f16):
    %s = arith.addf %p, %p : f16
    linalg.yield %s : f16
  } -> tensor<64x4xf16>
  return %r : tensor<64x4xf16>
}

// A core has 32 KiB, of which half is for blocks: 16 KiB. A row of 512 numbers of 16 bits is 1 KiB, read and written, both
// twice so that one block arrives while the other is worked on: 4 rows. Shorter rows would be more transfers.
// CHECK-LABEL: func @blocks
// CHECK: linalg.generic {{.*}}npu.blocks = array<i64: 4, 0>, npu.cores = array<i64: 64, 0>
func.func @blocks(%a: tensor<128x512xf16> {npu.role = "input"}, %out: tensor<128x512xf16>) -> tensor<128x512xf16> {
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<128x512xf16>) outs(%out : tensor<128x512xf16>) {
  ^bb0(%p: f16, %o: f16):
    %s = arith.addf %p, %p : f16
    linalg.yield %s : f16
  } -> tensor<128x512xf16>
  return %r : tensor<128x512xf16>
}

// The bias of a projection stays with it, though the multiplication of activations that reads it could take it: the sums
// of 32 bits do not leave the core.
// CHECK-LABEL: func @bias_stays
// CHECK: ins(%arg0, %arg1 {{.*}}npu.group = 0
// CHECK: ins(%{{.*}}, %arg2 {{.*}}npu.group = 0
// CHECK: ins(%{{.*}}, %arg3 {{.*}}npu.group = 1
func.func @bias_stays(%x: tensor<8x16xf16> {npu.role = "input"}, %w: tensor<16x16xf16> {npu.role = "constant"},
                      %b: tensor<16xf16> {npu.role = "constant"}, %keys: tensor<8x16xf16> {npu.role = "input"},
                      %out: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x16xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<8x16xf32>) -> tensor<8x16xf32>
  %s = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<8x16xf16>, tensor<16x16xf16>) outs(%f : tensor<8x16xf32>) {
  ^bb0(%p: f16, %q: f16, %o: f32):
    %pw = arith.extf %p : f16 to f32
    %qw = arith.extf %q : f16 to f32
    %m = arith.mulf %pw, %qw : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<8x16xf32>
  %e1 = tensor.empty() : tensor<8x16xf16>
  %y = linalg.generic {indexing_maps = [#id, #col, #id], iterator_types = ["parallel", "parallel"]}
      ins(%s, %b : tensor<8x16xf32>, tensor<16xf16>) outs(%e1 : tensor<8x16xf16>) {
  ^bb0(%p: f32, %q: f16, %o: f16):
    %qw = arith.extf %q : f16 to f32
    %t = arith.addf %p, %qw : f32
    %h = arith.truncf %t : f32 to f16
    linalg.yield %h : f16
  } -> tensor<8x16xf16>
  %f2 = linalg.fill ins(%z : f32) outs(%out : tensor<8x8xf32>) -> tensor<8x8xf32>
  %scores = linalg.generic {indexing_maps = [#x, #wt, #y], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%y, %keys : tensor<8x16xf16>, tensor<8x16xf16>) outs(%f2 : tensor<8x8xf32>) {
  ^bb0(%p: f16, %q: f16, %o: f32):
    %pw = arith.extf %p : f16 to f32
    %qw = arith.extf %q : f16 to f32
    %m = arith.mulf %pw, %qw : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<8x8xf32>
  return %scores : tensor<8x8xf32>
}
