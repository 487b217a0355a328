// nn-narrow-integers: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNNARROWINTEGERS
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// The values that a tensor's elements may take, both ends included.
struct Range {
  int64_t low = INT64_MIN, high = INT64_MAX;

  bool isNarrow() const { return low >= INT32_MIN && high <= INT32_MAX; }
};

Range join(Range a, Range b) {
  return {std::min(a.low, b.low), std::max(a.high, b.high)};
}

Range meet(Range a, Range b) {
  return {std::max(a.low, b.low), std::min(a.high, b.high)};
}

/// A range of 128-bit ends, unbounded where it leaves 64 bits.
Range bounded(__int128 low, __int128 high) {
  return low < INT64_MIN || high > INT64_MAX ? Range() : Range{int64_t(low), int64_t(high)};
}

Range sum(Range a, Range b) {
  return bounded(__int128(a.low) + b.low, __int128(a.high) + b.high);
}

Range negated(Range a) {
  return bounded(-__int128(a.high), -__int128(a.low));
}

Range product(Range a, Range b) {
  __int128 ends[] = {__int128(a.low) * b.low, __int128(a.low) * b.high, __int128(a.high) * b.low,
                     __int128(a.high) * b.high};
  return bounded(*llvm::min_element(ends), *llvm::max_element(ends));
}

/// Integers that devices have no type for: of 64 bits, and unsigned ones of 32.
bool isWide(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto integer = tensor ? dyn_cast<IntegerType>(tensor.getElementType()) : IntegerType();
  return integer && (integer.getWidth() == 64 || (integer.getWidth() == 32 && integer.isUnsigned()));
}

bool isWide(Value value) {
  return isWide(value.getType());
}

RankedTensorType narrowed(Type type) {
  return cast<RankedTensorType>(type).clone(IntegerType::get(type.getContext(), 32));
}

Range rangeOfType(Type type) {
  auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(type));
  if (integer && integer.getWidth() == 64 && integer.isUnsigned())
    return {0, INT64_MAX};
  if (!integer || integer.getWidth() >= 64)
    return {};
  if (integer.isUnsigned() || integer.getWidth() == 1)
    return {0, (int64_t(1) << integer.getWidth()) - 1};
  return {-(int64_t(1) << (integer.getWidth() - 1)), (int64_t(1) << (integer.getWidth() - 1)) - 1};
}

/// What the elements of every integer of a function may be, given its arguments' ranges.
class Ranges {
public:
  Ranges(func::FuncOp function, ArrayRef<Range> arguments) {
    for (auto [argument, range] : llvm::zip(function.getArguments(), arguments))
      ranges[argument] = range;
    for (Operation &op : function.front())
      for (OpResult result : op.getResults())
        if (isa<RankedTensorType>(result.getType()))
          ranges[result] = rangeOf(result);
  }

  Range get(Value value) const { return ranges.lookup(value); }

private:
  /// What the operation can give, or, where that might wrap, all that the type holds.
  Range rangeOf(OpResult result) const {
    Type element = getElementTypeOrSelf(result.getType());
    Range ofType = rangeOfType(element);
    if (!isa<IntegerType>(element) || element.isInteger(1) ||
        (!element.isSignlessInteger() && !isWide(result)))
      return ofType;
    Range found = rangeOf(result.getOwner());
    return found.low >= ofType.low && found.high <= ofType.high ? found : ofType;
  }

  Range rangeOf(Operation *op) const {
    auto in = [&](unsigned operand) { return get(op->getOperand(operand)); };
    if (auto constant = dyn_cast<ConstantOp>(op))
      return rangeOfConstant(constant);
    if (auto range = dyn_cast<RangeOp>(op)) {
      int64_t start = cast<IntegerAttr>(range.getStart()).getInt(),
              step = cast<IntegerAttr>(range.getStep()).getInt();
      __int128 last =
          __int128(start) + __int128(step) * std::max<int64_t>(range.getType().getNumElements() - 1, 0);
      return bounded(std::min<__int128>(start, last), std::max<__int128>(start, last));
    }
    if (isa<AddOp>(op))
      return sum(in(0), in(1));
    if (isa<SubOp>(op))
      return sum(in(0), negated(in(1)));
    if (isa<MulOp>(op))
      return product(in(0), in(1));
    if (isa<NegOp>(op))
      return negated(in(0));
    if (isa<AbsOp>(op))
      return meet(join(in(0), negated(in(0))), {0, INT64_MAX});
    if (isa<SignOp>(op))
      return {-1, 1};
    if (isa<ReluOp>(op))
      return {std::max<int64_t>(in(0).low, 0), std::max<int64_t>(in(0).high, 0)};
    // By 0 there is no quotient, nor a remainder.
    if (isa<DivOp>(op))
      return join(in(0), in(1).low < 0 ? negated(in(0)) : Range{0, 0});
    if (auto mod = dyn_cast<ModOp>(op)) {
      Range below = join(in(1), negated(in(1)));
      bool isNegative = mod.getTruncated() ? in(0).low < 0 : in(1).low < 0;
      return {isNegative ? below.low : 0, below.high};
    }
    if (isa<ShiftRightOp>(op) && in(1).low >= 0)
      return join(in(0), {0, 0});
    if (isa<AndOp, OrOp, XorOp>(op))
      return rangeOfBits(op, in(0), in(1));
    if (isa<NotOp>(op))
      return bounded(-1 - __int128(in(0).high), -1 - __int128(in(0).low));
    if (isa<MinOp>(op))
      return {std::min(in(0).low, in(1).low), std::min(in(0).high, in(1).high)};
    if (isa<MaxOp>(op))
      return {std::max(in(0).low, in(1).low), std::max(in(0).high, in(1).high)};
    if (isa<SelectOp>(op))
      return join(in(1), in(2));
    if (auto cast = dyn_cast<CastOp>(op))
      return isa<IntegerType>(typeOf(cast.getInput()).getElementType()) ? in(0) : Range();
    if (isa<ConcatOp>(op)) {
      Range all = in(0);
      for (Value part : op->getOperands())
        all = join(all, get(part));
      return all;
    }
    if (isa<ReshapeOp, TransposeOp, BroadcastOp, SliceOp, GatherOp, GatherElementsOp, GatherNdOp>(op))
      return in(0);
    if (auto pad = dyn_cast<PadOp>(op))
      return join(in(0), pad.getValue() ? get(pad.getValue()) : Range{0, 0});
    if (isa<TriluOp>(op))
      return join(in(0), {0, 0});
    if (auto cumSum = dyn_cast<CumSumOp>(op))
      return join(product(in(0), {0, cumSum.getType().getDimSize(cumSum.getAxis())}), {0, 0});
    if (auto reduce = dyn_cast<ReduceOp>(op))
      return rangeOfReduce(reduce, in(0));
    if (auto reduce = dyn_cast<ArgReduceOp>(op))
      return {0, typeOf(reduce.getInput()).getDimSize(reduce.getAxis()) - 1};
    if (auto top = dyn_cast<TopKOp>(op); top && !isWide(top.getValues()))
      return {0, typeOf(top.getInput()).getDimSize(top.getAxis()) - 1};
    return {};
  }

  /// All numbers of as many bits as the operands need.
  static Range rangeOfBits(Operation *op, Range a, Range b) {
    Range both = join(a, b);
    int64_t ones = 1;
    while (both.high > ones || both.low < -ones - 1) {
      if (ones == INT64_MAX)
        return {};
      ones = 2 * ones + 1;
    }
    if (isa<AndOp>(op) && (a.low >= 0 || b.low >= 0))
      return {0, a.low < 0 ? b.high : b.low < 0 ? a.high : std::min(a.high, b.high)};
    return {both.low >= 0 ? 0 : -ones - 1, ones};
  }

  static Range rangeOfConstant(ConstantOp constant) {
    auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!dense)
      return {};
    if (dense.empty())
      return {0, 0};
    Range range{INT64_MAX, INT64_MIN};
    auto add = [&, isUnsigned = dense.getElementType().isUnsignedInteger()](const APInt &value) {
      auto number = isUnsigned ? int64_t(value.getLimitedValue(INT64_MAX)) : value.getSExtValue();
      range = join(range, {number, number});
    };
    if (dense.isSplat())
      add(dense.getSplatValue<APInt>());
    else
      llvm::for_each(dense.getValues<APInt>(), add);
    return range;
  }

  static Range rangeOfReduce(ReduceOp reduce, Range element) {
    int64_t count = 1;
    for (int64_t axis : reduce.getAxes())
      count *= typeOf(reduce.getInput()).getDimSize(axis);
    if (reduce.getKind() == ReduceKind::Sum)
      return product(element, {count, count});
    bool keeps =
        count > 0 && reduce.getKind() != ReduceKind::Prod && reduce.getKind() != ReduceKind::LogSumExp;
    return keeps ? element : Range();
  }

  llvm::DenseMap<Value, Range> ranges;
};

/// The indices that every table which `value` picks from, directly or moved, has.
Range rangeAsIndex(Value value, int depth = 8) {
  Range range;
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    auto ofTable = [&](Value table, int64_t axis) {
      int64_t size = typeOf(table).getDimSize(axis);
      range = meet(range, {-size, size - 1});
    };
    if (auto gather = dyn_cast<GatherOp>(user); gather && use.getOperandNumber() == 1)
      ofTable(gather.getTable(), gather.getAxis());
    else if (auto gather = dyn_cast<GatherElementsOp>(user); gather && use.getOperandNumber() == 1)
      ofTable(gather.getInput(), gather.getAxis());
    else if (isa<ReshapeOp, TransposeOp, BroadcastOp>(user) && depth > 0)
      range = meet(range, rangeAsIndex(user->getResult(0), depth - 1));
  }
  return range;
}

/// Whether an operation computes the same in 32 bits as in 64 where operands and results fit; integer
/// operands and results then all change together.
bool isWidthless(Operation *op) {
  return isa<AddOp, SubOp, MulOp, DivOp, ModOp, MinOp, MaxOp, NegOp, AbsOp, SignOp, ReluOp, AndOp, OrOp,
             XorOp, NotOp, SelectOp, CompareOp, CastOp, ReshapeOp, TransposeOp, BroadcastOp, SliceOp,
             ConcatOp, PadOp, TriluOp, CumSumOp, ReduceOp, GatherOp, GatherElementsOp, GatherNdOp,
             ScatterElementsOp, ScatterNdOp, ArgReduceOp, TopKOp, ShiftRightOp, RangeOp, ConstantOp>(op);
}

/// Positions, which their operation gives in 64 bits.
bool isPosition(Value value) {
  auto top = value.getDefiningOp<TopKOp>();
  return value.getDefiningOp<ArgReduceOp>() || (top && value == top.getIndices());
}

class Narrower {
public:
  explicit Narrower(func::FuncOp function) : function(function), rewriter(function.getContext()) {}

  void run() {
    SmallVector<Range> arguments = chooseArguments();
    Ranges ranges(function, arguments);
    auto wide = llvm::map_to_vector(function.getArguments(), [](Value argument) { return isWide(argument); });
    SmallVector<Operation *> ops;
    for (Operation &op : function.front())
      ops.push_back(&op);
    for (auto [argument, range] : llvm::zip(function.getArguments(), arguments))
      if (isWide(argument))
        narrow.insert(argument);
    for (Operation *op : ops)
      decide(op, ranges);
    for (Operation *op : ops)
      adapt(op);
    for (Value value : narrow)
      value.setType(narrowed(value.getType()));
    finish(arguments, wide);
  }

private:
  /// What i64 arguments may be taken to hold: all of 32 bits, or less, so that arithmetic on them stays
  /// within.
  static constexpr int widths[] = {31, 30, 24, 16, 8, 4};

  /// What an index can be, within [-2^bits, 2^bits - 1].
  static Range rangeOfArgument(Value argument, int bits) {
    if (!isa<RankedTensorType>(argument.getType()) || !isWide(argument))
      return rangeOfType(argument.getType());
    Range limits{-(int64_t(1) << bits), (int64_t(1) << bits) - 1};
    return meet(meet(limits, rangeOfType(argument.getType())), rangeAsIndex(argument));
  }

  size_t countNarrow(ArrayRef<Range> arguments) {
    Ranges ranges(function, arguments);
    size_t count = 0;
    function.walk([&](Operation *op) {
      for (Value result : op->getResults())
        count += isWide(result) && ranges.get(result).isNarrow();
    });
    return count;
  }

  /// The widest ranges of arguments with which most values fit into 32 bits: one width for all, and then more
  /// for each that does not need to be so narrow.
  SmallVector<Range> chooseArguments() {
    SmallVector<Range> best;
    size_t bestCount = 0;
    for (int bits : widths) {
      auto arguments = llvm::map_to_vector(function.getArguments(),
                                           [&](Value argument) { return rangeOfArgument(argument, bits); });
      size_t count = countNarrow(arguments);
      if (best.empty() || count > bestCount) {
        best = arguments;
        bestCount = count;
      }
    }
    for (auto [i, argument] : llvm::enumerate(function.getArguments()))
      for (int bits : widths) {
        SmallVector<Range> wider = best;
        wider[i] = rangeOfArgument(argument, bits);
        if (wider[i].high <= best[i].high)
          break;
        if (countNarrow(wider) == bestCount) {
          best = wider;
          break;
        }
      }
    return best;
  }

  /// Whether `op` computes in 32 bits: then its i64 results are narrow, and it takes its i64 operands narrow.
  void decide(Operation *op, const Ranges &ranges) {
    auto fits = [&](Value value) { return !isWide(value) || ranges.get(value).isNarrow(); };
    if (!isWidthless(op) || !llvm::all_of(op->getOperands(), fits) || !llvm::all_of(op->getResults(), fits))
      return;
    narrowOps.insert(op);
    for (Value result : op->getResults())
      if (isWide(result) && !isPosition(result))
        narrow.insert(result);
  }

  Value cast(Value value, Type type, std::optional<Location> loc = std::nullopt) {
    return CastOp::create(rewriter, loc.value_or(value.getLoc()), type, value, true);
  }

  /// Brings an operation's operands to the width that it computes in.
  void adapt(Operation *op) {
    bool isNarrow = narrowOps.contains(op);
    rewriter.setInsertionPoint(op);
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      bool takesEither =
          isIndex(operand) || isa<func::ReturnOp>(op) || (isa<CastOp>(op) && narrow.contains(value));
      if (!isWide(value) || takesEither || narrow.contains(value) == isNarrow)
        continue;
      if (!isNarrow) {
        // Its type still reads i64: it is narrowed when all are.
        Value widened = cast(value, value.getType(), op->getLoc());
        operand.set(widened);
      } else {
        operand.set(cast(value, narrowed(value.getType())));
      }
    }
    if (auto constant = dyn_cast<ConstantOp>(op);
        constant && isNarrow && narrow.contains(constant.getResult()))
      constant.setValueAttr(narrowedElements(mlir::cast<DenseElementsAttr>(constant.getValue())));
    if (auto range = dyn_cast<RangeOp>(op); range && isNarrow && narrow.contains(range.getResult())) {
      auto narrowedNumber = [&](TypedAttr value) {
        return rewriter.getI32IntegerAttr(static_cast<int32_t>(mlir::cast<IntegerAttr>(value).getInt()));
      };
      range.setStartAttr(narrowedNumber(range.getStart()));
      range.setStepAttr(narrowedNumber(range.getStep()));
    }
  }

  static bool isIndex(OpOperand &operand) {
    return isa<GatherOp, GatherElementsOp, GatherNdOp, ScatterElementsOp, ScatterNdOp>(operand.getOwner()) &&
           operand.getOperandNumber() == 1;
  }

  static DenseElementsAttr narrowedElements(DenseElementsAttr dense) {
    return mlir::cast<DenseIntElementsAttr>(dense).mapValues(
        IntegerType::get(dense.getContext(), 32), [](const APInt &value) { return value.trunc(32); });
  }

  /// Results and the function's type.
  void finish(ArrayRef<Range> arguments, ArrayRef<bool> wide) {
    Operation *terminator = function.front().getTerminator();
    rewriter.setInsertionPoint(terminator);
    for (OpOperand &operand : terminator->getOpOperands()) {
      Type declared = function.getFunctionType().getResult(operand.getOperandNumber());
      if (!isWide(declared))
        continue;
      // A result that may leave 32 bits stays as the model declares it; indices never do.
      if (isPosition(operand.get()))
        operand.set(cast(operand.get(), narrowed(operand.get().getType())));
      if (!isWide(operand.get()))
        function.setResultAttr(operand.getOperandNumber(), "nn.narrowed",
                               TypeAttr::get(getElementTypeOrSelf(declared)));
    }
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (wide[i]) {
        function.setArgAttr(i, "nn.narrowed",
                            TypeAttr::get(getElementTypeOrSelf(function.getArgumentTypes()[i])));
        function.setArgAttr(i, "nn.range",
                            rewriter.getDenseI64ArrayAttr({arguments[i].low, arguments[i].high}));
      }
    function.setFunctionType(
        rewriter.getFunctionType(function.front().getArgumentTypes(), terminator->getOperandTypes()));
  }

  func::FuncOp function;
  IRRewriter rewriter;
  llvm::SmallPtrSet<Operation *, 32> narrowOps;
  llvm::SetVector<Value> narrow;
};

struct NarrowIntegers : impl::NNNarrowIntegersBase<NarrowIntegers> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (!function.isExternal() && !function.isPrivate() && function.getBody().hasOneBlock())
      Narrower(function).run();
  }
};

} // namespace
} // namespace npuc::nn
