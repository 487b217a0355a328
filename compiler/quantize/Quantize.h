// From multiplications of floats to multiplications of integers, in nn.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace npuc::quantize {

/// How a machine brings sums to few bits: see TargetDescription's Numbers.
enum class Requantization : uint8_t { FloatScale, FixedPoint, ShiftMultiplyShift };

/// What a matrix engine multiplies beside integers of 8 bits: weights of 4 by those, floats of 8 bits.
struct Multiplied {
  bool fourBits = true, e4m3 = true, e5m2 = true;
};

/// On an nn.linear by weights: a factor for each channel of its input, by which what becomes integers is
/// divided and the weights multiplied; an array of floats. Later on the nn.mul that divides, where scales are
/// each row's own.
inline constexpr llvm::StringLiteral factorsAttr = "nn.factors";

/// On an nn.linear by weights: its weights are rounded by GPTQ, not each to the nearest.
inline constexpr llvm::StringLiteral gptqAttr = "nn.gptq";

/// On an operation of nn: its floats are f32, whatever others are stored in.
inline constexpr llvm::StringLiteral inF32Attr = "nn.in_f32";

/// For a linear by weights, XᵀX of its input X over `factors` (one for each channel, or none): of the
/// samples, up to a factor; channels x channels. Empty if it is not known.
using GramOf = std::function<std::vector<double>(nn::LinearOp linear, std::span<const float> factors)>;

/// Constants that weights were rounded to, which insertQuantization keeps from one call to the next where it
/// is called for copies of one function; all of one context.
struct RoundedWeights {
  struct Constants {
    mlir::TypedAttr integers, scales, zeros;
  };
  /// By the weights and the node, the format, the factors, and whether by GPTQ.
  std::map<std::tuple<const void *, const void *, std::string, std::vector<float>, bool>, Constants> known;
};

/// Puts quantize and dequantize around the operands of every multiplication of floats that has ranges (see
/// Calibrate.h), in the format that its attribute names (see Precision.h; without one, int8). Weights become
/// the nearest numbers, of linears with gptqAttr those that GPTQ finds where `gramOf` knows a Gram matrix.
/// What takes long to round is kept in `rounded`, and taken from there. The function then means what the
/// integers will compute, up to how sums are requantized.
mlir::LogicalResult insertQuantization(mlir::func::FuncOp function, interpret::ConstantReader &constants,
                                       const GramOf &gramOf = {}, RoundedWeights *rounded = nullptr);

/// Folds dequantized operands into multiplications of integers, and quantized sums into requantizations; the
/// model's own quantization and what insertQuantization put there alike. Zero points go into the bias and,
/// where both operands are computed, into sums of rows. What cannot be folded keeps its meaning in floats.
/// Weights of 4 bits become 8 first, and floats of 8 bits floats of 16, where the engine does not multiply
/// them.
mlir::LogicalResult foldQuantization(mlir::func::FuncOp function, Requantization requantization,
                                     interpret::ConstantReader &constants, const Multiplied &multiplied = {});

/// On a multiplication of integers: its sum is computed in so many parts, each of an equal share of its
/// products, which are added in 32 bits.
inline constexpr llvm::StringLiteral partsAttr = "nn.parts";

/// Proves from the weights (or from the number of products) that no sum of integers leaves an accumulator of
/// `bits` bits, or sets the attribute above so that none of its parts does. Errors where no number of parts
/// is enough.
mlir::LogicalResult boundSums(mlir::func::FuncOp function, unsigned bits,
                              interpret::ConstantReader &constants);

/// A multiplication that stays in floats.
struct InFloat {
  std::string node, operation, reason;
};
std::vector<InFloat> inFloat(mlir::func::FuncOp function);

} // namespace npuc::quantize
