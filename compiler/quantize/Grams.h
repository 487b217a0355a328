// Sums of products of a linear's inputs with each other: what GPTQ needs.
#pragma once

#include "compiler/quantize/TensorStatistics.h"

#include <span>
#include <vector>

namespace npuc::quantize {

/// (X / factors)ᵀ (X / factors), channels x channels, of the rows X that were drawn of a linear's input;
/// empty if there are none. No factors: 1.
std::vector<double> gramMatrix(const TensorStatistics &input, std::span<const float> factors,
                               ThreadPool &pool);

} // namespace npuc::quantize
