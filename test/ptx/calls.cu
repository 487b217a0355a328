// Kernels that call functions, as nvcc compiles them; generate.py says how.

// Large angles are reduced by a function of CUDA's library, which has a table in local memory.
extern "C" __global__ void sine(const double *x, double *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] = sin(x[i]);
}

struct Range {
  float from, to;
  int steps;
};
__device__ __noinline__ float square(float x) { return x * x; }
// The midpoint rule, by a call from a function that is called, within a loop and where threads part.
__device__ __noinline__ float integral(Range range) {
  float sum = 0, step = (range.to - range.from) / range.steps;
  for (int k = 0; k < range.steps; ++k)
    sum += square(range.from + (k + 0.5f) * step);
  return sum * step;
}
extern "C" __global__ void integrals(Range range, float *y) {
  int i = threadIdx.x;
  y[i] = 0;
  if (i % 3) {
    range.steps <<= i % 3;
    y[i] = integral(range);
  }
}
