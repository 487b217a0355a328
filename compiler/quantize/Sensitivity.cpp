#include "compiler/quantize/Sensitivity.h"

#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Padding.h"
#include "compiler/quantize/Pareto.h"

#include "mlir/IR/IRMapping.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// The cosine of two outputs of floats, over rows that count and numbers that are measurements; 1 where both
/// are 0.
double cosine(const Array &a, const Array &b, const std::vector<bool> &rows) {
  auto floats = [](const Array &array) {
    return std::span(reinterpret_cast<const float *>(array.data.data()), array.data.size() / sizeof(float));
  };
  std::span<const float> x = floats(a), y = floats(b);
  size_t length = a.shape.empty() ? 1 : static_cast<size_t>(a.shape.back());
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    bool counts = rows.empty() || rows[i / length];
    if (!counts || std::abs(y[i]) >= structural)
      continue;
    xx += static_cast<double>(x[i]) * x[i];
    yy += static_cast<double>(y[i]) * y[i];
    xy += static_cast<double>(x[i]) * y[i];
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : xx == yy ? 1 : 0;
}

/// An operator with the formats that it may have, and what they cost.
struct Candidate {
  Operation *op;
  size_t row; ///< In the decision.
  std::vector<OperatorFormat> formats;
  std::vector<FormatCost> costs;
};

} // namespace

OutputCosine::OutputCosine(func::FuncOp function, const Samples &samples, size_t count,
                           interpret::ConstantReader &reader, unsigned threads, Diagnostics &diagnostics)
    : function(function), reader(reader), threads(threads) {
  Padding padding(function);
  interpret::Interpreter interpreter(function, {.threads = threads});
  samples.forEach(
      [&](size_t sample, std::span<const NamedArray> arrays) {
        if (sample >= count)
          return false;
        if (!padding.read(arrays, diagnostics))
          return false;
        auto results = interpreter.run(arrays, diagnostics);
        if (!results)
          return false;
        inputs.emplace_back(arrays.begin(), arrays.end());
        wanted.push_back(std::move(*results));
        rows.emplace_back();
        for (Value result : function.front().getTerminator()->getOperands())
          rows.back().push_back(padding.rowsThatCount(result));
        return true;
      },
      diagnostics);
}

std::optional<double> OutputCosine::measure(const GramOf &gramOf, Operation *only,
                                            Diagnostics &diagnostics) const {
  IRMapping mapping;
  func::FuncOp original = function; // MLIR knows no const handles.
  OwningOpRef<func::FuncOp> copy = cast<func::FuncOp>(original->clone(mapping));
  llvm::DenseMap<Operation *, Operation *> originals;
  for (auto [op, cloned] : llvm::zip(original.front(), copy->front())) {
    originals[&cloned] = &op;
    if (only && &op != only)
      cloned.removeAttr(rangesAttr);
  }
  GramOf gramOfCopy;
  if (gramOf)
    gramOfCopy = [&](nn::LinearOp linear, std::span<const float> factors) {
      return gramOf(cast<nn::LinearOp>(originals.at(linear)), factors);
    };
  if (failed(insertQuantization(*copy, reader, gramOfCopy))) {
    diagnostics.error(only ? interpret::nodeName(only) : "", "cannot be quantized to measure what it does");
    return std::nullopt;
  }
  interpret::Interpreter interpreter(*copy, {.threads = threads});
  double sum = 0;
  for (size_t sample = 0; sample < inputs.size(); ++sample) {
    auto results = interpreter.run(inputs[sample], diagnostics);
    if (!results)
      return std::nullopt;
    double worst = 1;
    for (size_t i = 0; i < results->size(); ++i)
      if (wanted[sample][i].array.type == ElementType::F32)
        worst = std::min(worst, cosine((*results)[i].array, wanted[sample][i].array, rows[sample][i]));
    sum += worst / static_cast<double>(inputs.size());
  }
  return sum;
}

namespace {

class Mixer {
public:
  Mixer(func::FuncOp function, const GramOf &gramOf, const TimeOf &timeOf, const MixedOptions &options,
        const OutputCosine &outputs, Decision &decision, Diagnostics &diagnostics)
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
      std::optional<double> reached =
          format == floats ? std::optional(1.0) : outputs.measure({}, candidate.op, diagnostics);
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
    return outputs.measure(gramOf, nullptr, diagnostics);
  }

  OpBuilder builder;
  const GramOf &gramOf;
  const TimeOf &timeOf;
  const MixedOptions &options;
  const OutputCosine &outputs;
  Decision &decision;
  Diagnostics &diagnostics;
  std::vector<Candidate> candidates;
};

} // namespace

bool mixFormats(func::FuncOp function, const Samples &samples, interpret::ConstantReader &reader,
                const GramOf &gramOf, const TimeOf &timeOf, const MixedOptions &options, Decision &decision,
                Diagnostics &diagnostics) {
  OutputCosine outputs(function, samples, options.samples, reader, options.threads, diagnostics);
  return !diagnostics.hasErrors() &&
         Mixer(function, gramOf, timeOf, options, outputs, decision, diagnostics).run();
}

} // namespace npuc::quantize
