// Decides how each multiplication of a model is quantized, from what was seen of its operands.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/Observers.h"
#include "compiler/quantize/Precision.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>
#include <vector>

namespace npuc::quantize {

struct DecisionOptions {
  /// Of multiplications that have no attribute `formatAttr` yet (see applyPrecisionTable).
  OperatorFormat wanted;
  /// Names of the formats that the target has. Where integers with one scale lose too much of a linear's
  /// output, the first of int8-token and float that is there takes their place.
  std::vector<std::string> available;
};

struct Decision {
  /// Every multiplication.
  std::vector<PrecisionRow> rows;
  /// A sentence for each step taken.
  std::vector<std::string> steps;
};

/// Sets `formatAttr` on every multiplication of floats and `factorsAttr` (see Quantize.h) on linears whose
/// input is smoothed. Multiplications of one input share its factors and, unless a table says otherwise, its
/// format. Nothing, and an error at the operation, if weights cannot be read.
std::optional<Decision> decideFormats(mlir::func::FuncOp function, const Statistics &statistics,
                                      interpret::ConstantReader &reader, const DecisionOptions &options);

} // namespace npuc::quantize
