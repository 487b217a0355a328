#include "compiler/pipeline/Integers.h"

#include "backends/npu/target/Target.h"
#include "compiler/quantize/Quantize.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/IR/TypeUtilities.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace npuc::pipeline {

bool isQuantized(func::FuncOp function) {
  return llvm::any_of(function.front(), [](Operation &op) {
    bool multiplies = mlir::isa<nn::LinearOp, nn::GroupedLinearOp, nn::MatmulOp, nn::ConvOp>(op);
    return mlir::isa<nn::QuantizeOp, nn::DequantizeOp>(op) ||
           (multiplies && mlir::isa<IntegerType>(getElementTypeOrSelf(op.getOperand(0).getType())));
  });
}

LogicalResult foldIntegers(func::FuncOp function, const target::TargetDescription &target,
                           interpret::ConstantReader &constants) {
  const target::Accumulator *sums = target::accumulator(target, ElementType::I8);
  if (!sums)
    return success();
  auto kind =
      static_cast<quantize::Requantization>(target.numbers().requantization() - target::Numbers::FLOAT_SCALE);
  auto has = [&](ElementType type) { return target::matrixType(target, type) != nullptr; };
  quantize::Multiplied multiplied{has(ElementType::I4), has(ElementType::F8E4M3), has(ElementType::F8E5M2)};
  PassManager passes(function.getContext(), func::FuncOp::getOperationName());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  return success(succeeded(quantize::foldQuantization(function, kind, constants, multiplied)) &&
                 succeeded(passes.run(function)) &&
                 succeeded(quantize::boundSums(function, sums->bits(), constants)));
}

} // namespace npuc::pipeline
