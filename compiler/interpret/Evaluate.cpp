#include "compiler/interpret/Evaluate.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/interpret/kernels/Contract.h"
#include "compiler/interpret/kernels/Index.h"
#include "compiler/interpret/kernels/Movement.h"
#include "compiler/interpret/kernels/Pointwise.h"
#include "compiler/interpret/kernels/Reduce.h"
#include "dialects/nn/IR/NN.h"
#include "dialects/nn/IR/NodeName.h"

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseMap.h"

namespace npuc::interpret {
namespace {

using Operands = llvm::ArrayRef<HostTensor>;
using Results = std::optional<std::vector<HostTensor>>;

/// What a handler may use besides the operation and its operands.
struct Tools {
  ThreadPool &pool;
  ConstantReader &constants;
  Diagnostics &diagnostics;
};

struct Handler {
  std::function<Results(mlir::Operation *, Operands, const Tools &)> run;
  /// Small floats come widened to fp32, and such results are rounded back to their type: for what computes,
  /// but not for what only moves elements or converts by itself.
  bool widens = false;
};

enum class Numbers : bool { AsTheyAre, Widened };

class Table {
public:
  Table() {
    addPointwise();
    addMovement();
    addIndexing();
    addContractions();
    addReductions();
    addQuantization();
  }

  const Handler *find(mlir::Operation *operation) const {
    auto found = handlers_.find(operation->getName().getTypeID());
    return found == handlers_.end() ? nullptr : &found->second;
  }

private:
  /// `f(op, operands, tools)` returns one HostTensor, no tensor after an error.
  template <typename Op, typename F>
  void add(Numbers numbers, F f) {
    addMany<Op>(numbers, [f](Op op, Operands operands, const Tools &tools) -> Results {
      HostTensor result = f(op, operands, tools);
      if (!result)
        return std::nullopt;
      return std::vector<HostTensor>{std::move(result)};
    });
  }
  /// The same for any number of results.
  template <typename Op, typename F>
  void addMany(Numbers numbers, F f) {
    handlers_[mlir::TypeID::get<Op>()] = {
        [f](mlir::Operation *operation, Operands operands, const Tools &tools) -> Results {
          return f(llvm::cast<Op>(operation), operands, tools);
        },
        numbers == Numbers::Widened};
  }

  template <typename Op>
  void addUnary(Unary kind) {
    add<Op>(Numbers::Widened, [kind](Op, Operands x, const Tools &t) { return unary(t.pool, kind, x[0]); });
  }
  template <typename Op>
  void addBinary(Binary kind) {
    add<Op>(Numbers::Widened,
            [kind](Op, Operands x, const Tools &t) { return binary(t.pool, kind, x[0], x[1]); });
  }

  void addPointwise();
  void addMovement();
  void addIndexing();
  void addContractions();
  void addReductions();
  void addQuantization();

  llvm::DenseMap<mlir::TypeID, Handler> handlers_;
};

mlir::RankedTensorType resultType(mlir::Operation *operation, unsigned i = 0) {
  return llvm::cast<mlir::RankedTensorType>(operation->getResult(i).getType());
}

std::vector<int64_t> list(llvm::ArrayRef<int64_t> values) {
  return values.vec();
}

void Table::addPointwise() {
  addUnary<nn::NegOp>(Unary::Neg);
  addUnary<nn::AbsOp>(Unary::Abs);
  addUnary<nn::SignOp>(Unary::Sign);
  addUnary<nn::ReluOp>(Unary::Relu);
  addUnary<nn::NotOp>(Unary::Not);
  addUnary<nn::ExpOp>(Unary::Exp);
  addUnary<nn::LogOp>(Unary::Log);
  addUnary<nn::SqrtOp>(Unary::Sqrt);
  addUnary<nn::RsqrtOp>(Unary::Rsqrt);
  addUnary<nn::ReciprocalOp>(Unary::Reciprocal);
  addUnary<nn::SinOp>(Unary::Sin);
  addUnary<nn::CosOp>(Unary::Cos);
  addUnary<nn::TanhOp>(Unary::Tanh);
  addUnary<nn::ErfOp>(Unary::Erf);
  addUnary<nn::SigmoidOp>(Unary::Sigmoid);
  addUnary<nn::SiluOp>(Unary::Silu);
  addUnary<nn::SoftplusOp>(Unary::Softplus);
  addUnary<nn::FloorOp>(Unary::Floor);
  addUnary<nn::CeilOp>(Unary::Ceil);
  addUnary<nn::RoundOp>(Unary::Round);
  add<nn::GeluOp>(Numbers::Widened, [](nn::GeluOp op, Operands x, const Tools &t) {
    return unary(t.pool, op.getTanh() ? Unary::GeluTanh : Unary::Gelu, x[0]);
  });
  add<nn::EluOp>(Numbers::Widened, [](nn::EluOp op, Operands x, const Tools &t) {
    return unary(t.pool, Unary::Elu, x[0], op.getAlpha().convertToFloat());
  });
  add<nn::IsNanOp>(Numbers::Widened,
                   [](nn::IsNanOp, Operands x, const Tools &t) { return isNan(t.pool, x[0]); });
  add<nn::IsInfOp>(Numbers::Widened, [](nn::IsInfOp op, Operands x, const Tools &t) {
    return isInf(t.pool, x[0], op.getPositive(), op.getNegative());
  });
  add<nn::CastOp>(Numbers::AsTheyAre, [](nn::CastOp op, Operands x, const Tools &t) {
    return cast(t.pool, x[0], elementTypeOf(resultType(op)), op.getSaturate());
  });

  addBinary<nn::AddOp>(Binary::Add);
  addBinary<nn::SubOp>(Binary::Sub);
  addBinary<nn::MulOp>(Binary::Mul);
  addBinary<nn::DivOp>(Binary::Div);
  addBinary<nn::PowOp>(Binary::Pow);
  addBinary<nn::MaxOp>(Binary::Max);
  addBinary<nn::MinOp>(Binary::Min);
  addBinary<nn::AndOp>(Binary::And);
  addBinary<nn::OrOp>(Binary::Or);
  addBinary<nn::XorOp>(Binary::Xor);
  addBinary<nn::ShiftLeftOp>(Binary::ShiftLeft);
  addBinary<nn::ShiftRightOp>(Binary::ShiftRight);
  add<nn::ModOp>(Numbers::Widened, [](nn::ModOp op, Operands x, const Tools &t) {
    return binary(t.pool, op.getTruncated() ? Binary::Fmod : Binary::Mod, x[0], x[1]);
  });
  static_assert(static_cast<int>(nn::ComparePredicate::Eq) == static_cast<int>(Relation::Eq) &&
                static_cast<int>(nn::ComparePredicate::Lt) == static_cast<int>(Relation::Lt) &&
                static_cast<int>(nn::ComparePredicate::Ge) == static_cast<int>(Relation::Ge));
  add<nn::CompareOp>(Numbers::Widened, [](nn::CompareOp op, Operands x, const Tools &t) {
    return compare(t.pool, static_cast<Relation>(op.getPredicate()), x[0], x[1]);
  });
  add<nn::SelectOp>(Numbers::AsTheyAre, [](nn::SelectOp, Operands x, const Tools &t) {
    return select(t.pool, x[0], x[1], x[2]);
  });

  add<nn::ConstantOp>(Numbers::AsTheyAre, [](nn::ConstantOp op, Operands, const Tools &t) {
    return t.constants.read(op.getValue(), nodeName(op), t.diagnostics);
  });
  add<nn::RangeOp>(Numbers::AsTheyAre, [](nn::RangeOp op, Operands, const Tools &t) {
    mlir::RankedTensorType type = resultType(op);
    auto scalar = [&](mlir::TypedAttr value) {
      auto scalarType = mlir::RankedTensorType::get({}, type.getElementType());
      return widened(t.pool, fromElements(mlir::DenseElementsAttr::get(scalarType, value)));
    };
    return cast(t.pool, range(scalar(op.getStart()), scalar(op.getStep()), type.getNumElements()),
                elementTypeOf(type));
  });
}

void Table::addMovement() {
  add<nn::ReshapeOp>(Numbers::AsTheyAre, [](nn::ReshapeOp op, Operands x, const Tools &) {
    return x[0].reshaped(shapeOf(resultType(op)));
  });
  add<nn::TransposeOp>(Numbers::AsTheyAre, [](nn::TransposeOp op, Operands x, const Tools &t) {
    return transpose(t.pool, x[0], list(op.getPermutation()));
  });
  add<nn::BroadcastOp>(Numbers::AsTheyAre, [](nn::BroadcastOp op, Operands x, const Tools &t) {
    return broadcast(t.pool, x[0], shapeOf(resultType(op)));
  });
  add<nn::SliceOp>(Numbers::AsTheyAre, [](nn::SliceOp op, Operands x, const Tools &t) {
    return slice(t.pool, x[0], list(op.getStarts()), list(op.getSizes()), list(op.getSteps()));
  });
  add<nn::ConcatOp>(Numbers::AsTheyAre, [](nn::ConcatOp op, Operands x, const Tools &t) {
    return concat(t.pool, std::span(x.data(), x.size()), static_cast<int64_t>(op.getAxis()));
  });
  add<nn::KvUpdateOp>(Numbers::AsTheyAre, [](nn::KvUpdateOp op, Operands x, const Tools &t) {
    return concat(t.pool, std::span(x.data(), x.size()), static_cast<int64_t>(op.getAxis()));
  });
  static_assert(static_cast<int>(nn::PadMode::Constant) == static_cast<int>(PadMode::Constant) &&
                static_cast<int>(nn::PadMode::Reflect) == static_cast<int>(PadMode::Reflect) &&
                static_cast<int>(nn::PadMode::Wrap) == static_cast<int>(PadMode::Wrap));
  add<nn::PadOp>(Numbers::AsTheyAre, [](nn::PadOp op, Operands x, const Tools &t) {
    return pad(t.pool, static_cast<PadMode>(op.getMode()), x[0], x.size() > 1 ? x[1] : HostTensor(),
               list(op.getLow()), list(op.getHigh()));
  });
  add<nn::TriluOp>(Numbers::AsTheyAre, [](nn::TriluOp op, Operands x, const Tools &t) {
    return trilu(t.pool, x[0], op.getUpper(), static_cast<int64_t>(op.getDiagonal()));
  });
}

/// Where an operand's elements come from: the model's input that it is, unchanged but for shape or type, of
/// which it has each element at the same row-major position; or itself, without a name.
struct Origin {
  std::string input;
  Shape shape;
};

Origin originOf(mlir::Value operand) {
  mlir::Value value = operand;
  while (mlir::Operation *definition = value.getDefiningOp()) {
    if (!llvm::isa<nn::ReshapeOp, nn::CastOp>(definition))
      return {"", shapeOf(llvm::cast<mlir::RankedTensorType>(operand.getType()))};
    value = definition->getOperand(0);
  }
  auto argument = llvm::cast<mlir::BlockArgument>(value);
  auto function = llvm::dyn_cast_or_null<mlir::FunctionOpInterface>(argument.getOwner()->getParentOp());
  auto name =
      function ? function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), nn::NNDialect::nameAttr)
               : mlir::StringAttr();
  return {name ? name.str() : "", shapeOf(llvm::cast<mlir::RankedTensorType>(value.getType()))};
}

/// "[0, 5]" for the element of this row-major position.
std::string positionText(const Shape &shape, int64_t position) {
  std::string text = "]";
  for (size_t d = shape.size(); d-- > 0; position /= shape[d])
    text = (d ? ", " : "") + std::to_string(position % shape[d]) + text;
  return "[" + text;
}

/// Whether all indices are within limits; an error if not.
bool checkIndices(mlir::Operation *op, unsigned operand, const HostTensor &indices,
                  std::span<const int64_t> limits, Diagnostics &diagnostics) {
  std::optional<BadIndex> bad = findBadIndex(indices, limits);
  if (!bad)
    return true;
  Origin origin = originOf(op->getOperand(operand));
  std::string value =
      std::to_string(bad->value) + " at position " + positionText(origin.shape, bad->position);
  std::string limit = bad->limit == 0 ? "there is nothing to pick from"
                                      : "the limit is " + std::to_string(bad->limit) + " (" +
                                            std::to_string(-bad->limit) + " to " +
                                            std::to_string(bad->limit - 1) + " are valid)";
  diagnostics.error(
      nodeName(op), "an index is out of range",
      (origin.input.empty() ? "the computed indices hold " : "input '" + origin.input + "' holds ") + value +
          ", " + limit);
  return false;
}

void Table::addIndexing() {
  add<nn::GatherOp>(Numbers::AsTheyAre, [](nn::GatherOp op, Operands x, const Tools &t) {
    auto axis = static_cast<int64_t>(op.getAxis());
    int64_t limit = x[0].dim(axis);
    return checkIndices(op, 1, x[1], {&limit, 1}, t.diagnostics) ? gather(t.pool, x[0], x[1], axis)
                                                                 : HostTensor();
  });
  add<nn::GatherElementsOp>(Numbers::AsTheyAre, [](nn::GatherElementsOp op, Operands x, const Tools &t) {
    auto axis = static_cast<int64_t>(op.getAxis());
    int64_t limit = x[0].dim(axis);
    return checkIndices(op, 1, x[1], {&limit, 1}, t.diagnostics) ? gatherElements(t.pool, x[0], x[1], axis)
                                                                 : HostTensor();
  });
  add<nn::GatherNdOp>(Numbers::AsTheyAre, [](nn::GatherNdOp op, Operands x, const Tools &t) {
    auto batch = static_cast<int64_t>(op.getBatchDims());
    auto limits = x[0].shape().begin() + batch;
    Shape tuple(limits, limits + x[1].shape().back());
    return checkIndices(op, 1, x[1], tuple, t.diagnostics) ? gatherNd(t.pool, x[0], x[1], batch)
                                                           : HostTensor();
  });
  static_assert(static_cast<int>(nn::ScatterReduction::None) == static_cast<int>(ScatterReduction::None) &&
                static_cast<int>(nn::ScatterReduction::Mul) == static_cast<int>(ScatterReduction::Mul) &&
                static_cast<int>(nn::ScatterReduction::Min) == static_cast<int>(ScatterReduction::Min));
  add<nn::ScatterElementsOp>(Numbers::Widened, [](nn::ScatterElementsOp op, Operands x, const Tools &t) {
    auto axis = static_cast<int64_t>(op.getAxis());
    int64_t limit = x[0].dim(axis);
    return checkIndices(op, 1, x[1], {&limit, 1}, t.diagnostics)
               ? scatterElements(static_cast<ScatterReduction>(op.getReduction()), x[0], x[1], x[2], axis)
               : HostTensor();
  });
  add<nn::ScatterNdOp>(Numbers::Widened, [](nn::ScatterNdOp op, Operands x, const Tools &t) {
    Shape tuple(x[0].shape().begin(), x[0].shape().begin() + x[1].shape().back());
    return checkIndices(op, 1, x[1], tuple, t.diagnostics)
               ? scatterNd(static_cast<ScatterReduction>(op.getReduction()), x[0], x[1], x[2])
               : HostTensor();
  });
}

/// The tensors of optional operands that are there follow each other; this says which operand is which.
HostTensor operand(Operands x, mlir::Operation *op, mlir::Value value) {
  if (!value)
    return {};
  // The same value may be several operands; then so are the tensors the same.
  for (auto [i, candidate] : llvm::enumerate(op->getOperands()))
    if (candidate == value)
      return x[i];
  return {};
}

template <typename Op>
Window windowOf(Op op) {
  return {list(op.getStrides()), list(op.getDilations()), list(op.getPads())};
}

void Table::addContractions() {
  add<nn::MatmulOp>(Numbers::Widened,
                    [](nn::MatmulOp, Operands x, const Tools &t) { return matmul(t.pool, x[0], x[1]); });
  add<nn::LinearOp>(Numbers::Widened, [](nn::LinearOp op, Operands x, const Tools &t) {
    return linear(t.pool, x[0], x[1], operand(x, op, op.getBias()), op.getTransposed());
  });
  add<nn::GroupedLinearOp>(Numbers::AsTheyAre, [](nn::GroupedLinearOp op, Operands x, const Tools &t) {
    GroupedWeights weights{x[1], x[2], operand(x, op, op.getZeroPoint()), operand(x, op, op.getOffset())};
    return groupedLinear(t.pool, x[0], weights);
  });
  add<nn::ConvOp>(Numbers::Widened, [](nn::ConvOp op, Operands x, const Tools &t) {
    return conv(t.pool, x[0], x[1], operand(x, op, op.getBias()), windowOf(op),
                static_cast<int64_t>(op.getGroups()));
  });
  add<nn::ConvTransposeOp>(Numbers::Widened, [](nn::ConvTransposeOp op, Operands x, const Tools &t) {
    return convTranspose(t.pool, x[0], x[1], operand(x, op, op.getBias()), windowOf(op),
                         list(op.getOutputPadding()), static_cast<int64_t>(op.getGroups()));
  });
  static_assert(static_cast<int>(nn::PoolKind::Average) == static_cast<int>(PoolKind::Average));
  add<nn::PoolOp>(Numbers::Widened, [](nn::PoolOp op, Operands x, const Tools &t) {
    return poolWindows(t.pool, static_cast<PoolKind>(op.getKind()), x[0], list(op.getKernel()), windowOf(op),
                       op.getCountPadding());
  });
}

void Table::addReductions() {
  static_assert(static_cast<int>(nn::ReduceKind::Sum) == static_cast<int>(Reduce::Sum) &&
                static_cast<int>(nn::ReduceKind::Max) == static_cast<int>(Reduce::Max) &&
                static_cast<int>(nn::ReduceKind::LogSumExp) == static_cast<int>(Reduce::LogSumExp));
  add<nn::ReduceOp>(Numbers::Widened, [](nn::ReduceOp op, Operands x, const Tools &t) {
    return reduce(t.pool, static_cast<Reduce>(op.getKind()), x[0], list(op.getAxes()), op.getKeep());
  });
  add<nn::ArgReduceOp>(Numbers::Widened, [](nn::ArgReduceOp op, Operands x, const Tools &t) {
    return argReduce(t.pool, op.getKind() == nn::ReduceKind::Max, x[0], static_cast<int64_t>(op.getAxis()),
                     op.getKeep(), op.getLast());
  });
  addMany<nn::TopKOp>(Numbers::Widened, [](nn::TopKOp op, Operands x, const Tools &t) -> Results {
    TopK top = topK(t.pool, x[0], static_cast<int64_t>(op.getK()), static_cast<int64_t>(op.getAxis()),
                    op.getSmallest());
    return std::vector<HostTensor>{top.values, top.indices};
  });
  add<nn::CumSumOp>(Numbers::Widened, [](nn::CumSumOp op, Operands x, const Tools &t) {
    return cumSum(t.pool, x[0], static_cast<int64_t>(op.getAxis()), op.getExclusive(), op.getReverse());
  });
  add<nn::SoftmaxOp>(Numbers::Widened, [](nn::SoftmaxOp op, Operands x, const Tools &t) {
    return softmax(t.pool, x[0], static_cast<int64_t>(op.getAxis()), op.getZeroMasked());
  });
  add<nn::LogSoftmaxOp>(Numbers::Widened, [](nn::LogSoftmaxOp op, Operands x, const Tools &t) {
    return logSoftmax(t.pool, x[0], static_cast<int64_t>(op.getAxis()));
  });
  add<nn::LayerNormOp>(Numbers::Widened, [](nn::LayerNormOp op, Operands x, const Tools &t) {
    return layerNorm(t.pool, x[0], x[1], operand(x, op, op.getBias()), static_cast<int64_t>(op.getAxis()),
                     op.getEpsilon().convertToFloat());
  });
  add<nn::RmsNormOp>(Numbers::Widened, [](nn::RmsNormOp op, Operands x, const Tools &t) {
    return rmsNorm(t.pool, x[0], x[1], static_cast<int64_t>(op.getAxis()), op.getEpsilon().convertToFloat());
  });
  add<nn::GroupNormOp>(Numbers::Widened, [](nn::GroupNormOp op, Operands x, const Tools &t) {
    return groupNorm(t.pool, x[0], x[1], x[2], static_cast<int64_t>(op.getGroups()),
                     op.getEpsilon().convertToFloat());
  });
  add<nn::AttentionOp>(Numbers::Widened, [](nn::AttentionOp op, Operands x, const Tools &t) {
    Attention how;
    how.scale = op.getScale().convertToFloat();
    if (auto offset = op.getCausalOffset())
      how.causalOffset = static_cast<int64_t>(*offset);
    how.softcap = op.getSoftcap().convertToFloat();
    how.zeroMasked = op.getZeroMasked();
    how.integer = op.isInteger();
    how.valueScale = op.getValueScale().convertToFloat();
    if (how.integer) // Products of 8 bits, and sums of a thousand of them, are exact in fp32.
      return attention(t.pool, cast(t.pool, x[0], ElementType::F32), cast(t.pool, x[1], ElementType::F32),
                       cast(t.pool, x[2], ElementType::F32), operand(x, op, op.getMask()), how);
    return attention(t.pool, x[0], x[1], x[2], operand(x, op, op.getMask()), how);
  });
  add<nn::RopeOp>(Numbers::Widened, [](nn::RopeOp op, Operands x, const Tools &t) {
    return rope(t.pool, x[0], x[1], x[2], op.getInterleaved());
  });
}

void Table::addQuantization() {
  // Scales of small floats are exact in fp32; so is what they multiply or divide.
  add<nn::QuantizeOp>(Numbers::AsTheyAre, [](nn::QuantizeOp op, Operands x, const Tools &t) {
    HostTensor input = cast(t.pool, x[0], ElementType::F32), scale = cast(t.pool, x[1], ElementType::F32);
    QuantizedAxis axis = {static_cast<int64_t>(op.getAxis()), static_cast<int64_t>(op.getBlockSize())};
    return quantize(t.pool, input, scale, operand(x, op, op.getZeroPoint()), axis,
                    elementTypeOf(resultType(op)), op.getSaturate());
  });
  add<nn::DequantizeOp>(Numbers::AsTheyAre, [](nn::DequantizeOp op, Operands x, const Tools &t) {
    QuantizedAxis axis = {static_cast<int64_t>(op.getAxis()), static_cast<int64_t>(op.getBlockSize())};
    HostTensor result = dequantize(t.pool, x[0], cast(t.pool, x[1], ElementType::F32),
                                   operand(x, op, op.getZeroPoint()), axis);
    return cast(t.pool, result, elementTypeOf(resultType(op)));
  });
  static_assert(static_cast<int>(nn::Rounding::HalfEven) ==
                    static_cast<int>(Requantization::Rounding::HalfEven) &&
                static_cast<int>(nn::Rounding::HalfUp) == static_cast<int>(Requantization::Rounding::HalfUp));
  add<nn::RequantizeOp>(Numbers::AsTheyAre, [](nn::RequantizeOp op, Operands x, const Tools &t) {
    Requantization how;
    how.fixedPoint = op.getKind() == nn::RequantizeKind::FixedPoint;
    how.scales = op.getScales().vec();
    how.multipliers = op.getMultipliers().vec();
    how.shifts = op.getShifts().vec();
    how.axis = static_cast<int64_t>(op.getAxis());
    how.zeroPoint = static_cast<int64_t>(op.getZeroPoint());
    how.rounding = static_cast<Requantization::Rounding>(op.getRounding());
    return requantize(t.pool, x[0], how, elementTypeOf(resultType(op)));
  });
}

const Table &table() {
  static const Table all;
  return all;
}

} // namespace

bool canEvaluate(mlir::Operation *operation) {
  return table().find(operation);
}

std::optional<std::vector<HostTensor>> evaluate(mlir::Operation *operation,
                                                llvm::ArrayRef<HostTensor> operands, ThreadPool &pool,
                                                ConstantReader &constants, Diagnostics &diagnostics) {
  const Handler *handler = table().find(operation);
  if (!handler) {
    diagnostics.error(nodeName(operation), "the interpreter has no meaning for operation '" +
                                               operation->getName().getStringRef().str() + "'");
    return std::nullopt;
  }
  Tools tools{pool, constants, diagnostics};
  if (!handler->widens)
    return handler->run(operation, operands, tools);
  llvm::SmallVector<HostTensor, 4> wide;
  for (const HostTensor &operand : operands)
    wide.push_back(operand ? widened(pool, operand) : operand);
  Results results = handler->run(operation, wide, tools);
  if (results)
    for (auto [i, result] : llvm::enumerate(*results))
      result = cast(pool, result, elementTypeOf(resultType(operation, static_cast<unsigned>(i))));
  return results;
}

std::function<std::optional<std::vector<mlir::DenseElementsAttr>>(mlir::Operation *,
                                                                  llvm::ArrayRef<mlir::DenseElementsAttr>)>
foldingEvaluator(ThreadPool &pool) {
  return [&pool](mlir::Operation *operation, llvm::ArrayRef<mlir::DenseElementsAttr> operands)
             -> std::optional<std::vector<mlir::DenseElementsAttr>> {
    if (!canEvaluate(operation))
      return std::nullopt;
    llvm::SmallVector<HostTensor, 4> tensors;
    for (mlir::DenseElementsAttr operand : operands)
      tensors.push_back(operand ? fromElements(operand) : HostTensor());
    ConstantReader constants(pool);
    Diagnostics ignored; // whoever runs what is left meets the same error with its place
    Results results = evaluate(operation, tensors, pool, constants, ignored);
    if (!results)
      return std::nullopt;
    std::vector<mlir::DenseElementsAttr> values;
    for (const HostTensor &result : *results)
      values.push_back(toElements(result, *operation->getContext()));
    return values;
  };
}

std::string nodeName(mlir::Operation *operation) {
  llvm::StringRef name = nn::nodeName(operation->getLoc());
  return (name.empty() ? operation->getName().getStringRef() : name).str();
}

} // namespace npuc::interpret
