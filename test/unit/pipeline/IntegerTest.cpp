// Integer operations of nn are the same, to the last bit, in the interpreter and in the program that a
// simulator runs.
#include "backends/npu/codegen/Expand.h"
#include "backends/npu/codegen/NpuPrices.h"
#include "backends/npu/codegen/Passes.h"
#include "backends/npu/isa/Verify.h"
#include "backends/npu/schedule/TimingCost.h"
#include "backends/npu/target/Target.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/lower/Lower.h"
#include "compiler/pipeline/Dialects.h"
#include "compiler/quantize/Quantize.h"
#include "compiler/tile/Plan.h"
#include "runtime/npu_sim/Functional.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

#include <catch2/catch.hpp>

#include <random>

using namespace npuc;
using interpret::HostTensor;

namespace {

class Module {
public:
  explicit Module(const std::string &text)
      : context(pipeline::dialects(), mlir::MLIRContext::Threading::DISABLED) {
    context.loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    REQUIRE(module);
  }
  mlir::func::FuncOp main() { return *module->getOps<mlir::func::FuncOp>().begin(); }

  HostTensor interpret(llvm::ArrayRef<HostTensor> inputs) {
    interpret::Interpreter interpreter(main(), {.threads = 1});
    auto results = interpreter.run(inputs, diagnostics);
    INFO(diagnostics.text());
    REQUIRE(results);
    return results->front();
  }

  /// The bytes of the only output, on the simulator; nothing if a check of the simulator fails.
  std::optional<std::vector<std::byte>> simulate(llvm::ArrayRef<HostTensor> inputs, const std::string &name) {
    auto target = target::load(name, {}, diagnostics);
    REQUIRE(target);
    lower::setFloatType(main(), mlir::Float16Type::get(&context));
    REQUIRE(succeeded(lower::lowerToLinalg(main())));
    tile::planTiles(tile::formGroups(main()), *codegen::npuPrices(*target));
    REQUIRE(succeeded(tile::applyTiles(main())));
    codegen::placeTensors(main(), *target);
    REQUIRE(succeeded(codegen::promoteOperands(main(), *target)));
    REQUIRE(succeeded(codegen::bufferize(*module)));
    REQUIRE(succeeded(codegen::mapToEngines(main())));
    auto graph = codegen::expand(main(), *target);
    REQUIRE(succeeded(graph));
    timing::Machine machine(*target);
    schedule::TimingCost cost(machine, *graph);
    auto solution = schedule::schedule({*graph, schedule::limitsOf(*target), cost}, diagnostics);
    INFO(diagnostics.text());
    REQUIRE(solution);
    CHECK(isa::verifyProgram(solution->program, *target, diagnostics));
    return run(solution->program, inputs, *target);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Diagnostics diagnostics;
  ThreadPool pool{1};
  interpret::ConstantReader constants{pool};

private:
  std::optional<std::vector<std::byte>> run(const isa::Program &program, llvm::ArrayRef<HostTensor> inputs,
                                            const target::TargetDescription &target) {
    std::vector<std::vector<std::byte>> memory;
    size_t input = 0, output = 0;
    for (const auto &[i, buffer] : llvm::enumerate(program.buffers)) {
      auto &bytes = memory.emplace_back(static_cast<size_t>(buffer.bytes));
      HostTensor value;
      if (buffer.role == isa::Role::Input)
        value = inputs[input++];
      else if (buffer.role == isa::Role::Constant)
        value =
            constants.read(main().getArgAttrOfType<mlir::TypedAttr>(i, lower::valueAttr), "", diagnostics);
      else if (buffer.role == isa::Role::Output)
        output = i;
      if (value)
        std::copy_n(value.raw(), value.bytes(), bytes.begin());
    }
    std::vector<std::span<std::byte>> dram(memory.begin(), memory.end());
    auto functional = npu_sim::Functional::create(program, target, {}, diagnostics);
    REQUIRE(functional);
    if (!functional->run(dram, {}, diagnostics))
      return std::nullopt;
    return memory[output];
  }
};

template <typename T>
HostTensor randomTensor(ElementType type, interpret::Shape shape, int64_t least, int64_t greatest,
                        uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int64_t> number(least, greatest);
  std::vector<T> values(static_cast<size_t>(interpret::countOf(shape)));
  for (T &value : values)
    value = static_cast<T>(number(random));
  return HostTensor::of<T>(type, std::move(shape), values);
}

void checkSame(const std::string &text, llvm::ArrayRef<HostTensor> inputs, const std::string &target) {
  CAPTURE(target);
  Module module(text);
  HostTensor wanted = module.interpret(inputs);
  auto found = module.simulate(inputs, target);
  INFO(module.diagnostics.text());
  REQUIRE(found);
  REQUIRE(found->size() >= wanted.bytes());
  CHECK(std::equal(wanted.raw(), wanted.raw() + wanted.bytes(), found->begin()));
}

constexpr const char *linear = R"(
  %w = nn.constant dense<[[-128, 127, 3], [5, -7, 127], [90, -1, 0], [-128, 127, 64]]> : tensor<4x3xi8>
  %b = nn.constant dense<[100000, -5, 0]> : tensor<3xi32>
  %0 = nn.linear %x, %w, %b : (tensor<16x4xi8>, tensor<4x3xi8>, tensor<3xi32>) -> tensor<16x3xi32>)";

} // namespace

TEST_CASE("sums are requantized alike", "[pipeline]") {
  HostTensor x = randomTensor<int8_t>(ElementType::I8, {16, 4}, -128, 127, 1);
  // Factors that leave results inside of the range, saturate some, and give ties: 2^-8 is exact.
  const char *kinds[][2] = {
      {"toy",
       "float %0 {scales = array<f32: 0.001, 0.00390625, 0.03>, axis = 1 : i64, zero_point = -5 : i64}"},
      {"atom", "float %0 {scales = array<f32: 0.00390625>}"},
      {"warboy", "fixedpoint %0 {multipliers = array<i32: 1073741824, 1431655765, 2147483647>, shifts = "
                 "array<i32: 7, 9, 5>, "
                 "axis = 1 : i64, zero_point = 11 : i64, rounding = #nn<rounding halfup>}"},
      {"warboy", "fixedpoint %0 {multipliers = array<i32: 1073741824>, shifts = array<i32: 7>, "
                 "rounding = #nn<rounding halfup>}"},
      {"sapeon-x220",
       "fixedpoint %0 {multipliers = array<i32: 1073741824, 1431655765, 2147483647>, "
       "shifts = array<i32: 7, 9, 5>, axis = 1 : i64, zero_point = 11 : i64, rounding = #nn<rounding down>}"},
  };
  for (auto [target, kind] : kinds) {
    std::string text = std::string("func.func @main(%x: tensor<16x4xi8>) -> tensor<16x3xi8> {") + linear +
                       "\n  %y = nn.requantize " + kind +
                       " : (tensor<16x3xi32>) -> tensor<16x3xi8>\n  return %y : tensor<16x3xi8>\n}";
    CAPTURE(kind);
    checkSame(text, {x}, target);
  }
}

TEST_CASE("products of two computed operands with zero points are alike", "[pipeline]") {
  HostTensor p = randomTensor<int8_t>(ElementType::I8, {8, 12}, -128, 127, 2),
             q = randomTensor<int8_t>(ElementType::I8, {12, 8}, -128, 127, 3);
  checkSame(R"(func.func @main(%p: tensor<8x12xi8>, %q: tensor<12x8xi8>) -> tensor<8x8xi32> {
    %c = nn.constant dense<5> : tensor<1xi32>
    %0 = nn.matmul %p, %q : (tensor<8x12xi8>, tensor<12x8xi8>) -> tensor<8x8xi32>
    %1 = nn.cast %p : (tensor<8x12xi8>) -> tensor<8x12xi32>
    %2 = nn.reduce sum %1 {axes = array<i64: 1>, keep} : (tensor<8x12xi32>) -> tensor<8x1xi32>
    %3 = nn.mul %2, %c : (tensor<8x1xi32>, tensor<1xi32>) -> tensor<8x1xi32>
    %4 = nn.sub %0, %3 : (tensor<8x8xi32>, tensor<8x1xi32>) -> tensor<8x8xi32>
    return %4 : tensor<8x8xi32>
  })",
            {p, q}, "toy");
}

TEST_CASE("a sum that leaves 24 bits is found, and cut into parts that do not", "[pipeline]") {
  // 1024 · 127 · 127 = 16516096, just under 2^24 and beyond 2^23 - 1 = 8388607; each half fits.
  HostTensor x = randomTensor<int8_t>(ElementType::I8, {4, 1024}, 127, 127, 0);
  const std::string text = R"(func.func @main(%x: tensor<4x1024xi8>) -> tensor<4x8xi32> {
    %w = nn.constant dense<127> : tensor<1024x8xi8>
    %y = nn.linear %x, %w : (tensor<4x1024xi8>, tensor<1024x8xi8>) -> tensor<4x8xi32>
    return %y : tensor<4x8xi32>
  })";
  Module whole(text);
  CHECK_FALSE(whole.simulate({x}, "sapeon-x220"));
  CHECK(whole.diagnostics.text().find("24") != std::string::npos);

  Module parts(text);
  REQUIRE(succeeded(quantize::boundSums(parts.main(), 24, parts.constants)));
  auto found = parts.simulate({x}, "sapeon-x220");
  INFO(parts.diagnostics.text());
  REQUIRE(found);
  for (size_t i = 0; i < 4 * 8; ++i) {
    int32_t sum = 0;
    std::memcpy(&sum, found->data() + i * sizeof sum, sizeof sum);
    CHECK(sum == 1024 * 127 * 127);
  }
}
