// ONNX models as nn modules: the front door of compiler/import.
#pragma once

#include "support/Diagnostic.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace npuc::importer {

/// Evaluates one nn operation whose operands are all known: the results' elements, or nothing if it cannot.
/// The interpreter offers one; it is handed in so that importing does not depend on it.
using Evaluator = std::function<std::optional<std::vector<mlir::DenseElementsAttr>>(
    mlir::Operation *operation, llvm::ArrayRef<mlir::DenseElementsAttr> operands)>;

struct ImportOptions {
  /// Sizes for what the model leaves symbolic: an input's name and its whole shape, or a symbol's name and
  /// its one size. An input's shape also sizes the symbols in it, for the other inputs.
  std::map<std::string, std::vector<int64_t>> shapes;
  /// Without one, arithmetic on constants stays in the module, and a shape computed that way is an error.
  Evaluator evaluator;
  /// Inputs by name that are constants of the module instead of arguments of `main`: for models that take as
  /// inputs what shapes depend on.
  std::map<std::string, mlir::DenseElementsAttr> constantInputs = {};
};

/// The module of the ONNX model in the file `path` (opset 11 to 26 of ai.onnx; other domains as in docs): one
/// function `main`, its arguments and results named by the attribute nn.name, every shape static, no shape
/// arithmetic left (as far as the evaluator goes). Constants of 64 KiB and more are handles into the model's
/// files, which must stay where they are while the module is used; they are mapped to be checked, never
/// copied.
///
/// Returns nothing and adds every error found: a file that is not ONNX, missing or short data files or ones
/// outside of the model's folder, unbound dimensions, unsupported operators with their nodes' names. Loads
/// the dialects that it needs.
mlir::OwningOpRef<mlir::ModuleOp> importModel(const std::string &path, const ImportOptions &options,
                                              mlir::MLIRContext &context, Diagnostics &diagnostics);

/// What a model asks for, without importing it: for messages, and to bind shapes from a file of inputs.
struct ModelInput {
  std::string name;
  std::string type; ///< "f32", "i64", …: as nn prints it.
  /// A size, or a symbol (which may be empty).
  struct Dim {
    int64_t size = -1; ///< -1: symbolic.
    std::string symbol;
  };
  std::optional<std::vector<Dim>> shape; ///< Nothing if the model does not even state a rank.
};

/// The inputs of the model in the file `path`, without its constants. Nothing, and errors, if it cannot be
/// read.
std::optional<std::vector<ModelInput>> modelInputs(const std::string &path, Diagnostics &diagnostics);

} // namespace npuc::importer
