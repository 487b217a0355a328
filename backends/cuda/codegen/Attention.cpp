// Attention as one kernel: softmax(Q·Kᵀ formulas)·V by blocks of keys, with the row's greatest score so far
// and the sum of exponentials kept in registers (online softmax: Milakov and Gimelshein 2018; Dao et al.
// 2022). Weights that are more than an exponential, as those that are rounded to bytes, need what they are
// computed of from all keys: it is found first, in passes over the keys with a product of their own. A warp
// has 16 rows; scores never leave its registers.
#include "backends/cuda/codegen/Between.h"
#include "backends/cuda/codegen/Epilogue.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

constexpr int64_t warps = 4, rowsOfBlock = 16 * warps, keysOfBlock = 64;
constexpr int64_t greatestHead = 256, greatestGridYZ = 65535;
/// Of scores and sums, of the 255 that a thread has.
constexpr int64_t heldRegisters = 128;

class AttentionWriter {
public:
  AttentionWriter(const tile::Group &group, Between between, const Product &qk, const Product &pv,
                  Kernel &kernel)
      : group(group), s(std::move(between)), qk(qk), pv(pv), kernel(kernel), e(kernel.emit()),
        loops(group, e), scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); }) {
    scalars.inlined.insert(group.operations.begin(), group.operations.end());
    head = std::max<int64_t>(32, int64_t(llvm::PowerOf2Ceil(uint64_t(pv.n.size()))));
    steps = llvm::divideCeil(qk.k.size(), qk.elementsOfRow());
    keys = qk.n.size();
    tile = {rowsOfBlock, head, pv.interleavesColumns()};
    kernel.threads = warps * warpSize;
    kernel.grid = {unsigned(llvm::divideCeil(qk.m.size(), rowsOfBlock)), 1, unsigned(qk.batch.size())};
    keysBegin = steps * rowsOfBlock * rowBytes;
    valuesBegin = keysBegin + steps * keysOfBlock * rowBytes;
    int64_t operands = valuesBegin + keysOfBlock * head * pv.b.elementBytes;
    keptBegin = tile.bytes();
    int64_t kept = llvm::count_if(s.ofRows, [](OfRow &row) { return row.isKept; });
    kernel.sharedBytes = unsigned(std::max(operands, keptBegin + kept * rowsOfBlock * 4));
  }

  LogicalResult write(const Machine &machine) {
    bool alike = qk.batch.size() == pv.batch.size() && qk.m.size() == pv.m.size() && keys == pv.k.size() &&
                 qk.n.loops.size() == 1 && pv.k.loops.size() == 1 && loops.has(s.scores, qk.batch) &&
                 loops.has(s.scores, qk.m) && loops.has(s.weighted, pv.n) &&
                 llvm::all_of(s.ofRows, [&](OfRow &row) { return isOverKeys(row.op); });
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
      if (qk.m.size() % rowsOfBlock)
        m = e.select(e.less(m, qk.m.size()), m, e.index(qk.m.size() - 1));
      rows.push_back(loops);
      rows.back().place(s.scores, qk.m, m);
    }

    TileLoader queries(kernel, qk.a, qk.m, qk.k, qk.batch, rowsOfBlock, firstM, batch, thread);
    for (int64_t step = 0; step < steps; ++step)
      queries.load(e.index(step), at(step * rowsOfBlock * rowBytes));
    loadKeys(e.index(0));
    commit();

    finish(holdsScores() ? ofHeldScores() : inPasses());
    return success();
  }

private:
  /// One or both of the two keys of a tile of eight that a thread has a row's scores of.
  struct Keys {
    int64_t half, tile;
    Value key;     ///< The first; it may be beyond the last.
    Position read; ///< Which are read in its place.
    Lanes scores, masked;
    unsigned lanes() const { return unsigned(scores.size()); }
  };

  /// Scores of all keys fit into registers together with the sums of weighted values, and are needed more
  /// than once.
  bool holdsScores() const {
    return s.lastPass > 0 && int64_t(llvm::alignTo(keys, 8)) / 2 + head / 2 <= heldRegisters;
  }

  /// Of each row first what it has, one value after the other, and then its weights.
  SmallVector<Value> ofHeldScores() {
    SmallVector<Value> scores, sums(head / 8 * 4, e.zero(pv.sumType()));
    for (int64_t first = 0; first < keys; first += keysOfBlock) {
      waitForAll(); // The keys are there.
      if (first == 0)
        loadValues(e.index(first));
      scores.append(multiplyKeys(tilesAt(first)));
      if (first + keysOfBlock < keys) {
        e.barrier(); // Nobody needs the keys.
        loadKeys(e.index(first + keysOfBlock));
      }
      commit();
    }
    SmallVector<Lanes> weights(scores.size() / 2);
    for (int64_t half : {0, 1})
      weighRow(half, scores, weights);
    for (int64_t first = 0; first < keys; first += keysOfBlock) {
      waitForAll(); // The values are there.
      multiplyValues(ArrayRef(weights).slice(size_t(first / 4), size_t(tilesAt(first) * 2)), sums);
      if (first + keysOfBlock < keys) {
        e.barrier(); // Nobody needs the values.
        loadValues(e.index(first + keysOfBlock));
        commit();
      }
    }
    return sums;
  }

  /// The weights of one of the thread's rows, and its values, of all its scores.
  void weighRow(int64_t half, ArrayRef<Value> scores, MutableArrayRef<Lanes> weights) {
    scalars.scoped([&] {
      SmallVector<Keys> all = keysFrom(e.index(0), half, scores);
      if (s.masked)
        for (Keys &at : all)
          maskScores(at);
      for (OfRow &row : s.ofRows) {
        Value value = beginOf(row);
        for (Keys &at : all)
          add(row, at, value);
        ofRow[half][row.op] = overKeys(row, value);
        provide(row.op->getResult(0), ofRow[half][row.op]);
      }
      for (Keys &at : all)
        weights[at.tile * 2 + half].append(weightsAt(at));
    });
  }

  /// Pass after pass over the keys, each with the products with them anew.
  SmallVector<Value> inPasses() {
    SmallVector<Value> carried;
    for (unsigned pass = 0; pass <= s.lastPass; ++pass) {
      SmallVector<OfRow *> found;
      carried.clear();
      for (OfRow &row : s.ofRows)
        if (row.pass == pass) {
          found.push_back(&row);
          carried.append(2, beginOf(row));
        }
      bool isLast = pass == s.lastPass;
      if (isLast)
        carried.append(head / 8 * 4, e.zero(pv.sumType()));
      overBlocks(carried, [&](Value first) { block(first, found, isLast, carried); });
      for (auto [i, row] : llvm::enumerate(found))
        for (int64_t half : {0, 1})
          if (!isLast || row->isKept)
            ofRow[half][row->op] = overKeys(*row, carried[2 * i + size_t(half)]);
      carried.erase(carried.begin(), carried.begin() + 2 * found.size());
    }
    return carried;
  }

  /// Tiles of eight keys in the block from key `first` on.
  int64_t tilesAt(int64_t first) const {
    return int64_t(llvm::divideCeil(std::min(keysOfBlock, keys - first), 8));
  }

  Value beginOf(OfRow &row) { return scalars.at(row.op.getDpsInits()[0], {}, 1)[0]; }

  /// A reduction over the keys, each of whose rows is one of scores.
  bool isOverKeys(LinalgOp op) const {
    int64_t over = 1;
    bool ofRows = true;
    for (auto [loop, extent] : llvm::enumerate(op.getStaticLoopRanges())) {
      if (op.getIteratorTypesArray()[loop] == utils::IteratorType::reduction)
        over *= extent;
      else
        ofRows &= extent == 1 || loops.has(op, {{unsigned(loop)}, {extent}});
    }
    return ofRows && over == keys && op.getNumReductionLoops() == 1;
  }
  /// Of the four threads that have a row's scores.
  Value overKeys(OfRow &row, Value value) {
    for (unsigned mask : {1u, 2u})
      value = row.combiner.combine(e, value, e.shuffleXor(value, mask));
    return value;
  }
  /// Runs `body` for each block of keys, by its first, with `carried` from one to the next.
  void overBlocks(SmallVector<Value> &carried, llvm::function_ref<void(Value first)> body) {
    if (keys <= keysOfBlock)
      return body(e.index(0));
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

  /// One block of keys from `first` on. `carried`: of each of `found` its value in the thread's two rows, and
  /// in the last pass the sums of weighted values.
  void block(Value first, ArrayRef<OfRow *> found, bool isLast, MutableArrayRef<Value> carried) {
    waitForAll(); // The keys are there, and nobody needs the last values.
    if (isLast) {
      loadValues(first);
      commit();
    }
    // Of more than one block each is as long as the longest.
    SmallVector<Value> scores = multiplyKeys(tilesAt(0));
    Value next = e.add(first, keysOfBlock), isMore = e.less(next, keys);
    if (isLast) {
      waitForAll(); // The values are there, and nobody needs the keys.
      e.when(isMore, [&] { loadKeys(next); });
    } else {
      e.barrier();                                  // Nobody needs the keys.
      loadKeys(e.select(isMore, next, e.index(0))); // Of the next pass.
    }
    commit();
    MutableArrayRef<Value> sums = carried.drop_front(2 * found.size());
    SmallVector<Lanes> weights(scores.size() / 2);
    for (int64_t half : {0, 1})
      findRow(first, half, scores, found, isLast, carried, weights);
    if (isLast)
      multiplyValues(weights, sums);
  }

  /// Adds a block's scores of one of the thread's rows to what the pass finds, and computes its weights in
  /// the last pass.
  void findRow(Value first, int64_t half, ArrayRef<Value> scores, ArrayRef<OfRow *> found, bool isLast,
               MutableArrayRef<Value> carried, MutableArrayRef<Lanes> weights) {
    for (auto &[op, value] : ofRow[half])
      provide(op->getResult(0), value);
    SmallVector<Keys> all = keysFrom(first, half, scores);
    auto greatest = llvm::find_if(found, [&](OfRow *row) { return row->op == s.greatest; });
    if (greatest != found.end()) {
      for (Keys &at : all)
        scalars.scoped([&] { maskScores(at); });
      raiseGreatest(greatest - found.begin(), half, all, found, isLast, carried);
    }
    for (Keys &at : all)
      scalars.scoped([&] {
        if (s.masked && at.masked.empty())
          maskScores(at);
        for (size_t i = 0; i < found.size(); ++i)
          if (found[i]->op != s.greatest)
            add(*found[i], at, carried[2 * i + size_t(half)]);
        if (isLast)
          weights[at.tile * 2 + half].append(weightsAt(at));
      });
    scalars.sources.erase(s.base);
  }

  /// Computes what a softmax is of.
  void maskScores(Keys &at) {
    lookAt(at);
    at.masked = operandOf(s.greatest, at);
    replaceBeyond(at, e.f32(-std::numeric_limits<float>::infinity()), at.masked);
  }

  Lanes weightsAt(const Keys &at) {
    lookAt(at);
    Lanes weights = operandOf(s.weighted, at);
    if (!s.isRelative)
      replaceBeyond(at, e.zero(weights[0].getType()), weights);
    return weights;
  }

  /// The row's greatest score so far, number `i` of `found`, also of a block's. What is relative to it
  /// becomes relative to the new one.
  void raiseGreatest(size_t i, int64_t half, ArrayRef<Keys> all, ArrayRef<OfRow *> found, bool isLast,
                     MutableArrayRef<Value> carried) {
    Value &greatest = carried[2 * i + size_t(half)], before = greatest;
    for (const Keys &at : all)
      for (Value score : at.masked)
        greatest = found[i]->combiner.combine(e, greatest, score);
    SmallVector<Value *> relative;
    for (size_t j = 0; j < found.size(); ++j)
      if (found[j]->isRelative)
        relative.push_back(&carried[2 * j + size_t(half)]);
    if (isLast && s.isRelative)
      for (size_t j = 2 * found.size() + 2 * size_t(half); j < carried.size(); j += 4)
        relative.append({&carried[j], &carried[j + 1]});
    if (relative.empty())
      return;
    greatest = overKeys(*found[i], greatest);
    // Where all scores so far are −∞, they count as 0 of something finite.
    Value base = baseOf(greatest, half);
    Value isNone = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, base,
                                         e.f32(-std::numeric_limits<float>::infinity()));
    base = e.select(isNone, e.f32(0), base);
    Value change = arith::SubFOp::create(e.b, e.loc, baseOf(before, half), base);
    Value factor = math::ExpOp::create(e.b, e.loc, change);
    for (Value *sum : relative)
      *sum = arith::MulFOp::create(e.b, e.loc, *sum, factor);
    provide(s.base, base);
  }

  /// What exponentials are relative to if the row's greatest score is `greatest`.
  Value baseOf(Value greatest, int64_t half) {
    if (s.base == s.greatest->getResult(0))
      return greatest;
    Value base;
    scalars.scoped([&] {
      provide(s.greatest->getResult(0), greatest);
      auto formula = s.base.getDefiningOp<LinalgOp>();
      base = scalars.evaluate(formula, rows[half].of(formula), 1)[0][0];
    });
    return base;
  }

  /// Adds the elements at some keys to a row's value.
  void add(OfRow &row, const Keys &at, Value &value) {
    lookAt(at);
    Value neutral = arith::ConstantOp::create(e.b, e.loc, row.combiner.neutral);
    Lanes some = scalars.evaluate(row.op, loopsAt(row.op, at), at.lanes(), {Lanes(at.lanes(), neutral)})[0];
    if (!row.isRelative && row.op != s.greatest)
      replaceBeyond(at, neutral, some);
    for (Value one : some)
      value = row.combiner.combine(e, value, one);
  }

  /// A value of the row that is looked at now.
  void provide(Value tensor, Value value) {
    scalars.sources[tensor] = [value](ArrayRef<Position>, unsigned lanes) { return Lanes(lanes, value); };
  }

  /// The thread's keys from `first` on that have `scores`; if their number is odd one at a time, as they are
  /// read. Keys beyond the last are read as the last.
  SmallVector<Keys> keysFrom(Value first, int64_t half, ArrayRef<Value> scores) {
    SmallVector<Keys> all;
    unsigned together = keys % 2 ? 1 : 2;
    for (int64_t t = 0; t < int64_t(scores.size()) / 4; ++t)
      for (unsigned i = 0; i < 2; i += together) {
        Value key = e.add(e.add(e.add(first, t * 8), e.mul(e.rem(lane, 4), 2)), int64_t(i)), read = key;
        if (keys % keysOfBlock)
          read = e.select(e.less(key, keys), key, e.index(keys - together));
        Lanes own(scores.slice(size_t(t * 4 + half * 2) + i, together));
        all.push_back({half, t, key, {read, int64_t(together) - 1, together}, own, {}});
      }
    return all;
  }
  /// From now on elements of what depends on keys are those at these.
  void lookAt(const Keys &at) {
    auto provide = [&](Value tensor, const Lanes &lanes) {
      scalars.sources[tensor] = [lanes](ArrayRef<Position>, unsigned) { return lanes; };
    };
    scalars.sources.erase(s.masked);
    provide(s.scores->getResult(0), at.scores); // Which may be what a softmax is of.
    if (!at.masked.empty())
      provide(s.masked, at.masked);
  }

  /// What keys beyond the last count as.
  void replaceBeyond(const Keys &at, Value by, Lanes &lanes) {
    if (keys % keysOfBlock)
      for (auto [i, value] : llvm::enumerate(lanes))
        value = e.select(e.less(e.add(at.key, int64_t(i)), keys), value, by);
  }

  /// Where the loops of a reduction over the keys stand at some of them.
  SmallVector<Position> loopsAt(LinalgOp op, const Keys &at) {
    SmallVector<Position> own = rows[at.half].of(op);
    SmallVector<unsigned> over;
    op.getReductionDims(over);
    for (unsigned loop : over)
      if (op.getStaticLoopRanges()[loop] > 1)
        own[loop] = at.read;
    return own;
  }
  /// The elements of the first operand of a reduction over the keys at some of them.
  Lanes operandOf(LinalgOp op, const Keys &at) {
    OpOperand *operand = op.getDpsInputOperand(0);
    return scalars.at(operand->get(), scalars.through(op.getMatchingIndexingMap(operand), loopsAt(op, at)),
                      at.lanes());
  }

  /// Scores of `tiles` times eight keys.
  SmallVector<Value> multiplyKeys(int64_t tiles) {
    SmallVector<Value> scores(size_t(tiles * 4), e.zero(qk.sumType()));
    for (int64_t part = 0; part * stepBytes < qk.k.size() * qk.a.elementBytes; ++part) {
      int64_t step = part * stepBytes / rowBytes, within = part % (rowBytes / stepBytes);
      Value a = at(step * rowsOfBlock * rowBytes), b = at(keysBegin + step * keysOfBlock * rowBytes);
      SmallVector<Value> rows = loadRows(kernel, a, warpRow, within, lane);
      for (int64_t n = 0; n < tiles; n += 2) {
        SmallVector<Value> columns = loadColumns(kernel, b, e.index(n * 8), within, lane);
        for (int64_t i = 0; i < std::min<int64_t>(2, tiles - n); ++i)
          multiplyAdd(kernel, qk, rows, ArrayRef(columns).slice(i * 2, 2),
                      MutableArrayRef(scores).slice((n + i) * 4, 4));
      }
    }
    return scores;
  }

  /// `weights` of tiles of eight keys, each of the thread's two rows.
  void multiplyValues(ArrayRef<Lanes> weights, MutableArrayRef<Value> sums) {
    // Of one mma; a register has a row's weights of one tile, or of bytes of two.
    int64_t tiles = int64_t(weights.size()) / 2, tilesOfStep = stepBytes / pv.a.elementBytes / 8,
            tilesOfRegister = tilesOfStep / 2, perStep = pv.elementsOfRow() / 8 / tilesOfStep;
    Lanes none(2, e.zero(weights[0][0].getType()));
    for (int64_t t = 0; t * tilesOfStep < tiles; ++t) {
      SmallVector<Value> rows;
      for (int64_t keyHalf = 0; keyHalf < 2; ++keyHalf)
        for (int64_t half = 0; half < 2; ++half) {
          Lanes lanes;
          for (int64_t i = 0; i < tilesOfRegister; ++i) {
            int64_t tile = (t * 2 + keyHalf) * tilesOfRegister + i;
            llvm::append_range(lanes, tile < tiles ? weights[tile * 2 + half] : none);
          }
          rows.push_back(LLVM::BitcastOp::create(e.b, e.loc, e.b.getI32Type(), e.pack(lanes)));
        }
      Value b = at(valuesBegin + t / perStep * pv.elementsOfRow() * head * pv.b.elementBytes);
      for (int64_t n = 0; n * 8 < pv.n.size(); n += 2) {
        SmallVector<Value> columns =
            loadTransposedColumns(kernel, pv, b, head, e.index(n * 8), t % perStep, lane);
        for (int64_t i = 0; i < 2; ++i)
          multiplyAdd(kernel, pv, rows, ArrayRef(columns).slice(i * 2, 2), sums.slice((n + i) * 4, 4));
      }
    }
  }

  void finish(ArrayRef<Value> sums) {
    SmallVector<LinalgOp> kept;
    for (OfRow &row : s.ofRows)
      if (row.isKept)
        kept.push_back(row.op);
    auto placeOf = [&](size_t i, Value row) {
      return e.address(memory, e.b.getI32Type(), e.add(row, keptBegin / 4 + int64_t(i) * rowsOfBlock));
    };
    e.barrier(); // Nobody needs the values.
    tile.leave(e, memory, sums, warpRow, 1, e.index(0), lane);
    for (int64_t half : {0, 1}) {
      Value row = e.add(warpRow, e.add(e.div(lane, 4), half * 8));
      e.when(e.less(e.rem(lane, 4), 1), [&] {
        for (auto [i, op] : llvm::enumerate(kept))
          e.store(ofRow[half][op], placeOf(i, row), 4);
      });
    }
    e.barrier();
    tile.finish(
        kernel, group, s.weighted, pv, memory, firstM, e.index(0), loops,
        [&](Value m, RootLoops &at) { at.place(s.scores, qk.m, m); },
        [&](Value row, Scalars &at) {
          for (auto [i, op] : llvm::enumerate(kept)) {
            Value value = e.load(getElementTypeOrSelf(op->getResult(0).getType()), placeOf(i, row), 4);
            at.sources[op->getResult(0)] = [value](ArrayRef<Position>, unsigned lanes) {
              return Lanes(lanes, value);
            };
          }
        });
  }

  const tile::Group &group;
  Between s;
  const Product &qk, &pv;
  Kernel &kernel;
  Emit e;
  RootLoops loops;
  Scalars scalars;
  TileOfSums tile;
  int64_t head, steps, keys, keysBegin, valuesBegin;
  int64_t keptBegin; ///< In shared memory, of values of rows, behind the tile.
  Value memory, lane, warpRow, firstM, batch;
  SmallVector<RootLoops> rows;                              ///< At the thread's two.
  std::array<llvm::MapVector<Operation *, Value>, 2> ofRow; ///< What earlier passes have found of them.
};

} // namespace

LogicalResult npuc::cuda::writeAttention(const tile::Group &group, const Machine &machine, Kernel &kernel) {
  std::optional<Between> between = betweenProducts(group);
  if (!between)
    return failure();
  std::optional<Product> qk = productOf(between->scores, machine),
                         pv = productOf(between->weighted, machine, /*inRegisters=*/true);
  if (!qk || !pv || qk->b.rowsAreK)
    return failure();
  return AttentionWriter(group, *between, *qk, *pv, kernel).write(machine);
}
