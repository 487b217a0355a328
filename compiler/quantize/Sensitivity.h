// Mixed precision by measurement: what each operator's format does to the model's outputs, against the time
// that it takes.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Decide.h"
#include "compiler/quantize/Outputs.h"
#include "compiler/quantize/Quantize.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <functional>
#include <optional>
#include <vector>

namespace npuc::quantize {

/// What one multiplication takes in a format, in any unit; nothing if the target cannot compute it so.
using TimeOf = std::function<std::optional<double>(mlir::Operation *, const OperatorFormat &)>;

/// What is asked for: one of both.
struct MixedOptions {
  std::optional<double> minCosine = {};    ///< The fastest formats with at least this cosine at the outputs.
  std::optional<double> maxSlowdown = {};  ///< The best formats with at most this multiple of the least time.
  size_t samples = 4;                      ///< Of the samples, so many are run for each operator and format.
  std::vector<std::string> available = {}; ///< Names of the formats that the target has.
  unsigned threads = 0;
};

/// Chooses a format for each multiplication that no table gave one: `decision` has those that decideFormats
/// chose. The damage of a format is 1 - cosine with the operator alone quantized. Of the front of summed time
/// and damage a point is taken; for `minCosine` the whole is measured there, and better points are taken
/// until it holds. Sets `formatAttr`, and says so in `decision`. False, with errors, if the cosine cannot be
/// reached.
bool mixFormats(mlir::func::FuncOp function, const Samples &samples, interpret::ConstantReader &reader,
                const GramOf &gramOf, const TimeOf &timeOf, const MixedOptions &options, Decision &decision,
                Diagnostics &diagnostics);

} // namespace npuc::quantize
