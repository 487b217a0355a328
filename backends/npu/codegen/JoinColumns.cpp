// A product with a column of one constant, such as the sums of attention's weights, as one more column of
// another product of the same matrix.
//
// An engine multiplies by `lanes_n` columns at a time. Where the other product leaves a lane free, the
// constant column costs nothing there, and alone as much as all of the other's together.

#include "backends/npu/codegen/Passes.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace npuc;
using memref::AllocOp;
using npu::ContractOp;

namespace {

/// A buffer of a core that operations see whole.
AllocOp wholeBuffer(Value value) {
  auto alloc = value.getDefiningOp<AllocOp>();
  if (!alloc || !alloc.getType().hasStaticShape())
    return {};
  npu::SpaceAttr space = npu::spaceOf(alloc.getType());
  auto isCommand = [](Operation *user) {
    return isa<npu::CopyOp, npu::FillOp, ContractOp, npu::VectorOp>(user);
  };
  bool isLocal = space.getValue() == npu::MemorySpace::Scratchpad && !space.getChunk();
  return isLocal && llvm::all_of(alloc->getUsers(), isCommand) ? alloc : AllocOp();
}

bool writes(Operation *op, Value buffer) {
  auto effects = dyn_cast<MemoryEffectOpInterface>(op);
  return !effects || effects.getEffectOnValue<MemoryEffects::Write>(buffer);
}

/// What alone writes `buffer`, if it is one operation of this type.
template <typename Op>
Op onlyWriter(AllocOp buffer) {
  Op found;
  for (Operation *user : buffer->getUsers())
    if (writes(user, buffer)) {
      if (found || !isa<Op>(user))
        return {};
      found = cast<Op>(user);
    }
  return found;
}

/// A contraction of whole buffers into sums that start at 0.
struct Product {
  ContractOp op;
  AllocOp left, right, sums;
  npu::FillOp start;
  AffineMap leftMap, rightMap, sumsMap;
  SmallVector<unsigned> columnLoops;
};

std::optional<Product> productOf(ContractOp op) {
  auto maps = llvm::to_vector(op.getMaps().getAsValueRange<AffineMapAttr>());
  FailureOr<SmallVector<npu::LoopRole>> roles = npu::loopRoles(maps);
  Product product{op,
                  wholeBuffer(op.getLhs()),
                  wholeBuffer(op.getRhs()),
                  wholeBuffer(op.getSums()),
                  {},
                  maps[0],
                  maps[1],
                  maps[2],
                  {}};
  if (failed(roles) || !product.left || !product.right || !product.sums ||
      !product.leftMap.isProjectedPermutation() || product.sums->getBlock() != op->getBlock())
    return std::nullopt;
  for (Operation *user : product.sums->getUsers()) {
    if (user == op || !writes(user, product.sums))
      continue;
    auto fill = dyn_cast<npu::FillOp>(user);
    if (!fill || product.start || fill->getBlock() != op->getBlock() || !fill.getValue().isZero())
      return std::nullopt;
    product.start = fill;
  }
  if (!product.start || !product.start->isBeforeInBlock(op))
    return std::nullopt;
  for (auto [loop, role] : llvm::enumerate(*roles))
    if (role == npu::LoopRole::N)
      product.columnLoops.push_back(loop);
  return product;
}

class Joining {
public:
  Joining(func::FuncOp function, const target::TargetDescription &target)
      : function(function), lanesN(target.matrix().lanes_n()), alignment(target.scratchpad().alignment()),
        mostBytes(int64_t(target.scratchpad().bytes()) / 8) {}

  void run() {
    SmallVector<Product> columns;
    function.walk([&](ContractOp op) {
      std::optional<Product> product = productOf(op);
      if (product && product->columnLoops.empty() && onlyWriter<npu::FillOp>(product->right))
        columns.push_back(*product);
    });
    for (Product &column : columns)
      for (Operation *user : column.left->getUsers())
        if (auto other = dyn_cast<ContractOp>(user); other && other.getLhs() == column.op.getLhs())
          if (std::optional<Product> product = productOf(other); product && canJoin(*product, column)) {
            join(*product, column);
            break;
          }
  }

private:
  bool canJoin(Product &product, Product &column) const {
    if (product.op->getBlock() != column.op->getBlock() || product.columnLoops.size() != 1 ||
        column.sums.getType().getElementType() != product.sums.getType().getElementType() ||
        column.right.getType().getElementType() != product.right.getType().getElementType())
      return false;
    // Both sum over the same of the matrix's dimensions, and leave the others in the same order.
    auto dimensionsOfLeft = [](Product &of) {
      SmallVector<unsigned> dimensions;
      for (AffineExpr loop : of.sumsMap.getResults())
        if (std::optional<unsigned> dimension = of.leftMap.getResultPosition(loop))
          dimensions.push_back(*dimension);
      return dimensions;
    };
    if (dimensionsOfLeft(product) != dimensionsOfLeft(column))
      return false;
    // The other matrix comes from elsewhere: there is no other place where it could be used as it is.
    auto load = onlyWriter<npu::CopyOp>(product.right);
    if (!load ||
        npu::spaceOf(cast<MemRefType>(load.getSource().getType())).getValue() == npu::MemorySpace::Scratchpad)
      return false;
    MemRefType right = widened(product.right, columnDimension(product.rightMap, product), true);
    if (columns(product) % lanesN == 0 ||
        right.getNumElements() * right.getElementTypeBitWidth() / 8 > mostBytes)
      return false;
    auto [first, last] = inOrder(product.op, column.op);
    for (Operation *op = first->getNextNode(); op != last; op = op->getNextNode())
      if (touches(op, product, column))
        return false;
    return true;
  }

  /// Whether, between the two contractions, `op` needs the sums of one or changes an operand.
  static bool touches(Operation *op, Product &product, Product &column) {
    bool found = false;
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        bool isSum = operand == product.sums.getResult() || operand == column.sums.getResult();
        bool isFactor = operand == product.left.getResult() || operand == product.right.getResult();
        found |= (isSum && inner != product.start && inner != column.start) ||
                 (isFactor && writes(inner, operand));
      }
    });
    return found;
  }

  template <typename Op>
  static std::pair<Op, Op> inOrder(Op a, Op b) {
    return a->isBeforeInBlock(b) ? std::pair(a, b) : std::pair(b, a);
  }

  static unsigned columnDimension(AffineMap map, Product &product) {
    return *map.getResultPosition(getAffineDimExpr(product.columnLoops[0], map.getContext()));
  }

  int64_t columns(Product &product) const {
    return product.sums.getType().getDimSize(columnDimension(product.sumsMap, product));
  }

  /// The type of a buffer with one more position of `dimension`; if `aligned`, its rows begin where a
  /// transfer's do.
  MemRefType widened(AllocOp buffer, unsigned dimension, bool aligned) const {
    MemRefType type = buffer.getType();
    SmallVector<int64_t> shape(type.getShape());
    ++shape[dimension];
    const int64_t elements = std::max<int64_t>(1, alignment * 8 / type.getElementTypeBitWidth());
    if (aligned && dimension + 1 == shape.size())
      shape[dimension] = llvm::alignTo(shape[dimension], elements);
    return MemRefType::get(shape, type.getElementType(), MemRefLayoutAttrInterface(), type.getMemorySpace());
  }

  /// Positions [first, first + count) of one dimension, which is dropped where `dropped`.
  static Value part(OpBuilder &b, AllocOp whole, unsigned dimension, int64_t first, int64_t count,
                    bool dropped = false) {
    SmallVector<OpFoldResult> offsets(whole.getType().getRank(), b.getIndexAttr(0)),
        strides(whole.getType().getRank(), b.getIndexAttr(1)),
        sizes = getAsIndexOpFoldResult(b.getContext(), whole.getType().getShape());
    offsets[dimension] = b.getIndexAttr(first);
    sizes[dimension] = b.getIndexAttr(count);
    SmallVector<int64_t> shape(whole.getType().getShape());
    shape[dimension] = count;
    if (dropped)
      shape.erase(shape.begin() + dimension);
    MemRefType type =
        memref::SubViewOp::inferRankReducedResultType(shape, whole.getType(), offsets, sizes, strides);
    return memref::SubViewOp::create(b, whole.getLoc(), type, whole, offsets, sizes, strides);
  }

  void join(Product &product, Product &column) {
    auto constant = onlyWriter<npu::FillOp>(column.right);
    const int64_t n = columns(product);
    OpBuilder b(product.right);
    unsigned dimension = columnDimension(product.rightMap, product);
    auto right = AllocOp::create(b, product.right.getLoc(), widened(product.right, dimension, true),
                                 product.right.getAlignmentAttr());
    npu::FillOp::create(b, constant.getLoc(), part(b, right, dimension, n, 1), constant.getValueAttr());
    Value factors = part(b, right, dimension, 0, n), joined = part(b, right, dimension, 0, n + 1);

    b.setInsertionPoint(inOrder(product.sums, column.sums).first);
    dimension = columnDimension(product.sumsMap, product);
    auto sums = AllocOp::create(b, product.sums.getLoc(), widened(product.sums, dimension, false),
                                product.sums.getAlignmentAttr());
    Value first = part(b, sums, dimension, 0, n), last = part(b, sums, dimension, n, 1, true);

    b.setInsertionPoint(inOrder(product.op, column.op).second);
    npu::FillOp::create(b, product.start.getLoc(), sums, product.start.getValueAttr());
    ContractOp::create(b, product.op.getLoc(), product.left, joined, sums, product.op.getMapsAttr());

    for (Operation *op : SmallVector<Operation *>{product.op, column.op, product.start, column.start})
      op->erase();
    product.right.getResult().replaceAllUsesWith(factors);
    product.sums.getResult().replaceAllUsesWith(first);
    column.sums.getResult().replaceAllUsesWith(last);
    for (AllocOp buffer : {product.right, product.sums, column.sums})
      buffer.erase();
    if (column.right->hasOneUse()) {
      constant.erase();
      column.right.erase();
    }
  }

  func::FuncOp function;
  int64_t lanesN, alignment, mostBytes;
};

} // namespace

void codegen::joinColumns(func::FuncOp function, const target::TargetDescription &target) {
  Joining(function, target).run();
}
