#include "compiler/quantize/Observers.h"

#include "compiler/interpret/Evaluate.h"
#include "compiler/interpret/kernels/Cast.h"
#include "dialects/nn/IR/NN.h"

#include <fmt/format.h>

#include <map>

using namespace mlir;

namespace npuc::quantize {
namespace {

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

} // namespace

unsigned observedOperands(Operation *op) {
  if (!isa<nn::LinearOp, nn::MatmulOp, nn::ConvOp, nn::AttentionOp>(op) || !isFloat(op))
    return 0;
  if (isa<nn::AttentionOp>(op))
    return 3;
  return !isa<nn::MatmulOp>(op) && isWeight(op->getOperand(1)) ? 1 : 2;
}

Statistics::Statistics(func::FuncOp function, uint64_t seed) {
  llvm::DenseMap<std::pair<Value, unsigned>, size_t> known;
  std::map<std::string, unsigned> names;
  for (Operation &op : function.front())
    for (unsigned i = 0; i < observedOperands(&op); ++i) {
      Value value = op.getOperand(i);
      bool byChannel = isa<nn::LinearOp>(op) && isWeight(op.getOperand(1));
      auto [at, isNew] = known.try_emplace({value, byChannel ? 1U : 0U}, tensors_.size());
      numbers_[{&op, i}] = at->second;
      if (!isNew)
        continue;
      std::string name = fmt::format("{}:{}", interpret::nodeName(&op), i);
      if (unsigned earlier = names[name]++)
        name += fmt::format("#{}", earlier + 1);
      int64_t channels = byChannel ? cast<RankedTensorType>(value.getType()).getShape().back() : 1;
      TensorStatistics &tensor = tensors_.emplace_back(std::move(name), static_cast<size_t>(channels), seed);
      tensor.isProbability = isProbability(value);
      tensor.isLinearInput = byChannel;
      readers_.emplace_back(&op, i);
    }
}

void Observers::observe(const interpret::Observation &seen, const Padding &padding, ThreadPool &pool,
                        Diagnostics &diagnostics) {
  if (diagnostics.hasErrors()) // What follows has them from there.
    return;
  for (unsigned i = 0; i < observedOperands(seen.operation); ++i) {
    auto found = statistics_.numbers_.find({seen.operation, i});
    if (found == statistics_.numbers_.end() ||
        statistics_.readers_[found->second] != std::pair(seen.operation, i))
      continue;
    TensorStatistics &tensor = statistics_.tensors_[found->second];
    if (tensor.isProbability)
      continue;
    interpret::HostTensor wide = interpret::cast(pool, seen.operands[i], ElementType::F32);
    std::span<const float> values(wide.data<float>(), static_cast<size_t>(wide.count()));
    if (values.empty())
      continue;
    if (hasNonFinite(values)) {
      diagnostics.error(interpret::nodeName(seen.operation),
                        fmt::format("its operand {} has NaN or infinity", i), "no range holds them",
                        "correct the sample, or leave it out");
      return;
    }
    auto length = static_cast<size_t>(wide.rank() == 0 ? 1 : wide.shape().back());
    std::vector<bool> rowCounts = padding.rowsThatCount(seen.operation->getOperand(i));
    tensor.count(values, length, rowCounts, options_.reservoirRows, pool);
  }
}

} // namespace npuc::quantize
