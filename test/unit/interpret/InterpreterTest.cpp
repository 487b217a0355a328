#include "compiler/interpret/Interpreter.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <unistd.h>

using namespace npuc;
using namespace npuc::interpret;

namespace {

struct Module {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  explicit Module(const std::string &text) {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    REQUIRE(module);
  }
  mlir::func::FuncOp main() { return module->lookupSymbol<mlir::func::FuncOp>("main"); }
};

HostTensor floats(Shape shape, const std::vector<float> &values) {
  return HostTensor::of<float>(ElementType::F32, std::move(shape), values);
}

template <typename T>
std::vector<T> list(const HostTensor &tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.count()};
}

std::vector<HostTensor> run(Module &m, llvm::ArrayRef<HostTensor> arguments) {
  Interpreter interpreter(m.main());
  Diagnostics diagnostics;
  auto results = interpreter.run(arguments, diagnostics);
  INFO(diagnostics.text());
  REQUIRE(results);
  return *results;
}

/// A file of its own, removed at the end.
struct Data {
  std::string path =
      (std::filesystem::temp_directory_path() / ("npuc-constants-" + std::to_string(::getpid()))).string();
  explicit Data(std::span<const std::byte> bytes) {
    Diagnostics diagnostics;
    REQUIRE(writeFile(path, bytes, diagnostics));
  }
  ~Data() { std::filesystem::remove(path); }
};

NamedArray named(const std::string &name, const HostTensor &tensor) {
  return {name, toArray(tensor)};
}

} // namespace

TEST_CASE("a function runs, with calls, and an observer sees each operation and how it was reached") {
  Module m(R"(
    func.func private @twice(%x: tensor<2xf32>) -> tensor<2xf32> {
      %0 = nn.add %x, %x : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
      return %0 : tensor<2xf32>
    }
    func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
      %0 = func.call @twice(%x) : (tensor<2xf32>) -> tensor<2xf32>
      %1 = func.call @twice(%0) : (tensor<2xf32>) -> tensor<2xf32>
      %2 = nn.neg %1 : (tensor<2xf32>) -> tensor<2xf32>
      return %2, %x : tensor<2xf32>, tensor<2xf32>
    })");
  Interpreter interpreter(m.main());
  Diagnostics diagnostics;
  std::vector<std::string> seen;
  auto results =
      interpreter.run(llvm::ArrayRef(floats({2}, {1, -3})), diagnostics, [&](const Observation &o) {
        seen.push_back(o.operation->getName().getStringRef().str() + " " + std::to_string(o.calls.size()) +
                       " " + std::to_string(o.results[0].data<float>()[0]) + " " +
                       std::to_string(o.operands.size()));
      });
  REQUIRE(results);
  CHECK(list<float>((*results)[0]) == std::vector<float>{-4, 12});
  CHECK(list<float>((*results)[1]) == std::vector<float>{1, -3});
  CHECK(seen ==
        std::vector<std::string>{"nn.add 1 2.000000 2", "nn.add 1 4.000000 2", "nn.neg 0 -4.000000 1"});
}

TEST_CASE("constants are read through every kind of handle") {
  // Three bytes that are not part of it, then 0 to 5 as floats, so that they lie at odd addresses.
  std::vector<std::byte> bytes(3 + 6 * sizeof(float));
  for (size_t i = 0; i < 6; ++i) {
    auto value = static_cast<float>(i);
    std::memcpy(&bytes[3 + i * sizeof(float)], &value, sizeof(float));
  }
  Data data(bytes);
  std::string file = "#nn.external<\"" + data.path + "\", 3> : tensor<2x3xf32>";
  Module m("func.func @main() -> (tensor<2x3xf32>, tensor<3x2xf32>, tensor<6xi8>, tensor<2x1xf32>, "
           "tensor<4x3xf32>) {"
           "%0 = nn.constant " +
           file + "%1 = nn.constant #nn.transposed<" + file +
           ", [1, 0]> : tensor<3x2xf32>"
           "%2 = nn.constant #nn.converted<#nn.reshaped<" +
           file +
           "> : tensor<6xf32>> : tensor<6xi8>"
           "%3 = nn.constant #nn.sliced<" +
           file +
           ", [1, 2], [-1, 1]> : tensor<2x1xf32>"
           "%4 = nn.constant #nn.concatenated<[" +
           file +
           ", dense<7.0> : tensor<2x3xf32>], 0> : tensor<4x3xf32>"
           "return %0, %1, %2, %3, %4 : tensor<2x3xf32>, tensor<3x2xf32>, tensor<6xi8>, tensor<2x1xf32>, "
           "tensor<4x3xf32> }");
  std::vector<HostTensor> values = run(m, {});
  CHECK(list<float>(values[0]) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(list<float>(values[1]) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(list<int8_t>(values[2]) == std::vector<int8_t>{0, 1, 2, 3, 4, 5});
  CHECK(list<float>(values[3]) == std::vector<float>{5, 2});
  CHECK(list<float>(values[4]) == std::vector<float>{0, 1, 2, 3, 4, 5, 7, 7, 7, 7, 7, 7});
}

TEST_CASE("a constant whose file is short or missing is an error") {
  Data data(std::vector<std::byte>(20));
  Diagnostics diagnostics;
  Module shorter("func.func @main() -> tensor<2x3xf32> {"
                 "%0 = nn.constant #nn.external<\"" +
                 data.path + "\", 0> : tensor<2x3xf32> return %0 : tensor<2x3xf32> }");
  CHECK_FALSE(Interpreter(shorter.main()).run(llvm::ArrayRef<HostTensor>(), diagnostics));
  REQUIRE(diagnostics.errorCount() == 1);
  CHECK(diagnostics.all()[0].why == data.path + " has 20 bytes, the constant takes 24 from byte 0");
  Module missing(
      "func.func @main() -> tensor<1xf32> {"
      "%0 = nn.constant #nn.external<\"/no/such/file\", 0> : tensor<1xf32> return %0 : tensor<1xf32> }");
  CHECK_FALSE(Interpreter(missing.main()).run(llvm::ArrayRef<HostTensor>(), diagnostics));
  CHECK(diagnostics.all()[1].where == "/no/such/file");
}

TEST_CASE("an index out of range names input, position, value and limit") {
  Module m(R"(
    func.func @main(%ids: tensor<2x3xi64> {nn.name = "input_ids"}) -> tensor<6x2xf32> {
      %table = nn.constant dense<1.0> : tensor<10x2xf32>
      %flat = nn.reshape %ids : (tensor<2x3xi64>) -> tensor<6xi64>
      %0 = nn.gather %table, %flat {axis = 0 : i64} : (tensor<10x2xf32>, tensor<6xi64>) -> tensor<6x2xf32> loc("/embed/Gather")
      return %0 : tensor<6x2xf32>
    })");
  Interpreter interpreter(m.main());
  Diagnostics diagnostics;
  auto ids = HostTensor::of<int64_t>(ElementType::I64, {2, 3}, {0, 1, -10, 9, 2, 10});
  CHECK_FALSE(interpreter.run(llvm::ArrayRef(ids), diagnostics));
  REQUIRE(diagnostics.errorCount() == 1);
  CHECK(diagnostics.all()[0].where == "/embed/Gather");
  CHECK(diagnostics.all()[0].why ==
        "input 'input_ids' holds 10 at position [1, 2], the limit is 10 (-10 to 9 are valid)");
}

TEST_CASE("arguments are bound by name, and everything wrong with them is said at once") {
  Module m(R"(
    func.func @main(%a: tensor<2xf32> {nn.name = "a"}, %mask: tensor<1x3xi64> {nn.name = "mask"}, %h: tensor<1xbf16> {nn.name = "h"})
        -> (tensor<2xf32> {nn.name = "out"}, tensor<1xbf16> {nn.name = "half"}) {
      return %a, %h : tensor<2xf32>, tensor<1xbf16>
    })");
  Interpreter interpreter(m.main());
  Diagnostics diagnostics;
  NamedArray a = named("a", floats({2}, {1, 2})),
             h = named("h", floats({1}, {1.00390625f})); // 1 + 2^-8: a tie, to even
  NamedArray mask = named("mask", HostTensor::of<int64_t>(ElementType::I64, {1, 3}, {1, 1, 0}));
  std::vector<NamedArray> inputs = {mask, h, a};
  auto outputs = interpreter.run(std::span<const NamedArray>(inputs), diagnostics);
  REQUIRE(outputs);
  CHECK((*outputs)[0].name == "out");
  CHECK((*outputs)[0].array.data == a.array.data);
  CHECK((*outputs)[1].array.type == ElementType::F32);
  CHECK(*fromArray((*outputs)[1].array).data<float>() == 1);

  inputs = {named("maks", floats({1}, {1})),
            named("a", HostTensor::of<int64_t>(ElementType::I64, {3}, {1, 2, 3})), h};
  CHECK_FALSE(interpreter.run(std::span<const NamedArray>(inputs), diagnostics));
  CHECK(diagnostics.text() ==
        "error: input 'maks': the model has no input of this name: its inputs are 'a', 'mask', 'h'\n"
        "  hint: did you mean 'mask'?\n"
        "error: input 'a': its type is i64: the model wants f32\n"
        "  hint: store the array as f32\n"
        "error: input 'a': its shape is 3: the model wants 2\n"
        "error: input 'mask': it is missing: the model wants i64 of shape 1x3\n");
}

TEST_CASE("small floats compute in fp32 and round once") {
  Module m(R"(
    func.func @main(%a: tensor<1x2xf16>, %b: tensor<2x1xf16>) -> (tensor<1x1xf16>, tensor<1x2xi1>) {
      %0 = nn.matmul %a, %b : (tensor<1x2xf16>, tensor<2x1xf16>) -> tensor<1x1xf16>
      %1 = nn.is_nan %a : (tensor<1x2xf16>) -> tensor<1x2xi1>
      return %0, %1 : tensor<1x1xf16>, tensor<1x2xi1>
    })");
  // 2048 · 1 + 1 · 1 = 2049 is a tie between the f16 2048 and 2050; 60000 · 2 overflows only at the end.
  auto half = [](std::vector<float> v, Shape shape) {
    std::vector<uint16_t> bits;
    for (float x : v)
      bits.push_back(toF16(x));
    return HostTensor::of<uint16_t>(ElementType::F16, std::move(shape), bits);
  };
  auto results = run(m, {half({2048, 1}, {1, 2}), half({1, 1}, {2, 1})});
  CHECK(fromF16(*results[0].data<uint16_t>()) == 2048);
  CHECK(results[1].type() == ElementType::Bool);
  results = run(m, {half({60000, 60000}, {1, 2}), half({2, -1}, {2, 1})});
  CHECK(fromF16(*results[0].data<uint16_t>()) == 60000);
}

TEST_CASE("folding evaluates dense constants, bools and splats among them, and leaves the rest alone") {
  Module m(R"(
    func.func @main(%x: tensor<4xi64>) -> (tensor<4xi1>, tensor<4xi64>) {
      %0 = nn.compare lt %x, %x : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi1>
      %1 = nn.add %x, %x : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>
      return %0, %1 : tensor<4xi1>, tensor<4xi64>
    })");
  ThreadPool pool(1);
  auto fold = foldingEvaluator(pool);
  auto operations = m.main().getBody().front().begin();
  mlir::Operation *compare = &*operations++, *add = &*operations++, *ret = &*operations;
  auto i64 = mlir::RankedTensorType::get({4}, mlir::IntegerType::get(&m.context, 64));
  auto counting = mlir::DenseElementsAttr::get(i64, llvm::ArrayRef<int64_t>{1, 2, 3, 4});
  auto two = mlir::DenseElementsAttr::get(i64, llvm::ArrayRef<int64_t>{2});
  auto less = fold(compare, {counting, two});
  REQUIRE(less);
  CHECK(llvm::to_vector((*less)[0].getValues<bool>()) == llvm::SmallVector<bool>{true, false, false, false});
  auto sum = fold(add, {two, two});
  REQUIRE(sum);
  CHECK((*sum)[0].isSplat());
  CHECK((*sum)[0].getSplatValue<int64_t>() == 4);
  CHECK_FALSE(fold(ret, {counting, counting}));
}
