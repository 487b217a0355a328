// What is read of ONNX beside the operators that have a handler.
#pragma once

#include <string_view>

namespace npuc::importer {

/// Of ai.onnx.
inline constexpr int oldestOpset = 10, newestOpset = 26;

/// Operators of ai.onnx that need more than a node to import: those with a tensor or graphs as attributes.
inline bool importsWithoutHandler(std::string_view operation) {
  return operation == "Constant" || operation == "If";
}

} // namespace npuc::importer
