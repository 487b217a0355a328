#include "backends/cuda/codegen/Tensor.h"

#include "mlir/IR/Matchers.h"

#include <numeric>

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

namespace {

/// An operand's view, by the contraction's loops; nothing if it is not of plain loops.
std::optional<OperandView> viewOf(LinalgOp op, unsigned input) {
  OpOperand *operand = op.getDpsInputOperand(input);
  std::optional<Storage> storage = storageOf(operand->get());
  AffineMap map = op.getMatchingIndexingMap(operand);
  if (!storage || !map.isProjectedPermutation())
    return std::nullopt;
  OperandView view{operand->get(), *storage, SmallVector<int64_t>(op.getNumLoops(), 0)};
  for (auto [expr, stride] : llvm::zip_equal(map.getResults(), storage->strides))
    view.strides[cast<AffineDimExpr>(expr).getPosition()] = stride;
  view.elementBytes = cast<RankedTensorType>(operand->get().getType()).getElementTypeBitWidth() / 8;
  return view;
}

/// From the greatest stride to the least.
void sortByStride(Dims &dims, ArrayRef<int64_t> strides, ArrayRef<int64_t> extents) {
  llvm::stable_sort(dims.loops, [&](unsigned a, unsigned b) { return strides[a] > strides[b]; });
  dims.extents = llvm::map_to_vector(dims.loops, [&](unsigned loop) { return extents[loop]; });
}

/// The stride of all loops as one, if they are: 0 elements apart from its neighbours.
std::optional<int64_t> strideOfAll(const Dims &dims, ArrayRef<int64_t> strides) {
  if (dims.loops.empty())
    return 1;
  for (size_t i = 0; i + 1 < dims.loops.size(); ++i)
    if (strides[dims.loops[i]] != strides[dims.loops[i + 1]] * dims.extents[i + 1])
      return std::nullopt;
  return strides[dims.loops.back()];
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
  auto fill = op.getDpsInits()[0].getDefiningOp<linalg::FillOp>();
  if (!fill ||
      !(matchPattern(fill.getInputs()[0], m_AnyZeroFloat()) || matchPattern(fill.getInputs()[0], m_Zero())))
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
  std::optional<int64_t> kOfB = strideOfAll(p.k, p.b.strides), nOfB = strideOfAll(p.n, p.b.strides);
  if (!kOfB || !nOfB)
    return std::nullopt;
  p.b.rowsAreK = *kOfB != 1;
  if (inRegisters ? !p.b.rowsAreK
                  : strideOfAll(p.k, p.a.strides) != 1 || !isMultiple(elements, p.k.size()) ||
                        !isAligned(p.a, {&p.m, &p.batch}))
    return std::nullopt;
  if (p.b.rowsAreK && (*nOfB != 1 || !isMultiple(elements, p.n.size())))
    return std::nullopt;
  p.b.ordersBytes = p.interleavesColumns() && !inRegisters;
  if (!isAligned(p.b, {p.b.rowsAreK ? &p.k : &p.n, &p.batch}))
    return std::nullopt;
  return p;
}

TileLoader::TileLoader(Kernel &kernel, const OperandView &operand, const Dims &rows, const Dims &k,
                       const Dims &batch, int64_t tile, Value first, Value batchAt, Value thread)
    : kernel(kernel), e(kernel.emit()), operand(operand), kSize(k.size()),
      kStride(operand.strides[k.loops.back()]), elementsOfRow(rowBytes / operand.elementBytes),
      chunks(tile * rowBytes / chunkBytes) {
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
  int64_t perRow = operand.rowsAreK ? tile / elements : rowBytes / chunkBytes;
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
    chunk.shared = swizzled(e, rowOfTile, column, operand.rowsAreK ? tile * operand.elementBytes : rowBytes);
    Value along = e.add(first, operand.rowsAreK ? e.mul(column, elements) : row);
    if (rowCount % tile) {
      chunk.inside = e.less(along, rowCount);
      along = e.select(chunk.inside, along, e.index(0));
    }
    chunk.k = operand.rowsAreK ? row : e.mul(column, elements);
    chunk.offset = e.add(e.add(begin, offsetOf(rows, along)), e.mul(chunk.k, kStride));
    own.push_back(chunk);
  }
}

void TileLoader::load(Value step, Value memory) {
  Value ahead = e.mul(step, elementsOfRow);
  for (const Chunk &chunk : own)
    e.when(chunk.exists, [&] {
      Value inside = chunk.inside, offset = e.add(chunk.offset, e.mul(ahead, kStride));
      if (kSize % elementsOfRow) {
        Value inK = e.less(e.add(chunk.k, ahead), kSize);
        inside = inside ? e.both(inside, inK) : inK;
        offset = e.select(inK, offset, e.index(operand.storage.offset));
      }
      Value bytes = inside ? e.select(inside, e.i32(chunkBytes), e.i32(0)) : Value();
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
