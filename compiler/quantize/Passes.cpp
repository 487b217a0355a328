#include "compiler/quantize/Passes.h"

#include "compiler/quantize/Quantize.h"
#include "dialects/nn/IR/NN.h"

#include "llvm/ADT/StringSwitch.h"

namespace npuc::quantize {

#define GEN_PASS_DEF_INSERTQUANTIZATION
#define GEN_PASS_DEF_FOLDQUANTIZATION
#define GEN_PASS_DEF_BOUNDSUMS
#include "compiler/quantize/Passes.h.inc"

namespace {

/// A reader of its own: passes run on text.
struct Reader {
  ThreadPool pool{1};
  interpret::ConstantReader constants{pool};
};

struct InsertQuantization : impl::InsertQuantizationBase<InsertQuantization> {
  void runOnOperation() override {
    Reader reader;
    if (failed(insertQuantization(getOperation(), reader.constants)))
      signalPassFailure();
  }
};

struct FoldQuantization : impl::FoldQuantizationBase<FoldQuantization> {
  using FoldQuantizationBase::FoldQuantizationBase;
  void runOnOperation() override {
    auto how = llvm::StringSwitch<std::optional<Requantization>>(requantization)
                   .Case("float", Requantization::FloatScale)
                   .Case("fixedpoint", Requantization::FixedPoint)
                   .Case("shift", Requantization::ShiftMultiplyShift)
                   .Default(std::nullopt);
    if (!how) {
      getOperation().emitError("requantization is float, fixedpoint or shift, not '")
          << requantization << "'";
      return signalPassFailure();
    }
    Reader reader;
    if (failed(foldQuantization(getOperation(), *how, reader.constants, {.fourBits = this->fourBits})))
      signalPassFailure();
  }
};

struct BoundSums : impl::BoundSumsBase<BoundSums> {
  using BoundSumsBase::BoundSumsBase;
  void runOnOperation() override {
    Reader reader;
    if (failed(boundSums(getOperation(), bits, reader.constants)))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::quantize
