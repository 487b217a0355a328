#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace npuc::quantize {

#define GEN_PASS_DECL
#include "compiler/quantize/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "compiler/quantize/Passes.h.inc"

} // namespace npuc::quantize
