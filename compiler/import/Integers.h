// Integers and the numbers that they stand for, as handlers of quantized operators build them.
#pragma once

#include "compiler/import/Node.h"

namespace npuc::importer {

/// A scale or zero point of one element, or with all elements the same, as a scalar; another, and null, as it
/// is.
Value single(Node &node, Value parameter);

/// (integers - zero) · scale, in the scale's type; `attributes` are those of nn.dequantize, `zero` may be
/// null.
Value dequantized(Node &node, Value integers, Value scale, Value zero,
                  ArrayRef<mlir::NamedAttribute> attributes);

/// `value`, cast to the scale's type, as integers of `element`; `attributes` are those of nn.quantize, `zero`
/// may be null.
Value quantized(Node &node, Value value, Value scale, Value zero, Type element,
                ArrayRef<mlir::NamedAttribute> attributes);

/// integers - zero as f32, of which a contraction makes the sums that the operator makes of integers: whole
/// numbers, exact up to 2^24. More than one zero point are those of dimension `axis`; `zero` may be null.
Value whole(Node &node, Value integers, Value zero, int64_t axis);

/// Sums of products of whole numbers as integers of `element`: round(sums · Π factors / scale) + zero, with
/// the scale in operand i, of one element, and the zero point, if there is one, after it. Factors for each
/// index are those of dimension `axis`.
Value requantized(Node &node, Value sums, ArrayRef<Value> factors, size_t i, int64_t axis, Type element);

} // namespace npuc::importer
