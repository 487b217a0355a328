// nn-outline-segments: see Passes.td.
//
// A function's operations are put into an order in which layers are contiguous, and each gets a color for
// what it is. Layers are then runs of colors that repeat with some period; among the windows of one period
// those whose connections agree become calls of one function.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNOUTLINESEGMENTS
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

/// A segment of fewer operations is not worth a call.
constexpr int64_t minimalLength = 3;

bool isConstant(Operation *op) {
  return op && isa<ConstantOp>(op);
}

bool isContraction(Operation *op) {
  return isa<LinearOp, MatmulOp, AttentionOp, ConvOp>(op);
}

/// The operations of a function's block but constants and the terminator, in an order in which equal layers
/// come out equal and contiguous however the exporter ordered them.
///
/// First come those that no contraction precedes (embeddings, masks, tables of positions): the later in the
/// model the last user of their results, the sooner, so that what all layers share precedes what only the
/// first layer reads. Then the others, in depth-first order from the results.
class LayerOrder {
public:
  explicit LayerOrder(Block &block) : block(block) {
    measure();
    SmallVector<Operation *> early;
    for (Operation &op : block)
      if (isCounted(&op) && depth[&op] == 0)
        early.push_back(&op);
    llvm::stable_sort(early, [&](Operation *a, Operation *b) { return lastUse[a] > lastUse[b]; });
    ops.insert_range(early);
    visitResults();
    for (Operation &op : block)
      if (isCounted(&op))
        visit(&op);
  }

  ArrayRef<Operation *> get() const { return ops.getArrayRef(); }

private:
  static bool isCounted(Operation *op) { return !isConstant(op) && !op->hasTrait<OpTrait::IsTerminator>(); }

  /// depth: contractions on the longest path up to and including an operation. lastUse: for those of depth 0,
  /// the greatest depth among operations that use it, directly or through others of depth 0.
  void measure() {
    for (Operation &op : block) {
      int64_t before = 0;
      for (Value operand : op.getOperands())
        if (Operation *source = operand.getDefiningOp())
          before = std::max(before, depth[source]);
      depth[&op] = before + isContraction(&op);
    }
    for (Operation &op : llvm::reverse(block)) {
      int64_t last = 0;
      for (Operation *user : op.getUsers())
        last = std::max(last, depth.lookup(user) ? depth.lookup(user) : lastUse.lookup(user));
      lastUse[&op] = last;
    }
  }

  void visitResults() {
    auto results = llvm::to_vector(block.getTerminator()->getOperands());
    auto depthOf = [&](Value value) {
      Operation *op = value.getDefiningOp();
      return op ? depth[op] : 0;
    };
    llvm::stable_sort(results, [&](Value a, Value b) { return depthOf(a) > depthOf(b); });
    for (Value result : results)
      if (Operation *op = result.getDefiningOp())
        visit(op);
  }

  /// Adds an operation after all that it needs. (A stack of its own: models are deeper than a thread's.)
  void visit(Operation *root) {
    SmallVector<std::pair<Operation *, unsigned>> stack{{root, 0}};
    while (!stack.empty()) {
      auto &[op, next] = stack.back();
      if (ops.contains(op) || !isCounted(op)) {
        stack.pop_back();
      } else if (next == op->getNumOperands()) {
        ops.insert(op);
        stack.pop_back();
      } else if (Operation *source = op->getOperand(next++).getDefiningOp()) {
        stack.push_back({source, 0});
      }
    }
  }

  Block &block;
  llvm::DenseMap<Operation *, int64_t> depth, lastUse;
  llvm::SetVector<Operation *> ops;
};

/// A number for each operation that is the same for operations of equal name, attributes and types.
SmallVector<unsigned> colorsOf(ArrayRef<Operation *> ops) {
  SmallVector<unsigned> colors;
  llvm::DenseMap<llvm::hash_code, SmallVector<std::pair<Operation *, unsigned>>> known;
  unsigned next = 0;
  auto isEqual = [](Operation *a, Operation *b) {
    return a->getName() == b->getName() && a->getAttrDictionary() == b->getAttrDictionary() &&
           a->getOperandTypes() == b->getOperandTypes() && a->getResultTypes() == b->getResultTypes();
  };
  for (Operation *op : ops) {
    llvm::hash_code hash = llvm::hash_combine(op->getName(), op->getAttrDictionary(),
                                              llvm::hash_combine_range(op->getOperandTypes()),
                                              llvm::hash_combine_range(op->getResultTypes()));
    auto &bucket = known[hash];
    auto *found = llvm::find_if(bucket, [&](auto &entry) { return isEqual(entry.first, op); });
    if (found == bucket.end()) {
      bucket.push_back({op, next++});
      found = &bucket.back();
    }
    colors.push_back(found->second);
  }
  return colors;
}

/// `count` windows of `length` operations, one after another from `start`.
struct Layers {
  int64_t start = 0, length = 0, count = 0;

  int64_t covered() const { return length * count; }
};

/// What windows take from outside and hand out, the same way in each.
struct Interface {
  /// Uses of outside values, by (operation in the window, operand), in groups of those that agree in every
  /// window.
  SmallVector<SmallVector<std::pair<int64_t, unsigned>>> inputs;
  /// Of each input whether it is one constant in all windows, and stays inside.
  SmallVector<bool> stays;
  /// Results used outside, by (operation in the window, result).
  SmallVector<std::pair<int64_t, unsigned>> outputs;
  int64_t activations = 0;
};

class Outliner {
public:
  Outliner(func::FuncOp function, SymbolTable &symbols)
      : function(function), symbols(symbols), order(function.front()), ops(order.get()) {
    for (auto [position, op] : llvm::enumerate(ops))
      positions[op] = position;
  }

  void run() {
    SmallVector<std::pair<Layers, Interface>> chosen;
    findIn(0, ops.size(), colorsOf(ops), chosen);
    if (chosen.empty())
      return;
    llvm::sort(chosen, [](auto &a, auto &b) { return a.first.start < b.first.start; });
    reorder();
    for (auto [number, layers] : llvm::enumerate(chosen))
      outline(layers.first, layers.second, number);
  }

private:
  Operation *at(const Layers &layers, int64_t window, int64_t offset) const {
    return ops[layers.start + window * layers.length + offset];
  }

  /// The place of `value`'s operation in the window, or -1 if it is computed outside.
  int64_t inside(const Layers &layers, int64_t window, Value value) const {
    Operation *op = value.getDefiningOp();
    auto found = op ? positions.find(op) : positions.end();
    if (found == positions.end())
      return -1;
    int64_t offset = found->second - layers.start - window * layers.length;
    return offset >= 0 && offset < layers.length ? offset : -1;
  }

  /// Whether window `b` connects its operations as window `a` does.
  bool isEqual(const Layers &layers, int64_t a, int64_t b) const {
    for (int64_t i = 0; i < layers.length; ++i)
      for (auto [x, y] : llvm::zip(at(layers, a, i)->getOperands(), at(layers, b, i)->getOperands())) {
        int64_t place = inside(layers, a, x);
        if (place != inside(layers, b, y) ||
            (place >= 0 && cast<OpResult>(x).getResultNumber() != cast<OpResult>(y).getResultNumber()))
          return false;
      }
    return true;
  }

  /// Whether window `b` reads a result of window `a`. Layers do; the projections of one input, equal as they
  /// are, do not.
  bool feeds(const Layers &layers, int64_t a, int64_t b) const {
    for (int64_t i = 0; i < layers.length; ++i)
      for (Value operand : at(layers, b, i)->getOperands())
        if (inside(layers, a, operand) >= 0)
          return true;
    return false;
  }

  /// The longest run of equally connected windows among `layers`, each of which feeds the next.
  Layers connected(Layers layers) const {
    Layers best{layers.start, layers.length, 0};
    int64_t first = 0;
    for (int64_t window = 1; window <= layers.count; ++window) {
      if (window < layers.count && isEqual(layers, first, window) && feeds(layers, window - 1, window))
        continue;
      if (window - first > best.count)
        best = {layers.start + first * layers.length, layers.length, window - first};
      first = window;
    }
    return best;
  }

  Interface interfaceOf(const Layers &layers) const {
    Interface result;
    llvm::MapVector<SmallVector<Value>, SmallVector<std::pair<int64_t, unsigned>>,
                    std::map<SmallVector<Value>, unsigned, Less>>
        inputs;
    for (int64_t i = 0; i < layers.length; ++i) {
      for (OpOperand &operand : at(layers, 0, i)->getOpOperands()) {
        if (inside(layers, 0, operand.get()) >= 0)
          continue;
        SmallVector<Value> values;
        for (int64_t window = 0; window < layers.count; ++window)
          values.push_back(at(layers, window, i)->getOperand(operand.getOperandNumber()));
        inputs[values].push_back({i, operand.getOperandNumber()});
      }
      for (OpResult value : at(layers, 0, i)->getResults()) {
        auto leaves = [&](int64_t window) {
          return llvm::any_of(at(layers, window, i)->getResult(value.getResultNumber()).getUsers(),
                              [&](Operation *user) { return !isInWindow(layers, window, user); });
        };
        if (llvm::any_of(llvm::seq(layers.count), leaves))
          result.outputs.push_back({i, value.getResultNumber()});
      }
    }
    result.activations = result.outputs.size();
    for (auto &[values, uses] : inputs) {
      auto attribute = [](Value value) {
        auto constant = value.getDefiningOp<ConstantOp>();
        return constant ? Attribute(constant.getValue()) : Attribute();
      };
      result.inputs.push_back(uses);
      bool same = attribute(values[0]) && llvm::all_equal(llvm::map_range(values, attribute));
      result.stays.push_back(same);
      result.activations += !attribute(values[0]);
    }
    return result;
  }

  bool isInWindow(const Layers &layers, int64_t window, Operation *op) const {
    auto found = positions.find(op);
    if (found == positions.end())
      return false;
    int64_t offset = found->second - layers.start - window * layers.length;
    return offset >= 0 && offset < layers.length;
  }

  /// Looks for layers among the operations [begin, end), and then before and after what it has found.
  void findIn(int64_t begin, int64_t end, ArrayRef<unsigned> colors,
              SmallVectorImpl<std::pair<Layers, Interface>> &chosen) {
    Layers best;
    Interface bestInterface;
    for (int64_t length = minimalLength; 2 * length <= end - begin; ++length)
      for (int64_t start = begin; start + 2 * length <= end;) {
        int64_t stop = start;
        while (stop + length < end && colors[stop] == colors[stop + length])
          ++stop;
        // Colors of [start, stop) repeat `length` later, so that [start, stop + length) is one run.
        if (stop - start >= length && (stop + length - start) / length * length >= best.covered())
          choose(start, stop + length, length, best, bestInterface);
        start = stop + 1;
      }
    if (best.count < 2)
      return;
    chosen.push_back({best, bestInterface});
    findIn(begin, best.start, colors, chosen);
    findIn(best.start + best.covered(), end, colors, chosen);
  }

  /// Cuts the run [begin, end) into windows of `length` in each possible way; keeps the best seen so far: the
  /// one that covers most, then of the shortest windows, then with the fewest activations passed, then the
  /// last.
  void choose(int64_t begin, int64_t end, int64_t length, Layers &best, Interface &bestInterface) const {
    for (int64_t start = begin; start < begin + length && start + 2 * length <= end; ++start) {
      Layers layers = connected({start, length, (end - start) / length});
      if (layers.count < 2 || layers.covered() < best.covered() ||
          (layers.covered() == best.covered() && best.length && length > best.length))
        continue;
      Interface found = interfaceOf(layers);
      bool isBetter = layers.covered() > best.covered() || found.activations <= bestInterface.activations;
      if (!isBetter)
        continue;
      best = layers;
      bestInterface = found;
    }
  }

  /// Puts the function's operations into the order that the windows are contiguous in, after all constants.
  void reorder() {
    Block &block = function.front();
    Operation *terminator = block.getTerminator();
    for (Operation *op : ops)
      op->moveBefore(terminator);
  }

  void outline(const Layers &layers, const Interface &interface, size_t number) {
    OpBuilder builder(function.getContext());
    func::FuncOp segment = makeSegment(layers, interface, number);
    for (int64_t window = 0; window < layers.count; ++window) {
      Operation *first = at(layers, window, 0);
      SmallVector<Value> operands;
      for (auto [uses, stays] : llvm::zip(interface.inputs, interface.stays))
        if (!stays)
          operands.push_back(at(layers, window, uses[0].first)->getOperand(uses[0].second));
      builder.setInsertionPoint(at(layers, window, layers.length - 1));
      auto call = func::CallOp::create(builder, first->getLoc(), segment, operands);
      SmallVector<Attribute> nodes;
      for (int64_t i = 0; i < layers.length; ++i)
        nodes.push_back(at(layers, window, i)->getLoc());
      call->setAttr(nodesAttr, builder.getArrayAttr(nodes));
      for (auto [output, result] : llvm::zip(interface.outputs, call.getResults()))
        at(layers, window, output.first)
            ->getResult(output.second)
            .replaceUsesWithIf(result,
                               [&](OpOperand &use) { return !isInWindow(layers, window, use.getOwner()); });
      for (int64_t i = layers.length; i-- > 0;) {
        positions.erase(at(layers, window, i));
        at(layers, window, i)->erase();
      }
    }
  }

  func::FuncOp makeSegment(const Layers &layers, const Interface &interface, size_t number) {
    OpBuilder builder(function.getContext());
    SmallVector<Type> operands, results;
    auto operandOf = [&](std::pair<int64_t, unsigned> use) {
      return at(layers, 0, use.first)->getOperand(use.second);
    };
    for (auto [uses, stays] : llvm::zip(interface.inputs, interface.stays))
      if (!stays)
        operands.push_back(operandOf(uses[0]).getType());
    for (auto [offset, result] : interface.outputs)
      results.push_back(at(layers, 0, offset)->getResult(result).getType());
    auto segment =
        func::FuncOp::create(function.getLoc(), (function.getName() + "_segment_" + Twine(number)).str(),
                             builder.getFunctionType(operands, results));
    segment.setPrivate();
    symbols.insert(segment, std::next(function->getIterator()));
    Block *block = segment.addEntryBlock();
    builder.setInsertionPointToStart(block);
    IRMapping mapping;
    unsigned next = 0;
    for (auto [uses, stays] : llvm::zip(interface.inputs, interface.stays)) {
      Value outer = operandOf(uses[0]);
      mapping.map(outer, stays ? builder.clone(*outer.getDefiningOp())->getResult(0)
                               : Value(block->getArgument(next++)));
      // Values that are the same in the first window may differ in others: each use has its own operand.
      for (auto [offset, operand] : uses)
        byUse[{offset, operand}] = mapping.lookup(outer);
    }
    for (int64_t i = 0; i < layers.length; ++i) {
      Operation *copy = builder.clone(*at(layers, 0, i), mapping);
      for (unsigned operand = 0; operand < copy->getNumOperands(); ++operand)
        if (Value own = byUse.lookup({i, operand}))
          copy->setOperand(operand, own);
    }
    byUse.clear();
    auto returned = llvm::map_to_vector(interface.outputs, [&](std::pair<int64_t, unsigned> output) {
      return mapping.lookup(at(layers, 0, output.first)->getResult(output.second));
    });
    func::ReturnOp::create(builder, function.getLoc(), returned);
    return segment;
  }

  /// An order of lists of values that serves as a map's key only: no result depends on it.
  struct Less {
    bool operator()(const SmallVector<Value> &a, const SmallVector<Value> &b) const {
      return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](Value x, Value y) {
        return x.getAsOpaquePointer() < y.getAsOpaquePointer();
      });
    }
  };

  func::FuncOp function;
  SymbolTable &symbols;
  LayerOrder order;
  ArrayRef<Operation *> ops;
  llvm::DenseMap<Operation *, int64_t> positions;
  llvm::DenseMap<std::pair<int64_t, unsigned>, Value> byUse;
};

struct OutlineSegments : impl::NNOutlineSegmentsBase<OutlineSegments> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    auto isEntry = [](func::FuncOp function) { return !function.isExternal() && !function.isPrivate(); };
    auto functions = llvm::to_vector(llvm::make_filter_range(getOperation().getOps<func::FuncOp>(), isEntry));
    for (func::FuncOp function : functions)
      if (function.getBody().hasOneBlock())
        Outliner(function, symbols).run();
  }
};

} // namespace
} // namespace npuc::nn
