#include "backends/cuda/codegen/Kernel.h"
#include "compiler/tile/Loops.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// Runs of lanes that a thread holds in registers; of more of them it computes each anew where it is needed.
constexpr int64_t greatestRuns = 8;
constexpr int64_t wantedRuns = 4, greatestWarps = 16, warpsOfBlock = 4;

class RowsWriter {
public:
  RowsWriter(const tile::Group &group, Kernel &kernel)
      : group(group), kernel(kernel), e(kernel.emit()),
        scalars(e, [&](Value t) { return kernel.pointerTo(t); }) {
    llvm::SetVector<Operation *> members = group.members();
    along = tile::loopsAlong(group.root(), members);
    rows = tile::cuttableLoops(group.root(), members);
    for (LinalgOp op : group.operations)
      if (op.getNumReductionLoops() == 0)
        scalars.inlined.insert(op);
  }

  LogicalResult write() {
    LinalgOp root = group.root();
    int64_t rowCount = 1, chunks = 1;
    SmallVector<int64_t> rowExtents, rootExtents = root.getStaticLoopRanges();
    for (unsigned loop : rows.set_bits()) {
      rowExtents.push_back(rootExtents[loop]);
      rowCount *= rootExtents[loop];
    }
    unsigned reductions = 0;
    for (LinalgOp op : group.operations) {
      if (op.getNumReductionLoops() == 0 && op != root)
        continue;
      SmallVector<unsigned> inner = innerLoops(op);
      if (op.getNumReductionLoops() > 0) {
        ++reductions;
        if (inner.size() != op.getNumReductionLoops() || !combinerOf(op))
          return failure();
      }
      chunks = std::max(chunks, runsOf(op));
    }
    if (reductions == 0)
      return failure();
    while (warps < greatestWarps && chunks > warps * int64_t(warpSize) * wantedRuns)
      warps *= 2;
    int64_t rowsOfBlock = std::max<int64_t>(1, warpsOfBlock / warps);
    kernel.threads = unsigned(rowsOfBlock * warps * warpSize);
    kernel.grid[0] = unsigned(llvm::divideCeil(rowCount, rowsOfBlock));
    if (warps > 1)
      kernel.sharedBytes = unsigned(rowsOfBlock * reductions * warps * 4);

    Value thread = e.threadId();
    Value row = e.blockIdX();
    lane = thread;
    firstSum = e.index(0);
    if (rowsOfBlock > 1) {
      firstSum = e.mul(e.div(thread, warps * warpSize), reductions * warps);
      row = e.add(e.mul(row, rowsOfBlock), e.div(thread, warps * warpSize));
      lane = e.rem(thread, warps * warpSize);
      if (rowCount % rowsOfBlock) {
        // The last rows are computed several times, so that all threads do the same.
        inRows = e.less(row, rowCount);
        row = e.select(inRows, row, e.index(rowCount - 1));
      }
    }
    SmallVector<Value> at = e.delinearize(row, rowExtents);
    for (auto [loop, index] : llvm::zip_equal(rows.set_bits(), at))
      rowAt[loop] = index;

    for (LinalgOp op : group.operations)
      if (op.getNumReductionLoops() > 0)
        reduce(op);
    storeRoot();
    return success();
  }

private:
  SmallVector<unsigned> innerLoops(LinalgOp op) {
    SmallVector<unsigned> inner;
    ArrayRef<int> rootLoops = along.find(op)->second;
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (rootLoops[loop] < 0 || !rows[rootLoops[loop]])
        inner.push_back(loop);
    return inner;
  }
  SmallVector<int64_t> innerExtents(LinalgOp op) {
    SmallVector<int64_t> extents = op.getStaticLoopRanges();
    return llvm::map_to_vector(innerLoops(op), [&](unsigned loop) { return extents[loop]; });
  }
  int64_t lanesOf(ArrayRef<int64_t> extents) const {
    return extents.empty() ? 1 : npuc::cuda::lanesOf(group, extents.back());
  }
  int64_t runsOf(LinalgOp op) {
    SmallVector<int64_t> extents = innerExtents(op);
    int64_t total = 1;
    for (int64_t extent : extents)
      total *= extent;
    return total / lanesOf(extents);
  }

  /// The loops of an operation at run `run` of its inner loops.
  struct Run {
    Value inside; ///< Whether there is such a run; null: it is certain.
    SmallVector<Position> inner;
  };
  Run runAt(ArrayRef<int64_t> extents, Value run, int64_t runs, bool certain) {
    Run result;
    if (!certain) {
      result.inside = e.less(run, runs);
      run = e.select(result.inside, run, e.index(runs - 1));
    }
    SmallVector<int64_t> counts(extents);
    int64_t lanes = lanesOf(extents);
    if (!counts.empty())
      counts.back() /= lanes;
    for (Value index : e.delinearize(run, counts))
      result.inner.push_back({index, 0, 1});
    if (!counts.empty())
      result.inner.back() = {e.mul(result.inner.back().base, lanes), 1, lanes};
    return result;
  }
  /// Runs of the same extents have the same indices, so that what was computed of them is found again.
  Run unrolledRun(ArrayRef<int64_t> extents, int64_t i, int64_t runs) {
    auto [entry, isNew] = unrolled.try_emplace({std::vector<int64_t>(extents.begin(), extents.end()), i});
    if (isNew) {
      int64_t team = warps * warpSize;
      entry->second = runAt(extents, e.add(lane, i * team), runs, (i + 1) * team <= runs);
    }
    return entry->second;
  }
  /// Loops that the run has no place of are at 0.
  SmallVector<Position> loopsAt(LinalgOp op, const Run &run) {
    SmallVector<Position> loops(op.getNumLoops(), Position{e.index(0), 0, 0});
    ArrayRef<int> rootLoops = along.find(op)->second;
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (rootLoops[loop] >= 0 && rows[rootLoops[loop]])
        loops[loop] = {rowAt[rootLoops[loop]], 0, 1};
    for (auto [loop, position] : llvm::zip(innerLoops(op), run.inner))
      loops[loop] = position;
    return loops;
  }
  /// Calls `body` for every run of an operation's inner loops; it carries `carried` along.
  using Body = llvm::function_ref<SmallVector<Value>(const Run &, ValueRange)>;
  SmallVector<Value> forEachRun(LinalgOp op, SmallVector<Value> carried, Body body) {
    SmallVector<int64_t> extents = innerExtents(op);
    int64_t runs = runsOf(op), team = warps * warpSize, times = llvm::divideCeil(runs, team);
    if (times <= greatestRuns) {
      for (int64_t i = 0; i < times; ++i)
        carried = body(unrolledRun(extents, i, runs), carried);
      return carried;
    }
    auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(times * team), e.index(team), carried);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(loop.getBody());
    if (carried.empty())
      e.b.setInsertionPoint(loop.getBody()->getTerminator());
    scalars.scoped([&] {
      Run run = runAt(extents, e.add(loop.getInductionVar(), lane), runs, runs % team == 0);
      SmallVector<Value> next = body(run, loop.getRegionIterArgs());
      if (!carried.empty())
        scf::YieldOp::create(e.b, e.loc, next);
    });
    return SmallVector<Value>(loop.getResults());
  }

  void reduce(LinalgOp op) {
    Combiner combiner = *combinerOf(op);
    Value neutral = arith::ConstantOp::create(e.b, e.loc, combiner.neutral);
    int64_t lanes = lanesOf(innerExtents(op));
    SmallVector<Value> sums =
        forEachRun(op, SmallVector<Value>(lanes, neutral), [&](const Run &run, ValueRange old) {
          Lanes next = scalars.evaluate(op, loopsAt(op, run), unsigned(lanes), {Lanes(old)})[0];
          if (run.inside)
            for (auto [value, before] : llvm::zip_equal(next, old))
              value = e.select(run.inside, value, before);
          return next;
        });
    Value sum = sums[0];
    for (Value other : ArrayRef(sums).drop_front())
      sum = combiner.combine(e, sum, other);
    for (unsigned mask = warpSize / 2; mask > 0; mask /= 2)
      sum = combiner.combine(e, sum, e.shuffleXor(sum, mask));
    if (warps > 1)
      sum = acrossWarps(combiner, sum);
    // What the sum begins with.
    SmallVector<Position> loops = loopsAt(op, {});
    OpOperand *init = op.getDpsInitOperand(0);
    Value first = scalars.at(init->get(), scalars.through(op.getMatchingIndexingMap(init), loops), 1)[0];
    sum = combiner.combine(e, first, sum);
    scalars.sources[op->getResult(0)] = [sum](ArrayRef<Position>, unsigned lanes) {
      return Lanes(lanes, sum);
    };
  }

  /// Each warp leaves its sum in shared memory, in places of this reduction alone.
  Value acrossWarps(const Combiner &combiner, Value sum) {
    Type type = sum.getType();
    Value memory = kernel.shared();
    Value begin = e.add(firstSum, reductionsDone++ * warps);
    e.when(e.less(e.rem(lane, warpSize), 1),
           [&] { e.store(sum, e.address(memory, type, e.add(e.div(lane, warpSize), begin)), 4); });
    e.barrier();
    Value total;
    for (int64_t warp = 0; warp < warps; ++warp) {
      Value part = e.load(type, e.address(memory, type, e.add(begin, warp)), 4);
      total = total ? combiner.combine(e, total, part) : part;
    }
    return total;
  }

  void storeRoot() {
    LinalgOp root = group.root();
    bool ofRow = root.getNumReductionLoops() > 0 || innerLoops(root).empty();
    if (ofRow) {
      Value first = e.less(lane, 1);
      SmallVector<Position> loops = loopsAt(root, {});
      SmallVector<Lanes> values;
      if (root.getNumReductionLoops() > 0)
        values.push_back(scalars.sources[root->getResult(0)]({}, 1));
      else
        values = scalars.evaluate(root, loops, 1);
      e.when(inRows ? e.both(inRows, first) : first, [&] { scalars.store(root, loops, values); });
      return;
    }
    unsigned lanes = unsigned(lanesOf(innerExtents(root)));
    forEachRun(root, {}, [&](const Run &run, ValueRange) {
      SmallVector<Position> loops = loopsAt(root, run);
      SmallVector<Lanes> values = scalars.evaluate(root, loops, lanes);
      Value condition = inRows && run.inside ? e.both(inRows, run.inside) : inRows ? inRows : run.inside;
      e.when(condition, [&] { scalars.store(root, loops, values); });
      return SmallVector<Value>();
    });
  }

  const tile::Group &group;
  Kernel &kernel;
  Emit e;
  Scalars scalars;
  tile::LoopsAlong along;
  llvm::SmallBitVector rows; ///< Loops of the root.
  int64_t warps = 1;         ///< Of a row.
  int64_t reductionsDone = 0;
  Value lane;     ///< Of a row's threads.
  Value firstSum; ///< Place of the row's sums in shared memory.
  Value inRows;
  llvm::DenseMap<unsigned, Value> rowAt; ///< By the root's loop.
  std::map<std::pair<std::vector<int64_t>, int64_t>, Run> unrolled;
};

} // namespace

LogicalResult npuc::cuda::writeRows(const tile::Group &group, const Machine &, Kernel &kernel) {
  return RowsWriter(group, kernel).write();
}
