// Kernels of the pointwise operations of nn. Operands hold any type that dispatchNumber takes; those of one
// operation have one type and broadcast as NumPy's.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

namespace npuc::interpret {

enum class Unary : uint8_t {
  Neg,
  Abs,
  Sign,
  Relu,
  Not, // any number
  Exp,
  Log,
  Sqrt,
  Rsqrt,
  Reciprocal,
  Sin,
  Cos,
  Tanh,
  Erf,
  Sigmoid,
  Silu,
  Softplus, // floats
  Floor,
  Ceil,
  Round,
  Gelu,
  GeluTanh,
  Elu,
};

/// `alpha` is Elu's.
HostTensor unary(ThreadPool &pool, Unary kind, const HostTensor &input, float alpha = 1);

/// Bool. Floats only.
HostTensor isNan(ThreadPool &pool, const HostTensor &input);
HostTensor isInf(ThreadPool &pool, const HostTensor &input, bool positive, bool negative);

/// Integer arithmetic wraps; Div and the Mods of integers by 0 are 0, as NumPy's. Mod has the sign of the
/// divisor, Fmod that of the dividend.
enum class Binary : uint8_t {
  Add,
  Sub,
  Mul,
  Div,
  Pow,
  Mod,
  Fmod,
  Max,
  Min,
  And,
  Or,
  Xor,
  ShiftLeft,
  ShiftRight
};
HostTensor binary(ThreadPool &pool, Binary kind, const HostTensor &lhs, const HostTensor &rhs);

enum class Relation : uint8_t { Eq, Ne, Lt, Le, Gt, Ge };
/// Bool.
HostTensor compare(ThreadPool &pool, Relation relation, const HostTensor &lhs, const HostTensor &rhs);

/// Elements of `onTrue` where `condition` holds, else of `onFalse`. Any element type.
HostTensor select(ThreadPool &pool, const HostTensor &condition, const HostTensor &onTrue,
                  const HostTensor &onFalse);

/// start + i · step, of rank 1; start and step are scalars of one type.
HostTensor range(const HostTensor &start, const HostTensor &step, int64_t count);

} // namespace npuc::interpret
