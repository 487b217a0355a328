#include "compiler/quantize/ChooseRanges.h"

#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Precision.h"
#include "compiler/quantize/Quantize.h"
#include "dialects/nn/IR/NN.h"

#include <fmt/format.h>

#include <algorithm>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// What reads one tensor in integers with one scale.
struct Readers {
  SmallVector<Operation *> operations;
  std::optional<Zero> zero;
};

/// Inputs of weights have a zero point.
Zero zeroOf(Operation *op) {
  return isa<nn::LinearOp, nn::ConvOp>(op) && constantOf(op->getOperand(1)) ? Zero::Free : Zero::Fixed;
}

bool isInt8(Operation *op) {
  return formatOf(op).activations == Activations::Int8;
}

Interval seenOf(const TensorStatistics &tensor) {
  if (tensor.isProbability)
    return {0, 1};
  return {*std::ranges::min_element(tensor.least), *std::ranges::max_element(tensor.greatest)};
}

class Chooser {
public:
  Chooser(func::FuncOp function, const Statistics &statistics, const CalibrationTable &given,
          interpret::ConstantReader &reader, const RangeOptions &options)
      : function(function), builder(function.getContext()), statistics(statistics), given(given),
        reader(reader), options(options) {}

  std::optional<ChosenRanges> run() {
    std::vector<Readers> readers(statistics.tensors().size());
    for (Operation &op : function.front())
      for (unsigned i = 0; i < observedOperands(&op); ++i)
        if (isInt8(&op)) {
          Readers &of = readers[statistics.index(&op, i)];
          of.operations.push_back(&op);
          // A range without a zero point serves with one too.
          of.zero = of.zero == Zero::Fixed ? Zero::Fixed : zeroOf(&op);
        }
    ChosenRanges chosen;
    for (size_t t = 0; t < readers.size(); ++t) {
      std::optional<CalibrationEntry> entry = entryOf(statistics.tensors()[t], readers[t]);
      if (!entry)
        return std::nullopt;
      chosen.table.entries.push_back(std::move(*entry));
      chosen.zeros.push_back(readers[t].zero);
    }
    for (Operation &op : function.front())
      setRanges(&op, chosen.table);
    return chosen;
  }

private:
  std::optional<CalibrationEntry> entryOf(const TensorStatistics &tensor, const Readers &readers) {
    Interval seen = seenOf(tensor);
    if (const CalibrationEntry *line = given.find(tensor.name)) {
      CalibrationEntry entry = *line;
      if (tensor.values > 0) {
        entry.seen = seen;
        entry.values = tensor.values;
        entry.samples = tensor.samples;
      }
      for (Operation *op : tensor.isLinearInput ? readers.operations : SmallVector<Operation *>())
        if (entry.factors.empty())
          op->removeAttr(factorsAttr);
        else
          op->setAttr(factorsAttr, builder.getDenseF32ArrayAttr(entry.factors));
      return entry;
    }
    CalibrationEntry entry{.name = tensor.name,
                           .range = seen,
                           .method = std::string(name(RangeMethod::MinMax)),
                           .seen = seen,
                           .values = tensor.values,
                           .samples = tensor.samples,
                           .factors = {}};
    if (readers.operations.empty())
      return entry;
    if (auto factors = readers.operations[0]->getAttrOfType<DenseF32ArrayAttr>(factorsAttr))
      entry.factors = factors.asArrayRef().vec();
    std::vector<interpret::HostTensor> elements;
    std::vector<Weights> weights;
    for (Operation *op : readers.operations) {
      auto linear = dyn_cast<nn::LinearOp>(op);
      if (!tensor.isLinearInput || options.method != RangeMethod::OutputError)
        continue;
      elements.push_back(Constants(builder, op->getLoc(), reader).floats(constantOf(linear.getWeight())));
      if (!elements.back())
        return std::nullopt;
      bool transposed = linear.getTransposed();
      weights.push_back({elements.back().data<float>(), elements.back().dim(transposed ? 0 : 1), transposed});
    }
    ChosenRange chosen =
        chooseRange(tensor, entry.factors, weights, *readers.zero, options, reader.threads());
    entry.range = chosen.range;
    entry.method = name(chosen.method);
    entry.clippedShare = chosen.clippedShare;
    return entry;
  }

  void setRanges(Operation *op, const CalibrationTable &table) {
    SmallVector<Attribute> ranges;
    for (unsigned i = 0; i < observedOperands(op); ++i) {
      size_t number = statistics.index(op, i);
      const CalibrationEntry &entry = table.entries[number];
      Interval range = entry.range;
      // Other formats know no factors.
      if (!entry.factors.empty() && !isInt8(op)) {
        const TensorStatistics &tensor = statistics.tensors()[number];
        float most = *std::ranges::max_element(entry.factors);
        range = tensor.values > 0 ? seenOf(tensor) : Interval{range.least * most, range.greatest * most};
      }
      ranges.push_back(builder.getArrayAttr(
          {builder.getDenseF32ArrayAttr({range.least}), builder.getDenseF32ArrayAttr({range.greatest})}));
    }
    if (!ranges.empty())
      op->setAttr(rangesAttr, builder.getArrayAttr(ranges));
  }

  func::FuncOp function;
  OpBuilder builder;
  const Statistics &statistics;
  const CalibrationTable &given;
  interpret::ConstantReader &reader;
  const RangeOptions &options;
};

} // namespace

bool checkTable(const CalibrationTable &table, const std::string &file, const Statistics &statistics,
                bool hasSamples, Diagnostics &diagnostics) {
  size_t before = diagnostics.errorCount();
  std::vector<std::string> names, missing;
  for (const TensorStatistics &tensor : statistics.tensors())
    names.push_back(tensor.name);
  for (const CalibrationEntry &entry : table.entries) {
    auto where = [&](size_t line) { return fmt::format("{}:{}", file, line); };
    auto found = std::ranges::find(statistics.tensors(), entry.name, &TensorStatistics::name);
    if (found == statistics.tensors().end()) {
      std::string near = nearest(entry.name, names);
      diagnostics.error(where(entry.line), fmt::format("the model multiplies no tensor '{}'", entry.name), "",
                        near.empty() ? "" : fmt::format("did you mean '{}'?", near));
    } else if (!entry.factors.empty() && !found->isLinearInput) {
      diagnostics.error(where(entry.factorsLine), fmt::format("'{}' has factors", entry.name),
                        "only what is multiplied by weights of a linear may have some", "remove the line");
    } else if (!entry.factors.empty() && entry.factors.size() != found->channels()) {
      diagnostics.error(
          where(entry.factorsLine), fmt::format("'{}' has {} factors", entry.name, entry.factors.size()),
          fmt::format("it has {} channels", found->channels()), "give one for each, or remove the line");
    }
  }
  for (const std::string &name : names)
    if (!hasSamples && !table.find(name))
      missing.push_back("'" + name + "'");
  if (!missing.empty()) {
    constexpr size_t most = 5;
    size_t more = missing.size() > most ? missing.size() - most : 0;
    diagnostics.error(file, fmt::format("lacks {} of {} tensors", missing.size(), names.size()),
                      fmt::format("{}{}",
                                  fmt::join(missing.begin(), missing.end() - static_cast<int>(more), ", "),
                                  more ? fmt::format(" and {} more", more) : ""),
                      "add lines for them, or give --calibration=FILE.npz too");
  }
  return diagnostics.errorCount() == before;
}

std::vector<GuardedTensor> ChosenRanges::guarded(const Statistics &statistics) const {
  std::vector<GuardedTensor> tensors;
  for (size_t t = 0; t < zeros.size(); ++t)
    if (zeros[t])
      tensors.push_back(
          {&statistics.tensors()[t], table.entries[t].range, table.entries[t].factors, *zeros[t]});
  return tensors;
}

std::optional<ChosenRanges> chooseRanges(func::FuncOp function, const Statistics &statistics,
                                         const CalibrationTable &given, interpret::ConstantReader &reader,
                                         const RangeOptions &options) {
  return Chooser(function, statistics, given, reader, options).run();
}

} // namespace npuc::quantize
