// What operators become.
#include "test/unit/import/TextModel.h"

#include "compiler/interpret/Evaluate.h"

#include <catch2/catch.hpp>

using namespace npuc::importer;

namespace {

/// The operations between the function's head and its return, one per line, without indentation.
std::string bodyOf(const std::string &text, const ImportOptions &options = {}) {
  Imported imported = importText(text, options);
  REQUIRE(imported.diagnostics == "");
  std::string body;
  std::istringstream lines(imported.module);
  for (std::string line; std::getline(lines, line);)
    if (size_t at = line.find("nn."); at != std::string::npos && line.find("func.func") == std::string::npos)
      body += line.substr(line.find_first_not_of(' ')) + "\n";
  return body;
}

} // namespace

TEST_CASE("arguments and results carry their ONNX names, nodes their locations") {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  npuc::Diagnostics diagnostics;
  Folder folder;
  std::string path = folder.write(
      "m.onnx",
      parseModel(model("g (float[N,4] x) => (float[N,4] y) { [activate] y = Relu(x) }")).SerializeAsString());
  auto module = importModel(path, {{{"N", {3}}}, {}}, context, diagnostics);
  REQUIRE(module);
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, mlir::OpPrintingFlags().enableDebugInfo(true, true));
  CHECK(text.find("func.func @main(%arg0: tensor<3x4xf32> {nn.name = \"x\"}") != std::string::npos);
  CHECK(text.find("-> (tensor<3x4xf32> {nn.name = \"y\"})") != std::string::npos);
  CHECK(text.find("nn.relu %arg0 : (tensor<3x4xf32>) -> tensor<3x4xf32> \"activate\"") != std::string::npos);
}

TEST_CASE("a matrix multiplication by a constant matrix is linear; Gemm with a bias too") {
  CHECK(bodyOf(model(
            "g (float[2,3,2] x) => (float[2,3,2] y) <float[2,2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }")) ==
        "%0 = nn.constant dense<[[1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : "
        "tensor<2x2xf32>\n"
        "%1 = nn.linear %arg0, %0 : (tensor<2x3x2xf32>, tensor<2x2xf32>) -> tensor<2x3x2xf32>\n");
  CHECK(bodyOf(model("g (float[3,2] x, float[4,2] w, float[4] b) => (float[3,4] y) { y = Gemm<transB = 1>(x, "
                     "w, b) }")) == "%0 = nn.linear %arg0, %arg1, %arg2 {transposed} : (tensor<3x2xf32>, "
                                    "tensor<4x2xf32>, tensor<4xf32>) -> "
                                    "tensor<3x4xf32>\n");
}

TEST_CASE("shapes of static tensors are constants, and Reshape's shape is its result's type") {
  CHECK(bodyOf(model(
            R"(g (float[2,3,4] x, float[6,4] z) => (float[6,4] y) { s = Shape(z) y = Reshape(x, s) })")) ==
        "%0 = nn.reshape %arg0 : (tensor<2x3x4xf32>) -> tensor<6x4xf32>\n");
  CHECK(bodyOf(
            model(R"(g (float[2,3,4] x) => (float[2,12] y) <int64[2] s = {0, -1}> { y = Reshape(x, s) })")) ==
        "%0 = nn.reshape %arg0 : (tensor<2x3x4xf32>) -> tensor<2x12xf32>\n");
}

TEST_CASE("slices clamp as numpy's do, forwards and backwards") {
  auto slice = [](const std::string &start, const std::string &end, const std::string &step) {
    return bodyOf(model("g (float[10] x) => (float[n] y) <int64[1] s = {" + start + "}, int64[1] e = {" +
                        end + "}, int64[1] a = {0}, int64[1] t = {" + step +
                        "}> { y = Slice(x, s, e, a, t) }"));
  };
  auto expected = [](int start, int size, int step) {
    return "%0 = nn.slice %arg0 {sizes = array<i64: " + std::to_string(size) +
           ">, starts = array<i64: " + std::to_string(start) +
           ">, steps = array<i64: " + std::to_string(step) + ">} : (tensor<10xf32>) -> tensor<" +
           std::to_string(size) + "xf32>\n";
  };
  CHECK(slice("2", "100", "3") == expected(2, 3, 3));      // 2, 5, 8
  CHECK(slice("-3", "-1", "1") == expected(7, 2, 1));      // 7, 8
  CHECK(slice("-1", "-100", "-1") == expected(9, 10, -1)); // 9 … 0
  CHECK(slice("8", "2", "-4") == expected(8, 2, -4));      // 8, 4
  CHECK(slice("5", "5", "1") == expected(0, 0, 1));
}

TEST_CASE("softmax of opset 11 takes all dimensions from its axis on as one row") {
  CHECK(bodyOf(model("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax<axis = 1>(x) }", 11)) ==
        "%0 = nn.reshape %arg0 : (tensor<2x3x4xf32>) -> tensor<2x12xf32>\n"
        "%1 = nn.softmax %0 {axis = 1 : i64} : (tensor<2x12xf32>) -> tensor<2x12xf32>\n"
        "%2 = nn.reshape %1 : (tensor<2x12xf32>) -> tensor<2x3x4xf32>\n");
  CHECK(bodyOf(model("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax<axis = 1>(x) }", 13)) ==
        "%0 = nn.softmax %arg0 {axis = 1 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>\n");
}

TEST_CASE("QLinearMatMul multiplies whole numbers, and scales meet where sums become integers") {
  npuc::ThreadPool pool(1);
  ImportOptions options;
  options.evaluator = npuc::interpret::foldingEvaluator(pool);
  std::string body = bodyOf(model(R"(g (uint8[2,3] a) => (uint8[2,2] y)
    <float sa = {0.5}, uint8 za = {7}, int8[3,2] b = {1, 2, 3, 4, 5, 6}, float[2] sb = {0.25, 0.5},
     int8[2] zb = {0, 0}, float sy = {2}, uint8 zy = {9}>
    { y = QLinearMatMul(a, sa, za, b, sb, zb, sy, zy) })"),
                            options);
  // Operands have the scale 1; sums are divided by 2 / (0.5 · [0.25, 0.5]) = [16, 8], along columns.
  CHECK(body.find("dense<1.000000e+00> : tensor<f32>") != std::string::npos);
  CHECK(body.find("dense<[1.600000e+01, 8.000000e+00]> : tensor<2xf32>") != std::string::npos);
  CHECK(body.find("{axis = 1 : i64} : (tensor<2x2xf32>, tensor<2xf32>, tensor<ui8>) -> tensor<2x2xui8>") !=
        std::string::npos);
  // Equal zero points of columns are one.
  CHECK(body.find("(tensor<3x2xi8>, tensor<f32>, tensor<i8>) -> tensor<3x2xf32>") != std::string::npos);
}

TEST_CASE("an operator without a handler expands by its ONNX function body, attributes put in") {
  // HardSwish(x) = x · HardSigmoid<alpha = 1/6, beta = 0.5>(x)
  std::string body = bodyOf(model("g (float[2] x) => (float[2] y) { y = HardSwish(x) }", 14));
  CHECK(body.find("dense<0.166666672>") != std::string::npos);
  CHECK(body.find("nn.min") != std::string::npos);
  CHECK(body.find("nn.mul") != std::string::npos);
}

TEST_CASE("functions of the model itself are expanded") {
  CHECK(bodyOf(R"(<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2] x) => (float[2] y) { y = local.Twice<k = 3>(x) }
    <domain: "local", opset_import: ["" : 17]>
    Twice <k> (a) => (c) { b = Transpose<perm = [0]>(a) c = Neg(b) })") ==
        "%0 = nn.neg %arg0 : (tensor<2xf32>) -> tensor<2xf32>\n");
}

TEST_CASE("If with a known condition is its branch") {
  CHECK(bodyOf(model(R"(g (float[2] x) => (float[2] y) <bool c = {0}> {
    y = If (c) <then_branch = t () => (float[2] a) { a = Neg(x) }, else_branch = e () => (float[2] b) { b = Exp(x) }>
  })")) == "%0 = nn.exp %arg0 : (tensor<2xf32>) -> tensor<2xf32>\n");
}

TEST_CASE("attention of opset 23 keeps heads, past and causal mask") {
  std::string body =
      bodyOf(model(R"(g (float[1,2,8] q, float[1,2,4] k, float[1,2,4] v, float[1,1,3,4] pk, float[1,1,3,4] pv)
      => (float[1,2,8] y, float[1,1,5,4] nk, float[1,1,5,4] nv) {
    y, nk, nv = Attention<q_num_heads = 2, kv_num_heads = 1, is_causal = 1>(q, k, v, , pk, pv)
  })",
                   23));
  CHECK(body.find("nn.kv_update %arg3") != std::string::npos);
  // Query i is at position 3 + i; 1/√4 = 0.5.
  CHECK(body.find("causal_offset = 3 : i64, scale = 5.000000e-01") != std::string::npos);
  CHECK(body.find("(tensor<1x2x2x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x2x2x4xf32>") !=
        std::string::npos);
}

TEST_CASE("einsum is transposes around one matmul") {
  CHECK(bodyOf(model("g (float[2,3,4] a, float[2,5,4] b) => (float[2,3,5] y) { y = Einsum<equation = "
                     "\"bid,bjd->bij\">(a, b) }")) ==
        "%0 = nn.transpose %arg1 {permutation = array<i64: 0, 2, 1>} : (tensor<2x5x4xf32>) -> "
        "tensor<2x4x5xf32>\n"
        "%1 = nn.matmul %arg0, %0 : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>\n");
  CHECK(importText(model("g (float[3,3] a) => (float[3] y) { y = Einsum<equation = \"ii->i\">(a) }"))
            .diagnostics ==
        "error: node 'Einsum of y' (Einsum): 'ii' takes a diagonal, which is not supported\n");
}

TEST_CASE("a large tensor is a handle into its file, and its transpose a step") {
  Folder folder;
  onnx::ModelProto proto =
      parseModel(model("g (float[1,200] x) => (float[1,100] y) { t = Transpose(w) y = MatMul(x, t) }"));
  onnx::TensorProto *inside = proto.mutable_graph()->add_initializer();
  inside->set_name("w");
  inside->set_data_type(onnx::TensorProto::FLOAT);
  inside->add_dims(100);
  inside->add_dims(200);
  inside->set_raw_data(std::string(100 * 200 * 4, 'w')); // 80,000 bytes
  std::string bytes = proto.SerializeAsString();
  Imported imported = importFile(folder, folder.write("m.onnx", bytes));
  REQUIRE(imported.diagnostics == "");
  std::string place = std::to_string(bytes.find("wwwwwwww"));
  CHECK(imported.module.find("nn.constant #nn.transposed<#nn.external<\"" + folder.file("m.onnx") + "\", " +
                             place + "> : tensor<100x200xf32>, [1, 0]> : tensor<200x100xf32>") !=
        std::string::npos);
}

TEST_CASE("consecutive rows of a large table are a part of its file") {
  Folder folder;
  onnx::ModelProto proto =
      parseModel(model("g () => (float[1,3,200] y) <int64[1,3] i = {-98, 3, 4}> { y = Gather(w, i) }"));
  onnx::TensorProto *table = proto.mutable_graph()->add_initializer();
  table->set_name("w");
  table->set_data_type(onnx::TensorProto::FLOAT);
  table->add_dims(100);
  table->add_dims(200);
  table->set_raw_data(std::string(100 * 200 * 4, 'w'));
  Imported imported = importFile(folder, folder.write("m.onnx", proto.SerializeAsString()));
  REQUIRE(imported.diagnostics == "");
  // Row -98 of 100 is row 2.
  CHECK(imported.module.find("#nn.reshaped<#nn.sliced<#nn.external<") != std::string::npos);
  CHECK(imported.module.find(", [2, 0], [1, 1]> : tensor<3x200xf32>> : tensor<1x3x200xf32>") !=
        std::string::npos);
  CHECK(imported.module.find("nn.gather") == std::string::npos);
}
