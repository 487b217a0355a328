#include "test/conformance/TestData.h"

#include "compiler/import/Types.h"
#include "compiler/interpret/Elements.h"
#include "compiler/interpret/kernels/Cast.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace npuc::conformance {

namespace fs = std::filesystem;

std::optional<TestModel> readModel(const fs::path &folder) {
  auto proto = readProto<onnx::ModelProto>(folder / "model.onnx");
  if (!proto)
    return std::nullopt;
  TestModel model{folder / "model.onnx", std::move(*proto), {}, {}, {}};
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

std::string difference(const interpret::HostTensor &actual, const interpret::HostTensor &expected,
                       const Tolerance &tolerance, ThreadPool &pool) {
  if (actual.type() != expected.type() || actual.shape() != expected.shape())
    return fmt::format("is {}[{}] instead of {}[{}]", name(actual.type()), fmt::join(actual.shape(), ", "),
                       name(expected.type()), fmt::join(expected.shape(), ", "));
  if (!isFloat(actual.type())) {
    for (size_t i = 0; i < actual.bytes(); ++i)
      if (actual.raw()[i] != expected.raw()[i])
        return fmt::format("element {} differs", i / interpret::itemSize(actual.type()));
    return "";
  }
  interpret::HostTensor y = interpret::cast(pool, actual, ElementType::F64),
                        r = interpret::cast(pool, expected, ElementType::F64);
  const double *a = y.data<double>(), *e = r.data<double>();
  double greatest = 0;
  for (int64_t i = 0; i < r.count(); ++i)
    if (std::isfinite(e[i]))
      greatest = std::max(greatest, std::abs(e[i]));
  for (int64_t i = 0; i < r.count(); ++i) {
    double allowed =
        tolerance.absolute + tolerance.relative * std::abs(e[i]) + tolerance.ofGreatest * greatest;
    bool same = std::isnan(e[i])       ? std::isnan(a[i])
                : !std::isfinite(e[i]) ? a[i] == e[i]
                                       : std::abs(a[i] - e[i]) <= allowed;
    if (!same)
      return fmt::format("element {} is {} instead of {}", i, a[i], e[i]);
  }
  return "";
}

Outcome DataSetRunner::run(const fs::path &folder) {
  Outcome outcome;
  std::optional<TestModel> model = readModel(folder);
  if (!model) {
    outcome.message = "the test's files cannot be read";
    return outcome;
  }
  for (Constants constants : {Constants::None, Constants::Integers, Constants::All}) {
    bool imported = false;
    for (const fs::path &data : model->dataSets) {
      outcome.message = runSet(*model, data, constants, imported, outcome.refused);
      if (!outcome.message.empty())
        break;
    }
    outcome.passed = outcome.message.empty();
    outcome.constantInputs = outcome.passed && constants != Constants::None;
    if (outcome.passed || imported)
      break;
  }
  return outcome;
}

} // namespace npuc::conformance
