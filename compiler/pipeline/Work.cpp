#include "compiler/pipeline/Work.h"

#include "backends/npu/codegen/VectorProgram.h"
#include "dialects/nn/IR/NN.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace npuc;

namespace {

RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}
double elements(Value value) {
  return static_cast<double>(typeOf(value).getNumElements());
}
double bytes(RankedTensorType type) {
  return static_cast<double>(llvm::divideCeil(type.getNumElements() * type.getElementTypeBitWidth(), 8));
}

/// Multiply-adds of a contraction; 0 for anything else.
double multiplyAdds(Operation *op) {
  return llvm::TypeSwitch<Operation *, double>(op)
      .Case([](nn::LinearOp o) { return elements(o.getResult()) * typeOf(o.getInput()).getShape().back(); })
      .Case([](nn::GroupedLinearOp o) {
        return elements(o.getResult()) * typeOf(o.getInput()).getShape().back();
      })
      .Case([](nn::MatmulOp o) { return elements(o.getResult()) * typeOf(o.getLhs()).getShape().back(); })
      .Case([](nn::ConvOp o) {
        return elements(o.getResult()) * elements(o.getWeight()) / typeOf(o.getWeight()).getDimSize(0);
      })
      .Case([](nn::ConvTransposeOp o) {
        return elements(o.getInput()) * elements(o.getWeight()) / typeOf(o.getWeight()).getDimSize(0);
      })
      .Case([](nn::AttentionOp o) {
        ArrayRef<int64_t> q = typeOf(o.getQuery()).getShape(), v = typeOf(o.getValue()).getShape();
        return double(q[0]) * q[1] * q[2] * v[2] * (q[3] + v[3]);
      })
      .Default([](Operation *) { return 0.0; });
}

/// The type whose rate a contraction runs at: that of its operands, unsigned ones as signed ones, or of
/// weights of 4 bits.
std::optional<ElementType> multipliedType(Operation *op) {
  auto grouped = dyn_cast<nn::GroupedLinearOp>(op);
  if (grouped && !grouped.getUnpack() && typeOf(grouped.getWeight()).getElementType().isInteger(4))
    return ElementType::I4;
  FailureOr<ElementType> type = codegen::elementType(typeOf(op->getOperand(0)).getElementType());
  if (failed(type))
    return std::nullopt;
  return *type == ElementType::U8 ? ElementType::I8 : *type;
}

/// Vector operations for each element that the operation computes (or, a reduction, reads).
double perElement(Operation *op) {
  return llvm::TypeSwitch<Operation *, double>(op)
      .Case<nn::GeluOp, nn::SiluOp, nn::TanhOp, nn::SigmoidOp, nn::ExpOp, nn::ErfOp, nn::LogOp,
            nn::SoftplusOp, nn::EluOp, nn::SinOp, nn::CosOp, nn::PowOp>([](auto) { return 8; })
      .Case<nn::DivOp, nn::ReciprocalOp, nn::RsqrtOp, nn::SqrtOp, nn::ModOp>([](auto) { return 4; })
      .Case<nn::SoftmaxOp, nn::LogSoftmaxOp>([](auto) { return 12; })
      .Case<nn::LayerNormOp, nn::GroupNormOp>([](auto) { return 8; })
      .Case<nn::RmsNormOp>([](auto) { return 6; })
      .Case<nn::RopeOp>([](auto) { return 4; })
      .Case<nn::RequantizeOp>([](auto) { return 3; })
      .Default([](Operation *o) { return o->hasTrait<nn::Pointwise>() ? 1 : 0; });
}

void countVector(Operation *op, timing::WorkFacts &work) {
  auto add = [&](double operations, Type element) {
    (mlir::isa<FloatType>(element) ? work.floatOperations : work.integerOperations) += operations;
  };
  if (auto o = dyn_cast<nn::AttentionOp>(op)) {
    // The scale and the mask once for each score, and the softmax.
    ArrayRef<int64_t> q = typeOf(o.getQuery()).getShape();
    double scores = double(q[0]) * q[1] * q[2] * typeOf(o.getKey()).getDimSize(2);
    bool masked = o.getMask() || o.getCausalOffset();
    return add(scores * (12 + 1 + masked + (o.getSoftcap().isZero() ? 0 : 10)),
               typeOf(o.getResult()).getElementType());
  }
  if (auto o = dyn_cast<nn::GroupedLinearOp>(op)) // Each group's sum is multiplied and added.
    return add(2 * elements(o.getResult()) * typeOf(o.getScale()).getDimSize(1),
               o.getType().getElementType());
  if (auto o = dyn_cast<nn::LinearOp>(op))
    return add(o.getBias() ? elements(o.getResult()) : 0, typeOf(o.getResult()).getElementType());
  if (auto o = dyn_cast<nn::ConvOp>(op))
    return add(o.getBias() ? elements(o.getResult()) : 0, typeOf(o.getResult()).getElementType());
  if (auto o = dyn_cast<nn::ReduceOp>(op))
    return add(elements(o.getInput()), typeOf(o.getInput()).getElementType());
  if (double each = perElement(op)) {
    // A comparison or conversion works on what it reads.
    Type read = typeOf(op->getOperand(0)).getElementType(),
         written = typeOf(op->getResult(0)).getElementType();
    add(each * elements(op->getResult(0)), mlir::isa<FloatType>(written) ? written : read);
  }
}

/// Bytes of a constant that the function must read.
double constantBytes(nn::ConstantOp op) {
  RankedTensorType type = op.getResult().getType();
  double gathered = 0;
  for (OpOperand &use : op->getUses()) {
    auto gather = dyn_cast<nn::GatherOp>(use.getOwner());
    if (!gather || use.getOperandNumber() != 0)
      return bytes(type);
    gathered +=
        bytes(type) / std::max<double>(1, type.getDimSize(gather.getAxis())) * elements(gather.getIndices());
  }
  return std::min(gathered, bytes(type));
}

} // namespace

timing::WorkFacts pipeline::countWork(func::FuncOp function) {
  timing::WorkFacts work;
  for (BlockArgument argument : function.getArguments())
    work.dramBytes += bytes(typeOf(argument));
  for (Operation &op : function.front()) {
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      for (Value value : ret.getOperands())
        work.dramBytes += bytes(typeOf(value));
      continue;
    }
    if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
      work.dramBytes += constantBytes(constant);
      continue;
    }
    if (double count = multiplyAdds(&op))
      if (std::optional<ElementType> type = multipliedType(&op))
        work.multiplyAdds[static_cast<size_t>(*type)] += count;
    countVector(&op, work);
  }
  return work;
}
