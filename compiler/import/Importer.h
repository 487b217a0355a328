// Walks an ONNX model and builds the nn module: scopes, constants, functions, branches, and what cannot be
// imported.
#pragma once

#include "compiler/import/Import.h"
#include "compiler/import/ModelFile.h"
#include "compiler/import/Node.h"

#include "llvm/ADT/StringMap.h"

#include <set>

namespace onnx {
class OpSchema;
}

namespace npuc::importer {

/// The operator set versions in force, by domain ("" is ai.onnx).
using Opsets = std::map<std::string, int64_t>;

/// The names that a graph's nodes see. A subgraph sees those around it too, a function does not.
struct Scope {
  const Scope *parent = nullptr;
  const Opsets *opsets = nullptr;
  /// Null for what an already reported node would have computed.
  llvm::StringMap<Value> values;
  llvm::StringMap<const onnx::TensorProto *> initializers;
};

class Importer {
public:
  Importer(ModelFile &file, const ImportOptions &options, mlir::MLIRContext &context,
           Diagnostics &diagnostics);

  /// Null after errors.
  mlir::OwningOpRef<mlir::ModuleOp> run(mlir::Location location);

private:
  bool checkOpsets();
  std::optional<SmallVector<Type>> inputTypes(const std::vector<const onnx::ValueInfoProto *> &inputs);
  void returnOutputs(const onnx::GraphProto &graph, Scope &scope, mlir::Operation *function);

  void importGraph(const onnx::GraphProto &graph, Scope &scope);
  void importNode(const onnx::NodeProto &node, Scope &scope);
  /// The node by its handler, as a branch, or by its function body. False if there is no way; throws as
  /// handlers do.
  bool importBySomeWay(const onnx::NodeProto &node, Scope &scope, Node &view, const onnx::OpSchema *schema);
  void importConstant(Node &view);
  void importIf(Node &view, Scope &scope);
  bool importBySchemaFunction(const onnx::NodeProto &node, Scope &scope, Node &view,
                              const onnx::OpSchema &schema);
  void importFunction(const onnx::FunctionProto &function, const onnx::NodeProto &call, Node &view,
                      const onnx::OpSchema *schema);
  const onnx::FunctionProto *localFunction(const onnx::NodeProto &node) const;

  /// The value of a name; nothing if no earlier node, initializer or input has it.
  std::optional<Value> lookup(llvm::StringRef name, Scope &scope);
  Value tensorValue(const onnx::TensorProto &tensor, mlir::Location location);
  mlir::TypedAttr tensorAttribute(const onnx::TensorProto &tensor);

  void reportUnsupported(const onnx::NodeProto &node, const Opsets &opsets, const std::string &reason);
  void flushUnsupported();
  mlir::Location locationOf(const onnx::NodeProto &node);
  std::string where(const onnx::NodeProto &node) const;

  ModelFile &file_;
  const ImportOptions &options_;
  mlir::MLIRContext &context_;
  Diagnostics &diagnostics_;
  mlir::OpBuilder builder_;
  Opsets opsets_;
  /// What MLIR said during the last build step.
  std::string errors_;
  /// The node of the model that is being expanded, for functions' inner nodes; null outside.
  const onnx::NodeProto *expanding_ = nullptr;
  int depth_ = 0;
  /// Operators that cannot be imported, and the nodes that are such, in order.
  struct Unsupported {
    std::string what, reason;
    std::vector<std::string> nodes;
  };
  std::vector<Unsupported> unsupported_;
  /// Tensors that have been reported.
  std::set<const onnx::TensorProto *> badTensors_;
};

} // namespace npuc::importer
