#pragma once

#include "runtime/ptx_sim/Program.h"

namespace npuc::ptx {

/// Fills in which instructions lead basic blocks and their ranks. Branches have their targets.
void rankInstructions(Kernel &kernel);

} // namespace npuc::ptx
