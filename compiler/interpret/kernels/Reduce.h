// Reductions, and what needs them: softmax, norms, attention.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <optional>
#include <span>

namespace npuc::interpret {

enum class Reduce : uint8_t { Sum, Mean, Max, Min, Prod, LogSumExp };
/// Over `axes`, which stay with size 1 if `keep`. Over no elements: see nn.reduce.
HostTensor reduce(ThreadPool &pool, Reduce kind, const HostTensor &input, std::span<const int64_t> axes,
                  bool keep);

/// I64 index of the greatest (or least) element along `axis`: of equal ones the first, or the last. NaN wins.
HostTensor argReduce(ThreadPool &pool, bool greatest, const HostTensor &input, int64_t axis, bool keep,
                     bool last);

struct TopK {
  HostTensor values, indices;
};
/// The k greatest (or least) along `axis`, in order; of equal ones that of lower index first; NaN as the
/// greatest.
TopK topK(ThreadPool &pool, const HostTensor &input, int64_t k, int64_t axis, bool smallest);

HostTensor cumSum(ThreadPool &pool, const HostTensor &input, int64_t axis, bool exclusive, bool reverse);

/// Along `axis`. A row of only -infinity is NaN, or 0 if `zeroMasked`.
HostTensor softmax(ThreadPool &pool, const HostTensor &input, int64_t axis, bool zeroMasked);
HostTensor logSoftmax(ThreadPool &pool, const HostTensor &input, int64_t axis);

/// Over dimensions `axis` and after; `scale` and `bias` (which may be none) broadcast to the input.
HostTensor layerNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                     const HostTensor &bias, int64_t axis, float epsilon);
HostTensor rmsNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale, int64_t axis,
                   float epsilon);
/// input [N, C, …], over each run of C/groups channels; scale and bias [C].
HostTensor groupNorm(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                     const HostTensor &bias, int64_t groups, float epsilon);

struct Attention {
  float scale = 1;
  std::optional<int64_t> causalOffset; ///< Key j is hidden from query i where j > i + offset.
  float softcap = 0;
  bool zeroMasked = false;
  /// The operands are integers of 8 bits held as F32: see nn.attention.
  bool integer = false;
  float valueScale = 1; ///< Of integers alone.
};
/// query [B, H, S, D], key [B, G, T, D], value [B, G, T, E]; `mask` (Bool or of the query's type, or none)
/// broadcasts to [B, H, S, T].
HostTensor attention(ThreadPool &pool, const HostTensor &query, const HostTensor &key,
                     const HostTensor &value, const HostTensor &mask, const Attention &how);

/// input [B, H, S, D]; cos and sin broadcast to [B, H, S, R/2]; see nn.rope.
HostTensor rope(ThreadPool &pool, const HostTensor &input, const HostTensor &cos, const HostTensor &sin,
                bool interleaved);

} // namespace npuc::interpret
