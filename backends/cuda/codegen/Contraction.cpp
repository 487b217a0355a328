// C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n] by mma.sync. A block computes a tile of C, where tiles
// are small with warps for different parts of k; tiles of A and B come to shared memory by asynchronous
// copies, some steps of k ahead, and from there to registers by ldmatrix, or, of weights of 4 bits, by
// Nibbles. Sums go through shared memory once more, so that formulas of them run over whole rows and global
// memory is written in 128 bits.

#include "backends/cuda/codegen/Epilogue.h"
#include "backends/cuda/codegen/Nibbles.h"
#include "backends/cuda/codegen/Rows.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

constexpr int64_t leastM = 16, leastN = 32, leastWarps = 4;
constexpr int64_t leastStages = 2, greatestStages = 4;
/// Of a tile of whole rows: these, warps, and sums that a thread has in registers.
constexpr int64_t greatestRows = 64, greatestWarps = 16, greatestSums = 64;
/// Steps of a block's loop: of fewer, adding parts in another kernel takes longer than what they save.
constexpr int64_t leastDividedSteps = 16, leastStepsOfPart = 4;
constexpr int64_t greatestGridYZ = 65535;

/// The extent of a tile of C along a dimension of `size`.
int64_t tileOf(int64_t size, int64_t least) {
  int64_t tile = least;
  while (tile < 128 && tile < size)
    tile *= 2;
  return tile > least && tile > size ? tile / 2 : tile;
}

/// A tile of C, and how many warps share it along each dimension.
struct Tiling {
  int64_t m, n, warpsM, warpsN, warpsK;
  bool wholeRows = false;

  Tiling(const Product &p, const Machine &machine, const FourBits *weights = nullptr)
      : m(tileOf(p.m.size(), leastM)), n(tileOf(p.n.size(), leastN)) {
    // Of few rows, what takes time is to read B, from as many cores as there are. Otherwise half a tile takes
    // half the time if it still has a core of its own.
    int64_t least = std::min(m, 2 * leastM), wanted = m == leastM ? machine.cores : machine.cores / 2 + 1;
    while ((m > least || n > leastN) && blocks(p) < wanted)
      ((n >= m && n > leastN) || m == least ? n : m) /= 2;
    warpsM = m >= 64 ? 2 : 1;
    warpsN = n / 32;
    int64_t steps = llvm::divideCeil(p.k.size(), p.elementsOfRow());
    warpsK = std::max<int64_t>(1, leastWarps / (warpsM * warpsN));
    while (warpsK > steps || (weights && !weights->dividesSteps(warpsK)))
      warpsK /= 2;
  }
  /// A tile of whole rows. Nothing if the registers of a block's threads cannot hold its sums, or shared
  /// memory them or two steps of operands.
  static std::optional<Tiling> ofRows(const Product &p, int64_t rows, const Machine &machine) {
    Tiling tiling(p, machine);
    tiling.wholeRows = true;
    tiling.m = rows;
    tiling.warpsM = rows > 2 * leastM ? 2 : 1;
    tiling.warpsN = leastWarps;
    tiling.warpsK = 1;
    auto columnsOfWarp = [&] { return llvm::alignTo(p.n.size(), 16 * tiling.warpsN) / tiling.warpsN; };
    while (columnsOfWarp() > 64 && tiling.warpsN < greatestWarps)
      tiling.warpsN *= 2;
    tiling.n = tiling.warpsN * columnsOfWarp();
    TileOfSums sums{tiling.m, tiling.n, p.interleavesColumns(), 1};
    int64_t operands = leastStages * (tilePitch(tiling.m, 1) + tilePitch(tiling.n, 1));
    bool fits = tiling.warpsM * tiling.warpsN <= greatestWarps &&
                rows / tiling.warpsM * columnsOfWarp() <= greatestSums * int64_t(warpSize) &&
                std::max(operands, sums.bytes()) <= machine.sharedBytesPerBlock;
    return fits ? std::optional(tiling) : std::nullopt;
  }
  int64_t blocks(const Product &p) const {
    return llvm::divideCeil(p.m.size(), m) * llvm::divideCeil(p.n.size(), n) * p.batch.size();
  }
};

class ContractionWriter {
public:
  /// `results`: m and n along the loops of `contraction`, whose results the sums are. `weights`: B's, or
  /// null.
  ContractionWriter(const tile::Group &group, LinalgOp contraction, const Product &product,
                    const Product &results, const FourBits *weights, const Tiling &tiling,
                    const Machine &machine, Kernel &kernel)
      : group(group), contraction(contraction), p(product), results(results), weights(weights),
        kernel(kernel), e(kernel.emit()), wholeRows(tiling.wholeRows) {
    tileM = tile.rows = tiling.m;
    tileN = tile.columns = tiling.n;
    tile.interleaved = p.interleavesColumns();
    warpsM = tiling.warpsM;
    warpsN = tiling.warpsN;
    warpsK = tile.parts = tiling.warpsK;
    steps = llvm::divideCeil(p.k.size(), p.elementsOfRow() * warpsK);
    stages = std::min(greatestStages, steps + 1);
    if (wholeRows) {
      // Two blocks at once, one multiplies while the other finishes rows; or else one.
      int64_t least = std::max(leastStages * stageBytes(), tile.bytes());
      int64_t most =
          least <= machine.sharedBytesOfTwo ? machine.sharedBytesOfTwo : machine.sharedBytesPerBlock;
      stages = std::min(stages, most / stageBytes());
    }
    kernel.threads = unsigned(warpsM * warpsN * warpsK * warpSize);
    kernel.grid = {unsigned(llvm::divideCeil(p.n.size(), tileN)),
                   unsigned(llvm::divideCeil(p.m.size(), tileM)), unsigned(p.batch.size())};
    kernel.sharedBytes = unsigned(std::max(stages * stageBytes(), tile.bytes()));
  }

  LogicalResult write(const Machine &machine) {
    if (kernel.grid[1] > greatestGridYZ || kernel.grid[2] > greatestGridYZ ||
        kernel.sharedBytes > machine.sharedBytesPerBlock)
      return failure();
    memory = kernel.shared();
    thread = e.threadId();
    lane = e.rem(thread, warpSize);
    Value warp = e.div(thread, warpSize);
    warpN = e.rem(warp, warpsN);
    warpM = e.rem(e.div(warp, warpsN), warpsM);
    warpK = e.div(warp, warpsN * warpsM);
    firstM = e.mul(e.blockIdY(), tileM);
    firstN = e.mul(e.blockIdX(), tileN);
    batch = e.blockIdZ();
    SmallVector<Value> sums = multiply();
    Value part = e.address(memory, e.b.getI8Type(), e.mul(warpK, tile.bytesOfPart()));
    tile.leave(e, part, sums, e.mul(warpM, tileM / warpsM), tilesOfWarpM(), e.mul(warpN, tileN / warpsN),
               lane);
    e.barrier();
    RootLoops loops(group, e);
    loops.place(contraction, results.batch, batch);
    if (wholeRows)
      tile.finishRows(kernel, group, contraction, results, memory, firstM, loops);
    else
      tile.finish(kernel, group, contraction, results, memory, firstM, firstN, loops,
                  [&](Value m, RootLoops &at) { at.place(contraction, results.m, m); });
    return success();
  }

private:
  int64_t bytesOf(int64_t tile) const { return warpsK * tilePitch(tile, warpsK); }
  int64_t stageBytes() const {
    return bytesOf(tileM) + (weights ? Nibbles::bytes(*weights, tileN, warpsK) : bytesOf(tileN));
  }
  int64_t tilesOfWarpM() const { return tileM / warpsM / 16; }
  int64_t tilesOfWarpN() const { return tileN / warpsN / 8; }

  SmallVector<Value> multiply() {
    TileLoader a(kernel, p.a, p.m, p.k, p.batch, tileM, firstM, batch, thread, warpsK);
    std::optional<TileLoader> b;
    if (weights)
      nibbles.emplace(kernel, *weights, tileN, warpsN, warpsK,
                      Nibbles::Place{thread, lane, warpN, warpK, firstN});
    else
      b.emplace(kernel, p.b, p.n, p.k, p.batch, tileN, firstN, batch, thread, warpsK);
    auto loadStep = [&](Value step, Value stage) {
      Value begin = e.mul(stage, stageBytes());
      a.load(step, e.address(memory, e.b.getI8Type(), begin));
      Value second = e.address(memory, e.b.getI8Type(), e.add(begin, bytesOf(tileM)));
      weights ? nibbles->load(step, second) : b->load(step, second);
    };
    for (int64_t step = 0; step < stages - 1; ++step) {
      if (step < steps)
        loadStep(e.index(step), e.index(step));
      NVVM::CpAsyncCommitGroupOp::create(e.b, e.loc);
    }
    SmallVector<Value> sums(tilesOfWarpM() * tilesOfWarpN() * 4,
                            e.zero(getElementTypeOrSelf(contraction->getResult(0).getType())));
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
      multiplyStage(step, e.mul(e.rem(step, stages), stageBytes()), sums);
      scf::YieldOp::create(e.b, e.loc, sums);
    }
    e.barrier(); // Nobody needs the operands.
    return SmallVector<Value>(loop.getResults());
  }

  void multiplyStage(Value step, Value begin, SmallVector<Value> &sums) {
    auto at = [&](Value bytes) { return e.address(memory, e.b.getI8Type(), e.add(begin, bytes)); };
    Value a = at(e.mul(warpK, tilePitch(tileM, warpsK)));
    int64_t tilesM = tilesOfWarpM(), tilesN = tilesOfWarpN();
    if (!weights) {
      Value b = at(e.add(e.mul(warpK, tilePitch(tileN, warpsK)), bytesOf(tileM)));
      for (int64_t k = 0; k < rowBytes / stepBytes; ++k) {
        SmallVector<Value> columns = columnsOf(b, k);
        for (int64_t m = 0; m < tilesM; ++m) {
          SmallVector<Value> rows = rowsOf(a, m, k);
          for (int64_t n = 0; n < tilesN; ++n)
            multiplyAdd(kernel, p, rows, ArrayRef(columns).slice(n * 2, 2), sumsOf(sums, m, n));
        }
      }
      return;
    }
    // Steps that have a scale in common are summed before they get it.
    nibbles->enter(step, at(e.index(bytesOf(tileM))));
    int64_t together = nibbles->stepsOfGroup();
    for (int64_t first = 0; first < rowBytes / stepBytes; first += together) {
      nibbles->enterGroup(first);
      SmallVector<SmallVector<Value>> columns;
      for (int64_t k = 0; k < together; ++k)
        columns.push_back(nibbles->columns(first + k));
      for (int64_t m = 0; m < tilesM; ++m) {
        SmallVector<SmallVector<Value>> rows;
        for (int64_t k = 0; k < together; ++k)
          rows.push_back(rowsOf(a, m, first + k));
        for (int64_t n = 0; n < tilesN; ++n) {
          SmallVector<Value> group = nibbles->begin(n);
          for (int64_t k = 0; k < together; ++k)
            multiplyAdd(kernel, p, rows[k], ArrayRef(columns[k]).slice(n * 2, 2), group);
          nibbles->finish(n, group, sumsOf(sums, m, n));
        }
      }
    }
  }

  MutableArrayRef<Value> sumsOf(MutableArrayRef<Value> sums, int64_t m, int64_t n) const {
    return sums.slice((m * tilesOfWarpN() + n) * 4, 4);
  }

  SmallVector<Value> rowsOf(Value tile, int64_t m, int64_t k) {
    return loadRows(kernel, tile, e.add(e.mul(warpM, tileM / warpsM), m * 16), k, lane);
  }

  /// Two registers for each tile of eight columns.
  SmallVector<Value> columnsOf(Value tile, int64_t k) {
    SmallVector<Value> columns;
    for (int64_t n = 0; n < tilesOfWarpN(); n += 2) {
      Value first = e.add(e.mul(warpN, tileN / warpsN), n * 8);
      llvm::append_range(columns, p.b.rowsAreK ? loadTransposedColumns(kernel, p, tile, tileN, first, k, lane)
                                               : loadColumns(kernel, tile, first, k, lane));
    }
    return columns;
  }

  const tile::Group &group;
  LinalgOp contraction;
  const Product &p, &results;
  const FourBits *weights;
  Kernel &kernel;
  Emit e;
  std::optional<Nibbles> nibbles;
  TileOfSums tile;
  int64_t tileM, tileN, warpsM, warpsN, warpsK, steps, stages;
  bool wholeRows;
  Value memory, thread, lane, warpM, warpN, warpK, firstM, firstN, batch;
};

struct ProductOfRows {
  LinalgOp contraction;
  Product product;
};

/// The product of a group that reduces over rows, if its rows are those of the group.
std::optional<ProductOfRows> productOfRows(const tile::Group &group, const Machine &machine) {
  LinalgOp contraction;
  for (LinalgOp op : group.operations)
    if (tile::isContraction(op) && tile::columnLoops(op).any()) {
      if (contraction)
        return std::nullopt;
      contraction = op;
    }
  std::optional<Product> p = contraction ? productOf(contraction, machine) : std::nullopt;
  if (!p || p->n.loops.size() != 1 || llvm::is_contained(outputsOf(group), contraction) ||
      !reducesRows(group, contraction))
    return std::nullopt;
  llvm::SetVector<Operation *> members = group.members();
  SmallVector<int> along = tile::loopsAlong(group.root(), members)[contraction];
  llvm::SmallBitVector rows = tile::cuttableLoops(group.root(), members);
  auto isOfRows = [&](unsigned loop) { return along[loop] >= 0 && rows[along[loop]]; };
  if (!llvm::all_of(p->m.loops, isOfRows) || !llvm::all_of(p->batch.loops, isOfRows) ||
      llvm::any_of(p->n.loops, isOfRows))
    return std::nullopt;
  return ProductOfRows{contraction, *p};
}

} // namespace

int64_t npuc::cuda::partsOfSums(LinalgOp contraction, const Machine &machine) {
  std::optional<Product> p = productOf(contraction, machine);
  if (!p)
    return 1;
  Tiling tiling(*p, machine);
  int64_t steps = llvm::divideCeil(p->k.size(), p->elementsOfRow()) / tiling.warpsK;
  if (steps < leastDividedSteps)
    return 1;
  // All of a length that begins at a chunk.
  int64_t parts = std::min(machine.cores / tiling.blocks(*p), steps / leastStepsOfPart);
  while (parts > 1 && p->k.size() % (parts * chunkBytes / p->a.elementBytes))
    --parts;
  return std::max<int64_t>(parts, 1);
}

LogicalResult npuc::cuda::writeContractionOfRows(const tile::Group &group, int64_t rows,
                                                 const Machine &machine, Kernel &kernel) {
  std::optional<ProductOfRows> known = productOfRows(group, machine);
  std::optional<Tiling> tiling = known ? Tiling::ofRows(known->product, rows, machine) : std::nullopt;
  if (!tiling)
    return failure();
  return ContractionWriter(group, known->contraction, known->product, known->product, nullptr, *tiling,
                           machine, kernel)
      .write(machine);
}

SmallVector<int64_t> npuc::cuda::rowsOfTiles(const tile::Group &group, const Machine &machine) {
  SmallVector<int64_t> found;
  std::optional<ProductOfRows> known = productOfRows(group, machine);
  for (int64_t rows = greatestRows; known && rows >= leastM; rows /= 2)
    if (std::optional<Tiling> tiling = Tiling::ofRows(known->product, rows, machine)) {
      int64_t blocks = tiling->blocks(known->product);
      if (rows == leastM || 2 * blocks > machine.cores)
        found.push_back(rows);
      if (rows <= 2 * leastM && blocks >= machine.cores)
        break;
    }
  return found;
}

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
  if (!product)
    return failure();
  return ContractionWriter(group, contraction, *product, *product, nullptr, Tiling(*product, machine),
                           machine, kernel)
      .write(machine);
}

LogicalResult npuc::cuda::writeFourBits(const tile::Group &group, const FourBits &weights,
                                        const Machine &machine, Kernel &kernel) {
  FourBits now = weights; // Since it was found operations may have been written anew.
  if (failed(now.findOperand(machine)))
    return failure();
  return ContractionWriter(group, now.sums, now.product, now.results, &now,
                           Tiling(now.product, machine, &now), machine, kernel)
      .write(machine);
}
