// RUN: npuc compile --resume-from=%s --target=toy --emit=graph | FileCheck %s

// Two cores compute 64 columns each, in blocks of 32, of which the second one ends last. Both cores then need all of the 2 KiB,
// which take far longer to copy than a copy takes to start: columns 0 … 31 and 64 … 95 do not wait for the others.

#all = affine_map<(d0, d1) -> (d0, d1)>
!whole = memref<16x128xi8>
!block = memref<16x32xi8, strided<[128, 1], offset: ?>>
!local = memref<16x32xi8, #npu.space<scratchpad>>
!copy = memref<16x128xi8, #npu.space<scratchpad>>
!pair = memref<2x16x128xi8>

func.func @main(%x: !whole {npu.name = "x", npu.role = "input"}, %y: !whole {npu.name = "y", npu.role = "output"},
                %z: !pair {npu.name = "z", npu.role = "output"}) {
  %c0 = arith.constant 0 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  scf.forall (%i) = (0) to (128) step (64) {
    scf.for %j = %c0 to %c64 step %c32 {
      %at = affine.apply affine_map<()[s0, s1] -> (s0 + s1)>()[%i, %j]
      %from = memref.subview %x[0, %at] [16, 32] [1, 1] : !whole to !block
      %in = memref.alloc() : !local
      npu.copy %from to %in : !block to !local
      %out = memref.alloc() : !local
      npu.vector ins(%in : !local) outs(%out : !local) maps [#all, #all] {
      ^bb0(%a: i8, %old: i8):
        npu.yield %a : i8
      }
      %to = memref.subview %y[0, %at] [16, 32] [1, 1] : !whole to !block
      npu.copy %out to %to : !local to !block
    }
  } {mapping = [#npu.core<0>]}
  // CHECK:      copy {{.*}} (dram[1]:i8[16x32:128,1], scratchpad[[[IN:[0-9]+]]]:i8[16x32:128,1]) multicast(0, 1)
  // CHECK:      copy {{.*}} (dram[1]+0x40:i8[16x32:128,1], scratchpad[[[IN]]]+0x40:i8[16x32:128,1]) multicast(0, 1)
  // CHECK:      copy {{.*}} (dram[1]+0x20:i8[16x32:128,1], scratchpad[[[IN]]]+0x20:i8[16x32:128,1]) multicast(0, 1)
  // CHECK:      copy {{.*}} (dram[1]+0x60:i8[16x32:128,1], scratchpad[[[IN]]]+0x60:i8[16x32:128,1]) multicast(0, 1)
  // CHECK-NOT:  copy {{.*}} (dram[1]
  scf.forall (%i) = (0) to (2) step (1) {
    %in = memref.alloc() : !copy
    npu.copy %y to %in : !whole to !copy
    %to = memref.subview %z[%i, 0, 0] [1, 16, 128] [1, 1, 1] : !pair to memref<16x128xi8, strided<[128, 1], offset: ?>>
    npu.copy %in to %to : !copy to memref<16x128xi8, strided<[128, 1], offset: ?>>
  } {mapping = [#npu.core<0>]}
  return
}
