// Whether a program's indices and types are within what the simulator counts on.
#pragma once

#include "backends/npu/timing/Machine.h"
#include "support/Diagnostic.h"

namespace npuc::timing {

/// Reports every kind of fault once for each core, at its first command: pools, cores, semaphores, registers,
/// buffers, engines, ranks, types and functions. `registers` are the values given at launch.
bool check(const isa::Program &program, const Machine &machine, std::span<const int64_t> registers,
           Diagnostics &diagnostics);

} // namespace npuc::timing
