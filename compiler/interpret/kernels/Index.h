// Kernels that read or write by index tensors (I32 or I64; a negative index counts from the end).
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <optional>
#include <span>

namespace npuc::interpret {

/// An index that lies outside of [-limit, limit).
struct BadIndex {
  int64_t position; ///< Of the element in the index tensor, row-major.
  int64_t value;
  int64_t limit;
};

/// The first bad index. `limits` holds one limit for all elements, or one for each index of the last
/// dimension (tuples).
std::optional<BadIndex> findBadIndex(const HostTensor &indices, std::span<const int64_t> limits);

// All indices given to what follows are good.

/// result[a…, i…, b…] = table[a…, indices[i…], b…].
HostTensor gather(ThreadPool &pool, const HostTensor &table, const HostTensor &indices, int64_t axis);
/// result[i…] = input[i… with i_axis replaced by indices[i…]].
HostTensor gatherElements(ThreadPool &pool, const HostTensor &input, const HostTensor &indices, int64_t axis);
/// result[b…, i…, r…] = input[b…, indices[b…, i…, :]…, r…].
HostTensor gatherNd(ThreadPool &pool, const HostTensor &input, const HostTensor &indices, int64_t batchDims);

/// How an update meets the element there. All but None need what dispatchNumber takes.
enum class ScatterReduction : uint8_t { None, Add, Mul, Max, Min };
HostTensor scatterElements(ScatterReduction reduction, const HostTensor &input, const HostTensor &indices,
                           const HostTensor &updates, int64_t axis);
HostTensor scatterNd(ScatterReduction reduction, const HostTensor &input, const HostTensor &indices,
                     const HostTensor &updates);

} // namespace npuc::interpret
