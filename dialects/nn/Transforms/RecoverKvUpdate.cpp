// nn-recover-kv-update: see Passes.td.
#include "dialects/nn/Transforms/Match.h"
#include "dialects/nn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"

namespace npuc::nn {

#define GEN_PASS_DEF_NNRECOVERKVUPDATE
#include "dialects/nn/Transforms/Passes.h.inc"

namespace {

struct RecoverKvUpdate : impl::NNRecoverKvUpdateBase<RecoverKvUpdate> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    auto isReturned = [](Operation *user) { return isa<func::ReturnOp>(user); };
    getOperation().walk([&](ConcatOp concat) {
      bool appends = concat.getInputs().size() == 2 && isa<BlockArgument>(concat.getInputs()[0]) &&
                     !isa<BlockArgument>(concat.getInputs()[1]);
      if (!appends || llvm::none_of(concat->getUsers(), isReturned))
        return;
      rewriter.setInsertionPoint(concat);
      rewriter.replaceOpWithNewOp<KvUpdateOp>(concat, concat.getInputs()[0], concat.getInputs()[1],
                                              concat.getAxis());
    });
  }
};

} // namespace
} // namespace npuc::nn
