#include "test/conformance/TestData.h"

#include "compiler/import/Types.h"

#include <algorithm>
#include <fmt/format.h>

namespace npuc::conformance {

namespace fs = std::filesystem;

std::optional<TestModel> readModel(const fs::path &folder) {
  auto proto = readProto<onnx::ModelProto>(folder / "model.onnx");
  if (!proto)
    return std::nullopt;
  TestModel model{std::move(*proto), {}, {}, {}};
  for (const auto &input : model.proto.graph().input())
    model.inputs.push_back(input.name());
  for (const auto &output : model.proto.graph().output())
    model.outputs.push_back(output.name());
  for (int set = 0;; ++set) {
    fs::path data = folder / fmt::format("test_data_set_{}", set);
    if (!fs::exists(data))
      break;
    model.dataSets.push_back(data);
  }
  return model.dataSets.empty() ? std::nullopt : std::optional(std::move(model));
}

std::optional<std::vector<NamedTensor>> readTensors(const fs::path &folder, const char *prefix,
                                                    const std::vector<std::string> &names,
                                                    mlir::MLIRContext &context) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < names.size(); ++i) {
    fs::path path = folder / fmt::format("{}_{}.pb", prefix, i);
    if (!fs::exists(path))
      continue; // an optional input that is left out
    auto proto = readProto<onnx::TensorProto>(path);
    mlir::Type element = proto ? importer::elementType(proto->data_type(), &context) : mlir::Type();
    if (!element)
      return std::nullopt;
    std::vector<int64_t> shape(proto->dims().begin(), proto->dims().end());
    mlir::DenseElementsAttr value =
        importer::denseFromTensor(mlir::RankedTensorType::get(shape, element), *proto);
    if (!value)
      return std::nullopt;
    proto->set_name(names[i]);
    tensors.push_back({names[i], value, std::move(*proto)});
  }
  return tensors;
}

std::string oneLine(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

} // namespace npuc::conformance
