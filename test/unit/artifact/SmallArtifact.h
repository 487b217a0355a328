// A small artifact for the target `toy`, complete in kind: y = table[ids] · W + history, and history becomes
// y.
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Writer.h"

namespace npuc::artifact::test {

/// Kernels `embed` (rows = table[ids]) and `linear` (y = history = rows · W + history), written by hand.
std::string smallPtx();

struct Options {
  bool withConstants = true;
  bool loops = false; ///< The program waits for what never comes.
  std::string entryPoints[2] = {"main", ""};
  bool gpu = false;             ///< For a target with a GPU, and without the register: all rows are computed.
  std::string ptx = smallPtx(); ///< What such an artifact has.
};

/// Inputs: "ids" i64[4] on the host, i32[4] on the device, values 0…7. Output: "y" i32[4x4]. State: "history"
/// i32[4x4]. Register: "rows" 0…4, the rows that y is computed for. Constants: "table" i8[8x16] with
/// table[i][k] = (i + k) % 5 − 2, and "W" i8[16x4] with W[k][n] = (3k + n) % 7 − 3. With a GPU: the workspace
/// "scratch" of 128 bytes, whose second half holds the rows; launch 0 is `embed`, 1 `linear`.
std::string bytesOf(const Options &options = {});
/// The manifest alone, for tests that change it: sections are the writer's to fill in.
Manifest manifestOf(const Options &options = {});
/// Writes what bytesOf() has with another manifest.
std::string bytesOf(const Manifest &manifest, const Options &options = {});

int8_t tableAt(int i, int k);
int8_t weightAt(int k, int n);

} // namespace npuc::artifact::test
