#include "compiler/quantize/Decide.h"

#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Quantize.h"
#include "compiler/quantize/Smooth.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallPtrSet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

// What a linear's output loses is the mean over rows of the squared error over the square. To integers of
// its input with one scale, smoothed inputs of encoders lose 0.0001 to 0.004; inputs with rows that are a
// thousand times the others lose all.

/// Where more is lost to the input's integers, scales of rows are tried, and taken if they lose less than a
/// share of it.
constexpr double someLost = 0.0005, worthRows = 0.3;
/// Where more is lost and scales of rows do not help, floats are taken.
constexpr double muchLost = 0.1;
/// Where rounding weights to the nearest loses more, GPTQ is worth its time with 8 bits too.
constexpr double worthGptq = 0.0001;

class Decider {
public:
  Decider(func::FuncOp function, const Statistics &statistics, interpret::ConstantReader &reader,
          const DecisionOptions &options)
      : function(function), builder(function.getContext()), statistics(statistics), reader(reader),
        options(options) {}

  std::optional<Decision> run() {
    llvm::MapVector<size_t, SmallVector<nn::LinearOp>> readers;
    llvm::DenseMap<Operation *, std::string> reasons;
    std::vector<std::pair<Operation *, std::string>> all = multiplications(function);
    for (auto &[op, name] : all) {
      const bool given = op->hasAttr(formatAttr);
      reasons[op] = given ? "given by the table" : "asked for";
      if (given)
        isGiven.insert(op);
      auto linear = dyn_cast<nn::LinearOp>(op);
      bool byWeights = linear && constantOf(linear.getWeight());
      if (!given)
        set(op, byWeights ? options.wanted : ofProduct(options.wanted));
      if (!byWeights || !statistics.has(op, 0))
        continue;
      readers[statistics.index(op, 0)].push_back(linear);
      bool isCoarse = formatOf(op).hasCoarseWeights(), isKnown = !statistics.of(op, 0).reservoir.empty();
      if (isCoarse && isKnown)
        op->setAttr(gptqAttr, builder.getUnitAttr());
      toNearest += isCoarse && !isKnown;
    }
    for (auto &[tensor, linears] : readers)
      for (Activations activations : {Activations::Int8Token, Activations::Int8}) // Some become the former.
        if (!decideInput(statistics.tensors()[tensor], linears, activations, reasons))
          return std::nullopt;
    Decision decision;
    for (auto &[op, name] : all)
      decision.rows.push_back({name, text(formatOf(op)), reasons[op]});
    if (!smoothed.empty())
      decision.steps.push_back(fmt::format("smoothed {} of {} inputs, shares {:.1f} to {:.1f}",
                                           smoothed.size(), readers.size(), leastShare, greatestShare));
    if (size_t count = llvm::count_if(all, [](auto &each) { return each.first->hasAttr(gptqAttr); }))
      decision.steps.push_back(fmt::format("weights of {} multiplications rounded by GPTQ", count));
    if (toNearest > 0)
      decision.steps.push_back(fmt::format(
          "weights of {} multiplications rounded to the nearest, for want of samples", toNearest));
    return decision;
  }

private:
  void set(Operation *op, const OperatorFormat &format) {
    op->setAttr(formatAttr, builder.getStringAttr(text(format)));
  }
  bool has(const char *format) const {
    return std::ranges::find(options.available, format) != options.available.end();
  }

  /// What a product of activations, or a convolution, is computed in where linears are in `format`. Neither
  /// operand of a product can make up for the other's error, and one of 3 bits behind the point costs more
  /// than products are worth.
  OperatorFormat ofProduct(OperatorFormat format) const {
    if (format.activations == Activations::Fp8)
      return *formatFromText(has("float") ? "float" : "fp8");
    return *formatFromText(format.activations == Activations::Float ? "float" : "int8");
  }

  /// Factors of an input, and formats, of those linears that read it with such activations.
  bool decideInput(const TensorStatistics &seen, ArrayRef<nn::LinearOp> linears, Activations activations,
                   llvm::DenseMap<Operation *, std::string> &reasons) {
    SmallVector<nn::LinearOp> alike;
    for (nn::LinearOp linear : linears)
      if (formatOf(linear).activations == activations)
        alike.push_back(linear);
    if (alike.empty() || seen.rows == 0)
      return true;
    LinearInput input{seen.reservoir, seen.least, seen.greatest, {}};
    std::vector<interpret::HostTensor> elements;
    for (nn::LinearOp linear : alike) {
      elements.push_back(Constants(builder, linear.getLoc(), reader).floats(constantOf(linear.getWeight())));
      if (!elements.back())
        return false;
      bool transposed = linear.getTransposed();
      input.weights.push_back(
          {elements.back().data<float>(), elements.back().dim(transposed ? 0 : 1), transposed});
    }
    // Linears of one input have one format, but where a table says otherwise.
    OperatorFormat common = formatOf(alike.front());
    input.weightBits = common.weightBits;
    input.group = common.group;
    ScaleOf scale = activations == Activations::Int8 ? ScaleOf::All : ScaleOf::Row;
    Smoothing smoothing = searchFactors(input, scale, reader.threads());
    std::string lost = losing(scale == ScaleOf::All ? "one scale" : "scales of rows", smoothing);
    if (scale == ScaleOf::All && smoothing.ofInput > someLost &&
        !llvm::all_of(alike, [&](nn::LinearOp linear) { return isGiven.contains(linear); }))
      return decideBetter(input, alike, smoothing, lost, reasons);
    for (nn::LinearOp linear : alike)
      reasons[linear] += "; " + lost;
    take(alike, smoothing);
    return true;
  }

  static std::string losing(const char *what, const Smoothing &smoothing) {
    return fmt::format("with {} {:.2g} of its outputs is lost", what, smoothing.ofInput);
  }

  /// Of linears to which one scale for all values costs much.
  bool decideBetter(const LinearInput &input, ArrayRef<nn::LinearOp> linears, const Smoothing &fixed,
                    const std::string &lost, llvm::DenseMap<Operation *, std::string> &reasons) {
    Smoothing rows = searchFactors(input, ScaleOf::Row, reader.threads());
    for (nn::LinearOp linear : linears) {
      const bool given = isGiven.contains(linear);
      OperatorFormat byRows = formatOf(linear), floats{Activations::Float, 0};
      byRows.activations = Activations::Int8Token;
      reasons[linear] += "; " + lost;
      if (!given && rows.ofInput <= worthRows * fixed.ofInput && has(text(byRows).c_str())) {
        set(linear, byRows);
        reasons[linear] = lost + ", " + losing("scales of rows", rows);
        take(linear, rows);
      } else if (!given && fixed.ofInput > muchLost && has("float")) {
        set(linear, floats);
        reasons[linear] = lost + ", " + losing("scales of rows", rows);
      } else {
        take(linear, fixed);
      }
    }
    return true;
  }

  void take(ArrayRef<nn::LinearOp> linears, const Smoothing &smoothing) {
    for (nn::LinearOp linear : linears)
      if (smoothing.error - smoothing.ofInput > worthGptq)
        linear->setAttr(gptqAttr, builder.getUnitAttr());
    if (smoothing.share < 0)
      return;
    leastShare = smoothed.empty() ? smoothing.share : std::min(leastShare, smoothing.share);
    greatestShare = std::max(greatestShare, smoothing.share);
    for (nn::LinearOp linear : linears) {
      smoothed.insert(linear.getInput());
      linear->setAttr(factorsAttr, builder.getDenseF32ArrayAttr(smoothing.factors));
    }
  }

  func::FuncOp function;
  OpBuilder builder;
  const Statistics &statistics;
  interpret::ConstantReader &reader;
  const DecisionOptions &options;
  llvm::SmallPtrSet<Operation *, 8> isGiven; ///< A format, by a table.
  llvm::DenseSet<Value> smoothed;
  size_t toNearest = 0;
  double leastShare = 0, greatestShare = 0;
};

} // namespace

std::optional<Decision> decideFormats(func::FuncOp function, const Statistics &statistics,
                                      interpret::ConstantReader &reader, const DecisionOptions &options) {
  return Decider(function, statistics, reader, options).run();
}

} // namespace npuc::quantize
