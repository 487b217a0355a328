// What the fuzzers run on arbitrary bytes. Each returns if the bytes are handled, as an error or as what they
// say, and ends the process if a property does not hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace npuc::fuzz {

/// Loads the bytes as an artifact, as they are and with sizes, checksums and versions put right, so that what
/// lies behind them is reached.
void artifact(const uint8_t *data, size_t size);
/// Assembles; what assembles prints, and what is printed assembles to the same.
void assembler(const uint8_t *data, size_t size);
/// Decodes command streams and verifies them for `toy`; what decodes encodes, and decodes to the same.
void streams(const uint8_t *data, size_t size);

/// Reads the bytes as a .npz or .npy file; arrays have as many bytes as their types and shapes say.
void arrays(const uint8_t *data, size_t size);
/// Parses the bytes as a target's description; what is taken prints, and what is printed parses to the same.
void description(const uint8_t *data, size_t size);
/// Parses the bytes as PTX and decodes its kernels; what is taken has places for all operands.
void ptx(const uint8_t *data, size_t size);
/// Imports the bytes as an ONNX model, asks what stands in the way of compiling it for `toy`, and lowers it
/// to loops where nothing does. Only where the compiler is built.
void model(const uint8_t *data, size_t size);

/// The artifact with sizes, checksums and versions put right as far as its manifest can be read.
std::string resign(std::string bytes);

} // namespace npuc::fuzz
