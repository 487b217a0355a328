// Which kernels that follow each other become one.
#pragma once

#include "backends/cuda/time/Measure.h"
#include "compiler/tile/Plan.h"

namespace npuc::cuda {

/// The group has a product with columns.
bool multiplies(const tile::Group &group);

/// What kernels one after another compute as one group, if the last reads what those before it store, no row
/// of its result needs another's, and only the first multiplies. What else reads their results still can: the
/// group then has several outputs.
std::optional<tile::Group> joined(llvm::ArrayRef<tile::Group> groups);

/// The alternatives with which a program is predicted to take least, by number in program order. Sets what
/// all of them are predicted to take; they and the program have been measured.
llvm::SmallVector<size_t> chooseAlternatives(const Program &program,
                                             llvm::MutableArrayRef<Alternative> alternatives,
                                             const target::TargetDescription &target);

} // namespace npuc::cuda
