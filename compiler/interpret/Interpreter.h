// Runs a function of nn operations on the host: the reference that devices are compared with, and what
// calibration watches.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/interpret/HostTensor.h"
#include "support/Diagnostic.h"
#include "support/Npz.h"
#include "support/ThreadPool.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace npuc::interpret {

struct InterpreterOptions {
  /// Including the calling one; 0: one for each core.
  unsigned threads = 0;
  /// Constants that are more than a view of their file are kept from one run to the next while they take at
  /// most so many bytes together; those beyond are made again in each run.
  size_t keptConstantBytes = size_t{1} << 30;
};

/// What an observer sees: one nn operation that has run.
struct Observation {
  mlir::Operation *operation;
  llvm::ArrayRef<mlir::Operation *> calls; ///< The func.call operations, outermost first, that led to it.
  llvm::ArrayRef<HostTensor> operands;
  llvm::ArrayRef<HostTensor> results;
};
using Observer = std::function<void(const Observation &)>;

class Interpreter {
public:
  /// `function` and what it calls: one block each of nn operations, func.call and func.return. They must not
  /// change while the interpreter lives.
  explicit Interpreter(mlir::func::FuncOp function, const InterpreterOptions &options = {});

  /// The function's results, in order, for arguments of its types. Each value is freed after its last use.
  /// Nothing, and errors, if an index is out of range or a constant cannot be read.
  std::optional<std::vector<HostTensor>> run(llvm::ArrayRef<HostTensor> arguments, Diagnostics &diagnostics,
                                             const Observer &observer = {});

  /// The same by names. Every missing or unknown name, wrong shape and wrong type is an error that says what
  /// the model wants. Results of types that NumPy lacks come as f32; arguments of such types are given as
  /// f32.
  std::optional<std::vector<NamedArray>> run(std::span<const NamedArray> inputs, Diagnostics &diagnostics,
                                             const Observer &observer = {});

  ThreadPool &threads() { return pool_; }

private:
  struct Plan;
  const Plan &planOf(mlir::func::FuncOp function);
  std::optional<std::vector<HostTensor>> runFunction(mlir::func::FuncOp function,
                                                     llvm::ArrayRef<HostTensor> arguments,
                                                     llvm::SmallVectorImpl<mlir::Operation *> &calls,
                                                     const Observer &observer, Diagnostics &diagnostics);
  std::optional<std::vector<HostTensor>> runOperation(mlir::Operation *operation,
                                                      llvm::ArrayRef<HostTensor> operands,
                                                      llvm::SmallVectorImpl<mlir::Operation *> &calls,
                                                      const Observer &observer, Diagnostics &diagnostics);
  HostTensor constant(mlir::Operation *operation, Diagnostics &diagnostics);

  mlir::func::FuncOp function_;
  InterpreterOptions options_;
  ThreadPool pool_;
  ConstantReader constants_;
  llvm::DenseMap<mlir::Operation *, std::shared_ptr<const Plan>> plans_;
  llvm::DenseMap<mlir::Attribute, HostTensor> kept_;
  size_t keptBytes_ = 0;
};

/// What a function takes for an argument: an array of its name, its type as the model declares it (f32 where
/// NumPy lacks that) and its shape.
struct GivenArray {
  std::string name;
  ElementType type;
  Shape shape;
};
GivenArray givenArray(mlir::func::FuncOp function, unsigned argument);

/// Binds arrays to a function's arguments by name, as Interpreter::run does.
std::optional<std::vector<HostTensor>> bindArguments(mlir::func::FuncOp function,
                                                     std::span<const NamedArray> inputs, ThreadPool &pool,
                                                     Diagnostics &diagnostics);

} // namespace npuc::interpret
