// The static verifier of programs: what a loader checks before anything runs, and a compiler before anything
// is written.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"
#include "support/Diagnostic.h"

namespace npuc::isa {

/// Checks that the program can run on the target, whatever its registers hold and whatever is in memory:
/// - its pools' indices, its buffers, registers and semaphores are within limits;
/// - every command is one that its engine runs, in the data types that the target has, on memories that the
/// engine reaches,
///   over a route that exists, and its operands' shapes agree as Program.h states them;
/// - every view stays within its memory for the whole range of its registers, and only writes what is not an
/// input or a
///   constant;
/// - every wait is reached: with the queues as deep as the target's, no order of events leaves a command
/// waiting. Time and memory are linear in the program (but for a logarithm of the queues' number). Errors
/// name core, command and source; after the 100th none is added. That commands which share memory are ordered
/// is schedule::verify's to prove.
bool verifyProgram(const Program &program, const target::TargetDescription &target, Diagnostics &diagnostics);

/// Of that what concerns the program's buffers: each holds its shape, and the target's DRAM them all.
bool verifyBuffers(const Program &program, const target::TargetDescription &target, Diagnostics &diagnostics);

} // namespace npuc::isa
