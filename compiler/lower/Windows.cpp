// Operations over windows of spatial dimensions: convolution and pooling.
#include "compiler/lower/Handlers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <limits>

using namespace mlir;
using namespace npuc;
using namespace npuc::lower;

namespace {

/// A view has at most 8 dimensions. The input's are the image, the group and the channel, and of each spatial
/// dimension the position and the window's.
template <typename OpTy>
bool fitsView(OpTy op) {
  int64_t images = shapeOf(op.getInput())[0], groups = op.getGroups(),
          channels = shapeOf(op.getInput())[1] / groups;
  return 2 * op.getStrides().size() + (images > 1) + (groups > 1) + (channels > 1) <= 8;
}

/// `input`, whose spatial dimensions start with dimension `first`, padded with `fill` as far as the windows
/// of `op` reach. Where a dimension has one window, it is all of the dimension; elsewhere what lies beyond
/// the windows stays, since a slice would keep a transpose from becoming part of them.
template <typename OpTy>
Value reached(LinalgBuilder &b, OpTy op, Value input, unsigned first, ArrayRef<int64_t> window, double fill) {
  ArrayRef<int64_t> shape = shapeOf(input), out = shapeOf(op.getResult()).drop_front(2);
  SmallVector<int64_t> low(shape.size(), 0), high = low, offsets = low, kept(shape);
  for (unsigned d = 0; d < window.size(); ++d) {
    int64_t start = -op.getPads()[d], size = shape[first + d],
            extent = (out[d] - 1) * op.getStrides()[d] + (window[d] - 1) * op.getDilations()[d] + 1;
    low[first + d] = std::clamp<int64_t>(-start, 0, extent);
    offsets[first + d] = std::clamp<int64_t>(start, 0, size);
    kept[first + d] =
        (out[d] == 1 ? std::clamp<int64_t>(start + extent, 0, size) : size) - offsets[first + d];
    high[first + d] = std::max<int64_t>(extent - low[first + d] - kept[first + d], 0);
  }
  return b.pad(b.slice(input, offsets, kept), low, high, fill);
}

/// Channels go last, so that the sums over a window's row run along memory, and what stands between two
/// convolutions needs no transpose. Loops: image, positions of the result, group, output channel; window,
/// input channel. A window that neither overlaps its neighbours nor leaves gaps is a dimension of its own, so
/// that the input is seen through a plain reshape.
Value conv(nn::ConvOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> in = shapeOf(op.getInput()), window = shapeOf(op.getWeight()).drop_front(2),
                    out = shapeOf(op.getResult());
  unsigned spatial = window.size();
  int64_t groups = op.getGroups(), channels = in[1] / groups, outputs = out[1] / groups;
  SmallVector<int64_t> last = {0};
  for (unsigned d = 0; d < spatial; ++d)
    last.push_back(2 + d);
  last.push_back(1);
  Value input = reached(b, op, b.transpose(op.getInput(), last), 1, window, 0);

  // One group is no loop.
  bool grouped = groups > 1;
  unsigned group = 1 + spatial, output = group + grouped, k = output + 1, channel = k + spatial,
           loops = channel + 1;
  auto loop = [&](unsigned l) { return b.b.getAffineDimExpr(l); };
  SmallVector<int64_t> extents = {in[0]}, shape = {in[0]}, weightShape = {outputs, channels};
  SmallVector<AffineExpr> seen = {loop(0)};
  SmallVector<unsigned> weights = {output, channel}, sums = {0};
  for (unsigned d = 0; d < spatial; ++d) {
    int64_t stride = op.getStrides()[d], dilation = op.getDilations()[d], size = shapeOf(input)[1 + d];
    extents.push_back(out[2 + d]);
    if (stride == window[d] && dilation == 1 && size == out[2 + d] * stride) {
      shape.append({out[2 + d], stride});
      seen.append({loop(1 + d), loop(k + d)});
    } else {
      shape.push_back(size);
      seen.push_back(loop(1 + d) * stride + loop(k + d) * dilation);
    }
    weights.push_back(k + d);
    sums.push_back(1 + d);
  }
  if (grouped) {
    shape.push_back(groups);
    seen.push_back(loop(group));
    extents.push_back(groups);
    sums.push_back(group);
    weights.insert(weights.begin(), group);
    weightShape.insert(weightShape.begin(), groups);
  }
  shape.push_back(channels);
  seen.push_back(loop(channel));
  sums.push_back(output);
  extents.push_back(outputs);
  llvm::append_range(extents, window);
  extents.push_back(channels);
  llvm::append_range(weightShape, window);
  Value products = b.contract({b.reshape(input, shape), AffineMap::get(loops, 0, seen, b.b.getContext())},
                              {b.reshape(op.getWeight(), weightShape), b.dims(loops, weights)},
                              b.dims(loops, sums), extents);
  SmallVector<int64_t> channelsLast = llvm::map_to_vector(last, [&](int64_t d) { return out[d]; });
  auto type = RankedTensorType::get(channelsLast, typeOf(op.getResult()).getElementType());
  Value result = b.finish(b.reshape(products, channelsLast), op.getBias(), type);
  // Dimension i of the result is dimension back[i] of what has its channels last.
  SmallVector<int64_t> back = {0, int64_t(spatial) + 1};
  for (unsigned d = 0; d < spatial; ++d)
    back.push_back(1 + d);
  return b.transpose(result, back);
}

/// Dimension `dim` with `gap` zeros between its elements.
Value spread(LinalgBuilder &b, Value x, unsigned dim, int64_t gap) {
  SmallVector<int64_t> shape(shapeOf(x)), apart = shape;
  if (gap == 0 || shape[dim] <= 1)
    return x;
  apart.insert(apart.begin() + dim + 1, 1);
  SmallVector<int64_t> low(apart.size(), 0), high = low, offsets(shape.size(), 0);
  high[dim + 1] = gap;
  Value padded = b.pad(b.reshape(x, apart), low, high, 0);
  shape[dim] *= gap + 1;
  padded = b.reshape(padded, shape);
  shape[dim] -= gap;
  return b.slice(padded, offsets, shape);
}

/// Dimension `dim`, a filter's, from its end to its start.
Value flipped(LinalgBuilder &b, Value x, unsigned dim) {
  int64_t size = shapeOf(x)[dim];
  SmallVector<int64_t> one(shapeOf(x)), from(one.size(), 0), to = from;
  one[dim] = 1;
  SmallVector<Part> parts;
  for (int64_t i = 0; i < size; ++i) {
    from[dim] = size - 1 - i;
    to[dim] = i;
    parts.push_back({b.slice(x, from, one), to});
  }
  return size == 1 ? x : b.assemble(typeOf(x), parts);
}

/// A convolution of stride 1 of the input with zeros between its elements, by the filter from its end to its
/// start.
Value convTranspose(nn::ConvTransposeOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> window = shapeOf(op.getWeight()).drop_front(2);
  int64_t spatial = window.size(), groups = op.getGroups(), channels = shapeOf(op.getInput())[1],
          outputs = shapeOf(op.getWeight())[1];
  Value input = op.getInput();
  // [C, O/groups, kernel…] to [O, C/groups, kernel…].
  SmallVector<int64_t> apart = {groups, channels / groups, outputs}, order = {0, 2, 1},
                       shape = {groups * outputs, channels / groups};
  llvm::append_range(apart, window);
  llvm::append_range(shape, window);
  for (int64_t d = 0; d < spatial; ++d)
    order.push_back(3 + d);
  Value weight = b.reshape(b.transpose(b.reshape(op.getWeight(), apart), order), shape);
  SmallVector<int64_t> pads(2 * spatial), strides(spatial, 1);
  for (int64_t d = 0; d < spatial; ++d) {
    input = spread(b, input, 2 + d, op.getStrides()[d] - 1);
    weight = flipped(b, weight, 2 + d);
    int64_t reach = (window[d] - 1) * op.getDilations()[d];
    pads[d] = reach - op.getPads()[d];
    pads[spatial + d] = reach - op.getPads()[spatial + d] + op.getOutputPadding()[d];
  }
  auto plain = nn::ConvOp::create(b.b, b.loc, op.getType(), input, weight, op.getBias(), strides,
                                  op.getDilations(), pads, groups);
  Value result = conv(plain, b);
  plain.erase();
  return result;
}

/// How many of a window's elements lie inside of the input, for each position along spatial dimension d.
Value countsInside(nn::PoolOp op, unsigned d, LinalgBuilder &b) {
  int64_t size = shapeOf(op.getInput())[2 + d], positions = shapeOf(op.getResult())[2 + d];
  SmallVector<float> counts;
  for (int64_t position = 0; position < positions; ++position) {
    // Elements lie at first, first + dilation, …; those below `end` are no further than the input's end.
    int64_t first = position * op.getStrides()[d] - op.getPads()[d], dilation = op.getDilations()[d];
    auto below = [&](int64_t end) {
      return std::clamp<int64_t>(llvm::divideCeilSigned(end - first, dilation), 0, op.getKernel()[d]);
    };
    counts.push_back(float(below(size) - below(0)));
  }
  auto type = RankedTensorType::get({positions}, b.b.getF32Type());
  return nn::ConstantOp::create(b.b, b.loc, type, DenseElementsAttr::get(type, ArrayRef<float>(counts)));
}

/// A convolution of each channel with itself: a mean sums products with ones; a maximum is over sums with
/// zeros. (The window must be an operand, as its loops are in no other.)
Value pool(nn::PoolOp op, LinalgBuilder &b) {
  ArrayRef<int64_t> out = shapeOf(op.getResult()), window = op.getKernel(), pads = op.getPads();
  unsigned spatial = window.size(), rank = spatial + 2;
  bool mean = op.getKind() == nn::PoolKind::Average;
  SmallVector<int64_t> extents(out);
  llvm::append_range(extents, window);
  Value input = reached(b, op, op.getInput(), 2, window, mean ? 0 : -std::numeric_limits<double>::infinity());

  auto loop = [&](unsigned l) { return b.b.getAffineDimExpr(l); };
  SmallVector<AffineExpr> seen = {loop(0), loop(1)};
  SmallVector<unsigned> positions = {0, 1}, windows;
  for (unsigned d = 0; d < spatial; ++d) {
    seen.push_back(loop(2 + d) * op.getStrides()[d] + loop(rank + d) * op.getDilations()[d]);
    positions.push_back(2 + d);
    windows.push_back(rank + d);
  }
  Type element = typeOf(input).getElementType();
  auto weightType = RankedTensorType::get(window, element);
  Value weights = nn::ConstantOp::create(
      b.b, b.loc, weightType,
      DenseElementsAttr::get(weightType, b.b.getFloatAttr(element, mean ? 1 : 0).getValue()));
  Value pooled = b.reduce(mean ? LinalgBuilder::Kind::Sum : LinalgBuilder::Kind::Max,
                          {{input, AffineMap::get(extents.size(), 0, seen, b.b.getContext())},
                           {weights, b.dims(extents.size(), windows)}},
                          extents, positions, [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
                            if (mean)
                              return arith::MulFOp::create(inner, loc, s[0], s[1]);
                            return arith::AddFOp::create(inner, loc, s[0], s[1]);
                          });
  SmallVector<Operand> inputs = {b.identity(pooled)};
  double count = 1;
  for (unsigned d = 0; mean && d < spatial; ++d) {
    if (!op.getCountPadding() && (pads[d] != 0 || pads[spatial + d] != 0))
      inputs.push_back({countsInside(op, d, b), b.dims(rank, {2 + d})});
    else
      count *= double(window[d]);
  }
  return b.map(inputs, typeOf(op.getResult()), [&](OpBuilder &inner, Location loc, Scalars s) -> Value {
    if (!mean)
      return s[0];
    Value divisor = arith::ConstantOp::create(inner, loc, inner.getF32FloatAttr(float(count)));
    for (Value counts : s.drop_front())
      divisor = arith::MulFOp::create(inner, loc, divisor, counts);
    return arith::DivFOp::create(inner, loc, s[0], divisor);
  });
}

} // namespace

std::vector<Handler> npuc::lower::windowHandlers() {
  constexpr StringLiteral view = "its input, seen through the windows, is a view of at most 8 dimensions "
                                 "(with three spatial dimensions: one "
                                 "image, one group or one channel in each group)";
  return {
      handler<nn::ConvOp>(conv).where<nn::ConvOp>(view, fitsView),
      handler<nn::ConvTransposeOp>(convTranspose).where<nn::ConvTransposeOp>(view, fitsView),
      handler<nn::PoolOp>(pool).where<nn::PoolOp>(
          "its elements are floats",
          [](nn::PoolOp op) { return isa<FloatType>(typeOf(op.getInput()).getElementType()); }),
  };
}
