// What of a model would run where, without compiling it.
#pragma once

#include "compiler/pipeline/Compile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace npuc::pipeline {

struct CheckOptions {
  std::vector<std::string> targets; ///< Names or files, each once.
  std::vector<std::string> targetOptions;
  std::map<std::string, std::vector<int64_t>> shapes;
  /// Nothing: for each target as Options::precision says.
  std::optional<Precision> precision;
  unsigned threads = 2;
};

/// One kind of nn operation in the model.
struct OperationKind {
  std::string operation; ///< "nn.attention"
  unsigned count = 0;
  std::vector<std::string> types; ///< Of its results, as the model has them: "f32".
};

/// One thing that stands in the way, of all the nodes that it is found at.
struct Obstacle {
  std::string operation;          ///< Empty: of the whole model.
  std::vector<std::string> nodes; ///< Each once.
  unsigned count = 0;             ///< Of operations; several may come from one node.
  std::string what, why, hint;    ///< As in a diagnostic.
};

/// What of a function of nn in one block does not compile for the target, in the types that it has: what the
/// lowering does not take, and the types, functions, transfers and device memory that the target lacks. Those
/// of one cause are together.
/// `integers`: floats that are multiplied will be quantized to i8.
std::vector<Obstacle> obstaclesOf(mlir::func::FuncOp function, const target::TargetDescription &target,
                                  bool integers = false);
/// The obstacle as an error.
void report(const Obstacle &obstacle, Diagnostics &diagnostics);

struct TargetCheck {
  std::string target;
  std::string precision; ///< What floats would be stored in.
  std::vector<Obstacle> obstacles;
  uint64_t constantBytes =
      0; ///< In that precision; rows of a table that is gathered from count like all others.
  uint64_t boundaryBytes = 0; ///< Inputs and outputs.
  uint64_t dramBytes = 0;     ///< That programs may use.
  bool runs() const { return obstacles.empty(); }
};

struct CheckReport {
  std::vector<OperationKind> operations; ///< By name.
  std::vector<TargetCheck> targets;
};

/// Imports the model and asks of each of its operations whether the lowering takes it, and of each target
/// whether it has the types, functions and memory that it needs. Reads no constants beyond what importing
/// folds, and those of a model that comes quantized. That tiles of it fit the scratchpads only compiling
/// shows. Nothing, with every error, if the model does not import or a target is unknown.
std::optional<CheckReport> check(const std::string &model, const CheckOptions &options,
                                 Diagnostics &diagnostics);

} // namespace npuc::pipeline
