// C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n] by mma.sync. A block computes a tile of C; tiles of A and B come
// to shared memory by asynchronous copies, some steps of k ahead, and from there to registers by ldmatrix. Sums go
// through shared memory once more, so that formulas of them run over whole rows and global memory is written in
// 128 bits.

#include "backends/cuda/codegen/Kernel.h"
#include "backends/cuda/codegen/Tensor.h"
#include "compiler/tile/Loops.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

constexpr int64_t greatestStages = 4, greatestLanes = 8;
/// Words between the rows of sums in shared memory, so that the rows that a warp writes at once lie in different
/// banks.
constexpr int64_t sumsPadding = 8;
constexpr int64_t greatestGridYZ = 65535;

/// The extent of a tile of C along a dimension of `size`.
int64_t tileOf(int64_t size, int64_t least) {
  int64_t tile = least;
  while (tile < 128 && tile < size)
    tile *= 2;
  return tile > least && tile > size ? tile / 2 : tile;
}

class ContractionWriter {
public:
  ContractionWriter(const tile::Group &group, LinalgOp contraction, const Product &product, Kernel &kernel)
      : group(group), contraction(contraction), p(product), kernel(kernel), e(kernel.emit()) {
    tileM = tileOf(p.m.size(), 16);
    tileN = tileOf(p.n.size(), 32);
    warpsM = tileM >= 64 ? 2 : 1;
    warpsN = tileN / 32;
    steps = llvm::divideCeil(p.k.size(), p.elementsOfRow());
    stages = std::min(greatestStages, steps + 1);
    kernel.threads = unsigned(warpsM * warpsN * warpSize);
    kernel.grid = {unsigned(llvm::divideCeil(p.n.size(), tileN)), unsigned(llvm::divideCeil(p.m.size(), tileM)),
                   unsigned(p.batch.size())};
    kernel.sharedBytes = unsigned(std::max(stages * stageBytes(), tileM * (tileN + sumsPadding) * 4));
  }

  LogicalResult write(const Machine &machine) {
    if (kernel.grid[1] > greatestGridYZ || kernel.grid[2] > greatestGridYZ ||
        kernel.sharedBytes > machine.sharedBytesPerBlock)
      return failure();
    memory = kernel.shared();
    thread = e.threadId();
    lane = e.rem(thread, warpSize);
    Value warp = e.div(thread, warpSize);
    warpM = e.div(warp, warpsN);
    warpN = e.rem(warp, warpsN);
    firstM = e.mul(e.blockIdY(), tileM);
    firstN = e.mul(e.blockIdX(), tileN);
    batch = e.blockIdZ();
    SmallVector<Value> sums = multiply();
    leaveSums(sums);
    finish();
    return success();
  }

private:
  int64_t stageBytes() const { return (tileM + tileN) * rowBytes; }
  int64_t tilesOfWarpM() const { return tileM / warpsM / 16; }
  int64_t tilesOfWarpN() const { return tileN / warpsN / 8; }

  SmallVector<Value> multiply() {
    TileLoader a(kernel, p.a, p.m, p.k, p.batch, tileM, firstM, batch, thread);
    TileLoader b(kernel, p.b, p.n, p.k, p.batch, tileN, firstN, batch, thread);
    auto loadStep = [&](Value step, Value stage) {
      Value begin = e.mul(stage, stageBytes());
      a.load(step, e.address(memory, e.b.getI8Type(), begin));
      b.load(step, e.address(memory, e.b.getI8Type(), e.add(begin, tileM * rowBytes)));
    };
    for (int64_t step = 0; step < stages - 1; ++step) {
      if (step < steps)
        loadStep(e.index(step), e.index(step));
      NVVM::CpAsyncCommitGroupOp::create(e.b, e.loc);
    }
    Type sumType = p.isFloat() ? Type(e.b.getF32Type()) : Type(e.b.getI32Type());
    Value zero = arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(sumType));
    SmallVector<Value> sums(tilesOfWarpM() * tilesOfWarpN() * 4, zero);
    auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(steps), e.index(1), sums);
    {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToStart(loop.getBody());
      Value step = loop.getInductionVar();
      NVVM::CpAsyncWaitGroupOp::create(e.b, e.loc, uint32_t(stages - 2));
      e.barrier();
      Value ahead = e.add(step, stages - 1);
      e.when(e.less(ahead, steps), [&] { loadStep(ahead, e.rem(ahead, stages)); });
      NVVM::CpAsyncCommitGroupOp::create(e.b, e.loc);
      sums.assign(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
      multiplyStage(e.mul(e.rem(step, stages), stageBytes()), sums);
      scf::YieldOp::create(e.b, e.loc, sums);
    }
    NVVM::CpAsyncWaitGroupOp::create(e.b, e.loc, 0u);
    e.barrier();
    return SmallVector<Value>(loop.getResults());
  }

  void multiplyStage(Value begin, SmallVector<Value> &sums) {
    Value a = e.address(memory, e.b.getI8Type(), begin),
          b = e.address(memory, e.b.getI8Type(), e.add(begin, tileM * rowBytes));
    int64_t tilesM = tilesOfWarpM(), tilesN = tilesOfWarpN();
    for (int64_t step = 0; step < rowBytes / stepBytes; ++step) {
      SmallVector<Value> columns; // Two registers for each tile of eight columns.
      for (int64_t n = 0; n < tilesN; n += 2) {
        Value first = e.add(e.mul(warpN, tileN / warpsN), n * 8);
        llvm::append_range(columns, p.b.rowsAreK ? loadTransposedColumns(kernel, b, tileN, first, step, lane)
                                                 : loadColumns(kernel, b, first, step, lane));
      }
      for (int64_t m = 0; m < tilesM; ++m) {
        SmallVector<Value> rows = loadRows(kernel, a, e.add(e.mul(warpM, tileM / warpsM), m * 16), step, lane);
        for (int64_t n = 0; n < tilesN; ++n) {
          MutableArrayRef<Value> sum = MutableArrayRef(sums).slice((m * tilesN + n) * 4, 4);
          multiplyAdd(kernel, p, rows, ArrayRef(columns).slice(n * 2, 2), sum);
        }
      }
    }
  }

  /// Sums to shared memory, a row of words for each row of the tile.
  void leaveSums(ArrayRef<Value> sums) {
    Value row = e.add(e.mul(warpM, tileM / warpsM), e.div(lane, 4)),
          column = e.add(e.mul(warpN, tileN / warpsN), e.mul(e.rem(lane, 4), 2));
    for (int64_t m = 0; m < tilesOfWarpM(); ++m)
      for (int64_t n = 0; n < tilesOfWarpN(); ++n)
        for (int64_t half = 0; half < 2; ++half) {
          ArrayRef<Value> pair = sums.slice((m * tilesOfWarpN() + n) * 4 + half * 2, 2);
          Value at = e.add(e.mul(e.add(row, m * 16 + half * 8), tileN + sumsPadding), e.add(column, n * 8));
          e.store(e.pack(pair), e.address(memory, pair[0].getType(), at), 8);
        }
    e.barrier();
  }

  /// Formulas of the sums, some columns of a row at a time.
  void finish() {
    LinalgOp root = group.root();
    int64_t lanes = 1;
    while (lanes < greatestLanes && p.n.extents.back() % (lanes * 2) == 0)
      lanes *= 2;
    int64_t runs = tileN / lanes, total = tileM * runs;
    auto loop = scf::ForOp::create(e.b, e.loc, e.index(0), e.index(total), e.index(kernel.threads));
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPoint(loop.getBody()->getTerminator());
    Value run = e.add(loop.getInductionVar(), thread);
    Value row = e.div(run, runs), column = e.mul(e.rem(run, runs), lanes);
    Value m = e.add(firstM, row), n = e.add(firstN, column);
    Value inside;
    if (p.m.size() % tileM)
      inside = e.less(m, p.m.size());
    if (p.n.size() % tileN)
      inside = inside ? e.both(inside, e.less(n, p.n.size())) : e.less(n, p.n.size());
    e.when(inside, [&] {
      Type type = p.isFloat() ? Type(e.b.getF32Type()) : Type(e.b.getI32Type());
      Lanes sums;
      for (int64_t part = 0, width = std::min<int64_t>(lanes, 4); part < lanes; part += width) {
        Value at = e.add(e.mul(row, tileN + sumsPadding), e.add(column, part));
        Type loaded = width == 1 ? type : Type(VectorType::get(width, type));
        llvm::append_range(sums, e.unpack(e.load(loaded, e.address(memory, type, at), unsigned(width * 4))));
      }
      // Where the contraction's loops stand, and the root's, which run along them.
      SmallVector<Position> at(contraction.getNumLoops(), Position{e.index(0), 0, 0});
      p.batch.place(e, batch, 1, at);
      p.m.place(e, m, 1, at);
      p.n.place(e, n, lanes, at);
      Scalars scalars(e, [&](Value tensor) { return kernel.pointerTo(tensor); });
      scalars.inlined.insert(group.operations.begin(), group.operations.end());
      scalars.sources[contraction->getResult(0)] = [&](ArrayRef<Position>, unsigned) { return sums; };
      if (root == contraction) {
        AffineMap map = root.getMatchingIndexingMap(root.getDpsInitOperand(0));
        scalars.store(root->getResult(0), scalars.through(map, at), sums);
        return;
      }
      llvm::SetVector<Operation *> members;
      for (LinalgOp op : llvm::reverse(group.operations))
        members.insert(op);
      SmallVector<Position> loops(root.getNumLoops(), Position{e.index(0), 0, 0});
      tile::LoopsAlong along = tile::loopsAlong(root, members);
      for (auto [loop, rootLoop] : llvm::enumerate(along[contraction]))
        if (rootLoop >= 0)
          loops[rootLoop] = at[loop];
      SmallVector<Lanes> values = scalars.evaluate(root, loops, unsigned(lanes));
      for (auto [i, value] : llvm::enumerate(values))
        scalars.store(root->getResult(i),
                      scalars.through(root.getMatchingIndexingMap(root.getDpsInitOperand(i)), loops), value);
    });
  }

  const tile::Group &group;
  LinalgOp contraction;
  const Product &p;
  Kernel &kernel;
  Emit e;
  int64_t tileM, tileN, warpsM, warpsN, steps, stages;
  Value memory, thread, lane, warpM, warpN, firstM, firstN, batch;
};

} // namespace

LogicalResult npuc::cuda::writeContraction(const tile::Group &group, const Machine &machine, Kernel &kernel) {
  LinalgOp contraction;
  for (LinalgOp op : group.operations) {
    if (op.getNumReductionLoops() == 0)
      continue;
    if (contraction || !tile::isContraction(op))
      return failure();
    contraction = op;
  }
  if (!contraction)
    return failure();
  std::optional<Product> product = productOf(contraction, machine);
    return failure();
  return ContractionWriter(group, contraction, *product, kernel).write(machine);
}
