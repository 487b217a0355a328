// RUN: npuc compile --resume-from=%s --target=toy --emit=graph | FileCheck %s

// Two cores compute two rows each and write them to DRAM. In the next loop a core reads its rows: it has them still, so there
// is no copy. A loop later they are copied. A factor that is narrowed is narrowed by its load.

#rows = affine_map<(d0, d1) -> (d0, d1)>
#columns = affine_map<(d0, d1) -> (d1)>
!whole = memref<4x16xf16>
!part = memref<2x16xf16, strided<[16, 1], offset: ?>>
!local = memref<2x16xf16, #npu.space<scratchpad>>

func.func @main(%x: !whole {npu.name = "x", npu.role = "input"}, %w: memref<16xf32> {npu.name = "w", npu.role = "input"},
                %y: !whole {npu.name = "y", npu.role = "output"}, %z: !whole {npu.name = "z", npu.role = "output"},
                %again: !whole {npu.name = "again", npu.role = "output"}) {
  // CHECK: copy {{.*}} (dram[[[X:[0-9]+]]]:f16[32], scratchpad[
  scf.forall (%i) = (0) to (4) step (2) {
    %from = memref.subview %x[%i, 0] [2, 16] [1, 1] : !whole to !part
    %in = memref.alloc() : !local
    npu.copy %from to %in : !part to !local
    %out = memref.alloc() : !local
    // CHECK: vector {{.*}}, scratchpad[[[OWN:[0-9]+]]]:f16[32])
    npu.vector ins(%in : !local) outs(%out : !local) maps [#rows, #rows] {
    ^bb0(%a: f16, %old: f16):
      %twice = arith.addf %a, %a : f16
      npu.yield %twice : f16
    }
    %to = memref.subview %y[%i, 0] [2, 16] [1, 1] : !whole to !part
    // CHECK: copy {{.*}} (scratchpad[[[OWN]]]:f16[32], dram[[[Y:[0-9]+]]]:f16[32])
    npu.copy %out to %to : !local to !part
  } {mapping = [#npu.core<0>]}
  scf.forall (%i) = (0) to (4) step (2) {
    // CHECK-NOT: copy {{.*}} (dram[[[Y]]]
    %from = memref.subview %y[%i, 0] [2, 16] [1, 1] : !whole to !part
    %in = memref.alloc() : !local
    npu.copy %from to %in : !part to !local
    %factors = memref.alloc() : memref<16xf32, #npu.space<scratchpad>>
    npu.copy %w to %factors : memref<16xf32> to memref<16xf32, #npu.space<scratchpad>>
    %out = memref.alloc() : !local
    // CHECK:      vector {{.*}} (scratchpad[[[OWN]]]:f16[2x16], {{.*}}
    // CHECK:      load.f16 %1
    // CHECK-NOT:  convert
    // CHECK:      multiply.f16
    npu.vector ins(%in, %factors : !local, memref<16xf32, #npu.space<scratchpad>>) outs(%out : !local) maps [#rows, #columns, #rows] {
    ^bb0(%a: f16, %factor: f32, %old: f16):
      %narrow = arith.truncf %factor : f32 to f16
      %scaled = arith.mulf %a, %narrow : f16
      npu.yield %scaled : f16
    }
    %to = memref.subview %z[%i, 0] [2, 16] [1, 1] : !whole to !part
    npu.copy %out to %to : !local to !part
  } {mapping = [#npu.core<0>]}
  scf.forall (%i) = (0) to (4) step (2) {
    // CHECK: copy {{.*}} (dram[[[Y]]]:f16[32], scratchpad[
    %from = memref.subview %y[%i, 0] [2, 16] [1, 1] : !whole to !part
    %in = memref.alloc() : !local
    npu.copy %from to %in : !part to !local
    %to = memref.subview %again[%i, 0] [2, 16] [1, 1] : !whole to !part
    npu.copy %in to %to : !local to !part
  } {mapping = [#npu.core<0>]}
  return
}
