// Ranges of a model's tensors: chosen from what was seen of them, or given by a table.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/CalibrationTable.h"
#include "compiler/quantize/Guards.h"
#include "compiler/quantize/Observers.h"
#include "compiler/quantize/Ranges.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>
#include <vector>

namespace npuc::quantize {

/// Whether a table that `file` names fits the tensors of `statistics`. Errors, with the line: a tensor that
/// is none of them (with the nearest name); factors of what is not multiplied by weights, or not as many as
/// it has channels. Unless there are samples, also tensors that the table lacks.
bool checkTable(const CalibrationTable &table, const std::string &file, const Statistics &statistics,
                bool hasSamples, Diagnostics &diagnostics);

struct ChosenRanges {
  CalibrationTable table; ///< Of all tensors, in order.
  /// How multiplications in integers with one scale read each tensor; nothing if none does.
  std::vector<std::optional<Zero>> zeros;

  /// The tensors that are read so. All of it must live as long.
  std::vector<GuardedTensor> guarded(const Statistics &statistics) const;
};

/// After decideFormats: the range of each tensor over the factors that its linears in int8 have, by
/// `options`, where `given` (which fits) has no line of it; the factors of those that it has. Sets
/// `rangesAttr` (see Calibrate.h) on every multiplication, and `factorsAttr` where `given` says so. Of what
/// is multiplied in other formats alone, which hold small numbers beside large ones, the range is all that
/// was seen. Nothing, and an error at the operation, if weights cannot be read.
std::optional<ChosenRanges> chooseRanges(mlir::func::FuncOp function, const Statistics &statistics,
                                         const CalibrationTable &given, interpret::ConstantReader &reader,
                                         const RangeOptions &options);

} // namespace npuc::quantize
