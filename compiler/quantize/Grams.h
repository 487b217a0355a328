// Sums of products of a linear's inputs with each other: what GPTQ needs.
#pragma once

#include "compiler/quantize/TensorStatistics.h"

#include <span>
#include <vector>

namespace npuc::quantize {

/// XᵀX, channels x channels, of the rows X that were drawn of a linear's input, over `factors` (none: 1) and
/// each over its own size, so that all count alike: the first token of a decoder may be a thousand times as
/// large as the others, and all that is known of those would be lost beside it. Those below the leastSize
/// (see OutputLoss.h) count as if they had that. Empty if no rows were drawn.
std::vector<double> gramMatrix(const TensorStatistics &input, std::span<const float> factors,
                               ThreadPool &pool);

} // namespace npuc::quantize
