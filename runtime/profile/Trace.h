// A run as a trace that Perfetto and chrome://tracing show.
#pragma once

#include "backends/npu/target/target.pb.h"
#include "backends/npu/timing/Timeline.h"

#include <iosfwd>

namespace npuc::profile {

/// Chrome's JSON trace format: a process for each core, a thread for each engine, a slice for each command
/// that takes time (its name is its source's, its arguments say opcode, bound and what it waited for),
/// counters of DRAM bandwidth and of live scratchpad bytes, and an arrow from each signalling command to the
/// one that waited for it. Times in microseconds, whole nanoseconds, so that slices of one engine never
/// overlap.
void writeTrace(std::ostream &out, const isa::Program &program, const timing::Timeline &timeline,
                const target::TargetDescription &target);

} // namespace npuc::profile
