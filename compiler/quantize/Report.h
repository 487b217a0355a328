// What quantization does to a model: of each tensor and each multiplication, how far its numbers are from
// floats, alone and with all before it.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/quantize/CalibrationTable.h"
#include "compiler/quantize/Observers.h"
#include "compiler/quantize/Precision.h"
#include "compiler/quantize/Quantize.h"
#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace npuc::quantize {

class Samples;

/// Of numbers y to floats x. Padded rows and values beyond `structural` do not count; NaN and infinity in y
/// are 0.
struct Distance {
  double decibels = 0; ///< 10 log10(Σ x² / Σ (x - y)²); infinite where all are equal.
  double cosine = 1;   ///< Σ xy / sqrt(Σ x² Σ y²); 1 where both are 0.
};

/// `isolated`: computed from the floats of the model in floats. `accumulated`: as the quantized model
/// computes it, with what all before it did.
struct Damage {
  Distance isolated, accumulated;
};

/// Counts of equal bins.
struct ReportHistogram {
  double first = 0, width = 0; ///< Where the first bin starts, and how wide each is.
  std::vector<uint64_t> counts;
};

/// A tensor that is multiplied.
struct TensorReport {
  std::string
      name; ///< As in the calibration table; of weights too, the node, a colon and the operand's number.
  std::string format; ///< "i8", "i8 by channel", "i8 by row", "i4 in groups of 32".
  bool isWeight = false;
  Interval seen, range;    ///< Those of activations are over their factors.
  std::string method;      ///< How the range was chosen, or weights were rounded.
  double clippedShare = 0; ///< Of all values.
  Damage damage;
  ReportHistogram histogram;
};

struct OperatorReport {
  std::string name, operation; ///< As in the precision table; "nn.linear".
  std::string format, reason;
  Damage damage; ///< Of its result.
};

struct OutputReport {
  std::string name;
  Distance accumulated;
};

/// The program beside the one that multiplies floats.
struct Saved {
  double milliseconds = 0, joules = 0, floatMilliseconds = 0, floatJoules = 0;
};

struct Report {
  std::string model, target;
  size_t samples = 0;
  std::vector<std::string> steps;
  std::vector<OutputReport> outputs;
  std::vector<OperatorReport> operators; ///< As they run.
  std::vector<TensorReport> tensors;     ///< By their first reader.
  std::vector<InFloat> inFloat;
  std::optional<Saved> saved;
  std::string whyNotSaved;

  /// Indices of `operators`, those that do most harm on their own first.
  std::vector<size_t> byDamage() const;

  std::string text() const;
  /// "schema_version" 1; an infinite ratio is null.
  std::string json() const;
  /// A page that needs nothing else, with histograms.
  std::string html() const;
};

/// The text of `a` and `b` beside each other: operators by name, of which both have those of one model.
std::string compareReports(const std::string &nameA, const Report &a, const std::string &nameB,
                           const Report &b);
std::string compareReportsJson(const std::string &nameA, const Report &a, const std::string &nameB,
                               const Report &b);

/// A function of floats as it is before insertQuantization, to be compared with what it becomes.
class FloatReference {
public:
  /// `function`: one block of nn operations without calls, with the attributes that insertQuantization reads.
  explicit FloatReference(mlir::func::FuncOp function);

  /// Runs the floats and `quantized`, which the function became, on the first `count` samples. Each
  /// multiplication also on the operands that it has in floats. Nothing, and errors, if a run fails.
  std::optional<Report> measure(mlir::func::FuncOp quantized, const Samples &samples, size_t count,
                                const Statistics &statistics, const CalibrationTable &ranges,
                                const std::vector<PrecisionRow> &rows, interpret::ConstantReader &reader,
                                unsigned threads, Diagnostics &diagnostics) const;

private:
  class Meter;
  struct Multiplication {
    mlir::Operation *quantized, *floats;
    std::string name;
    std::vector<mlir::Value> operands; ///< Of the quantized one, before it was.
    std::vector<float> factors;        ///< By which the input is divided and weights are multiplied, if any.
  };
  mlir::OwningOpRef<mlir::func::FuncOp> copy_;
  std::vector<Multiplication> multiplications_;
};

} // namespace npuc::quantize
