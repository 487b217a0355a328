// A function of nn operations, from text.
#pragma once

#include "compiler/interpret/Interpreter.h"
#include "dialects/nn/IR/NN.h"
#include "support/Npz.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <catch2/catch.hpp>

#include <span>
#include <string>
#include <vector>

namespace npuc::quantize {

struct Model {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ThreadPool pool{1};
  interpret::ConstantReader constants{pool};

  explicit Model(const std::string &text) {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    REQUIRE(module);
  }
  mlir::func::FuncOp main() { return module->lookupSymbol<mlir::func::FuncOp>("main"); }

  template <typename OpTy>
  OpTy only() {
    auto all = main().getOps<OpTy>();
    REQUIRE(std::distance(all.begin(), all.end()) == 1);
    return *all.begin();
  }

  template <typename T>
  std::vector<T> run(llvm::ArrayRef<interpret::HostTensor> arguments) {
    interpret::Interpreter interpreter(main());
    Diagnostics diagnostics;
    auto results = interpreter.run(arguments, diagnostics);
    INFO(diagnostics.text());
    REQUIRE(results);
    return {results->front().data<T>(), results->front().data<T>() + results->front().count()};
  }
};

inline NamedArray array(std::string name, std::vector<int64_t> shape, const std::vector<float> &values) {
  auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), {ElementType::F32, std::move(shape), {bytes.begin(), bytes.end()}}};
}

} // namespace npuc::quantize
