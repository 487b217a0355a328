// nn-merge-projections: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/MapVector.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNMERGEPROJECTIONS
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

int64_t widthOf(LinearOp linear) {
  return linear.getType().getShape().back();
}

TypedAttr constantOf(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : ConstantOp();
  return constant ? constant.getValue() : TypedAttr();
}

/// Whether reading the input once outweighs the slices: a projection no wider than its input writes no more
/// than it reads.
bool isProjection(LinearOp linear) {
  bool isConstant = constantOf(linear.getWeight()) && (!linear.getBias() || constantOf(linear.getBias()));
  return isConstant && linear.getType().getRank() > 0 &&
         widthOf(linear) <= typeOf(linear.getInput()).getShape().back();
}

/// The bytes of dense elements one after another along `axis`; elements take whole bytes.
DenseElementsAttr concatenateDense(ArrayRef<TypedAttr> parts, RankedTensorType type, int64_t axis) {
  size_t bytes = type.getElementTypeBitWidth() / 8;
  int64_t rows = 1;
  for (int64_t d = 0; d < axis; ++d)
    rows *= type.getDimSize(d);
  SmallVector<char> data;
  for (int64_t row = 0; row < rows; ++row)
    for (TypedAttr part : parts) {
      auto dense = cast<DenseElementsAttr>(part);
      size_t run = dense.getNumElements() / rows * bytes;
      ArrayRef<char> raw = dense.getRawData();
      if (!dense.isSplat()) {
        llvm::append_range(data, raw.slice(row * run, run));
        continue;
      }
      for (size_t i = 0; i < run; i += bytes)
        llvm::append_range(data, raw.take_front(bytes));
    }
  return DenseElementsAttr::getFromRawBuffer(type, data);
}

Value concatenate(ArrayRef<TypedAttr> parts, int64_t axis, Location loc, OpBuilder &builder) {
  auto first = cast<RankedTensorType>(parts.front().getType());
  SmallVector<int64_t> shape(first.getShape());
  shape[axis] = 0;
  for (TypedAttr part : parts)
    shape[axis] += cast<RankedTensorType>(part.getType()).getDimSize(axis);
  RankedTensorType type = first.clone(shape);
  bool isDense = llvm::all_of(parts, [](TypedAttr part) { return isa<DenseElementsAttr>(part); });
  if (isDense && byteSize(type) < NNDialect::handleBytes && type.getElementTypeBitWidth() % 8 == 0)
    return ConstantOp::create(builder, loc, concatenateDense(parts, type, axis));
  return ConstantOp::create(builder, loc, ConcatenatedAttr::get(builder.getContext(), parts, axis, type));
}

/// The biases of `linears`, 0 for one that has none; nothing if none has one.
SmallVector<TypedAttr> biasesOf(ArrayRef<LinearOp> linears) {
  SmallVector<TypedAttr> biases;
  if (llvm::none_of(linears, [](LinearOp linear) { return linear.getBias() != nullptr; }))
    return biases;
  for (LinearOp linear : linears) {
    Type element = linear.getType().getElementType();
    auto zero = [&]() -> TypedAttr {
      Builder builder(linear.getContext());
      return DenseElementsAttr::get(RankedTensorType::get({widthOf(linear)}, element),
                                    Attribute(builder.getZeroAttr(element)));
    };
    biases.push_back(linear.getBias() ? constantOf(linear.getBias()) : zero());
  }
  return biases;
}

void merge(ArrayRef<LinearOp> linears, IRRewriter &rewriter) {
  LinearOp first = linears.front();
  Location loc =
      rewriter.getFusedLoc(llvm::map_to_vector(linears, [](LinearOp linear) { return linear.getLoc(); }));
  rewriter.setInsertionPoint(first);
  auto weights = llvm::map_to_vector(linears, [](LinearOp linear) { return constantOf(linear.getWeight()); });
  Value weight = concatenate(weights, first.getTransposed() ? 0 : 1, loc, rewriter);
  SmallVector<TypedAttr> biases = biasesOf(linears);
  Value bias = biases.empty() ? Value() : concatenate(biases, 0, loc, rewriter);
  SmallVector<int64_t> shape(first.getType().getShape());
  shape.back() = typeOf(weight).getDimSize(first.getTransposed() ? 0 : 1);
  auto merged = LinearOp::create(rewriter, loc, first.getType().clone(shape), first.getInput(), weight, bias,
                                 first.getTransposed());
  SmallVector<int64_t> starts(shape.size(), 0), steps(shape.size(), 1);
  for (LinearOp linear : linears) {
    SmallVector<int64_t> sizes(linear.getType().getShape());
    Value part = SliceOp::create(rewriter, linear.getLoc(), merged, starts, sizes, steps);
    starts.back() += sizes.back();
    rewriter.replaceOp(linear, part);
  }
}

struct MergeProjections : impl::NNMergeProjectionsBase<MergeProjections> {
  void runOnOperation() override {
    // Projections of one input whose weights fit together.
    llvm::MapVector<std::tuple<Value, int, Type>, SmallVector<LinearOp>> groups;
    getOperation().walk([&](LinearOp linear) {
      if (isProjection(linear))
        groups[{linear.getInput(), linear.getTransposed(), typeOf(linear.getWeight()).getElementType()}]
            .push_back(linear);
    });
    IRRewriter rewriter(&getContext());
    for (auto &[key, linears] : groups)
      if (linears.size() > 1)
        merge(linears, rewriter);
  }
};

} // namespace
} // namespace npuc::nn
