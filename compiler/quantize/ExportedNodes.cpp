#include "compiler/quantize/Constants.h"
#include "compiler/quantize/Export.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/Evaluate.h"

using namespace mlir;

namespace npuc::quantize {
namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

class Reader {
public:
  Reader(func::FuncOp function, interpret::ConstantReader &constants)
      : builder(function.getContext()), constants(constants) {}

  /// Nothing if the scales or zero points are computed, or, with errors, cannot be read.
  std::optional<Grid> grid(nn::DequantizeOp op) {
    TypedAttr scale = constantOf(op.getScale()), zero = constantOf(op.getZeroPoint());
    if (!scale || (op.getZeroPoint() && !zero))
      return std::nullopt;
    Constants read(builder, op.getLoc(), constants);
    interpret::HostTensor scales = read.floats(scale),
                          zeros = zero ? read.ints(zero) : interpret::HostTensor();
    if (!scales || (zero && !zeros))
      return std::nullopt;
    Grid grid;
    grid.type = interpret::elementTypeOf(typeOf(op.getInput()));
    grid.scales.assign(scales.data<float>(), scales.data<float>() + scales.count());
    grid.zeroPoints = {0};
    if (zeros)
      grid.zeroPoints.assign(zeros.data<int32_t>(), zeros.data<int32_t>() + zeros.count());
    if (scales.count() > 1 || op.getBlockSize() != 0)
      grid.shape = scales.shape();
    grid.axis = static_cast<int64_t>(op.getAxis());
    grid.blockSize = static_cast<int64_t>(op.getBlockSize());
    return grid;
  }

  std::optional<ExportedNode::Input> input(OpOperand &operand);

private:
  OpBuilder builder;
  interpret::ConstantReader &constants;
};

/// The form that Forms.h's aroundRows makes.
bool hasRowScales(nn::QuantizeOp quantize, nn::DequantizeOp dequantize) {
  RankedTensorType type = quantize.getType();
  int64_t axis = type.getRank() - 1;
  return !constantOf(quantize.getScale()) && quantize.getScale() == dequantize.getScale() &&
         !quantize.getZeroPoint() && !dequantize.getZeroPoint() && axis >= 0 &&
         static_cast<int64_t>(quantize.getAxis()) == axis && type.getElementType().isSignlessInteger(8) &&
         static_cast<int64_t>(quantize.getBlockSize()) == type.getDimSize(static_cast<unsigned>(axis));
}

std::optional<ExportedNode::Input> Reader::input(OpOperand &operand) {
  auto dequantize = operand.get().getDefiningOp<nn::DequantizeOp>();
  auto quantize = dequantize ? dequantize.getInput().getDefiningOp<nn::QuantizeOp>() : nn::QuantizeOp();
  if (quantize && hasRowScales(quantize, dequantize)) {
    ExportedNode::Input input;
    input.operand = operand.getOperandNumber();
    input.row = quantize.getType().getShape().back();
    Value x = quantize.getInput();
    if (auto cast = x.getDefiningOp<nn::CastOp>())
      x = cast.getInput();
    if (auto product = x.getDefiningOp<nn::MulOp>())
      if (auto factors = product->getAttrOfType<DenseF32ArrayAttr>(factorsAttr))
        input.factors = factors.asArrayRef().vec();
    return input;
  }
  std::optional<Grid> grid = quantize ? this->grid(dequantize) : std::nullopt;
  std::optional<std::vector<double>> scales = grid ? numbersOf(quantize.getScale()) : std::nullopt;
  if (!scales || grid->scales.size() != 1 || grid->blockSize != 0 || quantize.getBlockSize() != 0)
    return std::nullopt;
  ExportedNode::Input input{operand.getOperandNumber(), std::move(*grid), {}};
  if (scales->size() == 1)
    return input;
  // Other scales on the way in than on the way out: factors for each index of the last dimension.
  if (static_cast<int64_t>(quantize.getAxis()) + 1 != typeOf(quantize.getInput()).getRank())
    return std::nullopt;
  for (double scale : *scales)
    input.factors.push_back(static_cast<float>(scale / input.grid.scales[0]));
  return input;
}

} // namespace

std::vector<ExportedNode> exportedNodes(func::FuncOp function, interpret::ConstantReader &constants) {
  Reader reader(function, constants);
  std::vector<ExportedNode> nodes;
  for (Operation &op : function.front()) {
    if (!isa<nn::LinearOp, nn::MatmulOp, nn::ConvOp>(op))
      continue;
    ExportedNode how;
    how.node = interpret::nodeName(&op);
    how.operation = op.getName().getStringRef();
    how.floats = interpret::elementTypeOf(typeOf(op.getOperand(0)));
    for (unsigned i : {0u, 1u}) {
      OpOperand &operand = op.getOpOperand(i);
      auto dequantize = operand.get().getDefiningOp<nn::DequantizeOp>();
      TypedAttr constant = dequantize ? constantOf(dequantize.getInput()) : TypedAttr();
      std::optional<Grid> grid = i == 1 && constant ? reader.grid(dequantize) : std::nullopt;
      if (grid) {
        how.weights = constant;
        how.weightGrid = std::move(*grid);
      } else if (std::optional<ExportedNode::Input> input = reader.input(operand)) {
        how.inputs.push_back(std::move(*input));
      }
    }
    if (auto linear = dyn_cast<nn::LinearOp>(op))
      how.transposed = linear.getTransposed();
    if (how.weights || !how.inputs.empty())
      nodes.push_back(std::move(how));
  }
  return nodes;
}

} // namespace npuc::quantize
