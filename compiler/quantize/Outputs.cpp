#include "compiler/quantize/Outputs.h"

#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/quantize/Padding.h"
#include "compiler/quantize/TensorStatistics.h"
#include "dialects/nn/IR/NN.h"
#include "support/Transcendental.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

constexpr size_t mostBytes = size_t{256} << 20;

bool isMovement(Operation *op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp, nn::CastOp>(op);
}

/// What gives the values that are only moved until they are `value`.
Value sourceOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isMovement(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// Whether an attention has the values, however moved, as its keys or values.
bool isAttendedTo(Value value) {
  llvm::SmallSetVector<Value, 8> moved;
  moved.insert(sourceOf(value));
  for (size_t i = 0; i < moved.size(); ++i)
    for (OpOperand &use : moved[i].getUses()) {
      if (isa<nn::AttentionOp, nn::MatmulOp>(use.getOwner()) && use.getOperandNumber() > 0)
        return true;
      if (isMovement(use.getOwner()) || isa<nn::ConcatOp, nn::KvUpdateOp>(use.getOwner()))
        moved.insert(use.getOwner()->getResult(0));
    }
  return false;
}

std::span<const float> floats(const interpret::HostTensor &tensor) {
  return {tensor.data<float>(), static_cast<size_t>(tensor.count())};
}

int64_t lengthOf(const interpret::HostTensor &tensor) {
  return tensor.rank() == 0 ? 1 : tensor.shape().back();
}

/// Over rows that count and numbers that are measurements; no difference where both are 0.
OutputDifference differenceOf(const interpret::HostTensor &wanted, const interpret::HostTensor &found,
                              const std::vector<bool> &rows) {
  std::span<const float> x = floats(wanted), y = floats(found);
  auto length = static_cast<size_t>(lengthOf(wanted));
  double xx = 0, yy = 0, xy = 0, ee = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    bool counts = rows.empty() || rows[i / length];
    if (!counts || std::abs(x[i]) >= structural)
      continue;
    double a = x[i], b = y[i];
    xx += a * a;
    yy += b * b;
    xy += a * b;
    ee += (a - b) * (a - b);
  }
  return {xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : xx == yy ? 1 : 0, xx > 0 ? ee / xx : ee > 0 ? 1 : 0};
}

/// Of softmax(found) from softmax(wanted), mean over rows that count.
double divergence(const interpret::HostTensor &wanted, const interpret::HostTensor &found,
                  const std::vector<bool> &rows, ThreadPool &pool) {
  int64_t length = lengthOf(wanted),
          count = length ? static_cast<int64_t>(floats(wanted).size()) / length : 0;
  std::vector<double> sums(static_cast<size_t>(count));
  pool.run(count, [&](int64_t r) {
    auto of = static_cast<size_t>(r);
    if (!rows.empty() && !rows[of])
      return;
    const float *x = floats(wanted).data() + r * length, *y = floats(found).data() + r * length;
    const float xMost = *std::max_element(x, x + length), yMost = *std::max_element(y, y + length);
    double xSum = 0, ySum = 0, weighted = 0;
    for (int64_t i = 0; i < length; ++i) {
      float power = transcendental::exp(x[i] - xMost);
      xSum += power;
      ySum += transcendental::exp(y[i] - yMost);
      // What is never drawn, as of a masked class, diverges by nothing.
      weighted += power > 0 ? power * ((x[i] - xMost) - (y[i] - yMost)) : 0;
    }
    sums[of] = weighted / xSum - std::log(xSum) + std::log(ySum);
  });
  double sum = 0;
  int64_t counted = 0;
  for (size_t r = 0; r < sums.size(); ++r)
    if (rows.empty() || rows[r]) {
      sum += sums[r];
      ++counted;
    }
  return counted ? sum / static_cast<double>(counted) : 0;
}

} // namespace

Outputs::Outputs(func::FuncOp function, const Samples &samples, size_t count,
                 interpret::ConstantReader &reader, unsigned threads, Diagnostics &diagnostics)
    : function(function), reader(reader), threads(threads) {
  SmallVector<Value> all;
  for (Value result : function.front().getTerminator()->getOperands())
    if (isa<FloatType>(cast<RankedTensorType>(result.getType()).getElementType()))
      all.push_back(result);
  llvm::copy_if(all, std::back_inserter(results), [](Value result) { return !isAttendedTo(result); });
  if (results.empty())
    results.assign(all.begin(), all.end());
  for (Value result : results)
    mayBeLogits.push_back(isa_and_nonnull<nn::LinearOp>(sourceOf(result).getDefiningOp()));
  cut();
  Padding padding(function);
  llvm::DenseMap<Operation *, Operation *> originals;
  OwningOpRef<func::FuncOp> floats = copyOf(parts.front(), [](Operation *) { return true; }, originals);
  interpret::Interpreter interpreter(*floats, {.threads = threads});
  size_t bytes = 0;
  // Of the first sample's values those that parts begin with.
  llvm::DenseMap<Value, std::vector<interpret::HostTensor *>> wantedValues;
  for (Part &part : parts)
    for (auto [argument, value] : llvm::zip(part.arguments, part.values))
      wantedValues[argument].push_back(&value);
  auto give = [&](Value value, const interpret::HostTensor &found) {
    for (interpret::HostTensor *to : wantedValues.lookup(value))
      *to = found;
  };
  auto see = [&](const interpret::Observation &seen) {
    Operation *original = originals.lookup(seen.operation);
    for (size_t i = 0; original && inputs.size() == 1 && i < seen.results.size(); ++i)
      give(original->getResult(static_cast<unsigned>(i)), seen.results[i]);
  };
  samples.forEach(
      [&](size_t sample, std::span<const NamedArray> arrays) {
        if (sample >= count || (sample > 0 && bytes + bytes / sample > mostBytes))
          return false;
        auto bound = interpret::bindArguments(function, arrays, interpreter.threads(), diagnostics);
        if (!bound || !padding.read(arrays, diagnostics))
          return false;
        inputs.push_back(std::move(*bound));
        for (size_t i = 0; sample == 0 && i < inputs.front().size(); ++i)
          give(this->function.getArgument(static_cast<unsigned>(i)), inputs.front()[i]);
        auto found = interpreter.run(inputs.back(), diagnostics, see);
        if (!found)
          return false;
        rows.emplace_back();
        for (size_t i = 0; i < found->size(); ++i) {
          rows.back().push_back(padding.rowsThatCount(results[i]));
          (*found)[i] = interpret::cast(interpreter.threads(), (*found)[i], ElementType::F32);
          bytes += (*found)[i].bytes();
        }
        wanted.push_back(std::move(*found));
        return true;
      },
      diagnostics);
}

void Outputs::cut() {
  constexpr size_t most = 16;
  std::vector<Operation *> operations;
  for (Operation &op : function.front().without_terminator())
    operations.push_back(&op);
  llvm::DenseMap<Operation *, size_t> numbers;
  for (size_t i = 0; i < operations.size(); ++i)
    numbers[operations[i]] = i;
  Part whole{0, {}, {}};
  for (Value argument : function.getArguments())
    whole.arguments.push_back(argument);
  parts.push_back(std::move(whole));
  for (size_t n = 1; n < most && n < operations.size(); ++n) {
    Part part{operations.size() * n / most, {}, {}};
    llvm::SmallSetVector<Value, 16> needed;
    auto need = [&](Value value) {
      Operation *op = value.getDefiningOp();
      if (!op || (!isa<nn::ConstantOp>(op) && numbers.at(op) < part.first))
        needed.insert(value);
    };
    for (size_t i = part.first; i < operations.size(); ++i)
      llvm::for_each(operations[i]->getOperands(), need);
    llvm::for_each(results, need);
    part.arguments.assign(needed.begin(), needed.end());
    part.values.resize(part.arguments.size());
    parts.push_back(std::move(part));
  }
}

const Outputs::Part &Outputs::partWith(Selection selected) const {
  func::FuncOp original = function; // MLIR knows no const handles.
  size_t first = 0;
  for (Operation &op : original.front()) {
    if (op.hasAttr(rangesAttr) && selected(&op))
      break;
    ++first;
  }
  size_t found = 0;
  while (found + 1 < parts.size() && parts[found + 1].first <= first)
    ++found;
  return parts[found];
}

OwningOpRef<func::FuncOp> Outputs::copyOf(const Part &part, Selection selected,
                                          llvm::DenseMap<Operation *, Operation *> &originals) const {
  func::FuncOp original = function;
  auto types = [](const std::vector<Value> &values) {
    return llvm::to_vector(ValueRange(values).getTypes());
  };
  OpBuilder builder(original.getContext());
  auto copy = func::FuncOp::create(original.getLoc(), original.getName(),
                                   builder.getFunctionType(types(part.arguments), types(results)));
  builder.setInsertionPointToStart(copy.addEntryBlock());
  IRMapping mapping;
  for (auto [value, argument] : llvm::zip(part.arguments, copy.getArguments()))
    mapping.map(value, argument);
  for (auto [number, op] : llvm::enumerate(original.front().without_terminator())) {
    if (number < part.first && !isa<nn::ConstantOp>(op))
      continue;
    Operation *cloned = builder.clone(op, mapping);
    originals[cloned] = &op;
    if (cloned->hasAttr(rangesAttr) && !selected(&op))
      cloned->removeAttr(rangesAttr);
  }
  SmallVector<Value> returned;
  for (Value result : results)
    returned.push_back(mapping.lookup(result));
  func::ReturnOp::create(builder, original.getLoc(), returned);
  for (Operation &op : llvm::make_early_inc_range(copy.front()))
    if (isa<nn::ConstantOp>(op) && op.use_empty())
      op.erase();
  return copy;
}

OutputDifference Outputs::compare(size_t sample, const std::vector<interpret::HostTensor> &found,
                                  ThreadPool &pool) const {
  OutputDifference worst;
  for (size_t i = 0; i < found.size(); ++i) {
    const interpret::HostTensor &x = wanted[sample][i], y = interpret::cast(pool, found[i], ElementType::F32);
    OutputDifference difference = differenceOf(x, y, rows[sample][i]);
    worst.cosine = std::min(worst.cosine, difference.cosine);
    worst.loss = std::max(worst.loss, difference.loss);
    if (mayBeLogits[i])
      worst.loss = std::max(worst.loss, divergence(x, y, rows[sample][i], pool));
  }
  return worst;
}

std::optional<OutputDifference> Outputs::measure(const GramOf &gramOf, RoundedWeights *rounded,
                                                 Selection selected, size_t count,
                                                 Diagnostics &diagnostics) const {
  count = std::min(count, inputs.size());
  const Part &part = count == 1 ? partWith(selected) : parts.front();
  llvm::DenseMap<Operation *, Operation *> originals;
  OwningOpRef<func::FuncOp> copy = copyOf(part, selected, originals);
  GramOf gramOfCopy;
  if (gramOf)
    gramOfCopy = [&](nn::LinearOp linear, std::span<const float> factors) {
      return gramOf(cast<nn::LinearOp>(originals.at(linear)), factors);
    };
  if (failed(insertQuantization(*copy, reader, gramOfCopy, rounded))) {
    diagnostics.error("quantization", "cannot be tried to measure what it does");
    return std::nullopt;
  }
  interpret::Interpreter interpreter(*copy, {.threads = threads});
  OutputDifference mean{0, 0};
  for (size_t sample = 0; sample < count; ++sample) {
    auto found = interpreter.run(part.first == 0 ? inputs[sample] : part.values, diagnostics);
    if (!found)
      return std::nullopt;
    OutputDifference difference = compare(sample, *found, interpreter.threads());
    mean.cosine += difference.cosine / static_cast<double>(count);
    mean.loss += difference.loss / static_cast<double>(count);
  }
  return mean;
}

} // namespace npuc::quantize
