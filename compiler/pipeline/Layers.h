// A model's intermediate values as outputs, to compare what runs it.
#pragma once

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace npuc::pipeline {

/// An nn operation whose result is an output of `main`.
struct Layer {
  std::string operation; ///< "nn.linear"
  std::string node;      ///< The ONNX node that it came from.
  unsigned result = 0;   ///< Of main.
};

/// Inlines the segments of a module of nn, and makes the result of every operation of its main function that
/// computes floats, or integers of 8 bits, one of its results, after its own, named "layer.0" and so on.
/// Operations that only move data are left out. Returns them in the order in which they run.
std::vector<Layer> exposeLayers(mlir::ModuleOp module);

} // namespace npuc::pipeline
