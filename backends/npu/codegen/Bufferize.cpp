#include "backends/npu/codegen/Passes.h"

#include "compiler/tile/Plan.h"
#include "dialects/npu/IR/Npu.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace npuc;
using linalg::LinalgOp;

LogicalResult codegen::bufferize(ModuleOp module) {
  bufferization::OneShotBufferizationOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.allowReturnAllocsFromLoops = false;
  options.setFunctionBoundaryTypeConversion(bufferization::LayoutMapOption::IdentityLayoutMap);
  bufferization::BufferizationState state;
  if (failed(bufferization::runOneShotModuleBufferize(module, options, state)))
    return failure();
  PassManager passes(module.getContext());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(bufferization::createDropEquivalentBufferResultsPass());
  passes.addPass(createCSEPass());
  return passes.run(module);
}

namespace {

/// `target`[i…, j…] = table[indices[i…], j…] as a linalg operation with a load in its body.
struct GatherForm {
  Value table;
  OpOperand *indices = nullptr;
};

std::optional<GatherForm> gatherForm(LinalgOp op) {
  Block *body = op.getBlock();
  auto load = body->getTerminator()->getOperand(0).getDefiningOp<memref::LoadOp>();
  if (!load || op.getNumDpsInputs() != 1 || op.getNumReductionLoops() != 0 || load.getIndices().empty())
    return std::nullopt;
  auto cast = load.getIndices()[0].getDefiningOp<arith::IndexCastOp>();
  if (!cast || cast.getIn() != body->getArgument(0))
    return std::nullopt;
  return GatherForm{load.getMemref(), op.getDpsInputOperand(0)};
}

class Mapper {
public:
  explicit Mapper(func::FuncOp function) : function(function), rewriter(function.getContext()) {}

  LogicalResult run() {
    bool failedAny = false;
    function.walk([&](Operation *op) {
      rewriter.setInsertionPoint(op);
      LogicalResult done = success();
      if (auto copy = dyn_cast<memref::CopyOp>(op)) {
        if (copy.getSource() == copy.getTarget())
          rewriter.eraseOp(copy);
        else
          rewriter.replaceOpWithNewOp<npu::CopyOp>(copy, copy.getSource(), copy.getTarget());
      } else if (auto fill = dyn_cast<linalg::FillOp>(op))
        done = mapFill(fill);
      else if (auto generic = dyn_cast<LinalgOp>(op))
        done = mapLinalg(generic);
      failedAny |= failed(done);
    });
    return failure(failedAny);
  }

private:
  LogicalResult mapFill(linalg::FillOp op) {
    Attribute value;
    if (!matchPattern(op.value(), m_Constant(&value)))
      return op.emitError("fills with a value that is not a constant");
    double number = isa<FloatAttr>(value) ? cast<FloatAttr>(value).getValueAsDouble()
                                          : double(cast<IntegerAttr>(value).getInt());
    rewriter.replaceOpWithNewOp<npu::FillOp>(op, op.output(), rewriter.getF64FloatAttr(number));
    return success();
  }

  static bool isLocal(Value value) {
    npu::SpaceAttr space = npu::spaceOf(cast<MemRefType>(value.getType()));
    return space.getValue() == npu::MemorySpace::Accumulator ||
           (space.getValue() == npu::MemorySpace::Scratchpad && !space.getChunk());
  }

  LogicalResult mapLinalg(LinalgOp op) {
    if (std::optional<GatherForm> gather = gatherForm(op)) {
      rewriter.replaceOpWithNewOp<npu::GatherOp>(op, gather->table, gather->indices->get(),
                                                 op.getDpsInits()[0]);
      return success();
    }
    if (tile::isContraction(op)) {
      rewriter.replaceOpWithNewOp<npu::ContractOp>(op, op.getDpsInputs()[0], op.getDpsInputs()[1],
                                                   op.getDpsInits()[0], op.getIndexingMaps());
      return success();
    }
    if (tile::isMovement(op) && succeeded(mapMovement(op)))
      return success();
    return mapVector(op);
  }

  /// Data that only moves is a copy of views: the source's dimensions in the order of the target's.
  LogicalResult mapMovement(LinalgOp op) {
    unsigned from = cast<BlockArgument>(op.getBlock()->getTerminator()->getOperand(0)).getArgNumber();
    OpOperand *input = op.getDpsInputOperand(from), *output = op.getDpsInitOperand(0);
    AffineMap source = op.getMatchingIndexingMap(input), target = op.getMatchingIndexingMap(output);
    if (!source.isPermutation() || !target.isPermutation())
      return failure();
    // transpose: result dimension i is source dimension p(i), with loops in the target's order.
    SmallVector<int64_t> order;
    for (AffineExpr loop : target.getResults()) {
      std::optional<unsigned> position = source.getResultPosition(loop);
      order.push_back(*position);
    }
    AffineMap map = AffineMap::getPermutationMap(order, op.getContext());
    Value view = input->get();
    if (!map.isIdentity())
      view = memref::TransposeOp::create(rewriter, op.getLoc(), view, AffineMapAttr::get(map));
    rewriter.replaceOpWithNewOp<npu::CopyOp>(op, view, output->get());
    return success();
  }

  LogicalResult mapVector(LinalgOp op) {
    for (Value operand : op->getOperands())
      if (!isa<MemRefType>(operand.getType()))
        return op.emitError("has an operand that is no buffer");
    auto vector = npu::VectorOp::create(rewriter, op.getLoc(), op.getDpsInputs(), op.getDpsInits(),
                                        op.getIndexingMaps());
    rewriter.inlineRegionBefore(op->getRegion(0), vector.getBody(), vector.getBody().end());
    Block &body = vector.getBody().front();
    for (Operation &inner : llvm::make_early_inc_range(body)) {
      rewriter.setInsertionPoint(&inner);
      if (auto index = dyn_cast<linalg::IndexOp>(inner))
        rewriter.replaceOpWithNewOp<npu::IndexOp>(index, rewriter.getIndexType(), index.getDim());
      else if (auto yield = dyn_cast<linalg::YieldOp>(inner))
        rewriter.replaceOpWithNewOp<npu::YieldOp>(yield, yield.getValues());
    }
    rewriter.eraseOp(op);
    return success();
  }

  func::FuncOp function;
  IRRewriter rewriter;
};

} // namespace

LogicalResult codegen::mapToEngines(func::FuncOp function) {
  return Mapper(function).run();
}
