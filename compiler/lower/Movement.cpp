#include "compiler/lower/Formula.h"
#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <algorithm>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

Value reshape(nn::ReshapeOp op, LinalgBuilder &b) {
  return b.reshape(op.getInput(), typeOf(op.getResult()).getShape());
}

Value transpose(nn::TransposeOp op, LinalgBuilder &b) {
  return b.transpose(op.getInput(), op.getPermutation());
}

/// Each part is computed into, or copied to, its slice of the whole.
Value concatenate(LinalgBuilder &b, ValueRange inputs, int64_t axis, RankedTensorType type) {
  SmallVector<Part> parts;
  SmallVector<int64_t> offsets(type.getRank(), 0);
  for (Value input : inputs) {
    if (typeOf(input) == type)
      return input; // The others are empty.
    parts.push_back({input, offsets});
    offsets[axis] += typeOf(input).getDimSize(axis);
  }
  return b.assemble(type, parts);
}

Value concat(nn::ConcatOp op, LinalgBuilder &b) {
  return concatenate(b, op.getInputs(), op.getAxis(), typeOf(op.getResult()));
}

Value kvUpdate(nn::KvUpdateOp op, LinalgBuilder &b) {
  return concatenate(b, {op.getPast(), op.getUpdate()}, op.getAxis(), typeOf(op.getResult()));
}

/// Where element `at` of a padded dimension comes from, if it is not in the input: its position there, from 0
/// to size − 1.
int64_t paddedFrom(nn::PadMode mode, int64_t at, int64_t size) {
  if (mode == nn::PadMode::Edge || size == 1)
    return std::clamp<int64_t>(at, 0, size - 1);
  if (mode == nn::PadMode::Wrap)
    return llvm::mod(at, size);
  int64_t period = 2 * (size - 1), inPeriod = llvm::mod(at, period);
  return std::min(inPeriod, period - inPeriod);
}

/// Dimension `dim` with copies of its own elements before and after.
Value padByCopies(LinalgBuilder &b, Value x, nn::PadMode mode, unsigned dim, int64_t low, int64_t high) {
  SmallVector<int64_t> shape(typeOf(x).getShape()), from(shape.size(), 0), to(shape.size(), 0), sizes = shape;
  int64_t size = shape[dim], total = low + size + high;
  shape[dim] = total;
  SmallVector<Part> parts;
  // Runs of the input's elements in order are one part each.
  for (int64_t at = -low; at < size + high; at += sizes[dim]) {
    from[dim] = paddedFrom(mode, at, size);
    sizes[dim] = 1;
    while (at + sizes[dim] < size + high && paddedFrom(mode, at + sizes[dim], size) == from[dim] + sizes[dim])
      ++sizes[dim];
    to[dim] = low + at;
    parts.push_back({b.slice(x, from, sizes), to});
  }
  return b.assemble(typeOf(x).clone(shape), parts);
}

/// Elements that are taken away first; then a box of the value on every side, or copies along one dimension
/// after another.
Value pad(nn::PadOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  unsigned rank = type.getRank();
  SmallVector<int64_t> offsets(rank), kept(rank), low(rank), high(rank);
  for (unsigned d = 0; d < rank; ++d) {
    low[d] = std::max<int64_t>(op.getLow()[d], 0);
    high[d] = std::max<int64_t>(op.getHigh()[d], 0);
    offsets[d] = std::max<int64_t>(-op.getLow()[d], 0);
    kept[d] = type.getDimSize(d) - low[d] - high[d];
  }
  Value x = b.slice(op.getInput(), offsets, kept);
  if (op.getMode() != nn::PadMode::Constant) {
    for (unsigned d = 0; d < rank; ++d)
      if (low[d] + high[d] > 0)
        x = padByCopies(b, x, op.getMode(), d, low[d], high[d]);
    return x;
  }
  return b.pad(x, low, high, [&](RankedTensorType box) {
    if (!op.getValue())
      return b.splat(box, 0);
    return b.map({b.broadcast(op.getValue(), box.getShape())}, box,
                 [](OpBuilder &, Location, Scalars s) { return s[0]; });
  });
}

Value broadcast(nn::BroadcastOp op, LinalgBuilder &b) {
  RankedTensorType type = typeOf(op.getResult());
  return b.map({b.broadcast(op.getInput(), type.getShape())}, type,
               [](OpBuilder &, Location, Scalars s) { return s[0]; });
}

} // namespace

std::vector<Handler> npuc::lower::movementHandlers() {
  return {
      handler<nn::ReshapeOp>(reshape),     handler<nn::TransposeOp>(transpose),
      handler<nn::BroadcastOp>(broadcast), handler<nn::ConcatOp>(concat),
      handler<nn::KvUpdateOp>(kvUpdate),   handler<nn::PadOp>(pad),
  };
}
