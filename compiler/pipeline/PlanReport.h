// What the compiler decided, for the reports that are made of an artifact.
#pragma once

#include "backends/npu/schedule/Scheduler.h"
#include "runtime/artifact/artifact.pb.h"

namespace npuc::pipeline {

/// Sets the entry point's plans (of each source of commands: cores, tile, what it moves, its predicted time)
/// and its memory uses, from a graph and its schedule.
void describePlan(const schedule::TileGraph &graph, const schedule::Solution &solution,
                  artifact::EntryPoint &entry);

} // namespace npuc::pipeline
