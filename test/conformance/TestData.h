// The files of one of ONNX's operator tests: model.onnx and test_data_set_K/{input_I.pb,output_I.pb}; how
// they are run and compared.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"
#include "test/conformance/OnnxTest.h"

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
  std::filesystem::path path;
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

/// How far a float may be from the expected r: absolute + relative · |r| + ofGreatest · max |r|.
struct Tolerance {
  double absolute = 0, relative = 0, ofGreatest = 0;
};

/// Floats within the tolerance, with infinities and NaN where they are expected; anything else exactly.
/// Empty, or what differs.
std::string difference(const interpret::HostTensor &actual, const interpret::HostTensor &expected,
                       const Tolerance &tolerance, ThreadPool &pool);

/// Runs a test's data sets; where the model is not imported, again with more and more inputs as constants.
class DataSetRunner : public Runner {
public:
  Outcome run(const std::filesystem::path &folder) final;

protected:
  /// What is wrong with the data set in `data`, or nothing. `imported` tells whether it was only the run that
  /// failed; `refused` as in Outcome.
  virtual std::string runSet(const TestModel &model, const std::filesystem::path &data, Constants constants,
                             bool &imported, bool &refused) = 0;

  ThreadPool pool{1};
};

} // namespace npuc::conformance
