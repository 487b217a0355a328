#include "backends/cuda/codegen/Nibbles.h"

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;

namespace {

/// Column tiles of a warp, of eight columns each.
constexpr int64_t tilesN = columnsOfBlock / 8;
/// 1.5 · 2²³: added to an integer of less than 22 bits, its bits as a float are that plus this number.
constexpr float wide = 12582912;
constexpr int32_t wideBits = 0x4B400000;
/// Offsets of such groups, and sums of a block of products by bytes, are less than 21 bits each.
constexpr int64_t greatestWideGroup = 512;

int64_t bytesOfBlock(const FourBits &weights) {
  return columnsOfBlock * weights.elementsOfBlock() / 2;
}

} // namespace

int64_t Nibbles::groupsOfStep(const FourBits &weights, int64_t warpsK) {
  return weights.groups == 1 ? 1 : llvm::divideCeil(warpsK * weights.elementsOfBlock(), weights.each);
}

int64_t Nibbles::bytes(const FourBits &weights, int64_t columns, int64_t warpsK) {
  int64_t ofColumn = 4 + (weights.offsets ? 4 : 0) + (weights.zeroPoints ? 1 : 0);
  return columns / columnsOfBlock * warpsK * bytesOfBlock(weights) +
         groupsOfStep(weights, warpsK) * columns * ofColumn;
}

Nibbles::Nibbles(Kernel &kernel, const FourBits &weights, int64_t columns, int64_t warpsN, int64_t warpsK,
                 const Place &place)
    : kernel(kernel), e(kernel.emit()), w(weights), tileN(columns), warpsN(warpsN), warpsK(warpsK),
      blockBytes(bytesOfBlock(weights)), stepGroups(groupsOfStep(weights, warpsK)), at(place) {
  int64_t begin = warpsN * warpsK * blockBytes;
  auto next = [&](Value tensor, int64_t bytes) {
    Parameters made{tensor, bytes, begin};
    begin += tensor ? stepGroups * tileN * bytes : 0;
    return made;
  };
  scales = next(w.scales, 4);
  offsets = next(w.offsets, 4);
  zeroPoints = next(w.zeroPoints, 1);
}

void Nibbles::copy(Value tensor, Value from, Value to, Value inside) const {
  Value bytes = inside ? e.select(inside, e.i32(chunkBytes), e.i32(0)) : Value();
  if (inside)
    from = e.select(inside, from, e.index(0));
  Type i8 = e.b.getI8Type();
  NVVM::CpAsyncOp::create(e.b, e.loc, to, e.address(kernel.pointerTo(tensor), i8, from), uint32_t(chunkBytes),
                          NVVM::LoadCacheModifierKind::CG, bytes);
}

void Nibbles::load(Value step, Value memory) {
  Type i8 = e.b.getI8Type();
  auto forChunks = [&](int64_t chunks, llvm::function_ref<void(Value)> body) {
    for (int64_t first = 0; first < chunks; first += kernel.threads) {
      Value number = e.add(at.thread, first);
      e.when(first + kernel.threads > chunks ? e.less(number, chunks) : Value(), [&] { body(number); });
    }
  };
  auto both = [&](Value x, Value y) { return x && y ? e.both(x, y) : x ? x : y; };
  int64_t blocksOfN = w.blocksOfN(), blocksOfK = w.blocksOfK(), chunksOfBlock = blockBytes / chunkBytes;
  forChunks(warpsN * warpsK * chunksOfBlock, [&](Value number) {
    Value ofStage = e.div(number, chunksOfBlock);
    Value n = e.add(e.div(at.firstN, columnsOfBlock), e.rem(ofStage, warpsN)),
          k = e.add(e.mul(step, warpsK), e.div(ofStage, warpsN));
    Value inside = both(blocksOfN % warpsN ? e.less(n, blocksOfN) : Value(),
                        blocksOfK % warpsK ? e.less(k, blocksOfK) : Value());
    Value chunk = e.add(e.mul(e.add(e.mul(n, blocksOfK), k), chunksOfBlock), e.rem(number, chunksOfBlock));
    copy(w.weights, e.mul(chunk, chunkBytes), e.address(memory, i8, e.mul(number, chunkBytes)), inside);
  });
  int64_t stepElements = warpsK * w.elementsOfBlock();
  Value firstGroup = w.groups == 1           ? e.index(0)
                     : w.each % stepElements ? e.mul(step, stepGroups)
                                             : e.div(step, w.each / stepElements);
  for (const Parameters &of : {scales, offsets, zeroPoints}) {
    if (!of.tensor)
      continue;
    int64_t columns = chunkBytes / of.bytes, chunksOfRow = tileN / columns;
    forChunks(stepGroups * chunksOfRow, [&](Value number) {
      Value group = e.add(firstGroup, e.div(number, chunksOfRow)),
            column = e.add(at.firstN, e.mul(e.rem(number, chunksOfRow), columns));
      Value inside = both(w.groups % stepGroups ? e.less(group, w.groups) : Value(),
                          blocksOfN % warpsN ? e.less(column, blocksOfN * columnsOfBlock) : Value());
      Value element = e.add(e.mul(group, blocksOfN * columnsOfBlock), column);
      copy(of.tensor, e.mul(element, of.bytes),
           e.address(memory, i8, e.add(e.mul(number, chunkBytes), of.begin)), inside);
    });
  }
}

void Nibbles::enter(Value step, Value memory) {
  stage = memory;
  block = e.add(e.mul(step, warpsK), at.warpK);
  Value begin =
      e.add(e.mul(e.add(e.mul(at.warpK, warpsN), at.warpN), blockBytes), e.mul(at.lane, chunkBytes));
  words.clear();
  for (int64_t first = 0; first < blockBytes; first += warpSize * chunkBytes)
    llvm::append_range(words, e.unpack(e.load(VectorType::get(4, e.b.getI32Type()),
                                              e.address(stage, e.b.getI8Type(), e.add(begin, first)),
                                              unsigned(chunkBytes))));
}

int64_t Nibbles::stepsOfGroup() const {
  return std::min(w.each, w.elementsOfBlock()) / w.elementsOfStep();
}

Value Nibbles::parameter(const Parameters &of, Value column, int64_t count) const {
  Value place = e.mul(e.add(e.mul(row, tileN), column), of.bytes);
  Type element = of.bytes == 1 ? Type(e.b.getI8Type()) : getElementTypeOrSelf(of.tensor.getType());
  return e.load(count == 1 ? element : Type(VectorType::get(count, element)),
                e.address(stage, e.b.getI8Type(), e.add(place, of.begin)), unsigned(count * of.bytes));
}

void Nibbles::enterGroup(int64_t first) {
  int64_t elements = w.elementsOfBlock();
  row = stepGroups == 1 ? e.index(0)
                        : e.div(e.add(e.mul(at.warpK, elements), first * w.elementsOfStep()), w.each);
  Value beginsGroup; // Whether the steps are a group's first; null: certainly.
  if (w.each > elements)
    beginsGroup = e.less(w.groups == 1 ? block : e.rem(block, w.each / elements), 1);
  scaleOf.clear();
  offsetOf.clear();
  zeroOf.clear();
  for (int64_t n = 0; n < tilesN; ++n) {
    Value tile = e.add(e.mul(at.warpN, columnsOfBlock), n * 8);
    // The two columns of a lane's sums.
    Value ofSums = e.add(tile, e.mul(e.rem(at.lane, 4), 2));
    llvm::append_range(scaleOf, e.unpack(parameter(scales, ofSums, 2)));
    if (offsets.tensor)
      for (Value offset : e.unpack(parameter(offsets, ofSums, 2)))
        offsetOf.push_back(beginsGroup ? e.select(beginsGroup, offset, e.i32(0)) : offset);
    // The column of a lane's weights.
    if (zeroPoints.tensor) {
      Value zero = parameter(zeroPoints, e.add(tile, e.div(at.lane, 4)), 1);
      zeroOf.push_back(arith::ExtSIOp::create(e.b, e.loc, e.b.getI32Type(), zero));
    }
  }
}

/// (word & kept) ^ flipped.
Value Nibbles::mask(Value word, uint32_t kept, uint32_t flipped) const {
  return e.bitXor(e.bitAnd(word, int32_t(kept)), e.i32(int32_t(flipped)));
}

SmallVector<Value> Nibbles::columns(int64_t step) const {
  SmallVector<Value> registers;
  Type i32 = e.b.getI32Type();
  auto difference = [&](Value x, Value y) { return arith::SubIOp::create(e.b, e.loc, x, y).getResult(); };
  // The zero point in each byte or each half of a word, `more` beside it.
  auto zeros = [&](int64_t n, uint32_t unit, uint32_t more) -> Value {
    Value same = e.i32(int32_t(more + uint32_t(w.zero) * unit));
    if (zeroOf.empty())
      return same;
    Value own = arith::MulIOp::create(e.b, e.loc, zeroOf[n], e.i32(int32_t(unit)));
    return e.sum(own, same);
  };
  if (!w.product.isFloat()) {
    // A byte has two weights, of one half of the step each. With its highest bit set nothing is borrowed from
    // the byte above.
    for (int64_t n = 0; n < tilesN; ++n) {
      Value zero = zeros(n, 0x01010101, 0), word = words[n * 2 + step];
      for (Value half : {word, e.div(word, 16)}) {
        Value wider = mask(half, 0x0F0F0F0F, w.isSigned ? 0x88888888 : 0x80808080);
        registers.push_back(mask(difference(wider, zero), 0xFFFFFFFF, 0x80808080));
      }
    }
    return registers;
  }
  // 1024 (fp16) or 128 (bf16) plus a weight has that in its lowest bits: two floats, less these and the zero
  // point, which is exact.
  bool isHalf = w.product.elementA.isF16();
  uint32_t base = isHalf ? 0x64006400 : 0x43004300;
  auto pair = VectorType::get(2, w.product.elementA);
  auto asPair = [&](Value word) -> Value { return LLVM::BitcastOp::create(e.b, e.loc, pair, word); };
  Value one = asPair(e.i32(isHalf ? 0x3C003C00 : 0x3F803F80));
  for (int64_t n = 0; n < tilesN; ++n) {
    Value taken = asPair(zeros(n, 0x00010001, base | 0x80008000));
    for (int64_t half = 0; half < 2; ++half) {
      Value wider = mask(e.div(words[n], 1 << (4 * (step * 2 + half))), 0x000F000F,
                         base | (w.isSigned ? 0x00080008 : 0));
      Value weights = LLVM::FMAOp::create(e.b, e.loc, asPair(wider), one, taken);
      registers.push_back(LLVM::BitcastOp::create(e.b, e.loc, i32, weights));
    }
  }
  return registers;
}

SmallVector<Value> Nibbles::begin(int64_t n) const {
  if (w.product.isFloat())
    return SmallVector<Value>(4, e.f32(0));
  Value none = e.i32(w.each <= greatestWideGroup ? wideBits : 0);
  if (offsetOf.empty())
    return SmallVector<Value>(4, none);
  Value even = e.sum(offsetOf[n * 2], none), odd = e.sum(offsetOf[n * 2 + 1], none);
  return {even, odd, even, odd};
}

void Nibbles::finish(int64_t n, ArrayRef<Value> group, MutableArrayRef<Value> sums) const {
  Type f32 = e.b.getF32Type();
  // Rows of number 8 and more are none.
  int64_t count = w.product.m.size() <= 8 ? 2 : 4;
  for (int64_t i = 0; i < count; ++i) {
    Value sum = group[i];
    if (!w.product.isFloat()) {
      if (w.each <= greatestWideGroup)
        sum = arith::SubFOp::create(e.b, e.loc, arith::BitcastOp::create(e.b, e.loc, f32, sum), e.f32(wide));
      else
        sum = arith::SIToFPOp::create(e.b, e.loc, f32, sum);
    }
    sums[i] = e.sum(sums[i], arith::MulFOp::create(e.b, e.loc, sum, scaleOf[n * 2 + i % 2]));
  }
}
