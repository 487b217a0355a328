// From a function of linalg operations to kernels for a GPU and their launches.
#pragma once

#include "backends/cuda/time/Work.h"
#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <array>
#include <string>
#include <vector>

namespace npuc::cuda {

struct Argument {
  uint32_t buffer = 0; ///< In Program::buffers.
  uint64_t offset = 0; ///< Bytes.
  uint64_t bytes = 0;  ///< Of the tensor there.
};

struct Launch {
  std::string kernel; ///< In the PTX.
  std::array<unsigned, 3> grid, block;
  unsigned sharedBytes = 0; ///< Dynamic.
  std::vector<Argument> arguments;
  std::string source; ///< Names of nodes.
  Work work;

  Geometry geometry() const { return {grid, block[0], sharedBytes}; }
};

struct Program {
  std::vector<isa::Buffer> buffers; ///< The function's arguments, and a workspace, if there is one.
  std::vector<Launch> launches;     ///< One after another.
  std::string ptx;
};

/// Writes a kernel for each group of operations that are computed together. Equal kernels are one. Errors:
/// what has no kernel, with its node.
mlir::FailureOr<Program> generate(mlir::func::FuncOp function, const target::TargetDescription &target);

} // namespace npuc::cuda
