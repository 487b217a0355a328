// The transcendental functions of support/Transcendental.h as LLVM bitcode: npuc_exp and so on, of a float.
#pragma once

#include "llvm/ADT/StringRef.h"

namespace npuc::cuda {

/// Compiled by Clang when the project is built.
llvm::StringRef functionsBitcode();

} // namespace npuc::cuda
