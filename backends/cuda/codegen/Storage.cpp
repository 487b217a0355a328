#include "backends/cuda/codegen/Storage.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace npuc::cuda;

namespace {

Storage dense(Value root) {
  Storage storage{root, 0, SmallVector<int64_t>(cast<RankedTensorType>(root.getType()).getShape()), {}};
  storage.strides = computeStrides(storage.shape);
  return storage;
}

/// One dimension that runs over all of `dims` in row-major order; nothing if none does.
std::optional<int64_t> mergedStride(const Storage &storage, ArrayRef<int64_t> dims) {
  int64_t stride = 1, next = -1;
  for (int64_t dim : llvm::reverse(dims)) {
    if (storage.shape[dim] == 1)
      continue;
    if (next < 0)
      stride = storage.strides[dim];
    else if (storage.strides[dim] != next)
      return std::nullopt;
    next = storage.strides[dim] * storage.shape[dim];
  }
  return stride;
}

} // namespace

std::optional<Storage> npuc::cuda::storageOf(Value tensor) {
  Operation *op = tensor.getDefiningOp();
  if (!op || isa<bufferization::AllocTensorOp, tensor::EmptyOp>(op))
    return dense(tensor);
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    if (isa<linalg::FillOp>(op))
      return std::nullopt;
    Value into = linalgOp.getDpsInits()[cast<OpResult>(tensor).getResultNumber()];
    // Through reshapes: a destination that is given is an argument or a slice of an assembled tensor.
    std::optional<Storage> given = into.getDefiningOp<linalg::FillOp>()
                                       ? storageOf(cast<linalg::FillOp>(into.getDefiningOp()).output())
                                       : storageOf(into);
    if (!given || isa_and_nonnull<tensor::EmptyOp>(given->root.getDefiningOp()))
      return dense(tensor);
    return given;
  }
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return storageOf(insert.getDest());
  std::optional<Storage> from = storageOf(op->getOperand(0));
  if (!from)
    return std::nullopt;
  Storage view{from->root,
               from->offset,
               SmallVector<int64_t>(cast<RankedTensorType>(tensor.getType()).getShape()),
               {}};
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    auto offsets = slice.getStaticOffsets(), steps = slice.getStaticStrides();
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    for (unsigned dim = 0; dim < from->shape.size(); ++dim) {
      view.offset += offsets[dim] * from->strides[dim];
      if (!dropped[dim])
        view.strides.push_back(steps[dim] * from->strides[dim]);
    }
    return view;
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    view.strides.resize(view.shape.size());
    for (auto [dim, group] : llvm::enumerate(expand.getReassociationIndices())) {
      int64_t stride = from->strides[dim];
      for (int64_t part : llvm::reverse(group)) {
        view.strides[part] = stride;
        stride *= view.shape[part];
      }
    }
    return view;
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    for (ReassociationIndices group : collapse.getReassociationIndices()) {
      std::optional<int64_t> stride = mergedStride(*from, group);
      if (!stride)
        return std::nullopt;
      view.strides.push_back(*stride);
    }
    return view;
  }
  return std::nullopt;
}
