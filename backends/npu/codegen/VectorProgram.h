// Scalar bodies of npu.vector as register programs of the vector engine.
#pragma once

#include "backends/npu/isa/Program.h"
#include "dialects/npu/IR/Npu.h"

#include <vector>

namespace npuc::codegen {

/// The element type of an MLIR scalar type: floats by their width, integers by theirs (signless and signed
/// are signed, i1 is Bool); fails for types that no operand can have.
mlir::FailureOr<ElementType> elementType(mlir::Type type);

/// The instructions that a scalar body becomes, of a linalg operation or of npu.vector, without their
/// registers: what they cost. Loads, stores, constants and indices are none of an engine's lanes' work.
std::vector<isa::VectorInstruction> instructionsOf(mlir::Block &body);

/// A body as instructions, with what each output starts from.
struct VectorProgram {
  llvm::SmallVector<isa::VectorInstruction> instructions;
  unsigned registers = 0; ///< Registers that it uses at the same time.
};

/// Translates `op`'s body. Operand i of the command is operand i of the operation. `outside` gives the value
/// of an index that the body takes from outside. Output j starts its reduction from its old value if
/// `keep[j]`, otherwise from the identity. Fails, with an error at the operation that has no instruction.
mlir::FailureOr<VectorProgram> vectorProgram(npu::VectorOp op, llvm::ArrayRef<bool> keep,
                                             llvm::function_ref<int64_t(mlir::Value)> outside);

/// The value from which a reduction of output `output` starts if nothing is kept: 0, −inf or +inf (or the
/// type's least or greatest integer); nothing if the output is not reduced.
std::optional<double> reductionIdentity(npu::VectorOp op, unsigned output);

} // namespace npuc::codegen
