#include "compiler/quantize/Raise.h"

#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Outputs.h"
#include "compiler/quantize/Pareto.h"

#include "llvm/ADT/MapVector.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// Of what may be lost, the share below which what several multiplications lose together is not looked into.
constexpr double worthSplitting = 0.1;
/// The share of what may be lost that is aimed at: other samples than those that ranges are of lose more.
constexpr double aimedAt = 0.5;
/// What scales of rows cost beside one, in the operators that find them.
constexpr double costOfRows = 1.05;

double count(Value value) {
  return static_cast<double>(cast<RankedTensorType>(value.getType()).getNumElements());
}
double size(Value value, int64_t dim) {
  return static_cast<double>(cast<RankedTensorType>(value.getType()).getDimSize(static_cast<unsigned>(dim)));
}

double multiplyAdds(Operation *op) {
  Value x = op->getOperand(0), y = op->getOperand(1), result = op->getResult(0);
  if (isa<nn::AttentionOp>(op))
    return count(x) * size(y, 2) + count(result) * size(y, 2);
  if (isa<nn::ConvOp>(op))
    return count(result) * count(y) / size(y, 0);
  return count(result) * size(x, cast<RankedTensorType>(x.getType()).getRank() - 1);
}

/// What a multiplication costs: time on a matrix engine, or weights read, are by the bits.
double costOf(Operation *op, const OperatorFormat &format) {
  double bits = format.weightBits == 4 ? 4 : format.activations == Activations::Float ? 16 : 8;
  return multiplyAdds(op) * bits * (format.activations == Activations::Int8Token ? costOfRows : 1);
}

/// Multiplications that are in one format, and what that costs; the formats that may follow behind it.
struct Leaf {
  SmallVector<size_t> rows;
  std::vector<OperatorFormat> formats;
  std::vector<FormatCost> costs;
};

class Raiser {
public:
  Raiser(func::FuncOp function, const Outputs &outputs, const GramOf &gramOf, RoundedWeights &rounded,
         const RaiseOptions &options, Decision &decision, Diagnostics &diagnostics)
      : builder(function.getContext()), outputs(outputs), gramOf(gramOf), rounded(rounded), options(options),
        decision(decision), diagnostics(diagnostics), all(multiplications(function)) {}

  bool run() {
    std::optional<double> before = loss(nullptr, gramOf, outputs.samples());
    if (!before)
      return false;
    if (*before <= options.mostLoss) {
      decision.steps.push_back(
          fmt::format("outputs lose {:.2g} % on {} samples", 100 * *before, outputs.samples()));
      return true;
    }
    if (!findLeaves())
      return false;
    std::optional<double> reached = leaves.empty() ? before : choose();
    if (!reached)
      return false;
    tell(*before, *reached);
    return true;
  }

private:
  using Rows = ArrayRef<size_t>;

  Operation *op(size_t row) const { return all[row].first; }
  bool has(const OperatorFormat &format) const {
    return std::ranges::find(options.available, text(format)) != options.available.end();
  }
  void set(Rows rows, const OperatorFormat &format) {
    for (size_t row : rows)
      op(row)->setAttr(formatAttr, builder.getStringAttr(text(format)));
  }

  /// Of the outputs, with all quantized or only some.
  std::optional<double> loss(const Rows *only, const GramOf &byGptq, size_t samples) {
    ++measured;
    if (options.progress)
      options.progress(fmt::format("measuring what the outputs lose: {}", measured));
    llvm::SmallPtrSet<Operation *, 16> selected;
    for (size_t row : only ? *only : Rows())
      selected.insert(op(row));
    std::optional<OutputDifference> difference = outputs.measure(
        byGptq, &rounded, [&](Operation *each) { return !only || selected.contains(each); }, samples,
        diagnostics);
    return difference ? std::optional(difference->loss) : std::nullopt;
  }
  /// Of some in one format. Weights of 8 bits are as good to the nearest, for this.
  std::optional<double> lossOf(Rows rows, const OperatorFormat &format) {
    return loss(&rows, format.hasCoarseWeights() ? gramOf : GramOf(), 1);
  }

  /// The formats that lose less, from the cheapest on.
  std::vector<OperatorFormat> better(size_t row) const {
    OperatorFormat format = formatOf(op(row));
    auto linear = dyn_cast<nn::LinearOp>(op(row));
    std::vector<OperatorFormat> formats;
    if (format.weightBits == 4 && format.isInteger())
      formats.push_back({format.activations, 8});
    if (linear && constantOf(linear.getWeight()) && format.activations == Activations::Int8)
      formats.push_back({Activations::Int8Token, 8});
    if (format != *formatFromText("float"))
      formats.push_back(*formatFromText("float"));
    std::erase_if(formats, [&](const OperatorFormat &each) { return !has(each); });
    return formats;
  }

  bool findLeaves() {
    llvm::MapVector<StringRef, SmallVector<size_t>> groups;
    SmallVector<size_t> given;
    for (size_t row = 0; row < all.size(); ++row) {
      if (!op(row)->hasAttr(rangesAttr))
        continue;
      if (StringRef(decision.rows[row].reason).starts_with("given by the table") || better(row).empty()) {
        given.push_back(row);
        continue;
      }
      std::string alike =
          fmt::format("{} {} ", op(row)->getName().getStringRef().str(), text(formatOf(op(row))));
      llvm::raw_string_ostream(alike) << op(row)->getOperandTypes() << op(row)->getResultTypes();
      groups[builder.getStringAttr(alike).getValue()].push_back(row);
    }
    if (!given.empty()) {
      Rows rows = given;
      std::optional<double> lost = loss(&rows, gramOf, 1);
      if (!lost)
        return false;
      fixed = *lost;
    }
    for (auto &[alike, rows] : groups) {
      std::optional<double> lost = lossOf(rows, formatOf(op(rows.front())));
      if (!lost || !split(rows, *lost))
        return false;
    }
    return true;
  }

  /// Halves of what loses much: what the second one loses is the rest.
  bool split(Rows rows, double lost) {
    if (rows.size() == 1 || lost <= worthSplitting * options.mostLoss)
      return addLeaf(rows, lost);
    Rows first = rows.take_front(rows.size() / 2), second = rows.drop_front(rows.size() / 2);
    std::optional<double> ofFirst = lossOf(first, formatOf(op(rows.front())));
    return ofFirst && split(first, *ofFirst) && split(second, std::max(0.0, lost - *ofFirst));
  }

  bool addLeaf(Rows rows, double lost) {
    Leaf leaf{SmallVector<size_t>(rows), {}, {}};
    OperatorFormat decided = formatOf(op(rows.front()));
    auto add = [&](const OperatorFormat &format, double damage) {
      double cost = 0;
      for (size_t row : rows)
        cost += costOf(op(row), format);
      leaf.formats.push_back(format);
      leaf.costs.push_back({cost, damage});
    };
    add(decided, lost);
    for (const OperatorFormat &format : better(rows.front())) {
      if (format == *formatFromText("float")) {
        add(format, 0);
      } else if (leaf.costs.back().damage > worthSplitting / 4 * options.mostLoss) {
        set(rows, format);
        std::optional<double> left = lossOf(rows, format);
        if (!left)
          return false;
        add(format, *left);
      }
    }
    set(rows, decided);
    leaves.push_back(std::move(leaf));
    return true;
  }

  std::optional<double> choose() {
    std::vector<std::vector<FormatCost>> costs;
    for (const Leaf &leaf : leaves)
      costs.push_back(leaf.costs);
    std::vector<ParetoPoint> front = paretoFront(costs);
    const double most = aimedAt * options.mostLoss;
    double aim = most - fixed;
    size_t point = fastestWithin(front, aim).value_or(0);
    for (;;) {
      take(front[point]);
      std::optional<double> reached = loss(nullptr, gramOf, outputs.samples());
      if (!reached || *reached <= most || point == 0)
        return reached;
      // Losses do not quite add up.
      const size_t last = point;
      while (point == last) {
        aim *= 0.9 * most / *reached;
        point = std::min(last, fastestWithin(front, aim).value_or(0));
      }
    }
  }

  void take(const ParetoPoint &point) {
    for (size_t i = 0; i < leaves.size(); ++i) {
      const Leaf &leaf = leaves[i];
      size_t chosen = point.formats[i];
      set(leaf.rows, leaf.formats[chosen]);
      for (size_t row : leaf.rows)
        decision.rows[row].format = text(leaf.formats[chosen]);
    }
  }

  void tell(double before, double reached) {
    std::map<std::string, size_t> raised;
    for (const Leaf &leaf : leaves)
      for (size_t row : leaf.rows) {
        PrecisionRow &of = decision.rows[row];
        if (of.format == text(leaf.formats.front()))
          continue;
        ++raised[of.format];
        std::string others =
            leaf.rows.size() > 1 ? fmt::format(", with {} others alike", leaf.rows.size() - 1) : "";
        of.reason += fmt::format("; as {} the outputs lose {:.2g} %{}", text(leaf.formats.front()),
                                 100 * leaf.costs.front().damage, others);
      }
    std::vector<std::string> kinds;
    for (auto &[format, number] : raised)
      kinds.push_back(fmt::format("{} to {}", number, format));
    decision.steps.push_back(fmt::format("outputs lost {:.2g} % on {} samples, more than {:.2g} %: of {} "
                                         "multiplications {} raised, and {:.2g} % lost ({} runs)",
                                         100 * before, outputs.samples(), 100 * options.mostLoss, all.size(),
                                         kinds.empty() ? "none" : fmt::format("{}", fmt::join(kinds, ", ")),
                                         100 * reached, measured));
    if (reached > options.mostLoss)
      diagnostics.warning(
          "quantization", fmt::format("the outputs lose {:.2g} % on the samples", 100 * reached),
          fmt::format("{:.2g} % are wanted, and the target has no better formats", 100 * options.mostLoss),
          "if that is enough, say so with --max-loss");
  }

  OpBuilder builder;
  const Outputs &outputs;
  const GramOf &gramOf;
  RoundedWeights &rounded;
  const RaiseOptions &options;
  Decision &decision;
  Diagnostics &diagnostics;
  std::vector<std::pair<Operation *, std::string>> all; ///< In the order of the decision's rows.
  std::vector<Leaf> leaves;
  double fixed = 0; ///< Lost where formats are given.
  size_t measured = 0;
};

} // namespace

double mostLossOf(const OperatorFormat &format) {
  return format.weightBits == 4 ? (format.group == 32 ? 0.04 : format.group == 64 ? 0.06 : 0.08) : 0.01;
}

bool raiseFormats(func::FuncOp function, const Samples &samples, interpret::ConstantReader &reader,
                  const GramOf &gramOf, RoundedWeights &rounded, const RaiseOptions &options,
                  Decision &decision, Diagnostics &diagnostics) {
  Outputs outputs(function, samples, options.samples, reader, options.threads, diagnostics);
  return !diagnostics.hasErrors() &&
         Raiser(function, outputs, gramOf, rounded, options, decision, diagnostics).run();
}

} // namespace npuc::quantize
