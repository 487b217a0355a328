#include "backends/cuda/codegen/Tensor.h"

#include "mlir/Analysis/FlatLinearValueConstraints.h"
#include "mlir/IR/Matchers.h"

#include <numeric>

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// From the greatest stride to the least.
void sortByStride(Dims &dims, ArrayRef<int64_t> strides, ArrayRef<int64_t> extents) {
  llvm::stable_sort(dims.loops, [&](unsigned a, unsigned b) { return strides[a] > strides[b]; });
  dims.extents = llvm::map_to_vector(dims.loops, [&](unsigned loop) { return extents[loop]; });
}

bool isMultiple(int64_t of, int64_t value) {
  return value % of == 0;
}

/// All of the operand's runs begin at a multiple of a chunk.
bool isAligned(const OperandView &view, std::initializer_list<const Dims *> across) {
  int64_t elements = chunkBytes / view.elementBytes;
  for (const Dims *dims : across)
    for (unsigned loop : dims->loops)
      if (!isMultiple(elements, view.strides[loop]))
        return false;
  return isMultiple(elements, view.storage.offset);
}

/// Where a chunk of 16 bytes lies in a row of `rowBytes` bytes.
Value swizzled(Emit e, Value row, Value chunk, int64_t bytesOfRow) {
  // Eight rows of one chunk, which ldmatrix reads at once, lie in different banks: a row of 64 bytes is half
  // of all, one of 32 a quarter.
  int64_t rowsOfBanks = std::max<int64_t>(1, 128 / bytesOfRow), chunks = bytesOfRow / chunkBytes;
  Value key = e.bitAnd(e.div(row, rowsOfBanks), std::min<int64_t>(8, chunks) - 1);
  return e.add(e.mul(row, bytesOfRow), e.mul(e.bitXor(chunk, key), chunkBytes));
}

/// NVVM's operation has no floats of 8 bits.
SmallVector<Value> multiplyFloat8(OpBuilder &b, Location loc, const Product &product, ArrayRef<Value> rows,
                                  ArrayRef<Value> columns, ArrayRef<Value> sums) {
  auto name = [](Type type) { return isa<Float8E4M3FNType>(type) ? "e4m3" : "e5m2"; };
  std::string text = std::string("mma.sync.aligned.m16n8k32.row.col.f32.") + name(product.elementA) + "." +
                     name(product.elementB) +
                     ".f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};";
  SmallVector<Value> operands(rows);
  operands.append(columns.begin(), columns.end());
  operands.append(sums.begin(), sums.end());
  Type f32 = b.getF32Type();
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), {f32, f32, f32, f32});
  Value result = LLVM::InlineAsmOp::create(b, loc, type, operands, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
                                           /*has_side_effects=*/false, /*is_align_stack=*/false,
                                           LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
                     .getResult(0);
  SmallVector<Value> values;
  for (int64_t i = 0; i < 4; ++i)
    values.push_back(LLVM::ExtractValueOp::create(b, loc, result, i));
  return values;
}

SmallVector<Value> loadMatrices(Kernel &kernel, Value address, bool transposed) {
  OpBuilder &b = kernel.builder();
  Emit e = kernel.emit();
  Type i32 = b.getI32Type();
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i32, i32});
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value loaded = NVVM::LdMatrixOp::create(b, e.loc, type, address, 4,
                                          transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row, shape,
                                          NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> registers;
  for (int64_t i = 0; i < 4; ++i)
    registers.push_back(LLVM::ExtractValueOp::create(b, e.loc, loaded, i));
  return registers;
}

} // namespace

int64_t Dims::size() const {
  return std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>());
}

void Dims::place(Emit e, Value at, int64_t lanes, MutableArrayRef<Position> positions) const {
  if (loops.empty())
    return;
  SmallVector<int64_t> counts(extents);
  counts.back() /= lanes;
  Value run = lanes > 1 ? e.div(at, lanes) : at;
  for (auto [loop, index] : llvm::zip_equal(loops, e.delinearize(run, counts)))
    positions[loop] = {index, 0, 1};
  if (lanes > 1)
    positions[loops.back()] = {e.mul(positions[loops.back()].base, lanes), 1, lanes};
}

SmallVector<Run> Dims::runs(ArrayRef<int64_t> strides) const {
  SmallVector<Run> runs;
  for (auto [loop, extent] : llvm::zip_equal(loops, extents)) {
    if (!runs.empty() && runs.back().stride == strides[loop] * extent)
      runs.back() = {runs.back().extent * extent, strides[loop]};
    else
      runs.push_back({extent, strides[loop]});
  }
  return runs;
}

std::optional<OperandView> npuc::cuda::viewOf(LinalgOp op, unsigned input) {
  OpOperand *operand = op.getDpsInputOperand(input);
  std::optional<Storage> storage = storageOf(operand->get());
  // Of each dimension: a factor for each loop, and a constant.
  std::vector<SmallVector<int64_t, 8>> indices;
  if (!storage || failed(getFlattenedAffineExprs(op.getMatchingIndexingMap(operand), &indices)))
    return std::nullopt;
  unsigned loops = op.getNumLoops();
  OperandView view{operand->get(), *storage, SmallVector<int64_t>(loops, 0)};
  for (auto [index, stride] : llvm::zip_equal(indices, storage->strides)) {
    if (index.size() != loops + 1)
      return std::nullopt; // A quotient.
    for (unsigned loop = 0; loop < loops; ++loop)
      view.strides[loop] += index[loop] * stride;
    view.storage.offset += index[loops] * stride;
  }
  view.elementBytes = cast<RankedTensorType>(operand->get().getType()).getElementTypeBitWidth() / 8;
  return view;
}

bool npuc::cuda::startsAtZero(LinalgOp op) {
  auto fill = op.getDpsInits()[0].getDefiningOp<linalg::FillOp>();
  return fill &&
         (matchPattern(fill.getInputs()[0], m_AnyZeroFloat()) || matchPattern(fill.getInputs()[0], m_Zero()));
}

Type Product::sumType() const {
  Builder b(elementA.getContext());
  return isFloat() ? Type(b.getF32Type()) : Type(b.getI32Type());
}

int64_t Product::elementsOfRow() const {
  return rowBytes / a.elementBytes;
}

std::optional<Product> npuc::cuda::productOf(LinalgOp op, const Machine &machine, bool inRegisters) {
  auto elementOf = [&](unsigned input) {
    return cast<RankedTensorType>(op.getDpsInputs()[input].getType()).getElementType();
  };
  Product p;
  p.elementA = elementOf(0);
  p.elementB = elementOf(1);
  bool sameKind = p.elementA == p.elementB || (p.elementA.isInteger(8) && p.elementB.isInteger(8)) ||
                  (isFloat8(p.elementA) && isFloat8(p.elementB));
  if (!sameKind || !machine.multiplies(p.elementA))
    return std::nullopt;
  if (!startsAtZero(op))
    return std::nullopt;
  std::optional<OperandView> a = viewOf(op, 0), b = viewOf(op, 1);
  AffineMap sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (!a || !b || !sums.isProjectedPermutation())
    return std::nullopt;
  p.a = *a;
  p.b = *b;
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  for (unsigned loop = 0; loop < extents.size(); ++loop) {
    bool inA = op.getMatchingIndexingMap(op.getDpsInputOperand(0)).isFunctionOfDim(loop),
         inB = op.getMatchingIndexingMap(op.getDpsInputOperand(1)).isFunctionOfDim(loop),
         inC = sums.isFunctionOfDim(loop);
    if (extents[loop] == 1)
      continue; // Stays at 0.
    if (!inC && !(inA && inB))
      return std::nullopt;
    (!inC ? p.k : inA && inB ? p.batch : inA ? p.m : p.n).loops.push_back(loop);
  }
  sortByStride(p.k, p.a.strides, extents);
  sortByStride(p.m, p.a.strides, extents);
  sortByStride(p.batch, p.a.strides, extents);
  sortByStride(p.n, p.b.strides, extents);
  if (p.n.loops.empty() || p.k.loops.empty())
    return std::nullopt;
  int64_t elements = chunkBytes / p.a.elementBytes;
  SmallVector<Run> kOfA = p.k.runs(p.a.strides), kOfB = p.k.runs(p.b.strides), nOfB = p.n.runs(p.b.strides);
  if (kOfB.size() != 1 || nOfB.size() != 1)
    return std::nullopt;
  p.b.rowsAreK = kOfB[0].stride != 1;
  // Of one run the last chunk may be a part of one.
  bool chunksOfA = kOfA.back().stride == 1 &&
                   (kOfA.size() == 1 || isMultiple(elements, kOfA.back().extent)) &&
                   llvm::all_of(ArrayRef(kOfA).drop_back(),
                                [&](const Run &run) { return isMultiple(elements, run.stride); }) &&
                   isAligned(p.a, {&p.m, &p.batch});
  if (inRegisters ? !p.b.rowsAreK : !chunksOfA)
    return std::nullopt;
  if (p.b.rowsAreK && (nOfB[0].stride != 1 || !isMultiple(elements, p.n.size())))
    return std::nullopt;
  p.b.ordersBytes = p.interleavesColumns() && !inRegisters;
  if (!isAligned(p.b, {p.b.rowsAreK ? &p.k : &p.n, &p.batch}))
    return std::nullopt;
  return p;
}

std::optional<Product> npuc::cuda::productOfGroups(LinalgOp op, ArrayRef<unsigned> columns, unsigned group,
                                                   unsigned k, const Machine &machine) {
  Product p;
  p.elementA = getElementTypeOrSelf(op.getDpsInputs()[0].getType());
  p.elementB = getElementTypeOrSelf(op.getDpsInputs()[1].getType());
  bool ofBytes = p.elementA.isInteger(8) && p.elementB.isInteger(8),
       ofFloats = p.elementA == p.elementB && (p.elementA.isF16() || p.elementA.isBF16());
  std::optional<OperandView> a = viewOf(op, 0);
  AffineMap sums = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  if (!a || !(ofBytes || ofFloats) || !machine.multiplies(p.elementA) || !sums.isProjectedPermutation())
    return std::nullopt;
  p.a = *a;
  SmallVector<int64_t> extents = op.getStaticLoopRanges();
  AffineMap mapOfA = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  for (unsigned loop = 0; loop < extents.size(); ++loop) {
    bool isColumn = llvm::is_contained(columns, loop), isK = loop == group || loop == k,
         inA = mapOfA.isFunctionOfDim(loop), inC = sums.isFunctionOfDim(loop);
    if (inA == isColumn || (!isK && !inC))
      return std::nullopt;
    if (!isColumn && !isK && extents[loop] > 1)
      p.m.loops.push_back(loop);
  }
  llvm::copy_if(columns, std::back_inserter(p.n.loops), [&](unsigned loop) { return extents[loop] > 1; });
  p.k.loops = {group, k};
  for (Dims *dims : {&p.n, &p.k})
    dims->extents = llvm::map_to_vector(dims->loops, [&](unsigned loop) { return extents[loop]; });
  sortByStride(p.m, p.a.strides, extents);
  SmallVector<Run> runs = p.k.runs(p.a.strides);
  if (p.n.loops.empty() || runs.size() != 1 || runs[0].stride != 1 || !isAligned(p.a, {&p.m}))
    return std::nullopt;
  return p;
}

TileLoader::TileLoader(Kernel &kernel, const OperandView &operand, const Dims &rows, const Dims &k,
                       const Dims &batch, int64_t tile, Value first, Value batchAt, Value thread,
                       int64_t parts)
    : kernel(kernel), e(kernel.emit()), operand(operand), kSize(k.size()), kRuns(k.runs(operand.strides)),
      elementsOfStep(parts * rowBytes / operand.elementBytes) {
  pointer = kernel.pointerTo(operand.storage.root);
  int64_t elements = chunkBytes / operand.elementBytes, rowCount = rows.size();
  auto offsetOf = [&](const Dims &dims, Value at) {
    Value offset = e.index(0);
    for (auto [loop, index] : llvm::zip_equal(dims.loops, e.delinearize(at, dims.extents)))
      offset = e.add(offset, e.mul(index, operand.strides[loop]));
    return offset;
  };
  Value begin = e.add(offsetOf(batch, batchAt), operand.storage.offset);
  // Chunks of a row of the tile: of k, or of m or n where rows are steps of k.
  int64_t perRow = operand.rowsAreK ? tile / elements : parts * rowBytes / chunkBytes;
  int64_t pitch = tilePitch(tile, parts), chunks = parts * tile * rowBytes / chunkBytes;
  for (int64_t i = 0; i < int64_t(llvm::divideCeil(chunks, kernel.threads)); ++i) {
    Chunk chunk;
    Value number = e.add(thread, i * kernel.threads);
    if ((i + 1) * kernel.threads > chunks)
      chunk.exists = e.less(number, chunks);
    Value row = e.div(number, perRow), column = e.rem(number, perRow);
    // Of 32 steps of k, those that make a register's bytes: k's bits 1, 3 and 2 become bits 3, 2 and 1.
    Value rowOfTile = operand.ordersBytes
                          ? e.add(e.bitAnd(row, ~int64_t(14)),
                                  e.add(e.mul(e.bitAnd(row, 2), 4), e.bitAnd(e.div(row, 2), 6)))
                          : row;
    int64_t rowsOfTile = rowBytes / operand.elementBytes, columnsOfTile = rowBytes / chunkBytes;
    chunk.shared = operand.rowsAreK
                       ? e.add(e.mul(e.div(rowOfTile, rowsOfTile), pitch),
                               swizzled(e, e.rem(rowOfTile, rowsOfTile), column, tile * operand.elementBytes))
                       : e.add(e.mul(e.div(column, columnsOfTile), pitch),
                               swizzled(e, row, e.rem(column, columnsOfTile), rowBytes));
    Value along = e.add(first, operand.rowsAreK ? e.mul(column, elements) : row);
    if (rowCount % tile) {
      chunk.inside = e.less(along, rowCount);
      along = e.select(chunk.inside, along, e.index(0));
    }
    chunk.k = operand.rowsAreK ? row : e.mul(column, elements);
    chunk.offset = e.add(begin, offsetOf(rows, along));
    if (kRuns.size() == 1)
      chunk.offset = e.add(chunk.offset, e.mul(chunk.k, kRuns[0].stride));
    own.push_back(chunk);
  }
}

void TileLoader::load(Value step, Value memory) {
  Value ahead = e.mul(step, elementsOfStep);
  for (const Chunk &chunk : own)
    e.when(chunk.exists, [&] {
      Value inside = chunk.inside, offset = chunk.offset, full = e.i32(chunkBytes);
      if (kRuns.size() == 1) {
        offset = e.add(offset, e.mul(ahead, kRuns[0].stride));
      } else {
        SmallVector<int64_t> extents = llvm::map_to_vector(kRuns, [](const Run &run) { return run.extent; });
        for (auto [run, index] : llvm::zip_equal(kRuns, e.delinearize(e.add(chunk.k, ahead), extents)))
          offset = e.add(offset, e.mul(index, run.stride));
      }
      if (kSize % elementsOfStep) {
        Value inK = e.less(e.add(chunk.k, ahead), kSize);
        inside = inside ? e.both(inside, inK) : inK;
        offset = e.select(inK, offset, e.index(operand.storage.offset));
        // The last of a row.
        if (int64_t last = kSize % (chunkBytes / operand.elementBytes); last && !operand.rowsAreK) {
          Value isWhole = e.less(e.add(chunk.k, ahead), kSize - last);
          full = e.select(isWhole, full, e.i32(int32_t(last * operand.elementBytes)));
        }
      }
      Value bytes = inside ? e.select(inside, full, e.i32(0)) : Value();
      Type element = memoryType(cast<RankedTensorType>(operand.tensor.getType()).getElementType());
      NVVM::CpAsyncOp::create(e.b, e.loc, e.address(memory, e.b.getI8Type(), chunk.shared),
                              e.address(pointer, element, offset), uint32_t(chunkBytes),
                              NVVM::LoadCacheModifierKind::CG, bytes);
    });
}

SmallVector<Value> npuc::cuda::loadRows(Kernel &kernel, Value tile, Value first, int64_t step, Value lane) {
  Emit e = kernel.emit();
  Value row = e.add(first, e.bitAnd(lane, 15)), chunk = e.add(e.div(lane, 16), step * 2);
  return loadMatrices(kernel, e.address(tile, e.b.getI8Type(), swizzled(e, row, chunk, rowBytes)), false);
}

SmallVector<Value> npuc::cuda::loadColumns(Kernel &kernel, Value tile, Value first, int64_t step,
                                           Value lane) {
  Emit e = kernel.emit();
  Value row = e.add(first, e.add(e.bitAnd(lane, 7), e.mul(e.div(lane, 16), 8))),
        chunk = e.add(e.bitAnd(e.div(lane, 8), 1), step * 2);
  return loadMatrices(kernel, e.address(tile, e.b.getI8Type(), swizzled(e, row, chunk, rowBytes)), false);
}

SmallVector<Value> npuc::cuda::loadTransposedColumns(Kernel &kernel, const Product &product, Value tile,
                                                     int64_t columns, Value first, int64_t step, Value lane) {
  Emit e = kernel.emit();
  int64_t bytes = product.b.elementBytes, rows = stepBytes / bytes;
  // 16 columns are two chunks, or of bytes one.
  Value row = e.add(e.rem(lane, rows), step * rows),
        chunk = e.add(e.div(first, chunkBytes / bytes), e.div(lane, rows));
  SmallVector<Value> loaded =
      loadMatrices(kernel, e.address(tile, e.b.getI8Type(), swizzled(e, row, chunk, columns * bytes)), true);
  if (bytes == 2)
    return loaded;
  // Each register has a pair of columns at two steps of k.
  SmallVector<Value> taken;
  for (int32_t which : {0x6420, 0x7531})
    for (size_t half : {0, 2})
      taken.push_back(NVVM::PermuteOp::create(e.b, e.loc, e.b.getI32Type(), loaded[half], loaded[half + 1],
                                              e.i32(which), NVVM::PermuteMode::DEFAULT));
  return taken;
}

void npuc::cuda::multiplyAdd(Kernel &kernel, const Product &product, ArrayRef<Value> rows,
                             ArrayRef<Value> columns, MutableArrayRef<Value> sums) {
  OpBuilder &b = kernel.builder();
  Location loc = kernel.emit().loc;
  Type element = product.elementA, sum = sums[0].getType();
  auto operands = [&](ArrayRef<Value> registers) {
    SmallVector<Value> values(registers);
    if (element.isF16())
      for (Value &value : values)
        value = LLVM::BitcastOp::create(b, loc, VectorType::get(2, element), value);
    return values;
  };
  if (isFloat8(element)) {
    SmallVector<Value> results = multiplyFloat8(b, loc, product, rows, columns, sums);
    llvm::copy(results, sums.begin());
    return;
  }
  std::optional<std::array<NVVM::MMATypes, 2>> types;
  std::optional<NVVM::MMAIntOverflow> overflow;
  auto integer = [](Type type) { return type.isUnsignedInteger() ? NVVM::MMATypes::u8 : NVVM::MMATypes::s8; };
  if (element.isBF16())
    types = {NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
  if (!product.isFloat()) {
    types = {integer(element), integer(product.elementB)};
    overflow = NVVM::MMAIntOverflow::wrapped;
  }
  int64_t k = stepBytes / product.a.elementBytes;
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), {sum, sum, sum, sum});
  Value result = NVVM::MmaOp::create(b, loc, type, operands(rows), operands(columns), ValueRange(sums),
                                     ArrayRef<int64_t>{16, 8, k}, std::nullopt, overflow, types,
                                     std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  for (auto [i, value] : llvm::enumerate(sums))
    value = LLVM::ExtractValueOp::create(b, loc, result, int64_t(i));
}
