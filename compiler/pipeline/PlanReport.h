// What the compiler decided, for the reports that are made of an artifact.
#pragma once

#include "backends/npu/schedule/Scheduler.h"
#include "runtime/artifact/artifact.pb.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>
#include <string>
#include <vector>

namespace npuc::pipeline {

/// The groups that one node's operations were fused into, and how the first one is cut.
struct GroupPlan {
  std::vector<uint32_t> groups;
  std::vector<int64_t> grid, blocks; ///< Cores and block sizes along the loops of the group's root.
};

/// By node, from the attributes of planned linalg operations (compiler/tile/Plan.h).
std::map<std::string, GroupPlan> groupPlans(mlir::func::FuncOp function);

/// Sets the entry point's plans (of each source of commands: its groups, cores, tile, what it moves, its
/// predicted time) and its memory uses, from a graph and its schedule.
void describePlan(const schedule::TileGraph &graph, const schedule::Solution &solution,
                  const std::map<std::string, GroupPlan> &groups, artifact::EntryPoint &entry);

} // namespace npuc::pipeline
