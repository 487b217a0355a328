// The timing model's closed formulas as the scheduler's prices.
#pragma once

#include "backends/npu/schedule/Scheduler.h"
#include "backends/npu/timing/Machine.h"

namespace npuc::schedule {

/// Prices operations of one graph on one machine, its registers at their greatest values.
class TimingCost : public CostModel {
public:
  TimingCost(const timing::Machine &machine, const TileGraph &graph);
  Price price(const TileGraph &graph, uint32_t operation, uint8_t dmaClass) const override;

private:
  const timing::Machine &machine_;
  std::vector<uint32_t> owners_; // the core of each virtual buffer
  std::vector<int64_t> registers_;
};

} // namespace npuc::schedule
