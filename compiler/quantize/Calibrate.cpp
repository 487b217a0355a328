#include "compiler/quantize/Calibrate.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/quantize/Formats.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// Beyond this a number says that a score does not count.
constexpr float structural = 1e30f;

bool isWeight(Value value) {
  return value.getDefiningOp<nn::ConstantOp>() != nullptr;
}

bool isFloat(Operation *op) {
  return isa<FloatType>(cast<RankedTensorType>(op->getOperand(0).getType()).getElementType());
}

/// Whether the values are a softmax's, however moved.
bool isProbability(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<nn::SoftmaxOp>(op))
      return true;
    if (!isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp, nn::CastOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

/// Widens `range` by the tensor's values, by the index of its last dimension if the range has many entries.
/// False if one is NaN or infinite.
bool widen(Range &range, const interpret::HostTensor &tensor) {
  const auto *x = tensor.data<float>();
  size_t channels = range.least.size();
  bool finite = true;
  for (size_t i = 0, c = 0, count = static_cast<size_t>(tensor.count()); i < count; ++i) {
    if (std::abs(x[i]) < structural) {
      range.least[c] = std::min(range.least[c], x[i]);
      range.greatest[c] = std::max(range.greatest[c], x[i]);
    } else {
      finite &= std::isfinite(x[i]);
    }
    c = c + 1 == channels ? 0 : c + 1;
  }
  return finite;
}

Range emptyRange(size_t channels) {
  float infinity = std::numeric_limits<float>::infinity();
  return {std::vector<float>(channels, infinity), std::vector<float>(channels, -infinity)};
}

/// Entries that nothing fell into become 0.
void close(Range &range) {
  for (size_t c = 0; c < range.least.size(); ++c)
    if (range.least[c] > range.greatest[c])
      range.least[c] = range.greatest[c] = 0;
}

class Observers {
public:
  explicit Observers(func::FuncOp function) {
    for (Operation &op : function.front())
      for (unsigned i = 0; i < observedOperands(&op); ++i) {
        bool byChannel = isa<nn::LinearOp>(op) && isWeight(op.getOperand(1));
        auto type = cast<RankedTensorType>(op.getOperand(i).getType());
        ranges[&op].push_back(emptyRange(byChannel ? static_cast<size_t>(type.getShape().back()) : 1));
      }
  }

  void observe(const interpret::Observation &seen, ThreadPool &pool, size_t sample,
               Diagnostics &diagnostics) {
    auto found = ranges.find(seen.operation);
    if (found == ranges.end())
      return;
    for (auto [i, range] : llvm::enumerate(found->second)) {
      Value operand = seen.operation->getOperand(i);
      if (isProbability(operand)) {
        range = {{0}, {1}};
        continue;
      }
      interpret::HostTensor wide = interpret::cast(pool, seen.operands[i], ElementType::F32);
      if (!widen(range, wide) && !diagnostics.hasErrors()) // What follows has them from here.
        diagnostics.error(
            interpret::nodeName(seen.operation),
            fmt::format("calibration sample {} gives NaN or infinity in its operand {}", sample, i),
            "a range cannot hold them", "remove the sample, or correct its inputs");
    }
  }

  void annotate() {
    for (auto &[op, list] : ranges) {
      Builder builder(op->getContext());
      SmallVector<Attribute> entries;
      for (Range &range : list) {
        close(range);
        entries.push_back(builder.getArrayAttr(
            {builder.getDenseF32ArrayAttr(range.least), builder.getDenseF32ArrayAttr(range.greatest)}));
      }
      op->setAttr(rangesAttr, builder.getArrayAttr(entries));
    }
  }

private:
  llvm::MapVector<Operation *, std::vector<Range>> ranges;
};

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

unsigned observedOperands(Operation *op) {
  if (!isa<nn::LinearOp, nn::MatmulOp, nn::ConvOp, nn::AttentionOp>(op) || !isFloat(op))
    return 0;
  if (isa<nn::AttentionOp>(op))
    return 3;
  return !isa<nn::MatmulOp>(op) && isWeight(op->getOperand(1)) ? 1 : 2;
}

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

bool calibrate(func::FuncOp function, const std::vector<std::vector<NamedArray>> &samples, unsigned threads,
               Diagnostics &diagnostics) {
  Observers observers(function);
  interpret::Interpreter interpreter(function, {.threads = threads});
  for (size_t i = 0; i < samples.size(); ++i) {
    auto observe = [&](const interpret::Observation &seen) {
      observers.observe(seen, interpreter.threads(), i, diagnostics);
    };
    if (!interpreter.run(samples[i], diagnostics, observe) || diagnostics.hasErrors())
      return false;
  }
  observers.annotate();
  return true;
}

} // namespace npuc::quantize
