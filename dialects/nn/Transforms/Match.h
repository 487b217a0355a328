// What the passes that recover meaning share: constants and expressions recognized whatever way an exporter
// wrote them.
#pragma once

#include "dialects/nn/IR/NN.h"

#include <map>

namespace npuc::nn {

RankedTensorType typeOf(Value value);

/// The dense elements that a value is known to have; nothing if it is no constant or a handle.
DenseElementsAttr denseOf(Value value);

/// The number that every element of a value is: of a constant, also behind operations that only move
/// elements.
std::optional<double> splatOf(Value value);

/// Whether `found` stands for `wanted` in elements of type `element`: within the rounding of that type, and
/// at least 1e-6 of it, since exporters print constants with six or seven digits.
bool isAbout(double found, double wanted, Type element);

/// Whether every element of `value` is about `wanted`.
bool isSplat(Value value, double wanted);

/// Whether `value` holds the weights of a model: a constant, or one only moved, cast or dequantized.
bool isWeight(Value value);

/// A value without the broadcasts that only repeat it.
Value withoutBroadcast(Value value);

/// x and factor of x · factor or x / (1/factor); nothing if `value` is neither.
struct Scaled {
  Value value;
  double factor;
};
std::optional<Scaled> asScaled(Value value);

/// x and term of x + term or x - (-term), the term being the same number for every element.
std::optional<Scaled> asShifted(Value value);

/// x where `value` is x², as a power or a product.
Value squared(Value value);

/// n and s of n / √s, in any of its forms: a quotient, or a product with rsqrt s, 1/√s or s^-½.
struct OverRoot {
  Value numerator, radicand;
};
std::optional<OverRoot> asOverRoot(Value value);

/// The operand and the axes of a mean that keeps its axes (with size 1), in any form: mean, or sum · 1/n,
/// reshaped after it.
struct Mean {
  Value input;
  SmallVector<int64_t> axes;
};
std::optional<Mean> asMean(Value value);

/// The first axis of `axes` if they are the last dimensions of a tensor of this rank; nothing otherwise.
std::optional<int64_t> trailingAxis(ArrayRef<int64_t> axes, int64_t rank);

/// A polynomial in up to two values: coefficient by the exponents of the two.
using Polynomial = std::map<std::pair<int, int>, double>;

/// `value` as a polynomial in x and, if not null, y, of degree at most 4 in each; nothing if it depends on
/// anything else. All broadcasts must leave the shape of x alone.
std::optional<Polynomial> asPolynomial(Value value, Value x, Value y = {});

/// Whether two polynomials agree in every coefficient, as isAbout() sees it.
bool isAbout(const Polynomial &found, const Polynomial &wanted, Type element);

/// A tensor of integers or bools as an affine function of its own index: constant + Σ steps[d] · i_d.
struct Affine {
  int64_t constant = 0;
  SmallVector<int64_t> steps;
};

/// What a value computed from constants and ranges is as an affine function of its index; nothing if it is
/// not one.
std::optional<Affine> asAffine(Value value);

/// Whether `affine` over a tensor of this shape goes up by one from element to element, in row-major order.
bool isCount(const Affine &affine, ArrayRef<int64_t> shape);

/// The first element of a value whose elements are consecutive integers in row-major order.
std::optional<int64_t> asCount(Value value);

/// Which pairs of row i and column j, the last two dimensions of a tensor of bools, are true: j ≤ i + offset.
struct Triangle {
  int64_t offset;
};

/// The triangle that a constant tensor of bools, or a comparison of ranges, is exactly; equal for all leading
/// indices.
std::optional<Triangle> asTriangle(Value value);
std::optional<Triangle> asTriangle(DenseElementsAttr bools);

} // namespace npuc::nn
