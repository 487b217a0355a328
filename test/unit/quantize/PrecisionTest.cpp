#include "compiler/quantize/Precision.h"

#include "dialects/nn/IR/NN.h"

#include "mlir/Parser/Parser.h"

#include <catch2/catch.hpp>

using namespace npuc;
using namespace npuc::quantize;

namespace {

/// Two multiplications of one node's name, one of another's, and an addition.
struct Model {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  Model() {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(R"(
      func.func @main(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
        %0 = nn.matmul %x, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("layer/query")
        %1 = nn.add %0, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("layer/add")
        %2 = nn.matmul %1, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("layer/query")
        %3 = nn.matmul %2, %x : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("layer/value")
        return %3 : tensor<2x2xf32>
      })",
                                                     &context);
    REQUIRE(module);
  }
  mlir::func::FuncOp main() { return module->lookupSymbol<mlir::func::FuncOp>("main"); }
};

} // namespace

TEST_CASE("every format's name gives the format back", "[precision]") {
  std::vector<std::string> names = formatNames();
  CHECK(names.size() == 4 + 3 * 2 * 3); // groups, symmetric or not, activations
  for (const std::string &name : names) {
    REQUIRE(formatFromText(name));
    CHECK(text(*formatFromText(name)) == name);
  }
  CHECK(*formatFromText("int4-64a-token") == OperatorFormat{Activations::Int8Token, 4, 64, true});
  CHECK_FALSE(formatFromText("int4"));
}

TEST_CASE("multiplications of one node's name are told apart", "[precision]") {
  Model model;
  auto found = multiplications(model.main());
  REQUIRE(found.size() == 3);
  CHECK(found[0].second == "layer/query");
  CHECK(found[1].second == "layer/query#2");
  CHECK(found[2].second == "layer/value");
}

TEST_CASE("a precision table is read as it was written", "[precision]") {
  std::vector<PrecisionRow> rows = {{"layer/query", "int8", "given by --precision"},
                                    {"a \"name\", with # and \\", "float", ""}};
  Diagnostics diagnostics;
  auto read = parsePrecisionTable(printPrecisionTable(rows), "t.txt", diagnostics);
  REQUIRE(read);
  REQUIRE(read->size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK((*read)[i].operation == rows[i].operation);
    CHECK((*read)[i].format == rows[i].format);
    CHECK((*read)[i].reason == rows[i].reason);
    CHECK((*read)[i].line == static_cast<int64_t>(i) + 3); // behind the header and a comment
  }
}

TEST_CASE("every bad line of a precision table is an error with its number", "[precision]") {
  Diagnostics diagnostics;
  CHECK_FALSE(parsePrecisionTable(
      "npuc-precision 1\n\"a\" int8\r\n\n# a comment\nb int8\n\"b\"  int9 # because\n\"a\" "
      "float\n\"c\" int8 x\n\"d int8\n",
      "t.txt", diagnostics));
  std::string text = diagnostics.text();
  CHECK(diagnostics.errorCount() == 5);
  CHECK(text.find("t.txt:5: is no line of a precision table: it is 'b int8'") != std::string::npos);
  CHECK(text.find("t.txt:6: 'int9' is no format: there are float, fp8, int8,") != std::string::npos);
  CHECK(text.find("did you mean 'int8'?") != std::string::npos);
  CHECK(text.find("t.txt:7: operator 'a' stands here for the second time: it has a format in line 2") !=
        std::string::npos);
  CHECK(text.find("t.txt:8: is no line of a precision table: it is '\"c\" int8 x'") != std::string::npos);
  CHECK(text.find("t.txt:9: is no line of a precision table: it is '\"d int8'") != std::string::npos);

  Diagnostics version;
  CHECK_FALSE(parsePrecisionTable("# later\nnpuc-precision 2\n", "t.txt", version));
  CHECK(
      version.text().find("t.txt:2: is not the first line of a precision table: it is 'npuc-precision 2'") !=
      std::string::npos);
}

TEST_CASE("a table says of operators what they are computed in", "[precision]") {
  Model model;
  Diagnostics diagnostics;
  REQUIRE(applyPrecisionTable(model.main(), {{"layer/query#2", "float", "", 2}}, "t.txt", {"float", "int8"},
                              diagnostics));
  auto found = multiplications(model.main());
  CHECK_FALSE(found[0].first->hasAttr(formatAttr));
  CHECK(found[1].first->getAttrOfType<mlir::StringAttr>(formatAttr).getValue() == "float");
}

TEST_CASE("operators that the model has not and formats that the target lacks are named", "[precision]") {
  Model model;
  Diagnostics diagnostics;
  CHECK_FALSE(applyPrecisionTable(
      model.main(),
      {{"layer/quer", "int8", "", 2}, {"layer/value", "fp8", "", 3}, {"layer/add", "fp8", "", 4}}, "t.txt",
      {"float", "int8"}, diagnostics));
  std::string text = diagnostics.text();
  CHECK(diagnostics.errorCount() == 4);
  CHECK(text.find("t.txt:2: the model multiplies in no operator 'layer/quer'") != std::string::npos);
  CHECK(text.find("did you mean 'layer/query'?") != std::string::npos);
  CHECK(text.find("t.txt:3: the target has no format 'fp8': it has float, int8") != std::string::npos);
  CHECK(text.find("t.txt:4: the model multiplies in no operator 'layer/add'") != std::string::npos);
}
