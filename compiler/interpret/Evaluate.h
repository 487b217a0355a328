// The meaning of each nn operation on tensors in host memory.
#pragma once

#include "compiler/interpret/ConstantReader.h"
#include "compiler/interpret/HostTensor.h"
#include "support/Diagnostic.h"
#include "support/ThreadPool.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

#include <functional>
#include <optional>
#include <vector>

namespace npuc::interpret {

/// Whether `evaluate` knows the operation.
bool canEvaluate(mlir::Operation *operation);

/// The results of one verified nn operation on operands of its operands' types (no tensor for an absent
/// optional one). Nothing, and errors that name the operation's ONNX node, if an index is out of range or a
/// constant cannot be read.
std::optional<std::vector<HostTensor>> evaluate(mlir::Operation *operation,
                                                llvm::ArrayRef<HostTensor> operands, ThreadPool &pool,
                                                ConstantReader &constants, Diagnostics &diagnostics);

/// Evaluates operations on `dense` constants, for folding: nothing where an operand's elements are missing or
/// the operation's evaluation is an error. `pool` must outlive it.
std::function<std::optional<std::vector<mlir::DenseElementsAttr>>(mlir::Operation *,
                                                                  llvm::ArrayRef<mlir::DenseElementsAttr>)>
foldingEvaluator(ThreadPool &pool);

/// The ONNX node (or input) that an operation or value stands for, as its location says; its operation's name
/// if it says nothing.
std::string nodeName(mlir::Operation *operation);

} // namespace npuc::interpret
