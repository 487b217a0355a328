// Where the values of an npu program live while it is expanded: memories, and strided regions of them.
#pragma once

#include "backends/npu/isa/Program.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

namespace npuc::codegen {

/// One allocation: a buffer, or one buffer per shard. Element i of a sharded one, in row-major order, is
/// element i mod chunk of shard i / chunk.
struct Memory {
  isa::Space space = isa::Space::Dram;
  ElementType type = ElementType::I8;
  int64_t elements = 0;
  int64_t chunk = 0;                      ///< Elements of a shard; `elements` if there is one.
  llvm::SmallVector<uint32_t, 1> buffers; ///< Virtual buffer of each shard.
  mlir::Value allocation;                 ///< What allocated it.
};

/// A strided part of a memory, in elements.
struct MemoryView {
  Memory *memory = nullptr;
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 4> sizes, strides;

  int64_t elements() const;
  /// The last element's position; the first is `offset`. Strides are not negative.
  int64_t last() const;
  /// All of the memory, in order.
  bool isWhole() const;
  /// Of its memory, what `other` is of another one.
  bool isSamePartAs(const MemoryView &other) const {
    return offset == other.offset && sizes == other.sizes && strides == other.strides;
  }
  friend bool operator==(const MemoryView &a, const MemoryView &b) {
    return a.memory == b.memory && a.isSamePartAs(b);
  }
};

/// Row-major strides of `sizes`.
llvm::SmallVector<int64_t, 4> denseStrides(llvm::ArrayRef<int64_t> sizes);

/// Cuts two regions of equal sizes into pieces, each inside one shard of both, and calls `piece` for each in
/// row-major order.
void forEachPiece(const MemoryView &a, const MemoryView &b,
                  llvm::function_ref<void(const MemoryView &, const MemoryView &)> piece);

/// The view of a region that lies inside one shard.
isa::View viewOf(const MemoryView &region);

/// Loops over several operands: strides[operand][loop].
struct LoopNest {
  llvm::SmallVector<int64_t, 8> sizes;
  llvm::SmallVector<llvm::SmallVector<int64_t, 8>, 4> strides;
};

/// Drops loops of one step and merges neighbours that are one loop for every operand; loops with `fixed` stay
/// on their own (empty: none). Returns each old loop's new number, or -1 where it went.
llvm::SmallVector<int, 8> coalesce(LoopNest &nest, llvm::ArrayRef<bool> fixed = {});

/// `region` reshaped to `sizes` (as memref.expand_shape and collapse_shape do), if that is a view.
std::optional<MemoryView> reshaped(const MemoryView &region, llvm::ArrayRef<int64_t> sizes);

} // namespace npuc::codegen
