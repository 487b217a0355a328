// What the mask of an nn.attention means: part of nn-recover-attention.
#pragma once

namespace mlir {
class RewritePatternSet;
}

namespace npuc::nn {

/// Patterns on nn.attention that make its mask as small and as plain as its meaning allows: no broadcasts,
/// bools where only 0 and -infinity are added, `causal_offset` where a part is exactly a triangle, nothing
/// where everything is kept.
void populateAttentionMaskPatterns(mlir::RewritePatternSet &patterns);

} // namespace npuc::nn
