// Binding a model's symbolic dimensions.
#pragma once

#include "compiler/import/Import.h"

#include <onnx/onnx_pb.h>

namespace npuc::importer {

/// The type of an input as the model states it.
ModelInput describeInput(const onnx::ValueInfoProto &input);

/// The inputs of `graph` that are not initializers.
std::vector<const onnx::ValueInfoProto *> realInputs(const onnx::GraphProto &graph);

/// The shape of each of `inputs`: static sizes as the model states them, symbols as `shapes` (see
/// ImportOptions) says; a symbol may be an expression of others in +, -, *, / (rounding down) and
/// parentheses. Nothing, with all errors, if a dimension is left unbound, two sizes contradict each other, or
/// `shapes` names what the model does not have.
std::optional<std::vector<std::vector<int64_t>>>
bindShapes(const std::vector<ModelInput> &inputs, const std::map<std::string, std::vector<int64_t>> &shapes,
           Diagnostics &diagnostics);

} // namespace npuc::importer
