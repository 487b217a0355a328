#include "compiler/quantize/Decide.h"

#include "compiler/interpret/kernels/Movement.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Quantize.h"
#include "compiler/quantize/Smooth.h"

#include "llvm/ADT/MapVector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// Where more of a linear's output is lost (mean over rows of the squared error over the square) something
/// better than one scale is looked for. Smoothed inputs of encoders lose 0.0001 to 0.012, which their outputs
/// hardly show; inputs with rows that are a thousand times the others lose all.
constexpr double muchLost = 0.1;
/// Scales of rows are worth their work where they lose so much less.
constexpr double worthRows = 0.25;

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
      bool given = op->hasAttr(formatAttr);
      reasons[op] = given ? "given by the table" : "asked for";
      auto linear = dyn_cast<nn::LinearOp>(op);
      bool byWeights = linear && constantOf(linear.getWeight());
      if (!given)
        set(op, byWeights ? options.wanted : ofProduct(options.wanted));
      if (byWeights && statistics.has(op, 0))
        readers[statistics.index(op, 0)].push_back(linear);
    }
    for (auto &[tensor, linears] : readers)
      if (!decideInput(statistics.tensors()[tensor], linears, reasons))
        return std::nullopt;
    Decision decision;
    for (auto &[op, name] : all)
      decision.rows.push_back(
          {name, op->getAttrOfType<StringAttr>(formatAttr).getValue().str(), reasons[op]});
    if (smoothed > 0)
      decision.steps.push_back(fmt::format("smoothed {} of {} inputs, shares {:.1f} to {:.1f}", smoothed,
                                           readers.size(), leastShare, greatestShare));
    return decision;
  }

private:
  static OperatorFormat formatOf(Operation *op) {
    return *formatFromText(op->getAttrOfType<StringAttr>(formatAttr).getValue());
  }
  void set(Operation *op, const OperatorFormat &format) {
    op->setAttr(formatAttr, builder.getStringAttr(text(format)));
  }
  bool has(const char *format) const {
    return std::ranges::find(options.available, format) != options.available.end();
  }

  /// What a product of activations, or a convolution, is computed in where linears are in `format`.
  static OperatorFormat ofProduct(OperatorFormat format) {
    bool integers = format.activations == Activations::Int8 || format.activations == Activations::Int8Token;
    return *formatFromText(integers ? "int8" : format.activations == Activations::Fp8 ? "fp8" : "float");
  }

  /// Factors of an input, and formats of the linears that read it.
  bool decideInput(const TensorStatistics &seen, ArrayRef<nn::LinearOp> linears,
                   llvm::DenseMap<Operation *, std::string> &reasons) {
    SmallVector<nn::LinearOp> fixed;
    for (nn::LinearOp linear : linears)
      if (formatOf(linear).activations == Activations::Int8)
        fixed.push_back(linear);
    if (fixed.empty() || seen.rows == 0)
      return true;
    LinearInput input{seen.reservoir, seen.least, seen.greatest, {}};
    for (nn::LinearOp linear : fixed) {
      Constants constants(builder, linear.getLoc(), reader);
      interpret::HostTensor weight = constants.floats(constantOf(linear.getWeight()));
      if (!weight)
        return false;
      if (linear.getTransposed())
        weight = interpret::transpose(reader.threads(), weight, std::vector<int64_t>{1, 0});
      input.weights.push_back(weight);
    }
    // Linears of one input have one format, but where a table says otherwise.
    OperatorFormat common = formatOf(fixed.front());
    input.weightBits = common.weightBits;
    input.group = common.group;
    Smoothing smoothing = searchFactors(input, reader.threads());
    if (smoothing.share >= 0) {
      leastShare = smoothed == 0 ? smoothing.share : std::min(leastShare, smoothing.share);
      greatestShare = std::max(greatestShare, smoothing.share);
      ++smoothed;
      for (nn::LinearOp linear : fixed)
        linear->setAttr(factorsAttr, builder.getDenseF32ArrayAttr(smoothing.factors));
    }
    for (nn::LinearOp linear : fixed) {
      std::string &reason = reasons[linear];
      bool given = reason == "given by the table";
      std::string lost = fmt::format("one scale loses {:.2g} of its outputs", smoothing.errors.fixed);
      reason += "; " + lost;
      if (given || smoothing.errors.fixed <= muchLost)
        continue;
      OperatorFormat better = formatOf(linear);
      std::string more = fmt::format("scales of rows lose {:.2g}", smoothing.errors.token);
      better.activations = Activations::Int8Token;
      if (!has(text(better).c_str()) || smoothing.errors.token > worthRows * smoothing.errors.fixed)
        better = OperatorFormat{Activations::Float, 0};
      reason = lost + ", " + more;
      if (has(text(better).c_str()))
        set(linear, better);
      else
        reason += "; the target has nothing better";
    }
    return true;
  }

  func::FuncOp function;
  OpBuilder builder;
  const Statistics &statistics;
  interpret::ConstantReader &reader;
  const DecisionOptions &options;
  size_t smoothed = 0;
  double leastShare = 0, greatestShare = 0;
};

} // namespace

std::optional<Decision> decideFormats(func::FuncOp function, const Statistics &statistics,
                                      interpret::ConstantReader &reader, const DecisionOptions &options) {
  return Decider(function, statistics, reader, options).run();
}

} // namespace npuc::quantize
