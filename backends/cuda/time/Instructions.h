// What an instruction of LLVM's takes when it is one of PTX.
#pragma once

#include "backends/cuda/time/Work.h"

#include "llvm/IR/Instruction.h"

#include <optional>

namespace npuc::cuda {

enum class Pipe : uint8_t { Other, Floats, Integers, Tensor, Global, Shared, Copy, Commit, Wait, Barrier };

struct Cost {
  double instructions = 0; ///< Of a warp; 0: none remains of it.
  Pipe pipe = Pipe::Other;
};

class Instructions {
public:
  explicit Instructions(const target::TargetDescription &target);
  Cost costOf(const llvm::Instruction &instruction) const;

private:
  double divide, squareRoot;
};

/// Of a warp's mma.
struct MultiplyAdds {
  uint64_t count = 0;
  ElementType type = ElementType::F16;
};
MultiplyAdds multiplyAddsOf(const llvm::Instruction &instruction);

/// An access to memory: where, of how many bytes a lane.
struct MemoryAccess {
  const llvm::Value *pointer = nullptr;
  uint64_t bytes = 0;
  bool read = false, written = false;
  /// Of a copy to shared memory: the bytes that it reads, if not all.
  const llvm::Value *copied = nullptr;
};
/// Null pointer: it is none to global memory.
MemoryAccess globalAccessOf(const llvm::Instruction &instruction);
/// The kernel's argument that a pointer points into.
std::optional<unsigned> argumentOf(const llvm::Value *pointer);
/// Bytes that a lane reads or writes in shared memory.
uint64_t sharedBytesOf(const llvm::Instruction &instruction);

} // namespace npuc::cuda
