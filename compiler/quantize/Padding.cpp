#include "compiler/quantize/Padding.h"

#include "compiler/interpret/kernels/Cast.h"
#include "compiler/quantize/Constants.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// A term that makes a power 0 whatever the score: masks take from -10000 to the lowest float, biases by
/// distance stay far above.
constexpr float masking = -1000;

ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

int64_t countOf(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

bool multiplies(Operation *op) {
  return isa<nn::LinearOp, nn::MatmulOp, nn::ConvOp, nn::ConvTransposeOp, nn::AttentionOp>(op);
}

/// What `value` is computed from: block arguments and operations.
struct Sources {
  SetVector<BlockArgument> arguments;
  SetVector<Operation *> operations;
};
Sources sourcesOf(Value value) {
  Sources sources;
  SmallVector<Value> open = {value};
  while (!open.empty()) {
    Value next = open.pop_back_val();
    if (auto argument = dyn_cast<BlockArgument>(next))
      sources.arguments.insert(argument);
    else if (sources.operations.insert(next.getDefiningOp()))
      llvm::append_range(open, next.getDefiningOp()->getOperands());
  }
  return sources;
}

/// Terms of scores, or, of bool, which of them count; or which do not.
struct FoundMask {
  Value value;
  bool isFill;
};

/// The product of queries and keys that `value` is made of by operations of one shape, with the masks on the
/// way.
nn::MatmulOp scoresOf(Value value, SmallVectorImpl<FoundMask> &masks, int depth = 8) {
  Operation *op = value.getDefiningOp();
  if (auto product = dyn_cast_or_null<nn::MatmulOp>(op))
    return product;
  if (!op || depth == 0 || !isa<nn::AddOp, nn::SelectOp, nn::MulOp, nn::DivOp, nn::TanhOp, nn::CastOp>(op))
    return {};
  for (Value operand : op->getOperands()) {
    nn::MatmulOp product =
        shapeOf(operand) == shapeOf(value) ? scoresOf(operand, masks, depth - 1) : nn::MatmulOp();
    if (!product)
      continue;
    if (auto select = dyn_cast<nn::SelectOp>(op)) {
      bool isFill = operand == select.getOnFalse();
      auto fill = numbersOf(isFill ? select.getOnTrue() : select.getOnFalse());
      if (fill && fill->size() == 1 && fill->front() <= masking)
        masks.push_back({select.getCondition(), isFill});
    } else if (isa<nn::AddOp>(op)) {
      masks.push_back({op->getOperand(operand == op->getOperand(0) ? 1 : 0), false});
    }
    return product;
  }
  return {};
}

/// The product that a softmax is the first operand of, possibly cast and without NaN.
nn::MatmulOp readerOf(Value probabilities) {
  for (Operation *op : probabilities.getUsers()) {
    if (auto product = dyn_cast<nn::MatmulOp>(op); product && product.getLhs() == probabilities)
      return product;
    if (isa<nn::CastOp, nn::SelectOp>(op))
      if (nn::MatmulOp product = readerOf(op->getResult(0)))
        return product;
  }
  return {};
}

} // namespace

/// The keys and values of an attention, the dimensions of their positions, and its masks.
struct Padding::Attention {
  Operation *op;
  Value key, value;
  int64_t keyDim, valueDim;
  SmallVector<FoundMask> masks;
};

std::vector<Padding::Attention> Padding::attentionsOf(func::FuncOp function) {
  std::vector<Attention> found;
  for (Operation &op : function.front()) {
    if (auto attention = dyn_cast<nn::AttentionOp>(op)) {
      found.push_back({&op, attention.getKey(), attention.getValue(), 2, 2, {}});
      if (Value mask = attention.getMask())
        found.back().masks.push_back({mask, false});
    }
    auto softmax = dyn_cast<nn::SoftmaxOp>(op);
    auto type = softmax ? cast<RankedTensorType>(softmax.getType()) : RankedTensorType();
    if (!softmax || type.getRank() != 4 || softmax.getAxis() != 3)
      continue;
    Attention single{&op, {}, {}, 3, 2, {}};
    nn::MatmulOp scores = scoresOf(softmax.getInput(), single.masks), product = readerOf(softmax);
    if (!scores || !product || shapeOf(scores.getRhs()).size() != 4 || shapeOf(product.getRhs()).size() != 4)
      continue;
    single.key = scores.getRhs();
    single.value = product.getRhs();
    found.push_back(std::move(single));
  }
  return found;
}

/// The dimensions of a tensor that are its batches (or -1 where there is one batch) and positions.
struct Padding::Dims {
  int64_t batch, position;
};

std::optional<Padding::Dims> Padding::dimsOf(const Layout &layout, RankedTensorType type) {
  Dims dims{-1, -1};
  int64_t stride = 1;
  for (int64_t d = type.getRank(); d-- > 0; stride *= type.getDimSize(d)) {
    if (type.getDimSize(d) == layout.size && stride == layout.stride && dims.position < 0)
      dims.position = d;
    else if (type.getDimSize(d) == layout.batches && stride == layout.batchStride && layout.batches > 1)
      dims.batch = d;
  }
  if (dims.position < 0 || (layout.batches > 1 && dims.batch < 0))
    return std::nullopt;
  return dims;
}

Padding::Layout Padding::layoutOf(const Layout &like, Dims dims, RankedTensorType type) {
  auto stride = [&](int64_t d) { return countOf(type.getShape().drop_front(static_cast<size_t>(d) + 1)); };
  Layout layout = like;
  layout.size = type.getDimSize(dims.position);
  layout.stride = stride(dims.position);
  layout.batchStride = dims.batch < 0 ? countOf(type.getShape()) : stride(dims.batch);
  return layout;
}

void Padding::give(Value value, const Layout &layout) {
  if (!value.getDefiningOp<nn::ConstantOp>() && layouts_.try_emplace(value, layout).second)
    queue_.push_back(value);
}

/// Gives `to` the layout of `from`, which has as many elements in the same order.
void Padding::keep(Value to, Value from, const Layout &layout) {
  auto isOne = [](int64_t size) { return size == 1; };
  if (shapeOf(to).drop_while(isOne) == shapeOf(from).drop_while(isOne))
    give(to, layout);
}

/// `op` reads or makes `from`: gives layouts to what else it reads and makes.
void Padding::giveOthers(Operation *op, Value from, const Layout &layout) {
  auto typeOf = [](Value value) { return cast<RankedTensorType>(value.getType()); };
  std::optional<Dims> dims = dimsOf(layout, typeOf(from));
  // Between an operand and the result, which is `other` of the two that `from` is not.
  auto otherOf = [&](Value operand) -> Value {
    Value result = op->getResult(0);
    return from == result ? operand : from == operand ? result : Value();
  };
  auto sameDims = [&](Value other) {
    if (other && dims)
      give(other, layoutOf(layout, *dims, typeOf(other)));
  };
  auto rowsHold = [&](int64_t elements) {
    return layout.stride % elements == 0 && layout.batchStride % elements == 0;
  };
  llvm::TypeSwitch<Operation *>(op)
      .Case<nn::ReshapeOp>([&](auto reshape) {
        if (Value other = otherOf(reshape.getInput()))
          give(other, layout);
      })
      .Case<nn::LinearOp>([&](auto linear) {
        Value other = otherOf(linear.getInput());
        if (!other || !rowsHold(shapeOf(from).back()))
          return;
        Layout made = layout;
        made.stride = layout.stride / shapeOf(from).back() * shapeOf(other).back();
        made.batchStride = layout.batchStride / shapeOf(from).back() * shapeOf(other).back();
        give(other, made);
      })
      .Case<nn::LayerNormOp, nn::RmsNormOp>([&](auto norm) {
        Value other = otherOf(norm.getInput());
        if (other && rowsHold(countOf(shapeOf(from).drop_front(static_cast<size_t>(norm.getAxis())))))
          give(other, layout);
      })
      .Case<nn::SoftmaxOp>([&](auto softmax) {
        auto axis = static_cast<int64_t>(softmax.getAxis());
        Value other = otherOf(softmax.getInput());
        if (other && dims && dims->position != axis && dims->batch != axis)
          give(other, layout);
      })
      .Case<nn::RopeOp>([&](auto rope) {
        if (Value other = otherOf(rope.getInput()))
          give(other, layout);
      })
      .Case<nn::TransposeOp>([&](auto transpose) {
        Value other = otherOf(transpose.getInput());
        if (!other || !dims)
          return;
        ArrayRef<int64_t> permutation = transpose.getPermutation();
        auto map = [&](int64_t d) -> int64_t {
          if (d < 0)
            return -1;
          if (from == transpose.getResult())
            return permutation[static_cast<size_t>(d)];
          return llvm::find(permutation, d) - permutation.begin();
        };
        give(other, layoutOf(layout, {map(dims->batch), map(dims->position)}, typeOf(other)));
      })
      .Case<nn::AttentionOp>([&](auto attention) {
        sameDims(otherOf(attention.getQuery()));
        if (from == attention.getKey())
          sameDims(attention.getValue());
        if (from == attention.getValue())
          sameDims(attention.getKey());
      })
      .Case<nn::MatmulOp>([&](auto product) {
        // Rows of the first operand are rows of the result; keys are columns of the second, and end there.
        Value other = otherOf(product.getLhs());
        int64_t last = typeOf(from).getRank() - 1;
        if (other && dims && dims->position != last && dims->batch != last &&
            shapeOf(other).drop_back() == shapeOf(from).drop_back())
          sameDims(other);
      })
      .Case<nn::KvUpdateOp>([&](auto update) {
        if (!dims || dims->position != static_cast<int64_t>(update.getAxis()))
          return;
        int64_t past = shapeOf(update.getPast())[static_cast<size_t>(update.getAxis())];
        Layout whole = layoutOf(layout, *dims, typeOf(update.getResult()));
        whole.offset -= from == update.getUpdate() ? past : 0;
        Layout added = layoutOf(whole, *dims, typeOf(update.getUpdate()));
        added.offset += past;
        give(update.getResult(), whole);
        give(update.getPast(), layoutOf(whole, *dims, typeOf(update.getPast())));
        give(update.getUpdate(), added);
      })
      .Case<nn::SliceOp>([&](auto slice) {
        Value other = otherOf(slice.getInput());
        if (!other || !dims)
          return;
        auto position = static_cast<size_t>(dims->position);
        bool wholeBatch = dims->batch < 0 || shapeOf(from)[static_cast<size_t>(dims->batch)] ==
                                                 shapeOf(other)[static_cast<size_t>(dims->batch)];
        if (!wholeBatch || slice.getSteps()[position] != 1)
          return;
        Layout made = layoutOf(layout, *dims, typeOf(other));
        made.offset += (from == slice.getInput() ? 1 : -1) * slice.getStarts()[position];
        give(other, made);
      })
      .Case<nn::ConcatOp>([&](auto concat) {
        auto axis = static_cast<int64_t>(concat.getAxis());
        if (!dims || dims->position == axis || dims->batch == axis)
          return;
        for (Value input : concat.getInputs())
          sameDims(input);
        sameDims(concat.getResult());
      })
      .Case<nn::BroadcastOp>([&](auto broadcast) {
        Value other = otherOf(broadcast.getInput());
        if (!other || !dims)
          return;
        int64_t more = typeOf(other).getRank() - typeOf(from).getRank();
        Dims moved{dims->batch < 0 ? -1 : dims->batch + more, dims->position + more};
        auto isWhole = [&](int64_t was, int64_t d) {
          return was < 0 || (d >= 0 && typeOf(other).getDimSize(d) == typeOf(from).getDimSize(was));
        };
        if (isWhole(dims->batch, moved.batch) && isWhole(dims->position, moved.position))
          give(other, layoutOf(layout, moved, typeOf(other)));
      })
      .Default([&](Operation *) {
        if (!op->hasTrait<nn::Pointwise>())
          return;
        for (Value operand : op->getOperands())
          keep(operand, from, layout);
        for (Value result : op->getResults())
          keep(result, from, layout);
      });
}

void Padding::spread() {
  while (!queue_.empty()) {
    Value value = queue_.back();
    queue_.pop_back();
    Layout layout = layouts_.at(value);
    if (Operation *op = value.getDefiningOp())
      giveOthers(op, value, layout);
    for (Operation *op : value.getUsers())
      if (op->getNumResults() > 0)
        giveOthers(op, value, layout);
  }
}

Padding::Padding(func::FuncOp function) {
  collectMasks(function);
  spread();
}

void Padding::collectMasks(func::FuncOp function) {
  SetVector<std::pair<Value, unsigned>> masks; // And whether it is a fill.
  SetVector<BlockArgument> inputs;
  for (const Attention &attention : attentionsOf(function))
    for (auto [mask, isFill] : attention.masks) {
      auto type = cast<RankedTensorType>(attention.key.getType());
      if (shapeOf(mask).empty() || shapeOf(mask).back() != type.getDimSize(attention.keyDim))
        continue;
      Sources sources = sourcesOf(mask);
      if (sources.arguments.empty())
        continue;
      if (llvm::any_of(sources.operations, multiplies)) {
        unused_.push_back({attention.op, "its mask is computed with multiplications of matrices"});
        continue;
      }
      masks.insert({mask, unsigned{isFill}});
      inputs.insert(sources.arguments.begin(), sources.arguments.end());
      Layout layout{};
      layout.mask =
          static_cast<unsigned>(llvm::find(masks, std::pair(mask, unsigned{isFill})) - masks.begin());
      layout.batches = type.getDimSize(0);
      int64_t batch = layout.batches > 1 ? 0 : -1;
      give(attention.key, layoutOf(layout, {batch, attention.keyDim}, type));
      type = cast<RankedTensorType>(attention.value.getType());
      give(attention.value, layoutOf(layout, {batch, attention.valueDim}, type));
    }
  inputs_.assign(inputs.begin(), inputs.end());
  if (masks.empty())
    return;
  IRMapping clones;
  maskFunction_ = cast<func::FuncOp>(function->clone(clones));
  Operation *end = maskFunction_->front().getTerminator();
  SmallVector<Value> results;
  for (auto [mask, isFill] : masks) {
    results.push_back(clones.lookup(mask));
    isFill_.push_back(isFill);
  }
  end->setOperands(results);
  maskFunction_->setFunctionType(
      FunctionType::get(function.getContext(), function.getArgumentTypes(), ValueRange(results).getTypes()));
  maskFunction_->setAllResultAttrs(ArrayRef<Attribute>(
      SmallVector<Attribute>(results.size(), DictionaryAttr::get(function.getContext()))));
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(maskFunction_->front())))
    if (&op != end && op.use_empty())
      op.erase();
  interpreter_ =
      std::make_unique<interpret::Interpreter>(*maskFunction_, interpret::InterpreterOptions{.threads = 1});
}

bool Padding::read(std::span<const NamedArray> inputs, Diagnostics &diagnostics) {
  if (!interpreter_)
    return true;
  std::optional<std::vector<NamedArray>> results = interpreter_->run(inputs, diagnostics);
  if (!results)
    return false;
  masks_.clear();
  for (const NamedArray &result : *results) {
    // A false bool masks, as a low term does.
    bool isBool = result.array.type == ElementType::Bool;
    interpret::HostTensor terms =
        interpret::cast(interpreter_->threads(), interpret::fromArray(result.array), ElementType::F32);
    int64_t keys = terms.shape().back(), batches = terms.rank() == 4 ? terms.dim(0) : 1,
            rows = keys ? terms.count() / keys : 0;
    Mask mask{batches, keys, std::vector<bool>(static_cast<size_t>(batches * keys), false)};
    const auto *x = terms.data<float>();
    for (int64_t r = 0; r < rows; ++r, x += keys) {
      int64_t batch = r / (rows / batches);
      float greatest = *std::max_element(x, x + keys);
      for (int64_t j = 0; j < keys; ++j)
        if (isBool ? (x[j] != 0) != isFill_[masks_.size()] : greatest > -1e30f && x[j] > greatest + masking)
          mask.counts[static_cast<size_t>(batch * keys + j)] = true;
    }
    masks_.push_back(std::move(mask));
  }
  return true;
}

std::vector<bool> Padding::rowsThatCount(Value value) const {
  auto found = layouts_.find(value);
  ArrayRef<int64_t> shape = shapeOf(value);
  if (found == layouts_.end() || masks_.empty() || shape.empty())
    return {};
  const Layout &layout = found->second;
  const Mask &mask = masks_[layout.mask];
  int64_t length = shape.back(), rows = length ? countOf(shape) / length : 0;
  if (rows == 0 || layout.stride % length != 0 || layout.batchStride % length != 0)
    return {};
  std::vector<bool> counts(static_cast<size_t>(rows), true);
  bool all = true;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t element = r * length, key = layout.offset + element / layout.stride % layout.size,
            batch = mask.batches > 1 ? element / layout.batchStride % layout.batches : 0;
    if (key < 0 || key >= mask.keys)
      continue;
    bool one = mask.counts[static_cast<size_t>(batch * mask.keys + key)];
    counts[static_cast<size_t>(r)] = one;
    all &= one;
  }
  return all ? std::vector<bool>() : counts;
}

} // namespace npuc::quantize
