#include "compiler/lower/Passes.h"

#include "compiler/lower/FastForms.h"
#include "compiler/lower/Lower.h"
#include "dialects/nn/IR/NN.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace npuc::lower {

#define GEN_PASS_DEF_SETFLOATTYPE
#define GEN_PASS_DEF_LOWERTOLINALG
#define GEN_PASS_DEF_USEFASTFORMS
#include "compiler/lower/Passes.h.inc"

namespace {

struct SetFloatType : impl::SetFloatTypeBase<SetFloatType> {
  using SetFloatTypeBase::SetFloatTypeBase;
  void runOnOperation() override {
    mlir::Builder builder(&getContext());
    setFloatType(getOperation(),
                 bfloat16 ? mlir::FloatType(builder.getBF16Type()) : mlir::FloatType(builder.getF16Type()),
                 multiplied ? Narrowed::Multiplied : Narrowed::All);
  }
};

struct LowerToLinalg : impl::LowerToLinalgBase<LowerToLinalg> {
  void runOnOperation() override {
    if (failed(lowerToLinalg(getOperation())))
      signalPassFailure();
  }
};

struct UseFastForms : impl::UseFastFormsBase<UseFastForms> {
  using UseFastFormsBase::UseFastFormsBase;
  void runOnOperation() override {
    useFastForms(getOperation(), float16 ? mlir::Float16Type::get(&getContext()) : mlir::FloatType());
  }
};

} // namespace
} // namespace npuc::lower
