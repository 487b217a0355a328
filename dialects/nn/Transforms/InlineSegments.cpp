#include "dialects/nn/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNINLINESEGMENTS
#include "dialects/nn/Transforms/Passes.h.inc"

using namespace mlir;

namespace {

/// Puts copies of the callee's operations in the call's place. They stand for the nodes that the call lists:
/// those of the callee's last operations, as constants that all layers share come first.
void inlineCall(func::CallOp call, func::FuncOp callee) {
  OpBuilder builder(call);
  IRMapping mapping;
  Block &body = callee.front();
  mapping.map(body.getArguments(), call.getOperands());
  auto nodes = call->getAttrOfType<ArrayAttr>(nodesAttr);
  auto operations = static_cast<size_t>(std::distance(body.begin(), body.end())) - 1;
  bool named = nodes && nodes.size() <= operations;
  for (auto [index, op] : llvm::enumerate(body.without_terminator())) {
    Operation *copy = builder.clone(op, mapping);
    if (named && index >= operations - nodes.size())
      copy->setLoc(cast<LocationAttr>(nodes[index - (operations - nodes.size())]));
  }
  for (auto [result, returned] : llvm::zip_equal(call.getResults(), body.getTerminator()->getOperands()))
    result.replaceAllUsesWith(mapping.lookupOrDefault(returned));
  call.erase();
}

struct InlineSegments : impl::NNInlineSegmentsBase<InlineSegments> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    auto functions = llvm::to_vector(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions)
      if (!function.isPrivate())
        for (auto call : llvm::make_early_inc_range(function.getOps<func::CallOp>()))
          if (auto callee = symbols.lookup<func::FuncOp>(call.getCallee()); callee && callee.isPrivate())
            inlineCall(call, callee);
    for (func::FuncOp function : functions)
      if (function.isPrivate() && SymbolTable::symbolKnownUseEmpty(function, getOperation()))
        symbols.erase(function);
  }
};

} // namespace
} // namespace npuc::nn
