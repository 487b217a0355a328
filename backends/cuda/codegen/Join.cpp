#include "backends/cuda/codegen/Join.h"

#include "backends/cuda/codegen/Kernel.h"
#include "backends/cuda/time/Predict.h"
#include "compiler/tile/Loops.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <numeric>

using namespace mlir;
using namespace npuc;
using namespace npuc::cuda;
using linalg::LinalgOp;

bool npuc::cuda::multiplies(const tile::Group &group) {
  return llvm::any_of(group.operations,
                      [](LinalgOp op) { return tile::isContraction(op) && tile::columnLoops(op).any(); });
}

std::optional<tile::Group> npuc::cuda::joined(ArrayRef<tile::Group> groups) {
  tile::Group all;
  for (auto [i, group] : llvm::enumerate(groups)) {
    if (i > 0 && multiplies(group))
      return std::nullopt;
    all.operations.append(group.operations);
  }
  llvm::SetVector<Operation *> members = all.members();
  // Each is reached from the last one's root along rows.
  if (tile::cuttableLoops(all.root(), members).none())
    return std::nullopt;
  // What the group writes and reads through memory, by index or as a view, is of other blocks too.
  llvm::DenseSet<Value> written;
  auto rootOf = [](Value tensor) {
    std::optional<Storage> storage =
        mlir::isa<RankedTensorType>(tensor.getType()) ? storageOf(tensor) : std::nullopt;
    return storage ? storage->root : Value();
  };
  for (LinalgOp op : outputsOf(all))
    for (Value result : op->getResults())
      written.insert(rootOf(result));
  for (LinalgOp op : all.operations) {
    SmallVector<Value> read;
    for (OpOperand &operand : op->getOpOperands())
      if ((op.isDpsInput(&operand) || op.getNumReductionLoops() > 0) &&
          !members.contains(operand.get().getDefiningOp()))
        read.push_back(operand.get());
    op.getBlock()->walk([&](tensor::ExtractOp extract) { read.push_back(extract.getTensor()); });
    for (Value tensor : read)
      if (Value root = rootOf(tensor); root && written.contains(root))
        return std::nullopt;
  }
  return all;
}

SmallVector<size_t> npuc::cuda::chooseAlternatives(const Program &program,
                                                   MutableArrayRef<Alternative> alternatives,
                                                   const target::TargetDescription &target) {
  double clock = clockOf(program, target);
  auto timeOf = [&](const Launch &launch) {
    return predict(launch.work, launch.geometry(), 0, clock, target).microseconds;
  };
  std::vector<double> times;
  for (const Launch &launch : program.launches)
    times.push_back(timeOf(launch));
  for (Alternative &alternative : alternatives) {
    auto begin = times.begin() + ptrdiff_t(alternative.first);
    alternative.microseconds = timeOf(alternative.launch);
    alternative.apart = std::accumulate(begin, begin + ptrdiff_t(alternative.count), 0.0);
  }
  // The least time of the launches before each, and the alternative that ends there, if one does.
  std::vector<double> least = {0};
  std::vector<std::optional<size_t>> last = {std::nullopt};
  for (double time : times) {
    least.push_back(least.back() + time);
    last.emplace_back();
    for (auto [i, alternative] : llvm::enumerate(alternatives))
      if (alternative.first + alternative.count == least.size() - 1)
        if (double with = least[alternative.first] + alternative.microseconds; with < least.back()) {
          least.back() = with;
          last.back() = i;
        }
  }
  SmallVector<size_t> chosen;
  for (size_t end = times.size(); end > 0; end = last[end] ? alternatives[*last[end]].first : end - 1)
    if (last[end])
      chosen.push_back(*last[end]);
  std::reverse(chosen.begin(), chosen.end());
  return chosen;
}
