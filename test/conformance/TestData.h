// The files of one of ONNX's operator tests: model.onnx and test_data_set_K/{input_I.pb,output_I.pb}.
#pragma once

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/MLIRContext.h"

#include <filesystem>
#include <fstream>
#include <onnx/onnx_pb.h>
#include <optional>
#include <string>
#include <vector>

namespace npuc::conformance {

template <typename Proto>
std::optional<Proto> readProto(const std::filesystem::path &path) {
  std::ifstream in(path, std::ios::binary);
  Proto proto;
  if (!in || !proto.ParseFromIstream(&in))
    return std::nullopt;
  return proto;
}

/// Which inputs are constants of the model: those that shapes depend on must be.
enum class Constants : uint8_t { None, Integers, All };

inline bool isConstant(Constants constants, const mlir::DenseElementsAttr &value) {
  return constants == Constants::All ||
         (constants == Constants::Integers && value.getElementType().isInteger());
}

struct NamedTensor {
  std::string name;
  mlir::DenseElementsAttr value;
  onnx::TensorProto proto;
};

struct TestModel {
  onnx::ModelProto proto;
  std::vector<std::string> inputs, outputs;
  std::vector<std::filesystem::path> dataSets;
};

/// Nothing if the files cannot be read.
std::optional<TestModel> readModel(const std::filesystem::path &folder);

/// The tensors in `folder`/PREFIX_0.pb, …, one for each of `names`, without those that are left out; nothing
/// if one is not a tensor that nn has.
std::optional<std::vector<NamedTensor>> readTensors(const std::filesystem::path &folder, const char *prefix,
                                                    const std::vector<std::string> &names,
                                                    mlir::MLIRContext &context);

/// On one line.
std::string oneLine(std::string text);

} // namespace npuc::conformance
