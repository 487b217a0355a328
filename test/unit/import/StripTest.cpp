// Taking large tensors out of serialized models.
#include "compiler/import/Strip.h"

#include "test/unit/import/TextModel.h"

#include <catch2/catch.hpp>

using namespace npuc::importer;

namespace {

void checkExternal(const onnx::TensorProto &tensor, const std::string &bytes, const std::string &data) {
  CHECK(tensor.raw_data().empty());
  CHECK(tensor.float_data().empty());
  REQUIRE(tensor.data_location() == onnx::TensorProto::EXTERNAL);
  REQUIRE(tensor.external_data_size() == 3);
  CHECK(tensor.external_data(0).value() == "HERE");
  size_t offset = std::stoull(tensor.external_data(1).value()),
         length = std::stoull(tensor.external_data(2).value());
  CHECK(bytes.substr(offset, length) == data);
}

} // namespace

TEST_CASE("large tensors become ranges of the file, wherever they are") {
  std::string large(100, 'x');
  onnx::ModelProto model;
  model.set_ir_version(8);
  onnx::TensorProto *raw = model.mutable_graph()->add_initializer();
  raw->set_name("raw");
  raw->set_raw_data(large);
  raw->set_data_location(onnx::TensorProto::DEFAULT); // As onnxruntime's quantizer writes it.
  onnx::TensorProto *floats = model.mutable_graph()->add_initializer();
  for (int i = 0; i < 25; ++i)
    floats->add_float_data(1.5f);
  onnx::TensorProto *small = model.mutable_graph()->add_initializer();
  small->set_raw_data("small");
  onnx::NodeProto *branch = model.mutable_graph()->add_node();
  onnx::NodeProto *constant = branch->add_attribute()->mutable_g()->add_node();
  constant->add_attribute()->mutable_t()->set_raw_data(large);
  model.mutable_graph()->set_name("after");

  std::string bytes = model.SerializeAsString();
  std::optional<std::string> stripped = stripLargeTensors(bytes, 100, "HERE");
  REQUIRE(stripped);
  onnx::ModelProto result;
  REQUIRE(result.ParseFromString(*stripped));
  const onnx::GraphProto &graph = result.graph();
  CHECK(graph.name() == "after");
  checkExternal(graph.initializer(0), bytes, large);
  // 25 floats 1.5 = 0x3fc00000, little-endian.
  std::string values;
  for (int i = 0; i < 25; ++i)
    values += std::string("\0\0\xc0\x3f", 4);
  checkExternal(graph.initializer(1), bytes, values);
  CHECK(graph.initializer(2).raw_data() == "small");
  checkExternal(graph.node(0).attribute(0).g().node(0).attribute(0).t(), bytes, large);
}

TEST_CASE("what is no sequence of fields is refused") {
  CHECK_FALSE(stripLargeTensors("\x0a\x05hi", 100, ""));            // A field of 5 bytes that has 2.
  CHECK_FALSE(stripLargeTensors("\x07", 100, ""));                  // Wire type 7 does not exist.
  CHECK_FALSE(stripLargeTensors(std::string(12, '\xff'), 100, "")); // A number without end.
  CHECK(stripLargeTensors("", 100, "") == "");
}
