#include "compiler/tile/Passes.h"

#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace npuc::tile {

#define GEN_PASS_DEF_APPLYTILES
#include "compiler/tile/Passes.h.inc"

namespace {

struct ApplyTiles : impl::ApplyTilesBase<ApplyTiles> {
  void runOnOperation() override {
    if (failed(applyTiles(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::tile
