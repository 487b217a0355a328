#include "compiler/pipeline/Layers.h"

#include "compiler/interpret/Evaluate.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

namespace npuc::pipeline {
namespace {

bool isWatched(Operation &op) {
  if (!llvm::isa<nn::NNDialect>(op.getDialect()) ||
      llvm::isa<nn::ConstantOp, nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp>(op) ||
      op.use_empty())
    return false;
  auto type = cast<RankedTensorType>(op.getResult(0).getType());
  return type.getNumElements() > 0 &&
         (llvm::isa<FloatType>(type.getElementType()) || type.getElementType().isInteger(8));
}

} // namespace

std::vector<Layer> exposeLayers(ModuleOp module) {
  PassManager passes(module.getContext());
  passes.addPass(nn::createNNInlineSegments());
  if (failed(passes.run(module)))
    llvm_unreachable("segments are called directly, and from one function");
  func::FuncOp main = *module.getOps<func::FuncOp>().begin();
  Operation *ret = main.front().getTerminator();
  std::vector<Layer> layers;
  unsigned added = 0;
  for (Operation &op : main.front()) {
    if (!isWatched(op))
      continue;
    Value value = op.getResult(0);
    auto own = llvm::find(ret->getOperands(), value);
    auto result = static_cast<unsigned>(own - ret->operand_begin());
    if (own == ret->operand_end()) {
      auto name = StringAttr::get(module.getContext(), "layer." + std::to_string(added++));
      NamedAttribute attribute(StringAttr::get(module.getContext(), nn::NNDialect::nameAttr), name);
      (void)main.insertResult(result, value.getType(), DictionaryAttr::get(module.getContext(), attribute));
      ret->insertOperands(result, value);
    }
    layers.push_back({op.getName().getStringRef().str(), interpret::nodeName(&op), result});
  }
  return layers;
}

} // namespace npuc::pipeline
