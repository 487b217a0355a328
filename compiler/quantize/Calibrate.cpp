#include "compiler/quantize/Calibrate.h"

#include "compiler/interpret/Interpreter.h"
#include "compiler/quantize/Padding.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"

#include <fmt/format.h>

using namespace mlir;

namespace npuc::quantize {
namespace {

std::string shapeText(ArrayRef<int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// How many samples of `wanted` shape the array holds; 0 if it holds none.
int64_t countSamples(ArrayRef<int64_t> found, ArrayRef<int64_t> wanted) {
  if (found == wanted)
    return 1;
  if (found.size() == wanted.size() + 1)
    return found.drop_front() == wanted ? found[0] : 0;
  bool stacked = !wanted.empty() && found.size() == wanted.size() &&
                 found.drop_front() == wanted.drop_front() && wanted[0] > 0 && found[0] % wanted[0] == 0;
  return stacked ? found[0] / wanted[0] : 0;
}

} // namespace

std::vector<std::vector<NamedArray>> samplesOf(func::FuncOp function, const std::vector<NamedArray> &arrays,
                                               Diagnostics &diagnostics) {
  int64_t samples = 0;
  std::string first;
  std::vector<std::vector<NamedArray>> result;
  for (const NamedArray &array : arrays) {
    // A name that is no input is an error of the interpreter's, with the names that there are.
    ArrayRef<int64_t> wanted = array.array.shape;
    for (BlockArgument argument : function.getArguments()) {
      auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), nn::NNDialect::nameAttr);
      if (name && name.getValue() == array.name)
        wanted = cast<RankedTensorType>(argument.getType()).getShape();
    }
    int64_t count = countSamples(array.array.shape, wanted);
    if (count == 0) {
      diagnostics.error(
          "calibration input '" + array.name + "'", "does not hold samples of the model's input",
          fmt::format("it has the shape {}, the input {}", shapeText(array.array.shape), shapeText(wanted)),
          "give samples stacked along a leading dimension, or another --shape");
      continue;
    }
    if (samples != 0 && count != samples) {
      diagnostics.error("calibration input '" + array.name + "'",
                        fmt::format("has {} samples, '{}' has {}", count, first, samples));
      continue;
    }
    samples = count;
    first = first.empty() ? array.name : first;
    result.resize(static_cast<size_t>(samples));
    size_t bytes = array.array.data.size() / static_cast<size_t>(samples);
    for (size_t i = 0; i < result.size(); ++i) {
      auto begin = array.array.data.begin() + static_cast<ptrdiff_t>(i * bytes);
      result[i].push_back(
          {array.name, {array.array.type, wanted.vec(), {begin, begin + static_cast<ptrdiff_t>(bytes)}}});
    }
  }
  if (arrays.empty())
    diagnostics.error("calibration", "the file has no arrays", "", "arrays are named as the model's inputs");
  return diagnostics.hasErrors() ? std::vector<std::vector<NamedArray>>() : result;
}

bool SamplesInMemory::forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
                              Diagnostics &) const {
  for (size_t i = 0; i < samples_.size(); ++i)
    if (!use(i, samples_[i]))
      return false;
  return true;
}

std::optional<Statistics> observe(func::FuncOp function, const Samples &samples,
                                  const CalibrationOptions &options, Diagnostics &diagnostics) {
  Observers observers(function, options.observers);
  Padding padding(function);
  interpret::Interpreter interpreter(function, {.threads = options.threads});
  auto run = [&](size_t sample, std::span<const NamedArray> inputs) {
    auto see = [&](const interpret::Observation &seen) {
      observers.observe(seen, sample, padding, interpreter.threads(), diagnostics);
    };
    return padding.read(inputs, diagnostics) && interpreter.run(inputs, diagnostics, see) &&
           !diagnostics.hasErrors();
  };
  if (!samples.forEach(run, diagnostics))
    return std::nullopt;
  return observers.take();
}

void setRanges(func::FuncOp function, const Statistics &statistics) {
  Builder builder(function.getContext());
  for (Operation &op : function.front()) {
    SmallVector<Attribute> entries;
    for (unsigned i = 0; i < observedOperands(&op); ++i) {
      const TensorStatistics &tensor = statistics.of(&op, i);
      std::vector<float> zero = {0}, one = {1};
      entries.push_back(
          builder.getArrayAttr({builder.getDenseF32ArrayAttr(tensor.isProbability ? zero : tensor.least),
                                builder.getDenseF32ArrayAttr(tensor.isProbability ? one : tensor.greatest)}));
    }
    if (!entries.empty())
      op.setAttr(rangesAttr, builder.getArrayAttr(entries));
  }
}

} // namespace npuc::quantize
