// Which ONNX operators import: for lists and references.
#pragma once

#include <string>
#include <vector>

namespace npuc::importer {

struct ImportedOperator {
  std::string domain; ///< "ai.onnx", "com.microsoft".
  std::string name;
  /// The versions of the operator that import directly, as since_version; 0 if none does.
  int first = 0, last = 0;
  /// What does not import directly is imported by the body of its ONNX function.
  bool byFunctionBody = false;
};

/// Every operator that imports, in the order of domain and name, from the table of handlers and ONNX's
/// schemas. One whose function's body depends on the node's types is listed, though some of its forms may not
/// import.
std::vector<ImportedOperator> importedOperators();

} // namespace npuc::importer
