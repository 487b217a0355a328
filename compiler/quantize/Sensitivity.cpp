#include "compiler/quantize/Sensitivity.h"

#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Pareto.h"

#include <fmt/format.h>

#include <algorithm>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// An operator with the formats that it may have, and what they cost.
struct Candidate {
  Operation *op;
  size_t row; ///< In the decision.
  std::vector<OperatorFormat> formats;
  std::vector<FormatCost> costs;
};

class Mixer {
public:
  Mixer(func::FuncOp function, const GramOf &gramOf, const TimeOf &timeOf, const MixedOptions &options,
        const Outputs &outputs, Decision &decision, Diagnostics &diagnostics)
      : builder(function.getContext()), gramOf(gramOf), timeOf(timeOf), options(options), outputs(outputs),
        decision(decision), diagnostics(diagnostics) {
    std::vector<std::pair<Operation *, std::string>> all = multiplications(function);
    for (size_t row = 0; row < all.size(); ++row)
      if (!StringRef(decision.rows[row].reason).starts_with("given by the table") &&
          all[row].first->hasAttr(rangesAttr))
        candidates.push_back({all[row].first, row, {}, {}});
  }

  bool run() {
    for (Candidate &candidate : candidates)
      if (!measure(candidate))
        return false;
    std::vector<std::vector<FormatCost>> costs;
    for (const Candidate &candidate : candidates)
      costs.push_back(candidate.costs);
    std::vector<ParetoPoint> front = paretoFront(costs);
    size_t point = 0;
    if (options.maxSlowdown) {
      point = bestWithin(front, *options.maxSlowdown);
      take(front[point]);
    } else {
      point = fastestWithin(front, 1 - *options.minCosine).value_or(0);
    }
    std::optional<double> reached = measureAt(front[point]);
    // Damages do not quite add up: where they add to more, points with less are taken.
    while (reached && options.minCosine && *reached < *options.minCosine && point > 0) {
      point -= std::min<size_t>(point, std::max<size_t>(1, front.size() / 16));
      reached = measureAt(front[point]);
    }
    if (!reached)
      return false;
    if (options.minCosine && *reached < *options.minCosine) {
      diagnostics.error(
          fmt::format("--min-cosine={:g}", *options.minCosine), "cannot be reached",
          fmt::format("the best formats that the target has give {:.5f} on the samples", *reached),
          "ask for less, or for a target with floats");
      return false;
    }
    decision.steps.push_back(fmt::format("mixed precision: point {} of {} from the best to the fastest, "
                                         "cosine {:.5f} on {} samples, operators' time "
                                         "{:.3f} of the fastest",
                                         point + 1, front.size(), *reached, options.samples,
                                         front[point].time / front.back().time));
    return true;
  }

private:
  /// Time and damage of the format that was decided on, of scales for each row, and of floats.
  bool measure(Candidate &candidate) {
    OperatorFormat decided = formatOf(candidate.op), token = decided, floats = *formatFromText("float");
    token.activations = Activations::Int8Token;
    auto linear = dyn_cast<nn::LinearOp>(candidate.op);
    bool hasToken = linear && constantOf(linear.getWeight()) && decided.activations == Activations::Int8;
    for (const OperatorFormat &format : {decided, token, floats}) {
      bool known = std::ranges::find(candidate.formats, format) != candidate.formats.end() ||
                   (format == token && !hasToken && token != decided) ||
                   std::ranges::find(options.available, text(format)) == options.available.end();
      if (known)
        continue;
      std::optional<double> time = timeOf(candidate.op, format);
      if (!time)
        continue;
      set(candidate.op, format);
      std::optional<double> reached = format == floats ? std::optional(1.0) : cosine({}, candidate.op);
      if (!reached)
        return false;
      candidate.formats.push_back(format);
      candidate.costs.push_back({*time, std::max(0.0, 1 - *reached)});
    }
    set(candidate.op, decided);
    if (!candidate.formats.empty())
      return true;
    diagnostics.error(decision.rows[candidate.row].operation, "compiles in no format that it may have");
    return false;
  }

  void set(Operation *op, const OperatorFormat &format) {
    op->setAttr(formatAttr, builder.getStringAttr(text(format)));
  }

  void take(const ParetoPoint &point) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Candidate &candidate = candidates[i];
      const FormatCost &cost = candidate.costs[point.formats[i]];
      set(candidate.op, candidate.formats[point.formats[i]]);
      PrecisionRow &row = decision.rows[candidate.row];
      row.format = text(candidate.formats[point.formats[i]]);
      row.reason = fmt::format("damage {:.2g} alone, time {:.4g}", cost.damage, cost.time);
      for (size_t other = 0; other < candidate.formats.size(); ++other)
        if (other != point.formats[i])
          row.reason += fmt::format("; {} {:.2g}, {:.4g}", text(candidate.formats[other]),
                                    candidate.costs[other].damage, candidate.costs[other].time);
    }
  }

  std::optional<double> measureAt(const ParetoPoint &point) {
    take(point);
    return cosine(gramOf, nullptr);
  }

  /// Of the outputs with one operator quantized, or with all.
  std::optional<double> cosine(const GramOf &byGptq, Operation *only) const {
    std::optional<OutputDifference> difference = outputs.measure(
        byGptq, nullptr, [&](Operation *op) { return !only || op == only; }, options.samples, diagnostics);
    return difference ? std::optional(difference->cosine) : std::nullopt;
  }

  OpBuilder builder;
  const GramOf &gramOf;
  const TimeOf &timeOf;
  const MixedOptions &options;
  const Outputs &outputs;
  Decision &decision;
  Diagnostics &diagnostics;
  std::vector<Candidate> candidates;
};

} // namespace

bool mixFormats(func::FuncOp function, const Samples &samples, interpret::ConstantReader &reader,
                const GramOf &gramOf, const TimeOf &timeOf, const MixedOptions &options, Decision &decision,
                Diagnostics &diagnostics) {
  Outputs outputs(function, samples, options.samples, reader, options.threads, diagnostics);
  return !diagnostics.hasErrors() &&
         Mixer(function, gramOf, timeOf, options, outputs, decision, diagnostics).run();
}

} // namespace npuc::quantize
