// What the patterns that fold quantization share; part of foldQuantization alone.
#pragma once

#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Quantize.h"

#include "mlir/IR/PatternMatch.h"

namespace npuc::quantize {

inline mlir::RankedTensorType typeOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

/// What every pattern makes constants with.
template <typename OpTy>
struct FoldPattern : mlir::OpRewritePattern<OpTy> {
  FoldPattern(mlir::MLIRContext *context, interpret::ConstantReader &reader, mlir::PatternBenefit benefit = 1)
      : mlir::OpRewritePattern<OpTy>(context, benefit), reader(reader) {}
  Constants constants(mlir::PatternRewriter &rewriter, mlir::Operation *op) const {
    return {rewriter, op->getLoc(), reader};
  }
  interpret::ConstantReader &reader;
};

/// An infinite scale, as quantizers give to masks, makes NaN of the zero point: it is not folded.
bool areFinite(const std::vector<double> &scales);

/// Σ of a tensor of integers of 8 bits over `axes`, which stay with size 1, in i32.
mlir::Value sumsOver(mlir::PatternRewriter &rewriter, mlir::Location loc, mlir::Value integers,
                     llvm::ArrayRef<int64_t> axes);

/// Multiplications of integers of 8 bits whose scales or zero points are computed as the program runs, or
/// differ by row or column, of integers less their zero points in i32, and of floats of 8 bits: with a
/// benefit of 1.
void populateComputedPatterns(mlir::RewritePatternSet &patterns, interpret::ConstantReader &reader,
                              const Multiplied &multiplied);

/// Linears by weights of 4 bits, or with scales for groups of products: with a benefit of 3. `fourBits`: the
/// engine multiplies weights of 4 bits by integers of 8.
void populateGroupPatterns(mlir::RewritePatternSet &patterns, interpret::ConstantReader &reader,
                           bool fourBits);

/// Attention with scales for heads, whose keys and values may have zero points: with a benefit of 1.
void populateHeadPatterns(mlir::RewritePatternSet &patterns, interpret::ConstantReader &reader);

} // namespace npuc::quantize
