// The binary form of a program's streams, as an artifact holds it.
//
// Little-endian base-128 numbers (LEB128; signed ones in zigzag). Layout, version 1:
//   "NPIS", version, semaphores
//   sources: count, then each length and bytes
//   layouts: the distinct views without buffer and base; programs: the distinct vector programs; heads: the
//   distinct commands without operands, waits, multicast cores, signal and source. Each: count, then the
//   entries. streams: count, then each count and commands: head, presence bits, operands (layout, buffer,
//   base as the difference from the same operand slot's last), waits, multicast cores, signal, source as the
//   difference from the last.
// Buffers, registers and the name are not part of it: the artifact's manifest has them.
#pragma once

#include "backends/npu/isa/Program.h"
#include "support/Diagnostic.h"

#include <cstddef>

namespace npuc::isa {

inline constexpr uint32_t encodingVersion = 1;

/// Equal streams give equal bytes, however the pools are laid out. The program is one that verifyProgram
/// accepts, or at least its commands point into its pools.
std::string encodeStreams(const Program &program);

/// Fills pools, semaphores and streams of `program`, whose name, buffers and registers stay. The bytes are
/// treated as hostile: every count, index and enum is checked and memory grows at most in proportion to the
/// bytes. What the result means (bounds, shapes, waits) is for verifyProgram. False with one error, which
/// says at which byte, if the bytes are no program.
bool decodeStreams(std::span<const std::byte> bytes, const std::string &where, Program &program,
                   Diagnostics &diagnostics);

} // namespace npuc::isa
