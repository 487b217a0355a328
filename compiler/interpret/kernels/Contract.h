// Matrix products and what is made of them. F32 runs on oneDNN, integers are exact.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <span>

namespace npuc::interpret {

/// C[m, n] = Σ_k A[m, k] · B[k, n] + bias[n] in fp32. Strides in elements; of A and of B one is 1, C's rows
/// are dense.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  int64_t aRow = 0, aColumn = 1; ///< A[m, k] is a[m · aRow + k · aColumn].
  int64_t bRow = 0, bColumn = 1; ///< B[k, n] is b[k · bRow + n · bColumn].
  int64_t cRow = 0;
};

/// In the calling thread alone, so that the order of its sums depends on the sizes only.
void gemm(const Gemm &sizes, const float *a, const float *b, float *c, const float *bias = nullptr);

/// Many products of one size, cut into tiles that threads compute side by side; where they are cut does not
/// depend on the thread count. Product i reads a + aOffsets[i], …; `bias` may be null.
struct GemmBatch {
  std::vector<int64_t> aOffsets, bOffsets, cOffsets;
};
void gemm(ThreadPool &pool, const Gemm &sizes, const GemmBatch &batch, const float *a, const float *b,
          float *c, const float *bias = nullptr);

/// result[b…, m, n] = Σ_k lhs[b…, m, k] · rhs[b…, k, n], leading dimensions broadcast. F32, F64, or integers
/// of 4 or 8 bits or I32, of which the result is I32, exact modulo 2^32.
HostTensor matmul(ThreadPool &pool, const HostTensor &lhs, const HostTensor &rhs);

/// result[…, n] = Σ_k input[…, k] · weight[k, n] + bias[n], or weight[n, k] if `transposed`; types as matmul.
/// `bias` of the result's type, or none.
HostTensor linear(ThreadPool &pool, const HostTensor &input, const HostTensor &weight, const HostTensor &bias,
                  bool transposed);

/// Integers of at most 8 bits with scales of groups, weight [n, k]: see nn.grouped_linear. `zeroPoint` (I8 or
/// U8) and `offset` (I32) are [n, groups] as `scale` (F32), or none.
struct GroupedWeights {
  HostTensor weight, scale, zeroPoint, offset;
};
HostTensor groupedLinear(ThreadPool &pool, const HostTensor &input, const GroupedWeights &weights);

struct Window {
  std::vector<int64_t> strides, dilations;
  std::vector<int64_t> pads; ///< Low pads of all spatial dimensions, then the high ones.
};

/// input [N, C, spatial…], weight [O, C/groups, kernel…], bias [O] or none, types as matmul; zero padding.
HostTensor conv(ThreadPool &pool, const HostTensor &input, const HostTensor &weight, const HostTensor &bias,
                const Window &window, int64_t groups);

/// The gradient of conv by its input: weight [C, O/groups, kernel…]. F32 or F64.
HostTensor convTranspose(ThreadPool &pool, const HostTensor &input, const HostTensor &weight,
                         const HostTensor &bias, const Window &window, std::span<const int64_t> outputPadding,
                         int64_t groups);

enum class PoolKind : uint8_t { Max, Average };
/// Windows of `kernel` over input [N, C, spatial…]; with `countPadding` a mean counts elements of the padding
/// too.
HostTensor poolWindows(ThreadPool &threads, PoolKind kind, const HostTensor &input,
                       std::span<const int64_t> kernel, const Window &window, bool countPadding);

} // namespace npuc::interpret
