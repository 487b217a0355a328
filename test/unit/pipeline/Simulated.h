// Functions of nn on the simulator, held against the interpreter.
#pragma once

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

namespace npuc::simulated {

using interpret::HostTensor;

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
        std::ranges::copy(interpret::toArray(value).data, bytes.begin()); // packed
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

/// Interpreter and simulator give the same bits, of the function as it is.
inline void checkSame(const std::string &text, llvm::ArrayRef<HostTensor> inputs, const std::string &target) {
  CAPTURE(target);
  Module module(text);
  HostTensor wanted = module.interpret(inputs);
  auto found = module.simulate(inputs, target);
  INFO(module.diagnostics.text());
  REQUIRE(found);
  REQUIRE(found->size() >= wanted.bytes());
  CHECK(std::equal(wanted.raw(), wanted.raw() + wanted.bytes(), found->begin()));
}

} // namespace npuc::simulated
