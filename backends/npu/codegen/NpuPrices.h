// What the parts of a plan cost on an NPU: by the formulas with which the simulator counts.
#pragma once

#include "backends/npu/target/target.pb.h"
#include "compiler/tile/Prices.h"

#include <memory>

namespace npuc::codegen {

std::unique_ptr<tile::Prices> npuPrices(const target::TargetDescription &target);

} // namespace npuc::codegen
