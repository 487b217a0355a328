#include "compiler/tile/Passes.h"

#include "backends/npu/target/Target.h"
#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace npuc::tile {

#define GEN_PASS_DEF_PLANTILES
#define GEN_PASS_DEF_APPLYTILES
#include "compiler/tile/Passes.h.inc"

namespace {

struct PlanTiles : impl::PlanTilesBase<PlanTiles> {
  using PlanTilesBase::PlanTilesBase;
  void runOnOperation() override {
    Diagnostics diagnostics;
    std::optional<target::TargetDescription> description = target::load(target, {}, diagnostics);
    if (!description) {
      getOperation().emitError(diagnostics.text());
      return signalPassFailure();
    }
    planTiles(formGroups(getOperation()), *description);
  }
};

struct ApplyTiles : impl::ApplyTilesBase<ApplyTiles> {
  void runOnOperation() override {
    if (failed(applyTiles(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::tile
