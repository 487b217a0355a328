#include "backends/npu/codegen/Passes.h"

#include "backends/npu/codegen/NpuPrices.h"
#include "backends/npu/target/Target.h"
#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace npuc::codegen {

#define GEN_PASS_DEF_PLANTILES
#define GEN_PASS_DEF_PLACETENSORS
#define GEN_PASS_DEF_PROMOTEOPERANDS
#define GEN_PASS_DEF_BUFFERIZETILES
#define GEN_PASS_DEF_MAPTOENGINES
#define GEN_PASS_DEF_JOINCOLUMNS
#include "backends/npu/codegen/Passes.h.inc"

namespace {

/// The description that a pass's option names; its errors go to `op`.
std::optional<target::TargetDescription> loadTarget(mlir::Operation *op, const std::string &name) {
  Diagnostics diagnostics;
  std::optional<target::TargetDescription> description = target::load(name, {}, diagnostics);
  if (!description)
    op->emitError(diagnostics.text());
  if (description && target::isGpu(*description)) {
    op->emitError(name + " is a GPU: passes on npu programs are for other machines");
    return std::nullopt;
  }
  return description;
}

struct PlanTiles : impl::PlanTilesBase<PlanTiles> {
  using PlanTilesBase::PlanTilesBase;
  void runOnOperation() override {
    if (auto description = loadTarget(getOperation(), target))
      tile::planTiles(tile::formGroups(getOperation()), *npuPrices(*description));
    else
      signalPassFailure();
  }
};

struct PlaceTensors : impl::PlaceTensorsBase<PlaceTensors> {
  using PlaceTensorsBase::PlaceTensorsBase;
  void runOnOperation() override {
    if (auto description = loadTarget(getOperation(), target))
      placeTensors(getOperation(), *description);
    else
      signalPassFailure();
  }
};

struct PromoteOperands : impl::PromoteOperandsBase<PromoteOperands> {
  using PromoteOperandsBase::PromoteOperandsBase;
  void runOnOperation() override {
    auto description = loadTarget(getOperation(), target);
    if (!description || failed(promoteOperands(getOperation(), *description)))
      signalPassFailure();
  }
};

struct BufferizeTiles : impl::BufferizeTilesBase<BufferizeTiles> {
  void runOnOperation() override {
    if (failed(bufferize(getOperation())))
      signalPassFailure();
  }
};

struct MapToEngines : impl::MapToEnginesBase<MapToEngines> {
  void runOnOperation() override {
    if (failed(mapToEngines(getOperation())))
      signalPassFailure();
  }
};

struct JoinColumns : impl::JoinColumnsBase<JoinColumns> {
  using JoinColumnsBase::JoinColumnsBase;
  void runOnOperation() override {
    if (auto description = loadTarget(getOperation(), target))
      joinColumns(getOperation(), *description);
    else
      signalPassFailure();
  }
};

} // namespace
} // namespace npuc::codegen
