// Takes large tensors out of a serialized ONNX model.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace npuc::importer {

/// The serialized ModelProto `model` with every tensor field of `limit` or more bytes that already is raw
/// data (raw_data; packed float_data and double_data, which have the same layout) replaced by a statement
/// that its data is external, at `location` and its offset in `model`. Looks into initializers, nodes'
/// attributes, subgraphs and functions. Nothing if `model` is not a sequence of protobuf fields.
std::optional<std::string> stripLargeTensors(std::string_view model, size_t limit, std::string_view location);

} // namespace npuc::importer
