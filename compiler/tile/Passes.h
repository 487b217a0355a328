#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace npuc::tile {

#define GEN_PASS_DECL
#include "compiler/tile/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "compiler/tile/Passes.h.inc"

} // namespace npuc::tile
