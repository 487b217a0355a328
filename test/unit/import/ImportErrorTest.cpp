// Models that cannot be imported: every message in full.
#include "test/unit/import/TextModel.h"

#include <catch2/catch.hpp>

using namespace npuc::importer;

TEST_CASE("what is no ONNX model") {
  Folder folder;
  CHECK(importFile(folder, folder.write("text.onnx", "this is no model")).diagnostics ==
        "error: text.onnx: not an ONNX model, or a truncated one: its 16 bytes are not a complete ONNX "
        "ModelProto\n"
        "  hint: export the model again, or copy the file again\n");
  CHECK(importFile(folder, folder.write("empty.onnx", "")).diagnostics ==
        "error: empty.onnx: not an ONNX model, or a truncated one: its 0 bytes are not a complete ONNX "
        "ModelProto\n"
        "  hint: export the model again, or copy the file again\n");
  CHECK_FALSE(importFile(folder, folder.file("missing.onnx")).diagnostics.empty());
}

TEST_CASE("a truncated model is an error wherever it is cut") {
  Folder folder;
  std::string bytes =
      parseModel(model("g (float[2,4] x) => (float[2,4] z) { y = Exp(x) z = Neg(y) }")).SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    Imported imported = importFile(folder, folder.write("cut.onnx", bytes.substr(0, size)));
    CHECK(imported.module.empty());
    CHECK_FALSE(imported.diagnostics.empty());
  }
  CHECK(importFile(folder, folder.write("whole.onnx", bytes)).diagnostics.empty());
}

TEST_CASE("all unsupported operators at once, with their nodes") {
  Imported imported = importText(model(R"(g (float[2,4] x) => (float[2,4] y) {
    [first] a = Det(x)
    [second] b = Hardmax(a)
    [third] c = Hardmax(x)
    [fourth] y = Add(b, c)
  })"));
  CHECK(imported.module.empty());
  CHECK(imported.diagnostics ==
        "error: node 'first': operator Det of ai.onnx opset 17 is not supported\n"
        "error: nodes 'second', 'third': operator Hardmax of ai.onnx opset 17 is not supported\n");
}

TEST_CASE("an operator of a domain that nobody knows") {
  CHECK(importText("<ir_version: 8, opset_import: [\"\" : 17, \"my.domain\" : 3]>\n"
                   "g (float[2] x) => (float[2] y) { y = my.domain.Magic(x) }")
            .diagnostics ==
        "error: node 'Magic of y': operator Magic of my.domain opset 3 is not supported\n");
}

TEST_CASE("an opset outside of those read") {
  CHECK(importText(model("g (float[2] x) => (float[2] y) { y = Exp(x) }", 9)).diagnostics ==
        "error: the model uses opset 9 of ai.onnx: opsets 10 to 26 are read\n"
        "  hint: convert it with onnx.version_converter, or export it with another opset\n");
}

TEST_CASE("external data missing, short, and outside of the folder, all at once") {
  onnx::ModelProto proto = parseModel(
      model("g (float[2] x) => (float[2] y) { y = Sum(x, missing, short, above, absolute, linked) }"));
  Folder folder, elsewhere;
  auto add = [&](const std::string &name, const std::string &location, int64_t offset) {
    onnx::TensorProto *tensor = proto.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    tensor->add_dims(2);
    tensor->set_data_location(onnx::TensorProto::EXTERNAL);
    auto entry = [&](const char *key, const std::string &value) {
      onnx::StringStringEntryProto *pair = tensor->add_external_data();
      pair->set_key(key);
      pair->set_value(value);
    };
    entry("location", location);
    entry("offset", std::to_string(offset));
  };
  add("missing", "missing.data", 0);
  add("short", "short.data", 4);
  add("above", "../short.data", 0);
  add("absolute", "/short.data", 0);
  add("linked", "linked.data", 0);
  folder.write("short.data", "12345678");
  elsewhere.write("real.data", "12345678");
  std::filesystem::create_symlink(elsewhere.file("real.data"), folder.file("linked.data"));
  Imported imported = importFile(folder, folder.write("model.onnx", proto.SerializeAsString()));
  CHECK(imported.module.empty());
  std::string outside = elsewhere.file("real.data");
  CHECK(imported.diagnostics ==
        "error: model.onnx: external data 'missing.data' cannot be read: missing.data: No such file or "
        "directory\n"
        "  hint: put the data file beside the model\n"
        "error: initializer 'short': 'short.data' is too short for its data: it needs 8 bytes at 4, the file "
        "has 8\n"
        "  hint: copy or download the data file again\n"
        "error: model.onnx: external data '../short.data' lies outside of the model's folder: it has a '..'\n"
        "  hint: put the data file beside the model and state its name alone\n"
        "error: model.onnx: external data '/short.data' lies outside of the model's folder: it is an "
        "absolute path\n"
        "  hint: put the data file beside the model and state its name alone\n"
        "error: model.onnx: external data 'linked.data' lies outside of the model's folder: it links to '" +
            outside + "'\n  hint: put the data file beside the model and state its name alone\n");
}

TEST_CASE("a node that is not valid, with its name") {
  CHECK(importText(model("g (float[2,4] x) => (float[2,4] y) { [wrong] y = Transpose<perm = [0, 0]>(x) }"))
            .diagnostics == "error: node 'wrong' (Transpose): [0, 0] is not a permutation of the dimensions "
                            "of 'tensor<2x4xf32>'\n");
  CHECK(importText(model("g (float[2,4] x, float[3,4] z) => (float[2,4] y) { [wrong] y = Add(x, z) }"))
            .diagnostics ==
        "error: node 'wrong' (Add): operands do not broadcast: 'tensor<2x4xf32>', 'tensor<3x4xf32>'\n");
}

TEST_CASE("a shape that is computed from data names the node that computes it") {
  CHECK(importText(model(R"(g (float[8] x, int64[2] s) => (float[a,b] y) {
    [compute] t = Neg(s)
    [wrong] y = Reshape(x, t)
  })"))
            .diagnostics ==
        "error: node 'wrong' (Reshape): operand 1 ('t') must be known when the model is compiled, but is "
        "computed from data by node 'compute'\n");
}

TEST_CASE("an operand that no earlier node computes") {
  CHECK(importText(model("g (float[2] x) => (float[2] y) { [n] y = Add(x, later) }")).diagnostics ==
        "error: node 'n' (Add): its operand 'later' is computed by no earlier node\n"
        "  hint: the graph must be in topological order: export the model again\n");
}

TEST_CASE("elements that nn does not have") {
  CHECK(importText(model("g (string[2] x) => (string[2] y) { y = Identity(x) }")).diagnostics ==
        "error: input 'x': elements of type STRING are not supported\n");
}

TEST_CASE("a shape of more elements than any memory holds") {
  // 2^32 · 2^32 elements.
  CHECK(importText(model("g () => (float[a,b] y) <int64[2] s = {4294967296, 4294967296}> { [huge] y = "
                         "ConstantOfShape(s) }"))
            .diagnostics ==
        "error: node 'huge' (ConstantOfShape): a result of shape [4294967296, 4294967296] is too large\n");
}
