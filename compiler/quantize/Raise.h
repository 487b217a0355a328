// Better formats for the few multiplications that most of what the model's outputs lose comes from.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Decide.h"
#include "compiler/quantize/Quantize.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <string>
#include <vector>

namespace npuc::quantize {

struct RaiseOptions {
  double mostLoss = 0.01;                  ///< Of the outputs (see OutputDifference).
  std::vector<std::string> available = {}; ///< Names of the formats that the target has.
  size_t samples = 4;                      ///< Of the samples, on which the whole is measured.
  unsigned threads = 0;
  std::function<void(const std::string &step)> progress = {};
};

/// What the outputs of a model may lose in a format, unless told otherwise: 1 %, and with weights of 4 bits
/// as many more as the groups are large.
double mostLossOf(const OperatorFormat &format);

/// Where the outputs lose more than `mostLoss` in the formats that `function`'s multiplications have, raises
/// some of those that no table gave: weights of 4 bits to 8, one scale to scales of rows, integers to floats.
/// Multiplications of equal types are measured together, with only them quantized, on one sample, and what
/// does much harm in halves, down to single ones. Of all choices that stay below half of `mostLoss` by the
/// sums the cheapest is taken, by multiply-adds times bits, and the whole is measured; where it loses more
/// than the sum said, less is aimed at. Sets `formatAttr` and says in `decision` what was done, with a
/// warning if the loss stays too great. False, with errors, if a run fails.
bool raiseFormats(mlir::func::FuncOp function, const Samples &samples, interpret::ConstantReader &reader,
                  const GramOf &gramOf, RoundedWeights &rounded, const RaiseOptions &options,
                  Decision &decision, Diagnostics &diagnostics);

} // namespace npuc::quantize
