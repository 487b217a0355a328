#include "backends/cuda/codegen/Divide.h"

#include "compiler/tile/Plan.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace npuc;
using linalg::LinalgOp;

void npuc::cuda::divideSums(func::FuncOp function, const Machine &machine) {
  SmallVector<LinalgOp> products;
  function.walk([&](LinalgOp op) {
    if (tile::isContraction(op) && tile::isConstantTensor(op.getDpsInputs()[1]) &&
        op.getNumReductionLoops() == 1)
      products.push_back(op);
  });
  IRRewriter rewriter(function.getContext());
  for (LinalgOp op : products)
    if (int64_t parts = partsOfSums(op, machine); parts > 1) {
      rewriter.setInsertionPoint(op);
      (void)linalg::splitReduction(rewriter, op,
                                   [&](LinalgOp) { return linalg::SplitReductionOptions{parts, 0, false}; });
    }
}
