#include "compiler/quantize/Report.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/quantize/Calibrate.h"
#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Padding.h"

#include "llvm/ADT/DenseMap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;

namespace npuc::quantize {
namespace {

using interpret::HostTensor;

/// Sums over numbers of which a distance is made.
struct Sums {
  double xx = 0, yy = 0, xy = 0, dd = 0;

  /// Adds x and y, of one shape and of floats; rows of their last dimension that count, all if there are
  /// none.
  void add(ThreadPool &pool, HostTensor x, HostTensor y, const std::vector<bool> &rows) {
    x = interpret::cast(pool, x, ElementType::F32);
    y = interpret::cast(pool, y, ElementType::F32);
    auto length = static_cast<size_t>(x.rank() ? std::max<int64_t>(1, x.shape().back()) : 1);
    const auto *a = x.data<float>(), *b = y.data<float>();
    for (size_t i = 0; i < static_cast<size_t>(x.count()); ++i) {
      if ((!rows.empty() && !rows[i / length]) || !(std::abs(a[i]) < structural))
        continue;
      double p = a[i], q = std::isfinite(b[i]) ? b[i] : 0;
      xx += p * p;
      yy += q * q;
      xy += p * q;
      dd += (p - q) * (p - q);
    }
  }

  Distance distance() const {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    return {dd == 0 ? infinite : 10 * std::log10(xx / dd), xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy)
                                                           : xx == yy       ? 1.0
                                                                            : 0.0};
  }
};

struct DamageSums {
  Sums isolated, accumulated;
  Damage damage() const { return {isolated.distance(), accumulated.distance()}; }
};

/// x · factors[c], or x / factors[c], for the index c of `axis`.
HostTensor scaled(ThreadPool &pool, const HostTensor &x, const std::vector<float> &factors, int64_t axis,
                  bool divide) {
  HostTensor from = interpret::cast(pool, x, ElementType::F32), result(ElementType::F32, x.shape());
  int64_t inner = 1;
  for (int64_t d = axis + 1; d < x.rank(); ++d)
    inner *= x.dim(d);
  for (int64_t i = 0; i < x.count(); ++i) {
    float factor = factors[static_cast<size_t>(i / inner % x.dim(axis))];
    result.mutableData<float>()[i] = divide ? from.data<float>()[i] / factor : from.data<float>()[i] * factor;
  }
  return result;
}

/// What integers or small floats an operand is made of.
std::string formatOf(Value operand) {
  auto dequantize = operand.getDefiningOp<nn::DequantizeOp>();
  if (!dequantize)
    return "";
  std::string text(name(*interpret::elementTypeOf(getElementTypeOrSelf(dequantize.getInput().getType()))));
  auto scale = cast<RankedTensorType>(dequantize.getScale().getType());
  if (scale.getNumElements() == 1)
    return text;
  if (dequantize.getBlockSize() == 0)
    return text + " by channel";
  return constantOf(dequantize.getScale())
             ? fmt::format("{} in groups of {}", text, dequantize.getBlockSize())
             : text + " by row";
}

/// At most 128 bins, from the first to the last in which something was counted.
ReportHistogram reported(const Histogram &histogram) {
  const std::vector<uint64_t> &counts = histogram.counts();
  auto seen = [](uint64_t count) { return count > 0; };
  auto first = std::ranges::find_if(counts, seen) - counts.begin();
  auto last = counts.rend() - std::find_if(counts.rbegin(), counts.rend(), seen);
  if (first >= last)
    return {};
  int64_t merged = (last - first + 127) / 128;
  ReportHistogram result{histogram.edge(first), histogram.width() * static_cast<double>(merged), {}};
  for (auto i = first; i < last; ++i) {
    if ((i - first) % merged == 0)
      result.counts.push_back(0);
    result.counts.back() += counts[static_cast<size_t>(i)];
  }
  return result;
}

} // namespace

FloatReference::FloatReference(func::FuncOp function) : copy_(cast<func::FuncOp>(function->clone())) {
  std::vector<std::pair<Operation *, std::string>> own = multiplications(function),
                                                   copies = multiplications(*copy_);
  for (size_t i = 0; i < own.size(); ++i) {
    Operation *op = own[i].first;
    Multiplication &one = multiplications_.emplace_back(
        Multiplication{op, copies[i].first, own[i].second, {op->operand_begin(), op->operand_end()}, {}});
    if (auto factors = op->getAttrOfType<DenseF32ArrayAttr>(factorsAttr); factors && formatOf(op).isInteger())
      one.factors = factors.asArrayRef().vec();
  }
}

/// One measurement: runs both functions sample by sample, and adds up what they differ in.
class FloatReference::Meter {
public:
  Meter(const FloatReference &reference, interpret::ConstantReader &reader, Diagnostics &diagnostics)
      : reference(reference), reader(reader), pool(reader.threads()), diagnostics(diagnostics),
        operators(reference.multiplications_.size()) {
    for (size_t i = 0; i < reference.multiplications_.size(); ++i) {
      const Multiplication &one = reference.multiplications_[i];
      numbers[one.floats] = numbers[one.quantized] = i;
      for (size_t operand = 0; operand < one.operands.size(); ++operand)
        if (Value now = one.quantized->getOperand(static_cast<unsigned>(operand));
            now != one.operands[operand] && !tensorNumbers.contains(now)) {
          tensorNumbers[now] = tensors.size();
          tensors.push_back({i, operand, {}});
        }
    }
  }

  /// After an operation of the floats has run.
  void seeFloats(const interpret::Observation &seen, const Padding &padding) {
    auto found = numbers.find(seen.operation);
    if (found == numbers.end())
      return;
    const Multiplication &one = reference.multiplications_[found->second];
    Kept &kept = floats[found->second];
    kept = {{seen.operands.begin(), seen.operands.end()}, seen.results[0], {}, {}};
    kept.rows = padding.rowsThatCount(seen.operation->getResult(0));
    for (Value operand : seen.operation->getOperands())
      kept.operandRows.push_back(padding.rowsThatCount(operand));
    llvm::DenseMap<Value, HostTensor> known;
    for (size_t i = 0; i < one.operands.size(); ++i)
      known[one.operands[i]] = kept.operands[i];
    SmallVector<HostTensor> operands;
    for (Value operand : one.quantized->getOperands()) {
      operands.push_back(valueOf(operand, known));
      if (!operands.back())
        return;
    }
    addTensors(found->second, operands, &DamageSums::isolated);
    auto results = interpret::evaluate(one.quantized, operands, pool, reader, diagnostics);
    if (results)
      operators[found->second].isolated.add(pool, kept.result, (*results)[0], kept.rows);
  }

  void seeQuantized(const interpret::Observation &seen) {
    auto found = numbers.find(seen.operation);
    if (found == numbers.end())
      return;
    const Kept &kept = floats[found->second];
    addTensors(found->second, seen.operands, &DamageSums::accumulated);
    operators[found->second].accumulated.add(pool, kept.result, seen.results[0], kept.rows);
    floats.erase(found->second);
  }

  void report(Report &to, const Statistics &statistics, const CalibrationTable &ranges,
              const std::vector<PrecisionRow> &rows) {
    for (size_t i = 0; i < operators.size(); ++i) {
      const Multiplication &one = reference.multiplications_[i];
      OperatorReport &row = to.operators.emplace_back();
      row.name = one.name;
      row.operation = one.quantized->getName().getStringRef();
      row.damage = operators[i].damage();
      for (const PrecisionRow &decided : rows)
        if (decided.operation == one.name) {
          row.format = decided.format;
          row.reason = decided.reason;
        }
    }
    for (const Tensor &tensor : tensors)
      to.tensors.push_back(reportOf(tensor, statistics, ranges));
  }

private:
  /// What a multiplication of floats saw and gave on the sample, until the quantized one has run.
  struct Kept {
    std::vector<HostTensor> operands;
    HostTensor result;
    std::vector<bool> rows;
    std::vector<std::vector<bool>> operandRows;
  };
  /// A quantized operand, by its first reader.
  struct Tensor {
    size_t multiplication, operand;
    DamageSums sums;
  };

  /// What quantization inserted before a value, on what it was inserted after. No tensor, and errors, if that
  /// cannot be computed.
  HostTensor valueOf(Value value, llvm::DenseMap<Value, HostTensor> &known) {
    if (auto found = known.find(value); found != known.end())
      return found->second;
    Operation *op = value.getDefiningOp();
    if (TypedAttr constant = constantOf(value))
      return known[value] = reader.read(constant, interpret::nodeName(op), diagnostics);
    SmallVector<HostTensor> operands;
    for (Value operand : op->getOperands()) {
      operands.push_back(valueOf(operand, known));
      if (!operands.back())
        return {};
    }
    auto results = interpret::evaluate(op, operands, pool, reader, diagnostics);
    if (!results)
      return {};
    for (auto [result, tensor] : llvm::zip(op->getResults(), *results))
      known[result] = tensor;
    return known[value];
  }

  /// Adds what the operands of multiplication `i` are to what they are in floats.
  void addTensors(size_t i, ArrayRef<HostTensor> operands, Sums DamageSums::*which) {
    const Multiplication &one = reference.multiplications_[i];
    const Kept &kept = floats[i];
    for (size_t operand = 0; operand < operands.size(); ++operand) {
      auto found = tensorNumbers.find(one.quantized->getOperand(static_cast<unsigned>(operand)));
      if (found == tensorNumbers.end())
        continue;
      Tensor &tensor = tensors[found->second];
      if (tensor.multiplication != i || tensor.operand != operand)
        continue;
      HostTensor value = operands[operand];
      if (!one.factors.empty()) // Inputs are divided by factors, and weights multiplied.
        value =
            scaled(pool, value, one.factors, operand == 0 ? value.rank() - 1 : inputAxis(one), operand != 0);
      (tensor.sums.*which).add(pool, kept.operands[operand], value, kept.operandRows[operand]);
    }
  }

  static int64_t inputAxis(const Multiplication &one) {
    return cast<nn::LinearOp>(one.quantized).getTransposed() ? 1 : 0;
  }

  TensorReport reportOf(const Tensor &tensor, const Statistics &statistics, const CalibrationTable &ranges) {
    const Multiplication &one = reference.multiplications_[tensor.multiplication];
    auto operand = static_cast<unsigned>(tensor.operand);
    TensorReport row;
    row.format = formatOf(one.quantized->getOperand(operand));
    row.damage = tensor.sums.damage();
    if (statistics.has(one.quantized, operand)) {
      const TensorStatistics &seen = statistics.of(one.quantized, operand);
      row.name = seen.name;
      row.histogram = reported(seen.histogram);
      if (const CalibrationEntry *entry = ranges.find(seen.name)) {
        row.seen = entry->seen;
        row.range = entry->range;
        row.method = entry->method;
        row.clippedShare = entry->clippedShare;
      }
      if (row.format.ends_with("by row")) { // Whatever the range is.
        row.range = row.seen;
        row.method = "by row";
        row.clippedShare = 0;
      }
      return row;
    }
    row.name = fmt::format("{}:{}", one.name, operand);
    row.isWeight = true;
    row.method = one.floats->hasAttr(gptqAttr) ? "gptq" : name(RangeMethod::MinMax);
    HostTensor weights = reader.read(constantOf(one.operands[operand]), one.name, diagnostics);
    if (!weights || weights.count() == 0)
      return row;
    weights = interpret::cast(pool, weights, ElementType::F32);
    std::span<const float> values(weights.data<float>(), static_cast<size_t>(weights.count()));
    auto [least, greatest] = std::ranges::minmax_element(values);
    row.seen = row.range = {*least, *greatest};
    Histogram histogram;
    histogram.widen(*least, *greatest);
    histogram.add(values);
    row.histogram = reported(histogram);
    if (!one.factors.empty())
      weights = scaled(pool, weights, one.factors, inputAxis(one), false);
    if (auto dequantize = one.quantized->getOperand(operand).getDefiningOp<nn::DequantizeOp>())
      row.clippedShare = clippedShare(dequantize, weights);
    return row;
  }

  /// The share of weights, f32, that lie more than half a step beyond the integers that they are.
  double clippedShare(nn::DequantizeOp dequantize, const HostTensor &weights) {
    ElementType type = *interpret::elementTypeOf(getElementTypeOrSelf(dequantize.getInput().getType()));
    if (isFloat(type))
      return 0;
    auto numbersOf = [&](const HostTensor &integers) {
      llvm::DenseMap<Value, HostTensor> known{{dequantize.getInput(), integers}};
      return interpret::cast(pool, valueOf(dequantize.getResult(), known), ElementType::F32);
    };
    llvm::DenseMap<Value, HostTensor> none;
    HostTensor integers = valueOf(dequantize.getInput(), none);
    HostTensor ones(type, integers.shape()), zeros(type, integers.shape()); // Integers of 4 bits take a byte.
    std::fill_n(ones.mutableData<uint8_t>(), ones.bytes(), uint8_t{1});
    std::fill_n(zeros.mutableData<uint8_t>(), zeros.bytes(), uint8_t{0});
    HostTensor numbers = numbersOf(integers), one = numbersOf(ones), zero = numbersOf(zeros);
    integers = interpret::cast(pool, integers, ElementType::F32);
    // Signed ones are symmetric.
    float greatest = std::ldexp(1.0f, static_cast<int>(bitWidth(type)) - isSigned(type)) - 1,
          least = isSigned(type) ? -greatest : 0;
    int64_t clipped = 0;
    for (int64_t i = 0; i < weights.count(); ++i) {
      float half = (one.data<float>()[i] - zero.data<float>()[i]) / 2, q = integers.data<float>()[i],
            beyond = weights.data<float>()[i] - numbers.data<float>()[i];
      clipped += (q >= greatest && beyond > half) || (q <= least && beyond < -half);
    }
    return static_cast<double>(clipped) / static_cast<double>(weights.count());
  }

  const FloatReference &reference;
  interpret::ConstantReader &reader;
  ThreadPool &pool;
  Diagnostics &diagnostics;
  std::vector<DamageSums> operators;
  std::vector<Tensor> tensors;
  std::map<size_t, Kept> floats;
  llvm::DenseMap<Operation *, size_t> numbers;
  llvm::DenseMap<Value, size_t> tensorNumbers;
};

std::optional<Report> FloatReference::measure(func::FuncOp quantized, const Samples &samples, size_t count,
                                              const Statistics &statistics, const CalibrationTable &ranges,
                                              const std::vector<PrecisionRow> &rows,
                                              interpret::ConstantReader &reader, unsigned threads,
                                              Diagnostics &diagnostics) const {
  Report report;
  Meter meter(*this, reader, diagnostics);
  func::FuncOp floats = copy_.get();
  Padding padding(floats);
  interpret::Interpreter inFloats(floats, {.threads = threads}), inIntegers(quantized, {.threads = threads});
  std::vector<Sums> outputs(floats.getNumResults());
  auto run = [&](size_t sample, std::span<const NamedArray> inputs) {
    if (sample >= count || !padding.read(inputs, diagnostics))
      return false;
    auto seeFloats = [&](const interpret::Observation &seen) { meter.seeFloats(seen, padding); };
    auto seeQuantized = [&](const interpret::Observation &seen) { meter.seeQuantized(seen); };
    auto wanted = inFloats.run(inputs, diagnostics, seeFloats);
    auto found = wanted ? inIntegers.run(inputs, diagnostics, seeQuantized) : std::nullopt;
    if (!found || diagnostics.hasErrors())
      return false;
    ++report.samples;
    report.outputs.resize(wanted->size());
    for (size_t i = 0; i < wanted->size(); ++i) {
      report.outputs[i].name = (*wanted)[i].name;
      Value result = floats.front().getTerminator()->getOperand(static_cast<unsigned>(i));
      outputs[i].add(reader.threads(), interpret::fromArray((*wanted)[i].array),
                     interpret::fromArray((*found)[i].array), padding.rowsThatCount(result));
    }
    return true;
  };
  samples.forEach(run, diagnostics);
  if (diagnostics.hasErrors())
    return std::nullopt;
  for (size_t i = 0; i < report.outputs.size(); ++i)
    report.outputs[i].accumulated = outputs[i].distance();
  meter.report(report, statistics, ranges, rows);
  return report;
}

std::vector<size_t> Report::byDamage() const {
  std::vector<size_t> order(operators.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::ranges::stable_sort(order, {}, [&](size_t i) { return operators[i].damage.isolated.decibels; });
  return order;
}

} // namespace npuc::quantize
