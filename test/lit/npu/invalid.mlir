// RUN: npu-opt %s --split-input-file --verify-diagnostics

// expected-error@+1 {{only a scratchpad is cut into chunks; dram is one memory}}
func.func @chunked_dram(%x: memref<8xf16, #npu.space<dram, chunk = 4>>) { return }

// -----

func.func @accumulators_by_dma(%s: memref<4xf32, #npu.space<accumulator>>, %x: memref<4xf32>) {
  // expected-error@+1 {{reaches the accumulators: only the matrix and vector engines do}}
  npu.copy %s to %x : memref<4xf32, #npu.space<accumulator>> to memref<4xf32>
  return
}

// -----

func.func @copy_converts(%a: memref<4xf32>, %b: memref<4xf16>) {
  // expected-error@+1 {{copies between element types 'f32' and 'f16'}}
  npu.copy %a to %b : memref<4xf32> to memref<4xf16>
  return
}

// -----

func.func @copy_reshapes(%a: memref<4xf32>, %b: memref<2xf32>) {
  // expected-error@+1 {{copies between different shapes}}
  npu.copy %a to %b : memref<4xf32> to memref<2xf32>
  return
}

// -----

func.func @sums_too_narrow(%a: memref<4x8xf16>, %b: memref<8x4xf16>, %c: memref<4x4xf16>) {
  // expected-error@+1 {{keeps the sums of 'f16' products in 'f16'}}
  npu.contract %a, %b, %c maps [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      : memref<4x8xf16>, memref<8x4xf16>, memref<4x4xf16>
  return
}

// -----

// Loop k has 8 steps in one operand and 9 in the other.
func.func @loops_differ(%a: memref<4x8xf16>, %b: memref<9x4xf16>, %c: memref<4x4xf32>) {
  // expected-error@+1 {{loop 2 has the sizes 8 and 9}}
  npu.contract %a, %b, %c maps [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      : memref<4x8xf16>, memref<9x4xf16>, memref<4x4xf32>
  return
}

// -----

// Loop r is in the left operand alone: a sum of its elements, which is no product.
func.func @no_role(%a: memref<4x8x2xf16>, %b: memref<8x4xf16>, %c: memref<4x4xf32>) {
  // expected-error@+1 {{has a loop that is neither batch, m, n nor k}}
  npu.contract %a, %b, %c maps [affine_map<(m, n, k, r) -> (m, k, r)>, affine_map<(m, n, k, r) -> (k, n)>, affine_map<(m, n, k, r) -> (m, n)>]
      : memref<4x8x2xf16>, memref<8x4xf16>, memref<4x4xf32>
  return
}

// -----

func.func @indices_64(%t: memref<8x4xf16>, %i: memref<2xi64>, %o: memref<2x4xf16>) {
  // expected-error@+1 {{needs i32 indices, not 'i64'}}
  npu.gather %t[%i] to %o : memref<8x4xf16>, memref<2xi64> to memref<2x4xf16>
  return
}
