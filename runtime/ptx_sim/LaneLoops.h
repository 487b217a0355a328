// Loops over lanes, for the sources that are compiled once for each level of vector instructions.
#pragma once

#include "runtime/ptx_sim/Lanes.h"

#include <cfenv>
#include <type_traits>

namespace npuc::ptx::NPUC_SIMD {

#define NPUC_LANES [[gnu::always_inline]] static inline

/// Numbers of any type lie in a warp's registers, which are bytes.
template <typename T>
struct Aliased {
  typedef T __attribute__((may_alias)) Number;
};
template <typename T>
using Number = typename Aliased<T>::Number;

/// d[i] = f(i) for the lanes of `mask`. f has no effects, so it may be computed for all lanes.
template <typename D, typename F>
NPUC_LANES void store(void *d, uint32_t mask, F f) {
  Number<D> *to = static_cast<Number<D> *>(d);
  if (mask == ~0u) {
#pragma GCC ivdep
    for (unsigned i = 0; i < warpSize; ++i)
      to[i] = f(i);
    return;
  }
#pragma GCC ivdep
  for (unsigned i = 0; i < warpSize; ++i) {
    const D value = f(i);
    to[i] = mask >> i & 1 ? value : to[i];
  }
}

template <typename T>
NPUC_LANES const Number<T> *numbers(const void *x) {
  return static_cast<const Number<T> *>(x);
}

template <typename D, typename A, typename Op>
void unary(const LaneArguments &x) {
  const auto *a = numbers<A>(x.a);
  store<D>(x.d, x.mask, [&](unsigned i) { return Op::of(a[i]); });
}
template <typename D, typename A, typename B, typename Op>
void binary(const LaneArguments &x) {
  const auto *a = numbers<A>(x.a);
  const auto *b = numbers<B>(x.b);
  store<D>(x.d, x.mask, [&](unsigned i) { return Op::of(a[i], b[i]); });
}
template <typename D, typename A, typename B, typename C, typename Op>
void ternary(const LaneArguments &x) {
  const auto *a = numbers<A>(x.a);
  const auto *b = numbers<B>(x.b);
  const auto *c = numbers<C>(x.c);
  store<D>(x.d, x.mask, [&](unsigned i) { return Op::of(a[i], b[i], c[i]); });
}

/// The lanes of `value` in `mask` go to the predicate.
NPUC_LANES void storePredicate(void *d, uint32_t value, uint32_t mask) {
  auto *to = static_cast<Number<uint32_t> *>(d);
  *to = (*to & ~mask) | (value & mask);
}

/// A comparison of all lanes, combined with a third operand as setp says; its negation, so combined, goes to
/// the second destination.
template <typename F>
NPUC_LANES void compare(const LaneArguments &x, F holds) {
  uint32_t result = 0;
  for (unsigned i = 0; i < warpSize; ++i)
    result |= static_cast<uint32_t>(holds(i)) << i;
  uint32_t second = ~result;
  if (x.c) {
    const uint32_t c = *numbers<uint32_t>(x.c) ^ (x.flags & NegateC ? ~0u : 0);
    const uint32_t how = x.flags & CombineMask;
    auto combine = [&](uint32_t v) { return how == CombineAnd ? v & c : how == CombineOr ? v | c : v ^ c; };
    result = combine(result);
    second = combine(second);
  }
  storePredicate(x.d, result, x.mask);
  if (x.d2)
    storePredicate(x.d2, second, x.mask);
}

/// The host's rounding while it lives. What is computed under it must read and write memory, which the
/// compiler does not move across.
class Rounding {
public:
  explicit Rounding(uint32_t flags) : directed_(flags & RoundMask) {
    if (directed_) {
      static constexpr int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
      std::fesetround(modes[directed_]);
      asm volatile("" ::: "memory");
    }
  }
  ~Rounding() {
    if (directed_) {
      asm volatile("" ::: "memory");
      std::fesetround(FE_TONEAREST);
    }
  }

private:
  uint32_t directed_;
};

} // namespace npuc::ptx::NPUC_SIMD
