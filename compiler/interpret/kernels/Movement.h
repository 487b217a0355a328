// Kernels that move elements of any type without computing.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <span>

namespace npuc::interpret {

/// Dimension i of the result is dimension permutation[i] of the input.
HostTensor transpose(ThreadPool &pool, const HostTensor &input, std::span<const int64_t> permutation);

/// The input repeated to `shape`, aligned at the right.
HostTensor broadcast(ThreadPool &pool, const HostTensor &input, const Shape &shape);

/// result[i…] = input[starts + i · steps …] of `sizes`; all within the input.
HostTensor slice(ThreadPool &pool, const HostTensor &input, std::span<const int64_t> starts,
                 std::span<const int64_t> sizes, std::span<const int64_t> steps);

/// One after another along `axis`; at least one.
HostTensor concat(ThreadPool &pool, std::span<const HostTensor> inputs, int64_t axis);

enum class PadMode : uint8_t { Constant, Edge, Reflect, Wrap };
/// Adds low[d] and high[d] elements (removes, if negative) before and after dimension d. `value`: a scalar of
/// the input's type, or none for 0.
HostTensor pad(ThreadPool &pool, PadMode mode, const HostTensor &input, const HostTensor &value,
               std::span<const int64_t> low, std::span<const int64_t> high);

/// Keeps [i, j] of the last two dimensions where j ≤ i + diagonal (upper: j ≥ i + diagonal), zero elsewhere.
HostTensor trilu(ThreadPool &pool, const HostTensor &input, bool upper, int64_t diagonal);

} // namespace npuc::interpret
