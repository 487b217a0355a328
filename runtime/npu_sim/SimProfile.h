// What npu-sim says of a run's time.
#pragma once

#include "backends/npu/timing/Timeline.h"
#include "runtime/device/Device.h"

namespace npuc::npu_sim {

std::unique_ptr<device::Profile> makeProfile(std::shared_ptr<const artifact::Artifact> artifact,
                                             size_t entryPoint, timing::Timeline timeline);

} // namespace npuc::npu_sim
