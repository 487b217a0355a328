#include "backends/cuda/codegen/Rows.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// Runs of lanes that a thread holds in registers; of more of them it computes each anew where it is needed.
constexpr int64_t greatestRuns = 8;
constexpr int64_t wantedRuns = 4, greatestWarps = 16, warpsOfBlock = 4;

} // namespace

bool npuc::cuda::reducesRows(const tile::Group &group, LinalgOp given) {
  llvm::SetVector<Operation *> members = group.members();
  tile::LoopsAlong along = tile::loopsAlong(group.root(), members);
  llvm::SmallBitVector rows = tile::cuttableLoops(group.root(), members);
  unsigned reductions = 0;
  for (LinalgOp op : group.operations) {
    if (op.getNumReductionLoops() == 0 || op == given)
      continue;
    ++reductions;
    if (llvm::count_if(along[op], [&](int loop) { return loop < 0 || !rows[loop]; }) !=
            int64_t(op.getNumReductionLoops()) ||
        !combinerOf(op))
      return false;
  }
  return reductions > 0;
}

RowWriter::RowWriter(const tile::Group &group, Kernel &kernel, LinalgOp given)
    : scalars(kernel.emit(), [&](Value t) { return kernel.pointerTo(t); }), group(group), kernel(kernel),
      e(kernel.emit()) {
  llvm::SetVector<Operation *> members = group.members();
  along = tile::loopsAlong(group.root(), members);
  rowLoops = tile::cuttableLoops(group.root(), members);
  for (LinalgOp op : group.operations)
    if (op.getNumReductionLoops() == 0)
      scalars.inlined.insert(op);
    else if (op != given)
      reduced.push_back(op);
}

int64_t RowWriter::longest() {
  int64_t runs = 1;
  for (LinalgOp op : reduced)
    runs = std::max(runs, runsOf(op));
  for (LinalgOp op : outputsOf(group))
    runs = std::max(runs, runsOf(op));
  return runs;
}

void RowWriter::write(ArrayRef<Position> at, const Team &ofRow) {
  team = ofRow;
  for (unsigned loop : rowLoops.set_bits())
    rowAt[loop] = at[loop].base;
  for (LinalgOp op : reduced)
    reduce(op);
  for (LinalgOp op : outputsOf(group))
    store(op);
}

SmallVector<unsigned> RowWriter::innerLoops(LinalgOp op) {
  SmallVector<unsigned> inner;
  ArrayRef<int> rootLoops = along.find(op)->second;
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (rootLoops[loop] < 0 || !rowLoops[rootLoops[loop]])
      inner.push_back(loop);
  return inner;
}

SmallVector<int64_t> RowWriter::innerExtents(LinalgOp op) {
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  return llvm::map_to_vector(innerLoops(op), [&](unsigned loop) { return extents[loop]; });
}

int64_t RowWriter::lanesOf(ArrayRef<int64_t> extents) const {
  return extents.empty() ? 1 : npuc::cuda::lanesOf(group, extents.back());
}

int64_t RowWriter::runsOf(LinalgOp op) {
  SmallVector<int64_t> extents = innerExtents(op);
  int64_t total = 1;
  for (int64_t extent : extents)
    total *= extent;
  return total / lanesOf(extents);
}

RowWriter::Run RowWriter::runAt(ArrayRef<int64_t> extents, Value run, int64_t runs, bool certain) {
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
RowWriter::Run RowWriter::unrolledRun(ArrayRef<int64_t> extents, int64_t i, int64_t runs) {
  auto [entry, isNew] = unrolled.try_emplace({std::vector<int64_t>(extents.begin(), extents.end()), i});
  if (isNew) {
    int64_t threads = team.warps * warpSize;
    entry->second = runAt(extents, e.add(team.lane, i * threads), runs, (i + 1) * threads <= runs);
  }
  return entry->second;
}

/// Loops that the run has no place of are at 0.
SmallVector<Position> RowWriter::loopsAt(LinalgOp op, const Run &run) {
  SmallVector<Position> loops(op.getNumLoops(), Position{e.index(0), 0, 0});
  ArrayRef<int> rootLoops = along.find(op)->second;
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
    if (rootLoops[loop] >= 0 && rowLoops[rootLoops[loop]])
      loops[loop] = {rowAt[rootLoops[loop]], 0, 1};
  for (auto [loop, position] : llvm::zip(innerLoops(op), run.inner))
    loops[loop] = position;
  return loops;
}

/// Calls `body` for every run of an operation's inner loops; it carries `carried` along.
SmallVector<Value> RowWriter::forEachRun(LinalgOp op, SmallVector<Value> carried, Body body) {
  SmallVector<int64_t> extents = innerExtents(op);
  int64_t runs = runsOf(op), threads = team.warps * warpSize, times = llvm::divideCeil(runs, threads);
  if (times <= greatestRuns) {
    for (int64_t i = 0; i < times; ++i)
      carried = body(unrolledRun(extents, i, runs), carried);
    return carried;
  }
  auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(times * threads), e.index(threads), carried);
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToStart(loop.getBody());
  if (carried.empty())
    e.b.setInsertionPoint(loop.getBody()->getTerminator());
  scalars.scoped([&] {
    Run run = runAt(extents, e.add(loop.getInductionVar(), team.lane), runs, runs % threads == 0);
    SmallVector<Value> next = body(run, loop.getRegionIterArgs());
    if (!carried.empty())
      scf::YieldOp::create(e.b, e.loc, next);
  });
  return SmallVector<Value>(loop.getResults());
}

void RowWriter::reduce(LinalgOp op) {
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
  if (team.warps > 1)
    sum = acrossWarps(combiner, sum);
  // What the sum begins with.
  SmallVector<Position> loops = loopsAt(op, {});
  OpOperand *init = op.getDpsInitOperand(0);
  Value first = scalars.at(init->get(), scalars.through(op.getMatchingIndexingMap(init), loops), 1)[0];
  sum = combiner.combine(e, first, sum);
  scalars.sources[op->getResult(0)] = [sum](ArrayRef<Position>, unsigned lanes) { return Lanes(lanes, sum); };
}

/// Each warp leaves its sum in shared memory, in places of this reduction alone.
Value RowWriter::acrossWarps(const Combiner &combiner, Value sum) {
  Type type = sum.getType();
  Value memory = kernel.shared();
  Value begin = e.add(team.firstSum, reductionsDone++ * team.warps);
  e.when(e.less(e.rem(team.lane, warpSize), 1),
         [&] { e.store(sum, e.address(memory, type, e.add(e.div(team.lane, warpSize), begin)), 4); });
  e.barrier();
  Value total;
  for (int64_t warp = 0; warp < team.warps; ++warp) {
    Value part = e.load(type, e.address(memory, type, e.add(begin, warp)), 4);
    total = total ? combiner.combine(e, total, part) : part;
  }
  return total;
}

/// Of a result that the row has but one element of, the first thread stores it.
void RowWriter::store(LinalgOp op) {
  bool isReduction = op.getNumReductionLoops() > 0;
  auto store = [&](Value condition, const Run &run, unsigned lanes) {
    SmallVector<Position> loops = loopsAt(op, run);
    SmallVector<Lanes> values;
    for (auto [i, result] : llvm::enumerate(op->getResults())) {
      AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(i));
      values.push_back(scalars.at(result, scalars.through(map, loops), lanes));
    }
    e.when(condition, [&] { scalars.store(op, loops, values); });
  };
  auto both = [&](Value x, Value y) { return x && y ? e.both(x, y) : x ? x : y; };
  if (isReduction || innerLoops(op).empty())
    return store(both(team.inside, e.less(team.lane, 1)), {}, 1);
  unsigned lanes = unsigned(lanesOf(innerExtents(op)));
  forEachRun(op, {}, [&](const Run &run, ValueRange) {
    store(both(team.inside, run.inside), run, lanes);
    return SmallVector<Value>();
  });
}

LogicalResult npuc::cuda::writeRows(const tile::Group &group, const Machine &, Kernel &kernel) {
  if (!reducesRows(group))
    return failure();
  RowWriter writer(group, kernel);
  SmallVector<int64_t> rootExtents = group.root().getStaticLoopRanges(), rowExtents;
  int64_t rowCount = 1;
  for (unsigned loop : writer.rows().set_bits()) {
    rowExtents.push_back(rootExtents[loop]);
    rowCount *= rootExtents[loop];
  }
  RowWriter::Team team;
  while (team.warps < greatestWarps && writer.longest() > team.warps * int64_t(warpSize) * wantedRuns)
    team.warps *= 2;
  int64_t rowsOfBlock = std::max<int64_t>(1, warpsOfBlock / team.warps), threads = team.warps * warpSize;
  kernel.threads = unsigned(rowsOfBlock * threads);
  kernel.grid[0] = unsigned(llvm::divideCeil(rowCount, rowsOfBlock));
  if (team.warps > 1)
    kernel.sharedBytes = unsigned(rowsOfBlock * writer.reductions() * team.warps * 4);

  Emit e = kernel.emit();
  Value row = e.blockIdX();
  team.lane = e.threadId();
  team.firstSum = e.index(0);
  if (rowsOfBlock > 1) {
    Value own = e.div(team.lane, threads);
    team.firstSum = e.mul(own, writer.reductions() * team.warps);
    row = e.add(e.mul(row, rowsOfBlock), own);
    team.lane = e.rem(team.lane, threads);
    if (rowCount % rowsOfBlock) {
      // The last rows are computed several times, so that all threads do the same.
      team.inside = e.less(row, rowCount);
      row = e.select(team.inside, row, e.index(rowCount - 1));
    }
  }
  SmallVector<Position> at(rootExtents.size());
  for (auto [loop, index] : llvm::zip_equal(writer.rows().set_bits(), e.delinearize(row, rowExtents)))
    at[loop] = {index, 0, 1};
  writer.write(at, team);
  return success();
}
