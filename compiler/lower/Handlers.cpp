#include "compiler/lower/Handlers.h"

#include "compiler/lower/Lower.h"

#include "mlir/IR/TypeUtilities.h"

#include <algorithm>
#include <iterator>

using namespace mlir;

namespace npuc::lower {

const std::vector<Handler> &handlers() {
  static const std::vector<Handler> table = [] {
    std::vector<Handler> all;
    for (auto family : {pointwiseHandlers, computeHandlers, quantizationHandlers, movementHandlers,
                        indexHandlers, reduceHandlers, ropeHandlers, windowHandlers})
      std::ranges::move(family(), std::back_inserter(all));
    std::ranges::sort(all, {}, &Handler::operation);
    assert(std::ranges::adjacent_find(all, {}, &Handler::operation) == all.end() &&
           "an operation has one handler");
    return all;
  }();
  return table;
}

const Handler *findHandler(StringRef operation) {
  auto at = std::ranges::lower_bound(handlers(), operation, {}, &Handler::operation);
  return at != handlers().end() && at->operation == operation ? &*at : nullptr;
}

std::string obstacle(Operation *op) {
  StringRef name = op->getName().getStringRef();
  const Handler *found = findHandler(name);
  if (!found)
    return (name + " cannot be compiled: it has no lowering").str();
  // Two of them share a byte, which nothing but whole rows of an even number of them keeps together.
  auto hasFourBits = [](Type type) { return getElementTypeOrSelf(type).isInteger(4); };
  auto hasOddRow = [&](Type type) {
    auto tensor = cast<RankedTensorType>(type);
    return hasFourBits(type) && tensor.getNumElements() > 1 && tensor.getShape().back() % 2 != 0;
  };
  // Constant zero points become bytes.
  SmallVector<Type> types(op->getResultTypes());
  for (Value operand : op->getOperands())
    if (operand == op->getOperand(0) || !operand.getDefiningOp<nn::ConstantOp>() ||
        !isa<nn::DequantizeOp>(op))
      types.push_back(operand.getType());
  bool keepsRows = isa<nn::CastOp, nn::QuantizeOp, nn::DequantizeOp, nn::GroupedLinearOp>(op);
  if (llvm::any_of(types, hasFourBits) && !keepsRows)
    return (name + " cannot be compiled: it has integers of 4 bits").str();
  if (llvm::any_of(types, hasOddRow))
    return (name + " cannot be compiled: its integers of 4 bits lie in rows of an odd number").str();
  for (const Condition &condition : found->conditions)
    if (!condition.holds(op))
      return (name + " is compiled only where " + condition.sentence).str();
  return "";
}

} // namespace npuc::lower
