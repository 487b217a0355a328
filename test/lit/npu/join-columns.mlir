// RUN: npu-opt %s -split-input-file -npuc-join-columns=target=atom | FileCheck %s

// Sums of the weights' rows: the values' 64 columns leave half of the engine's 128 lanes free. Rows of 65 bytes become 128, so that
// each begins where a transfer can.

#a = affine_map<(b,m,n,k)->(b,m,k)>
#b = affine_map<(b,m,n,k)->(b,k,n)>
#c = affine_map<(b,m,n,k)->(b,m,n)>
#row = affine_map<(b,m,k)->(b,m,k)>
#one = affine_map<(b,m,k)->(k)>
#sum = affine_map<(b,m,k)->(b,m)>

// CHECK-LABEL: func.func @joined
// CHECK: %[[RIGHT:.*]] = memref.alloc() {{.*}}memref<1x384x128xi8
// CHECK: %[[ONES:.*]] = memref.subview %[[RIGHT]][0, 0, 64] [1, 384, 1]
// CHECK: npu.fill %[[ONES]], 1.0
// CHECK: %[[V:.*]] = memref.subview %[[RIGHT]][0, 0, 0] [1, 384, 64]
// CHECK: %[[BOTH:.*]] = memref.subview %[[RIGHT]][0, 0, 0] [1, 384, 65]
// CHECK: npu.copy %{{.*}} to %[[V]]
// CHECK: %[[SUMS:.*]] = memref.alloc() {{.*}}memref<1x96x65xi32
// CHECK: %[[Y:.*]] = memref.subview %[[SUMS]][0, 0, 0] [1, 96, 64]
// CHECK: %[[S:.*]] = memref.subview %[[SUMS]][0, 0, 64] [1, 96, 1] {{.*}} to memref<1x96xi32
// CHECK: npu.fill %[[SUMS]], 0.0
// CHECK-NEXT: npu.contract %{{.*}}, %[[BOTH]], %[[SUMS]]
// CHECK-NOT: npu.contract
// CHECK: npu.copy %[[Y]] to
// CHECK: npu.copy %[[S]] to
func.func @joined(%w: memref<1x96x384xi8>, %v: memref<1x384x64xi8>, %y: memref<1x96x64xi32>, %z: memref<1x96xi32>) {
  %left = memref.alloc() {alignment = 64 : i64} : memref<1x96x384xi8, #npu.space<scratchpad>>
  npu.copy %w to %left : memref<1x96x384xi8> to memref<1x96x384xi8, #npu.space<scratchpad>>
  %right = memref.alloc() {alignment = 64 : i64} : memref<1x384x64xi8, #npu.space<scratchpad>>
  npu.copy %v to %right : memref<1x384x64xi8> to memref<1x384x64xi8, #npu.space<scratchpad>>
  %ones = memref.alloc() {alignment = 64 : i64} : memref<384xi8, #npu.space<scratchpad>>
  npu.fill %ones, 1.0 : memref<384xi8, #npu.space<scratchpad>>
  %sums = memref.alloc() {alignment = 64 : i64} : memref<1x96x64xi32, #npu.space<scratchpad>>
  npu.fill %sums, 0.0 : memref<1x96x64xi32, #npu.space<scratchpad>>
  npu.contract %left, %right, %sums maps [#a, #b, #c] : memref<1x96x384xi8, #npu.space<scratchpad>>, memref<1x384x64xi8, #npu.space<scratchpad>>, memref<1x96x64xi32, #npu.space<scratchpad>>
  %rows = memref.alloc() {alignment = 64 : i64} : memref<1x96xi32, #npu.space<scratchpad>>
  npu.fill %rows, 0.0 : memref<1x96xi32, #npu.space<scratchpad>>
  npu.contract %left, %ones, %rows maps [#row, #one, #sum] : memref<1x96x384xi8, #npu.space<scratchpad>>, memref<384xi8, #npu.space<scratchpad>>, memref<1x96xi32, #npu.space<scratchpad>>
  npu.copy %sums to %y : memref<1x96x64xi32, #npu.space<scratchpad>> to memref<1x96x64xi32>
  npu.copy %rows to %z : memref<1x96xi32, #npu.space<scratchpad>> to memref<1x96xi32>
  return
}

// -----

// All 128 lanes have a column already.

#a = affine_map<(m,n,k)->(m,k)>
#b = affine_map<(m,n,k)->(k,n)>
#c = affine_map<(m,n,k)->(m,n)>
#row = affine_map<(m,k)->(m,k)>
#one = affine_map<(m,k)->(k)>
#sum = affine_map<(m,k)->(m)>

// CHECK-LABEL: func.func @full
// CHECK-COUNT-2: npu.contract
func.func @full(%w: memref<96x64xi8>, %v: memref<64x128xi8>, %y: memref<96x128xi32>, %z: memref<96xi32>) {
  %left = memref.alloc() : memref<96x64xi8, #npu.space<scratchpad>>
  npu.copy %w to %left : memref<96x64xi8> to memref<96x64xi8, #npu.space<scratchpad>>
  %right = memref.alloc() : memref<64x128xi8, #npu.space<scratchpad>>
  npu.copy %v to %right : memref<64x128xi8> to memref<64x128xi8, #npu.space<scratchpad>>
  %ones = memref.alloc() : memref<64xi8, #npu.space<scratchpad>>
  npu.fill %ones, 1.0 : memref<64xi8, #npu.space<scratchpad>>
  %sums = memref.alloc() : memref<96x128xi32, #npu.space<scratchpad>>
  npu.fill %sums, 0.0 : memref<96x128xi32, #npu.space<scratchpad>>
  npu.contract %left, %right, %sums maps [#a, #b, #c] : memref<96x64xi8, #npu.space<scratchpad>>, memref<64x128xi8, #npu.space<scratchpad>>, memref<96x128xi32, #npu.space<scratchpad>>
  %rows = memref.alloc() : memref<96xi32, #npu.space<scratchpad>>
  npu.fill %rows, 0.0 : memref<96xi32, #npu.space<scratchpad>>
  npu.contract %left, %ones, %rows maps [#row, #one, #sum] : memref<96x64xi8, #npu.space<scratchpad>>, memref<64xi8, #npu.space<scratchpad>>, memref<96xi32, #npu.space<scratchpad>>
  npu.copy %sums to %y : memref<96x128xi32, #npu.space<scratchpad>> to memref<96x128xi32>
  npu.copy %rows to %z : memref<96xi32, #npu.space<scratchpad>> to memref<96xi32>
  return
}

// -----

// The matrix is changed between the two products.

#a = affine_map<(m,n,k)->(m,k)>
#b = affine_map<(m,n,k)->(k,n)>
#c = affine_map<(m,n,k)->(m,n)>
#row = affine_map<(m,k)->(m,k)>
#one = affine_map<(m,k)->(k)>
#sum = affine_map<(m,k)->(m)>

// CHECK-LABEL: func.func @changed
// CHECK-COUNT-2: npu.contract
func.func @changed(%w: memref<96x64xi8>, %v: memref<64x32xi8>, %y: memref<96x32xi32>, %z: memref<96xi32>) {
  %left = memref.alloc() : memref<96x64xi8, #npu.space<scratchpad>>
  npu.copy %w to %left : memref<96x64xi8> to memref<96x64xi8, #npu.space<scratchpad>>
  %right = memref.alloc() : memref<64x32xi8, #npu.space<scratchpad>>
  npu.copy %v to %right : memref<64x32xi8> to memref<64x32xi8, #npu.space<scratchpad>>
  %ones = memref.alloc() : memref<64xi8, #npu.space<scratchpad>>
  npu.fill %ones, 1.0 : memref<64xi8, #npu.space<scratchpad>>
  %sums = memref.alloc() : memref<96x32xi32, #npu.space<scratchpad>>
  npu.fill %sums, 0.0 : memref<96x32xi32, #npu.space<scratchpad>>
  npu.contract %left, %right, %sums maps [#a, #b, #c] : memref<96x64xi8, #npu.space<scratchpad>>, memref<64x32xi8, #npu.space<scratchpad>>, memref<96x32xi32, #npu.space<scratchpad>>
  npu.fill %left, 3.0 : memref<96x64xi8, #npu.space<scratchpad>>
  %rows = memref.alloc() : memref<96xi32, #npu.space<scratchpad>>
  npu.fill %rows, 0.0 : memref<96xi32, #npu.space<scratchpad>>
  npu.contract %left, %ones, %rows maps [#row, #one, #sum] : memref<96x64xi8, #npu.space<scratchpad>>, memref<64xi8, #npu.space<scratchpad>>, memref<96xi32, #npu.space<scratchpad>>
  npu.copy %sums to %y : memref<96x32xi32, #npu.space<scratchpad>> to memref<96x32xi32>
  npu.copy %rows to %z : memref<96xi32, #npu.space<scratchpad>> to memref<96xi32>
  return
}
