#include "backends/cuda/codegen/Epilogue.h"

#include "backends/cuda/codegen/Rows.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

RootLoops::RootLoops(const tile::Group &group, Emit emit) : e(emit) {
  LinalgOp last = group.root();
  along = tile::loopsAlong(last, group.members());
  root.assign(last.getNumLoops(), Position{e.index(0), 0, 0});
}

void RootLoops::place(LinalgOp op, const Dims &dims, Value at, int64_t lanes) {
  SmallVector<Position> own(op.getNumLoops());
  dims.place(e, at, lanes, own);
  for (unsigned loop : dims.loops)
    root[along.find(op)->second[loop]] = own[loop];
}

SmallVector<Position> RootLoops::of(LinalgOp op) const {
  SmallVector<Position> own(op.getNumLoops(), Position{e.index(0), 0, 0});
  for (auto [loop, rootLoop] : llvm::enumerate(along.find(op)->second))
    if (rootLoop >= 0)
      own[loop] = root[rootLoop];
  return own;
}

bool RootLoops::has(LinalgOp op, const Dims &dims) const {
  return llvm::all_of(dims.loops, [&](unsigned loop) { return along.find(op)->second[loop] >= 0; });
}

Value TileOfSums::placeOf(Emit e, Value row, Value column) const {
  Value ofRow = e.bitAnd(e.bitXor(row, e.div(row, 2)), 1), ofColumn = e.bitAnd(e.div(column, 32), 3);
  return e.add(e.mul(row, pitch()), e.bitXor(column, e.mul(e.bitXor(ofRow, ofColumn), 4)));
}

void TileOfSums::leave(Emit e, Value memory, ArrayRef<Value> sums, Value row, int64_t tilesM, Value column,
                       Value lane) const {
  int64_t tilesN = int64_t(sums.size()) / 4 / tilesM;
  row = e.add(row, e.div(lane, 4));
  int64_t together = interleaved ? 2 : 1; // Tiles of eight columns.
  column = e.add(column, e.mul(e.rem(lane, 4), 2 * together));
  for (int64_t m = 0; m < tilesM; ++m)
    for (int64_t n = 0; n < tilesN; n += together)
      for (int64_t half = 0; half < 2; ++half) {
        SmallVector<Value> run;
        for (int64_t i = 0; i < 2; ++i)
          for (int64_t t = 0; t < together; ++t)
            run.push_back(sums[(m * tilesN + n + t) * 4 + half * 2 + i]);
        Value at = placeOf(e, e.add(row, m * 16 + half * 8), e.add(column, n * 8));
        e.store(e.pack(run), e.address(memory, run[0].getType(), at), unsigned(8 * together));
      }
}

Lanes TileOfSums::load(Emit e, Type type, Value memory, Value row, Value column, int64_t lanes) const {
  Lanes sums;
  for (int64_t first = 0, width = std::min<int64_t>(lanes, 4); first < lanes; first += width) {
    Value at = placeOf(e, row, e.add(column, first));
    Type loaded = width == 1 ? type : Type(VectorType::get(width, type));
    for (int64_t part = 0; part < parts; ++part) {
      Value place = e.address(memory, type, e.add(at, part * bytesOfPart() / 4));
      Lanes own(e.unpack(e.load(loaded, place, unsigned(width * 4))));
      if (part == 0)
        sums.append(own);
      else
        for (auto [sum, value] : llvm::zip_equal(MutableArrayRef(sums).drop_front(first), own))
          sum = e.sum(sum, value);
    }
  }
  return sums;
}

void TileOfSums::finish(Kernel &kernel, const tile::Group &group, LinalgOp contraction,
                        const Product &product, Value memory, Value firstM, Value firstN, RootLoops loops,
                        RowAt rowAt, More more) const {
  Emit e = kernel.emit();
  LinalgOp root = group.root();
  tile::Group formulas;
  llvm::copy_if(group.operations, std::back_inserter(formulas.operations),
                [&](LinalgOp op) { return op != contraction && !tile::isContraction(op); });
  int64_t lanes = lanesOf(root == contraction ? group : formulas, product.n.extents.back());
  int64_t sizeM = product.m.size(), sizeN = product.n.size();
  int64_t runs = columns / lanes;
  auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(rows * runs), e.index(kernel.threads));
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPoint(loop.getBody()->getTerminator());
  Value run = e.add(loop.getInductionVar(), e.threadId());
  Value row = e.div(run, runs), column = e.mul(e.rem(run, runs), lanes);
  Value m = e.add(firstM, row), n = e.add(firstN, column), inside;
  auto require = [&](Value condition) { inside = inside ? e.both(inside, condition) : condition; };
  if (rows * runs % kernel.threads)
    require(e.less(run, rows * runs));
  if (sizeM % rows)
    require(e.less(m, sizeM));
  if (sizeN % columns)
    require(e.less(n, sizeN));
  e.when(inside, [&] {
    Type type = getElementTypeOrSelf(contraction->getResult(0).getType());
    Lanes sums = load(e, type, memory, row, column, lanes);
    rowAt(m, loops);
    loops.place(contraction, product.n, n, lanes);
    Scalars scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); });
    scalars.inlined.insert(group.operations.begin(), group.operations.end());
    scalars.sources[contraction->getResult(0)] = [&](ArrayRef<Position>, unsigned) { return sums; };
    more(row, scalars);
    SmallVector<Lanes> values = {sums};
    if (root != contraction)
      values = scalars.evaluate(root, loops.positions(), unsigned(lanes));
    scalars.store(root, loops.positions(), values);
  });
}

void TileOfSums::finishRows(Kernel &kernel, const tile::Group &group, LinalgOp contraction,
                            const Product &product, Value memory, Value firstM,
                            const RootLoops &loops) const {
  Emit e = kernel.emit();
  int64_t warps = kernel.threads / warpSize, sizeM = product.m.size();
  AffineMap map = contraction.getMatchingIndexingMap(contraction.getDpsInitOperand(0));
  unsigned dimension = *map.getResultPosition(e.b.getAffineDimExpr(product.n.loops.front()));
  Value warp = e.div(e.threadId(), warpSize), lane = e.rem(e.threadId(), warpSize);
  // One after another without a loop: those of a warp wait for memory together.
  for (int64_t first = 0; first < rows; first += warps) {
    Value row = e.add(warp, first), m = e.add(firstM, row), inside;
    auto require = [&](Value condition) { inside = inside ? e.both(inside, condition) : condition; };
    // The last row is computed several times, so that all threads do the same.
    if (rows % warps) {
      require(e.less(row, rows));
      row = e.select(inside, row, e.index(rows - 1));
    }
    if (sizeM % rows) {
      require(e.less(m, sizeM));
      m = e.select(inside, m, e.index(sizeM - 1));
    }
    RootLoops at = loops;
    at.place(contraction, product.m, m);
    RowWriter writer(group, kernel, contraction);
    writer.scalars.sources[contraction->getResult(0)] = [&](ArrayRef<Position> indices, unsigned lanes) {
      return load(e, product.sumType(), memory, row, indices[dimension].base, lanes);
    };
    writer.write(at.positions(), {1, lane, Value(), inside});
  }
}
