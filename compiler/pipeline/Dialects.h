// The dialects of every level, with the interfaces that tiling and bufferization need of them.
#pragma once

#include "mlir/IR/DialectRegistry.h"

namespace npuc::pipeline {

mlir::DialectRegistry dialects();

} // namespace npuc::pipeline
