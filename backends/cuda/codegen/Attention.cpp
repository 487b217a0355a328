// Attention as one kernel: softmax(Q·Kᵀ formulas)·V by blocks of keys, with the row's greatest score so far
// and the sum of exponentials kept in registers (online softmax: Milakov and Gimelshein 2018; Dao et al.
// 2022). Weights that are more than an exponential, as those that are rounded to bytes, need the greatest
// score of all: it is found first, by a product of its own. A warp has 16 rows; scores never leave its
// registers.
#include "backends/cuda/codegen/Epilogue.h"
#include "compiler/lower/LinalgBuilder.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

constexpr int64_t warps = 4, rowsOfBlock = 16 * warps, keysOfBlock = 64;
constexpr int64_t greatestHead = 256, greatestGridYZ = 65535;

/// The operations of softmax between two products.
struct Softmax {
  LinalgOp scores, greatest, exponentials, sum, weighted;
  Value masked; ///< What the exponentials are of.
  /// They are exp(masked − greatest), so that a greater one found later is a factor.
  bool isOnline = false;
};

/// The value before it was widened.
Value widened(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// `op` is a formula of exp(masked − greatest), rounded to its type.
bool isExponential(LinalgOp op, Value masked, Value greatest) {
  Block *body = op.getBlock();
  Value result = body->getTerminator()->getOperand(0);
  if (auto rounded = result.getDefiningOp<arith::TruncFOp>())
    result = rounded.getIn();
  auto exp = result.getDefiningOp<math::ExpOp>();
  auto difference = exp ? exp.getOperand().getDefiningOp<arith::SubFOp>() : arith::SubFOp();
  if (!difference)
    return false;
  auto reads = [&](Value value, Value tensor) {
    OpOperand *input = lower::inputOf(op, widened(value));
    return input && input->get() == tensor;
  };
  return reads(difference.getLhs(), masked) && reads(difference.getRhs(), greatest);
}

template <typename Combiner>
bool reducesBy(LinalgOp op) {
  Value yielded = op.getBlock()->getTerminator()->getOperand(0);
  return op.getNumDpsInputs() == 1 && yielded.getDefiningOp<Combiner>();
}

std::optional<Softmax> softmaxOf(const tile::Group &group) {
  Softmax found;
  for (LinalgOp op : group.operations) {
    if (op.getNumReductionLoops() == 0)
      continue;
    LinalgOp &place = tile::isContraction(op)            ? (found.scores ? found.weighted : found.scores)
                      : reducesBy<arith::MaximumFOp>(op) ? found.greatest
                                                         : found.sum;
    if (place)
      return std::nullopt;
    place = op;
  }
  if (!found.scores || !found.weighted || !found.greatest || !found.sum ||
      !(reducesBy<arith::AddFOp>(found.sum) || reducesBy<arith::AddIOp>(found.sum)))
    return std::nullopt;
  found.masked = found.greatest.getDpsInputs()[0];
  found.exponentials = found.weighted.getDpsInputs()[0].getDefiningOp<LinalgOp>();
  if (!found.exponentials || found.sum.getDpsInputs()[0] != found.exponentials->getResult(0) ||
      found.exponentials.getNumReductionLoops() > 0 ||
      !llvm::is_contained(found.exponentials.getDpsInputs(), found.masked))
    return std::nullopt;
  found.isOnline = isExponential(found.exponentials, found.masked, found.greatest->getResult(0));
  // The sum is of the exponentials as they are.
  Operation *add = found.sum.getBlock()->getTerminator()->getOperand(0).getDefiningOp();
  Block *body = found.sum.getBlock();
  bool plain =
      (widened(add->getOperand(0)) == body->getArgument(0) && add->getOperand(1) == body->getArgument(1)) ||
      (widened(add->getOperand(1)) == body->getArgument(0) && add->getOperand(0) == body->getArgument(1));
  return plain ? std::optional(found) : std::nullopt;
}

class AttentionWriter {
public:
  AttentionWriter(const tile::Group &group, const Softmax &softmax, const Product &qk, const Product &pv,
                  Kernel &kernel)
      : group(group), s(softmax), qk(qk), pv(pv), kernel(kernel), e(kernel.emit()), loops(group, e),
        scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); }) {
    scalars.inlined.insert(group.operations.begin(), group.operations.end());
    head = std::max<int64_t>(32, int64_t(llvm::PowerOf2Ceil(uint64_t(pv.n.size()))));
    steps = llvm::divideCeil(qk.k.size(), qk.elementsOfRow());
    keys = qk.n.size();
    tile = {rowsOfBlock, head, pv.interleavesColumns()};
    sumType = getElementTypeOrSelf(s.sum->getResult(0).getType());
    widensUnsigned = !s.sum.getBlock()->getOps<arith::ExtUIOp>().empty();
    kernel.threads = warps * warpSize;
    kernel.grid = {unsigned(llvm::divideCeil(qk.m.size(), rowsOfBlock)), 1, unsigned(qk.batch.size())};
    keysBegin = steps * rowsOfBlock * rowBytes;
    valuesBegin = keysBegin + steps * keysOfBlock * rowBytes;
    int64_t operands = valuesBegin + keysOfBlock * head * pv.b.elementBytes;
    sumsBegin = tile.bytes(); // Of exponentials, behind the tile.
    kernel.sharedBytes = unsigned(std::max(operands, sumsBegin + rowsOfBlock * 4));
  }

  LogicalResult write(const Machine &machine) {
    bool alike = qk.batch.size() == pv.batch.size() && qk.m.size() == pv.m.size() && keys == pv.k.size() &&
                 qk.n.loops.size() == 1 && pv.k.loops.size() == 1 && loops.has(s.scores, qk.batch) &&
                 loops.has(s.scores, qk.m) && loops.has(s.weighted, pv.n);
    if (!alike || pv.n.size() > greatestHead || qk.k.size() > greatestHead ||
        kernel.grid[2] > greatestGridYZ || kernel.sharedBytes > machine.sharedBytesPerBlock)
      return failure();
    Value thread = e.threadId();
    memory = kernel.shared();
    lane = e.rem(thread, warpSize);
    warpRow = e.mul(e.div(thread, warpSize), 16);
    firstM = e.mul(e.blockIdX(), rowsOfBlock);
    batch = e.blockIdZ();
    loops.place(s.scores, qk.batch, batch);
    for (int64_t half = 0; half < 2; ++half) {
      // Rows beyond the last are computed as it, and not stored.
      Value m = e.add(e.add(firstM, warpRow), e.add(e.div(lane, 4), half * 8));
      rowAt.push_back(
          qk.m.size() % rowsOfBlock ? e.select(e.less(m, qk.m.size()), m, e.index(qk.m.size() - 1)) : m);
    }

    TileLoader queries(kernel, qk.a, qk.m, qk.k, qk.batch, rowsOfBlock, firstM, batch, thread);
    for (int64_t step = 0; step < steps; ++step)
      queries.load(e.index(step), at(step * rowsOfBlock * rowBytes));
    loadKeys(e.index(0));
    commit();

    SmallVector<Value> greatest(2, e.f32(-std::numeric_limits<float>::infinity())), carried = greatest;
    if (!s.isOnline) {
      overBlocks(greatest, [&](Value first) { findGreatest(first, greatest); });
      for (Value &value : greatest)
        value = overKeys(value, [&](Value x, Value y) { return greater(x, y); });
      carried.clear();
    }
    carried.append(2, e.zero(sumType));
    carried.append(head / 8 * 4, e.zero(pv.sumType()));
    overBlocks(carried, [&](Value first) { block(first, greatest, carried); });
    finish(ArrayRef(carried).drop_front(s.isOnline ? 2 : 0));
    return success();
  }

private:
  Value greater(Value x, Value y) { return arith::MaximumFOp::create(e.b, e.loc, x, y); }
  /// Of the four threads that have a row's scores.
  Value overKeys(Value value, llvm::function_ref<Value(Value, Value)> combine) {
    for (unsigned mask : {1u, 2u})
      value = combine(value, e.shuffleXor(value, mask));
    return value;
  }
  /// Runs `body` for each block of keys, by its first, with `carried` from one to the next.
  void overBlocks(SmallVector<Value> &carried, llvm::function_ref<void(Value first)> body) {
    auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(keys), e.index(keysOfBlock), carried);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(loop.getBody());
    scalars.scoped([&] {
      carried.assign(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
      body(loop.getInductionVar());
      scf::YieldOp::create(e.b, e.loc, carried);
    });
    carried.assign(loop.getResults().begin(), loop.getResults().end());
  }

  Value at(int64_t bytes) { return e.address(memory, e.b.getI8Type(), e.index(bytes)); }
  void commit() { NVVM::CpAsyncCommitGroupOp::create(e.b, e.loc); }
  void waitForAll() {
    NVVM::CpAsyncWaitGroupOp::create(e.b, e.loc, 0u);
    e.barrier();
  }
  void loadKeys(Value first) {
    TileLoader loader(kernel, qk.b, qk.n, qk.k, qk.batch, keysOfBlock, first, batch, e.threadId());
    for (int64_t step = 0; step < steps; ++step)
      loader.load(e.index(step), at(keysBegin + step * keysOfBlock * rowBytes));
  }
  void loadValues(Value first) {
    TileLoader loader(kernel, pv.b, pv.n, pv.k, pv.batch, head, e.index(0), batch, e.threadId());
    Value begin = e.div(first, pv.elementsOfRow());
    for (int64_t step = 0; step < keysOfBlock / pv.elementsOfRow(); ++step)
      loader.load(e.add(begin, step), at(valuesBegin + step * pv.elementsOfRow() * head * pv.b.elementBytes));
  }

  /// The greatest scores of the thread's two rows, also of a block of keys from `first` on.
  void findGreatest(Value first, MutableArrayRef<Value> greatest) {
    waitForAll(); // The keys are there.
    SmallVector<Value> scores = multiplyKeys();
    e.barrier(); // Nobody needs the keys.
    Value next = e.add(first, keysOfBlock);
    loadKeys(e.select(e.less(next, keys), next, e.index(0)));
    commit();
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t t = 0; t < keysOfBlock / 8; ++t)
        for (Value score : maskedScores(first, t, half, ArrayRef(scores).slice(t * 4 + half * 2, 2)))
          greatest[half] = greater(greatest[half], score);
  }

  /// One block of keys from `first` on. `carried`: of the thread's two rows the greatest score, if it is
  /// found online, and its own sum of exponentials, and the sums of weighted values.
  void block(Value first, ArrayRef<Value> greatestOfAll, SmallVector<Value> &carried) {
    waitForAll(); // The keys are there, and nobody needs the last values.
    loadValues(first);
    commit();
    SmallVector<Value> scores = multiplyKeys();
    waitForAll(); // The values are there, and nobody needs the keys.
    Value next = e.add(first, keysOfBlock);
    e.when(e.less(next, keys), [&] { loadKeys(next); });
    commit();

    int64_t tiles = keysOfBlock / 8;
    MutableArrayRef<Value> sums = MutableArrayRef(carried).drop_front(s.isOnline ? 2 : 0);
    SmallVector<Lanes> masked(tiles * 2), weights(tiles * 2);
    for (int64_t half = 0; half < 2; ++half) {
      for (int64_t t = 0; t < tiles; ++t)
        masked[t * 2 + half] = maskedScores(first, t, half, ArrayRef(scores).slice(t * 4 + half * 2, 2));
      Value base = s.isOnline ? greatestSoFar(half, masked, carried) : greatestOfAll[half];
      Value sum = sums[half];
      scalars.sources[s.greatest->getResult(0)] = [base](ArrayRef<Position>, unsigned lanes) {
        return Lanes(lanes, base);
      };
      for (int64_t t = 0; t < tiles; ++t) {
        Lanes values = masked[t * 2 + half];
        scalars.sources[s.masked] = [values](ArrayRef<Position>, unsigned) { return values; };
        Lanes weight;
        scalars.scoped(
            [&] { weight = scalars.evaluate(s.exponentials, loopsAt({keyAt(first, t), 1, 2}, half), 2)[0]; });
        if (!s.isOnline)
          countOnlyKeys(first, t, weight);
        weights[t * 2 + half] = weight;
        for (Value value : weight)
          sum = added(sum, value);
      }
      scalars.sources.erase(s.masked);
      sums[half] = sum;
    }
    multiplyValues(weights, sums.drop_front(2));
  }

  /// What exponentials of a row are relative to from this block on, and what is carried becomes relative to
  /// it too.
  Value greatestSoFar(int64_t half, ArrayRef<Lanes> masked, MutableArrayRef<Value> carried) {
    Value greatest = carried[half];
    for (int64_t t = 0; t < keysOfBlock / 8; ++t)
      for (Value score : masked[t * 2 + half])
        greatest = greater(greatest, score);
    greatest = overKeys(greatest, [&](Value x, Value y) { return greater(x, y); });
    // Where all scores so far are −∞, they count as 0 of something finite.
    Value isNone = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, greatest,
                                         e.f32(-std::numeric_limits<float>::infinity()));
    Value base = e.select(isNone, e.f32(0), greatest);
    Value factor = math::ExpOp::create(e.b, e.loc, arith::SubFOp::create(e.b, e.loc, carried[half], base));
    carried[half] = greatest;
    carried[2 + half] = arith::MulFOp::create(e.b, e.loc, carried[2 + half], factor);
    for (size_t i = 4 + size_t(half) * 2; i < carried.size(); i += 4)
      for (size_t column : {i, i + 1})
        carried[column] = arith::MulFOp::create(e.b, e.loc, carried[column], factor);
    return base;
  }

  /// sum + value, as the sum of exponentials widens it.
  Value added(Value sum, Value value) {
    if (value.getType() != sumType)
      value = isa<FloatType>(sumType) ? arith::ExtFOp::create(e.b, e.loc, sumType, value).getResult()
              : widensUnsigned        ? arith::ExtUIOp::create(e.b, e.loc, sumType, value).getResult()
                                      : arith::ExtSIOp::create(e.b, e.loc, sumType, value).getResult();
    return e.sum(sum, value);
  }

  /// Keys beyond the last weigh nothing.
  void countOnlyKeys(Value first, int64_t t, Lanes &lanes) {
    if (keys % keysOfBlock)
      for (auto [i, weight] : llvm::enumerate(lanes))
        weight = e.select(e.less(e.add(keyAt(first, t), int64_t(i)), keys), weight, e.zero(weight.getType()));
  }

  SmallVector<Value> multiplyKeys() {
    SmallVector<Value> scores(keysOfBlock / 8 * 4, e.zero(qk.sumType()));
    for (int64_t step = 0; step < steps; ++step) {
      Value a = at(step * rowsOfBlock * rowBytes), b = at(keysBegin + step * keysOfBlock * rowBytes);
      for (int64_t part = 0; part < rowBytes / stepBytes; ++part) {
        SmallVector<Value> rows = loadRows(kernel, a, warpRow, part, lane);
        for (int64_t n = 0; n < keysOfBlock / 8; n += 2) {
          SmallVector<Value> columns = loadColumns(kernel, b, e.index(n * 8), part, lane);
          for (int64_t i = 0; i < 2; ++i)
            multiplyAdd(kernel, qk, rows, ArrayRef(columns).slice(i * 2, 2),
                        MutableArrayRef(scores).slice((n + i) * 4, 4));
        }
      }
    }
    return scores;
  }

  void multiplyValues(ArrayRef<Lanes> weights, MutableArrayRef<Value> sums) {
    // Of one mma; a register has a row's weights of one tile of eight keys, or of bytes of two.
    int64_t keysOfStep = stepBytes / pv.a.elementBytes, tilesOfRegister = 2 / pv.a.elementBytes;
    int64_t perStep = pv.elementsOfRow() / keysOfStep;
    for (int64_t t = 0; t < keysOfBlock / keysOfStep; ++t) {
      SmallVector<Value> rows;
      for (int64_t keyHalf = 0; keyHalf < 2; ++keyHalf)
        for (int64_t half = 0; half < 2; ++half) {
          Lanes lanes;
          for (int64_t i = 0; i < tilesOfRegister; ++i)
            llvm::append_range(lanes, weights[((t * 2 + keyHalf) * tilesOfRegister + i) * 2 + half]);
          rows.push_back(LLVM::BitcastOp::create(e.b, e.loc, e.b.getI32Type(), e.pack(lanes)));
        }
      Value b = at(valuesBegin + t / perStep * pv.elementsOfRow() * head * pv.b.elementBytes);
      for (int64_t n = 0; n < head / 8; n += 2) {
        SmallVector<Value> columns =
            loadTransposedColumns(kernel, pv, b, head, e.index(n * 8), t % perStep, lane);
        for (int64_t i = 0; i < 2; ++i)
          multiplyAdd(kernel, pv, rows, ArrayRef(columns).slice(i * 2, 2), sums.slice((n + i) * 4, 4));
      }
    }
  }

  /// Where the exponentials' loops stand at a key and a row of the thread.
  SmallVector<Position> loopsAt(Position key, int64_t half) {
    RootLoops here = loops;
    here.place(s.scores, qk.m, rowAt[half]);
    SmallVector<Position> weighted = here.of(s.weighted);
    weighted[pv.k.loops[0]] = key;
    SmallVector<Position> indices =
        scalars.through(s.weighted.getMatchingIndexingMap(s.weighted.getDpsInputOperand(0)), weighted);
    AffineMap map = s.exponentials.getMatchingIndexingMap(s.exponentials.getDpsInitOperand(0));
    SmallVector<Position> own(s.exponentials.getNumLoops(), Position{e.index(0), 0, 0});
    for (auto [expr, position] : llvm::zip_equal(map.getResults(), indices))
      own[cast<AffineDimExpr>(expr).getPosition()] = position;
    return own;
  }
  Value keyAt(Value first, int64_t t) { return e.add(e.add(first, t * 8), e.mul(e.rem(lane, 4), 2)); }

  Lanes maskedScores(Value first, int64_t t, int64_t half, ArrayRef<Value> scores) {
    Value key = keyAt(first, t);
    bool certain = keys % keysOfBlock == 0;
    // Keys beyond the last are read as the last, and do not count. Of an odd number they are read one at a
    // time.
    unsigned together = keys % 2 ? 1 : 2;
    Lanes lanes;
    for (unsigned i = 0; i < 2; i += together) {
      Value at = e.add(key, i);
      if (!certain)
        at = e.select(e.less(at, keys), at, e.index(keys - together));
      Lanes some(scores.slice(i, together));
      scalars.sources[s.scores->getResult(0)] = [some](ArrayRef<Position>, unsigned) { return some; };
      SmallVector<Position> own = loopsAt({at, int64_t(together) - 1, together}, half);
      for (OpOperand *input : s.exponentials.getDpsInputOperands())
        if (input->get() == s.masked)
          scalars.scoped([&] {
            some = scalars.at(s.masked, scalars.through(s.exponentials.getMatchingIndexingMap(input), own),
                              together);
          });
      lanes.append(some);
    }
    if (!certain)
      for (auto [i, score] : llvm::enumerate(lanes))
        score = e.select(e.less(e.add(key, int64_t(i)), keys), score,
                         e.f32(-std::numeric_limits<float>::infinity()));
    return lanes;
  }

  void finish(ArrayRef<Value> sums) {
    e.barrier(); // Nobody needs the values.
    tile.leave(e, memory, sums.drop_front(2), warpRow, 1, e.index(0), lane);
    for (int64_t half = 0; half < 2; ++half) {
      Value sum = overKeys(sums[half], [&](Value x, Value y) { return e.sum(x, y); });
      Value row = e.add(warpRow, e.add(e.div(lane, 4), half * 8));
      e.when(e.less(e.rem(lane, 4), 1), [&] { e.store(sum, sumAt(row), 4); });
    }
    e.barrier();
    tile.finish(
        kernel, group, s.weighted, pv, memory, firstM, e.index(0), loops,
        [&](Value m, RootLoops &at) { at.place(s.scores, qk.m, m); },
        [&](Value row, Scalars &at) {
          Value sum = e.load(sumType, sumAt(row), 4);
          at.sources[s.sum->getResult(0)] = [sum](ArrayRef<Position>, unsigned lanes) {
            return Lanes(lanes, sum);
          };
        });
  }
  Value sumAt(Value row) { return e.address(memory, sumType, e.add(row, sumsBegin / 4)); }

  const tile::Group &group;
  Softmax s;
  const Product &qk, &pv;
  Kernel &kernel;
  Emit e;
  RootLoops loops;
  Scalars scalars;
  TileOfSums tile;
  Type sumType; ///< Of exponentials: of 32 bits.
  bool widensUnsigned;
  int64_t head, steps, keys, keysBegin, valuesBegin, sumsBegin;
  Value memory, lane, warpRow, firstM, batch;
  SmallVector<Value> rowAt;
};

} // namespace

LogicalResult npuc::cuda::writeAttention(const tile::Group &group, const Machine &machine, Kernel &kernel) {
  std::optional<Softmax> softmax = softmaxOf(group);
  if (!softmax)
    return failure();
  std::optional<Product> qk = productOf(softmax->scores, machine),
                         pv = productOf(softmax->weighted, machine, /*inRegisters=*/true);
  Type sum = getElementTypeOrSelf(softmax->sum->getResult(0).getType());
  if (!qk || !pv || qk->b.rowsAreK || !(sum.isF32() || sum.isInteger(32)))
    return failure();
  return AttentionWriter(group, *softmax, *qk, *pv, kernel).write(machine);
}
