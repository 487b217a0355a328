// Kernels that the PTX simulator's tests run, as nvcc compiles them; generate.py says how.
#include <cuda_fp16.h>
#include <stdint.h>

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    c[i] = a[i] + b[i];
}

// One block for each row of `columns` numbers: e^(x - max) over its sum.
extern "C" __global__ void softmax(const float *x, float *y, int columns) {
  __shared__ float partial[32];
  const float *row = x + (size_t)blockIdx.x * columns;
  float *out = y + (size_t)blockIdx.x * columns;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;

  float greatest = -INFINITY;
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    greatest = fmaxf(greatest, row[i]);
  for (int step = 16; step > 0; step >>= 1)
    greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, step));
  if (lane == 0)
    partial[warp] = greatest;
  __syncthreads();
  greatest = partial[0];
  for (int i = 1; i < warps; ++i)
    greatest = fmaxf(greatest, partial[i]);
  __syncthreads();

  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    sum += expf(row[i] - greatest);
  for (int step = 16; step > 0; step >>= 1)
    sum += __shfl_xor_sync(~0u, sum, step);
  if (lane == 0)
    partial[warp] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < warps; ++i)
    sum += partial[i];
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    out[i] = expf(row[i] - greatest) / sum;
}

// One warp for each row: (x - mean) / sqrt(variance + epsilon) * scale + shift.
extern "C" __global__ void layer_norm(const float *x, const float *scale, const float *shift, float *y, int columns,
                                      float epsilon) {
  const float *row = x + (size_t)blockIdx.x * columns;
  float sum = 0, squares = 0;
  for (int i = threadIdx.x; i < columns; i += 32) {
    sum += row[i];
    squares += row[i] * row[i];
  }
  for (int step = 16; step > 0; step >>= 1) {
    sum += __shfl_down_sync(~0u, sum, step);
    squares += __shfl_down_sync(~0u, squares, step);
  }
  const float mean = __shfl_sync(~0u, sum, 0) / columns;
  const float factor = rsqrtf(__shfl_sync(~0u, squares, 0) / columns - mean * mean + epsilon);
  for (int i = threadIdx.x; i < columns; i += 32)
    y[(size_t)blockIdx.x * columns + i] = (row[i] - mean) * factor * scale[i] + shift[i];
}

// c[m][n] = a[m][k] b[n][k]^T: fp16 summed in fp32. A block of four warps computes 64 x 64; k in steps of 32, two of which are in
// flight. m, n and k are multiples of 64, 64 and 32.
__device__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ void copy16(void *to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}

extern "C" __global__ void matmul(const half *a, const half *b, float *c, int m, int n, int k) {
  // Rows of 40 halves: the eight rows that ldmatrix reads at once lie in different banks.
  __shared__ __align__(16) half as[2][64][40], bs[2][64][40];
  const int row0 = blockIdx.y * 64, column0 = blockIdx.x * 64;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, wr = (warp >> 1) * 32, wc = (warp & 1) * 32;
  float sums[2][4][4] = {};

  auto load = [&](int step) {
    for (int i = threadIdx.x; i < 64 * 4; i += 128) {
      const int r = i >> 2, q = (i & 3) * 8;
      copy16(&as[step & 1][r][q], a + (size_t)(row0 + r) * k + step * 32 + q);
      copy16(&bs[step & 1][r][q], b + (size_t)(column0 + r) * k + step * 32 + q);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };

  const int steps = k / 32;
  load(0);
  for (int s = 0; s < steps; ++s) {
    if (s + 1 < steps) {
      load(s + 1);
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < 32; kk += 16) {
      unsigned fa[2][4], fb[4][2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fa[i][0]), "=r"(fa[i][1]), "=r"(fa[i][2]), "=r"(fa[i][3])
                     : "r"(shared_address(&as[s & 1][wr + i * 16 + (lane & 15)][kk + (lane >> 4) * 8]))
                     : "memory");
#pragma unroll
      for (int j = 0; j < 4; ++j)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(fb[j][0]), "=r"(fb[j][1])
                     : "r"(shared_address(&bs[s & 1][wc + j * 8 + (lane & 7)][kk + ((lane >> 3) & 1) * 8]))
                     : "memory");
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                       "{%0, %1, %2, %3};"
                       : "+f"(sums[i][j][0]), "+f"(sums[i][j][1]), "+f"(sums[i][j][2]), "+f"(sums[i][j][3])
                       : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(fb[j][0]), "r"(fb[j][1]));
    }
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < 4; ++e)
        c[(size_t)(row0 + wr + i * 16 + (lane >> 2) + (e >> 1) * 8) * n + column0 + wc + j * 8 + (lane & 3) * 2 + (e & 1)] =
            sums[i][j][e];
}

// How often each of 256 bytes occurs, counted in shared memory first.
extern "C" __global__ void histogram(const uint8_t *x, unsigned *counts, int n) {
  __shared__ unsigned own[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x)
    own[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&own[x[i]], 1u);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x)
    atomicAdd(&counts[i], own[i]);
}

// Steps of n -> n / 2 or 3 n + 1 until 1: a loop that every thread leaves at another time, and a switch.
extern "C" __global__ void collatz(const unsigned *x, unsigned *steps, double *root) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long n = x[i];
  unsigned count = 0;
  while (n != 1) {
    n = n & 1 ? 3 * n + 1 : n / 2;
    ++count;
  }
  steps[i] = count;
  switch (count % 7) {
  case 0: root[i] = sqrt((double)x[i]); break;
  case 1: root[i] = 1.0 / x[i]; break;
  case 2: root[i] = x[i] % 1000; break;
  case 3: root[i] = -(double)x[i]; break;
  case 4: root[i] = x[i] * 0.1f; break;
  case 5: root[i] = (int)x[i] >> 3; break;
  default: root[i] = __popc(x[i]); break;
  }
}
