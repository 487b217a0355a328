// Integers, bits, predicates and moves.
#include "runtime/ptx_sim/LaneLoops.h"

namespace npuc::ptx::NPUC_SIMD {
namespace {

template <typename T>
struct Traits;
#define NPUC_TRAITS(bits, wider)                                                                             \
  template <>                                                                                                \
  struct Traits<int##bits##_t> {                                                                             \
    using Unsigned = uint##bits##_t;                                                                         \
    using Wide = wider;                                                                                      \
    static constexpr bool isSigned = true;                                                                   \
  };                                                                                                         \
  template <>                                                                                                \
  struct Traits<uint##bits##_t> {                                                                            \
    using Unsigned = uint##bits##_t;                                                                         \
    using Wide = unsigned wider;                                                                             \
    static constexpr bool isSigned = false;                                                                  \
  };
__extension__ typedef __int128 Int128;
NPUC_TRAITS(16, int)
NPUC_TRAITS(32, long)
#undef NPUC_TRAITS
__extension__ typedef unsigned __int128 UInt128;
template <>
struct Traits<int64_t> {
  using Unsigned = uint64_t;
  using Wide = Int128;
  static constexpr bool isSigned = true;
};
template <>
struct Traits<uint64_t> {
  using Unsigned = uint64_t;
  using Wide = UInt128;
  static constexpr bool isSigned = false;
};

template <typename T>
using Unsigned = typename Traits<T>::Unsigned;
template <typename T>
using Wide = typename Traits<T>::Wide;
template <typename T>
constexpr unsigned bits = sizeof(T) * 8;
template <typename T>
constexpr T least = Traits<T>::isSigned ? static_cast<T>(Unsigned<T>{1} << (bits<T> - 1)) : T{0};
template <typename T>
constexpr T greatest = static_cast<T>(~least<T>);

// Arithmetic is modulo 2^n, so it is done on unsigned numbers; those of 16 bits would be promoted to int.
template <typename T>
using Modular = decltype(Unsigned<T>{} + 0u);
template <typename T>
NPUC_LANES T add(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) + static_cast<Modular<T>>(b));
}
template <typename T>
NPUC_LANES T sub(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) - static_cast<Modular<T>>(b));
}
template <typename T>
NPUC_LANES T mul(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) * static_cast<Modular<T>>(b));
}
template <typename T>
NPUC_LANES T mulHigh(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b) >> bits<T>);
}

#define NPUC_OP1(Name, expression)                                                                           \
  template <typename T>                                                                                      \
  struct Name {                                                                                              \
    NPUC_LANES T of(T a) { return static_cast<T>(expression); }                                              \
  };
#define NPUC_OP2(Name, expression)                                                                           \
  template <typename T>                                                                                      \
  struct Name {                                                                                              \
    NPUC_LANES T of(T a, T b) { return static_cast<T>(expression); }                                         \
  };
#define NPUC_OP3(Name, expression)                                                                           \
  template <typename T>                                                                                      \
  struct Name {                                                                                              \
    NPUC_LANES T of(T a, T b, T c) { return static_cast<T>(expression); }                                    \
  };
NPUC_OP1(Move, a)
NPUC_OP1(Not, ~a)
NPUC_OP1(CNot, a == 0)
NPUC_OP1(Neg, sub<T>(0, a))
NPUC_OP1(Abs, a < 0 ? sub<T>(0, a) : a)
NPUC_OP2(Add, add(a, b))
NPUC_OP2(Sub, sub(a, b))
NPUC_OP2(MulLo, mul(a, b))
NPUC_OP2(MulHi, mulHigh(a, b))
NPUC_OP2(Min, a < b ? a : b)
NPUC_OP2(Max, a > b ? a : b)
NPUC_OP2(And, a &b)
NPUC_OP2(Or, a | b)
NPUC_OP2(Xor, a ^ b)
// Division by 0 gives all ones; the least number by -1, which overflows, itself.
NPUC_OP2(Div, b == 0 ? ~T{0} : Traits<T>::isSigned && b == static_cast<T>(-1) ? sub<T>(0, a) : a / b)
NPUC_OP2(Rem, b == 0 ? a : Traits<T>::isSigned && b == static_cast<T>(-1) ? 0 : a % b)
NPUC_OP3(MadLo, add(mul(a, b), c))
NPUC_OP3(MadHi, add(mulHigh(a, b), c))
NPUC_OP3(Sad, add<T>(c, a < b ? sub(b, a) : sub(a, b)))

template <typename T>
struct MulWide {
  NPUC_LANES Wide<T> of(T a, T b) { return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b); }
};
template <typename T>
struct MadWide {
  NPUC_LANES Wide<T> of(T a, T b, Wide<T> c) {
    return add<Wide<T>>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b), c);
  }
};
// Of 24 bits: the low or the high 32 bits of the product of 48.
template <typename T>
NPUC_LANES T low24(T a) {
  return static_cast<T>(static_cast<T>(static_cast<uint32_t>(a) << 8) >> 8);
}
NPUC_OP2(Mul24Lo, static_cast<Wide<T>>(low24(a)) * low24(b))
NPUC_OP2(Mul24Hi, static_cast<Wide<T>>(low24(a)) * low24(b) >> 16)
NPUC_OP3(Mad24Lo, add<T>(Mul24Lo<T>::of(a, b), c))
NPUC_OP3(Mad24Hi, add<T>(Mul24Hi<T>::of(a, b), c))

// Shifts count up to the width, where all bits are gone (signed: all are the sign).
template <typename T>
struct Shl {
  NPUC_LANES T of(T a, uint32_t b) { return b >= bits<T> ? T{0} : static_cast<T>(a << (b & (bits<T> - 1))); }
};
template <typename T>
struct Shr {
  NPUC_LANES T of(T a, uint32_t b) {
    return b >= bits<T> ? (Traits<T>::isSigned && a < 0 ? static_cast<T>(-1) : T{0})
                        : static_cast<T>(a >> (b & (bits<T> - 1)));
  }
};

template <typename T>
NPUC_LANES uint32_t leadingZeros(T a) {
  return a == 0 ? bits<T> : sizeof(T) == 8 ? __builtin_clzll(a) : __builtin_clz(static_cast<uint32_t>(a));
}
template <typename T>
struct PopCount {
  NPUC_LANES uint32_t of(T a) {
    return static_cast<uint32_t>(__builtin_popcountll(static_cast<uint64_t>(a)));
  }
};
template <typename T>
struct LeadingZeros {
  NPUC_LANES uint32_t of(T a) { return leadingZeros(a); }
};
/// The position of the highest bit that differs from the sign, or -1; as a distance from the top for shifts.
template <typename T, bool Amount>
struct FindBit {
  NPUC_LANES uint32_t of(T a) {
    const Unsigned<T> u = static_cast<Unsigned<T>>(a < 0 ? ~a : a);
    return u == 0 ? ~0u : Amount ? leadingZeros(u) : bits<T> - 1 - leadingZeros(u);
  }
};
template <typename T>
struct Reverse {
  NPUC_LANES T of(T a) {
    uint64_t v = a;
    v = (v >> 1 & 0x5555555555555555u) | (v & 0x5555555555555555u) << 1;
    v = (v >> 2 & 0x3333333333333333u) | (v & 0x3333333333333333u) << 2;
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0fu) | (v & 0x0f0f0f0f0f0f0f0fu) << 4;
    return static_cast<T>(__builtin_bswap64(v) >> (64 - bits<T>));
  }
};
/// bfe: `length` bits from `position`, of which only the low 8 bits count; signed: extended by the highest of
/// them, or by the number's sign where they reach beyond it.
template <typename T>
struct Extract {
  NPUC_LANES T of(T a, uint32_t position, uint32_t length) {
    position &= 255;
    length &= 255;
    const unsigned last = position + length - 1;
    const unsigned top = last < bits<T> - 1 ? last : bits<T> - 1;
    const bool sign =
        Traits<T>::isSigned && length && (static_cast<Unsigned<T>>(a) >> (top & (bits<T> - 1)) & 1);
    const Unsigned<T> fill = sign ? static_cast<Unsigned<T>>(-1) : Unsigned<T>{0};
    const Unsigned<T> shifted = position >= bits<T> ? fill
                                                    : static_cast<Unsigned<T>>(static_cast<Unsigned<T>>(a) >>
                                                                               (position & (bits<T> - 1)));
    const unsigned taken =
        position >= bits<T> ? 0 : (length < bits<T> - position ? length : bits<T> - position);
    const Unsigned<T> ones = taken >= bits<T>
                                 ? static_cast<Unsigned<T>>(-1)
                                 : static_cast<Unsigned<T>>((Unsigned<T>{1} << (taken & (bits<T> - 1))) - 1);
    return static_cast<T>(length == 0 ? 0 : (shifted & ones) | (fill & ~ones));
  }
};
/// bfi: the low `length` bits of a into b from `position`.
template <typename T>
void insert(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  const auto *c = numbers<uint32_t>(x.c), *e = numbers<uint32_t>(x.e);
  store<T>(x.d, x.mask, [&](unsigned i) {
    const uint32_t position = c[i] & 255, length = e[i] & 255;
    const T ones = length >= bits<T> ? ~T{0} : static_cast<T>((T{1} << (length & (bits<T> - 1))) - 1);
    const T place = position >= bits<T> ? T{0} : static_cast<T>(ones << (position & (bits<T> - 1)));
    const T value = position >= bits<T> ? T{0} : static_cast<T>(a[i] << (position & (bits<T> - 1)));
    return static_cast<T>((b[i] & ~place) | (value & place));
  });
}
/// bmsk: `length` ones from `position`; .clamp stops at 32, .wrap counts modulo 32.
void mask(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b);
  const bool wrap = x.flags & Wrap;
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    const uint32_t position = wrap ? a[i] & 31 : a[i], length = wrap ? b[i] & 31 : b[i];
    const uint32_t ones = length >= 32 ? ~0u : (1u << (length & 31)) - 1;
    return position >= 32 ? 0u : ones << (position & 31);
  });
}
/// szext: a's low b bits, extended by zeros or their sign.
template <typename T>
void signExtend(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a);
  const auto *b = numbers<uint32_t>(x.b);
  const bool wrap = x.flags & Wrap;
  store<T>(x.d, x.mask, [&](unsigned i) {
    const uint32_t width = wrap ? b[i] & 31 : b[i];
    const uint32_t shift = width >= 32 ? 0 : 32 - width;
    const T moved = static_cast<T>(static_cast<uint32_t>(a[i]) << (shift & 31));
    return width == 0 ? T{0} : static_cast<T>(moved >> (shift & 31));
  });
}
/// shf: 64 bits of b and a, shifted; the high half to the left, the low half to the right.
template <bool Left>
void funnel(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  const bool wrap = x.flags & Wrap;
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    const uint32_t n = wrap ? c[i] & 31 : c[i] < 32 ? c[i] : 32;
    const uint64_t both = static_cast<uint64_t>(b[i]) << 32 | a[i];
    return static_cast<uint32_t>(Left ? both << n >> 32 : both >> n);
  });
}
/// lop3: bit k of `e` is the result for bits a, b, c that spell k.
void lop3(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  const uint32_t table = *numbers<uint32_t>(x.e);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    uint32_t r = 0;
    for (unsigned k = 0; k < 8; ++k) {
      const uint32_t term = (k & 4 ? a[i] : ~a[i]) & (k & 2 ? b[i] : ~b[i]) & (k & 1 ? c[i] : ~c[i]);
      r |= table >> k & 1 ? term : 0;
    }
    return r;
  });
}
/// prmt: each nibble of c selects one of the eight bytes of b and a; its high bit replicates that byte's
/// sign.
void permute(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    const uint64_t both = static_cast<uint64_t>(b[i]) << 32 | a[i];
    uint32_t r = 0;
    for (unsigned k = 0; k < 4; ++k) {
      const uint32_t selector = c[i] >> (4 * k) & 15;
      const uint32_t byte = static_cast<uint32_t>(both >> (8 * (selector & 7))) & 255;
      r |= (selector & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * k);
    }
    return r;
  });
}
/// The special modes of prmt: two low bits of c select.
enum class PermuteMode { F4e, B4e, Rc8, Ecl, Ecr, Rc16 };
template <PermuteMode Mode>
void permuteMode(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    const uint64_t both = static_cast<uint64_t>(b[i]) << 32 | a[i];
    const int s = c[i] & 3;
    uint32_t r = 0;
    for (int k = 0; k < 4; ++k) {
      int from = Mode == PermuteMode::F4e   ? s + k
                 : Mode == PermuteMode::B4e ? (s - k) & 7
                 : Mode == PermuteMode::Rc8 ? s
                 : Mode == PermuteMode::Ecl ? (k > s ? k : s)
                 : Mode == PermuteMode::Ecr ? (k < s ? k : s)
                                            : 2 * (s & 1) + (k & 1);
      r |= (static_cast<uint32_t>(both >> (8 * from)) & 255) << (8 * k);
    }
    return r;
  });
}
/// dp4a: c plus the products of four bytes; dp2a: of two halves of a with the low or high two bytes of b.
template <typename A, typename B>
void dot4(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    uint32_t sum = c[i];
    for (unsigned k = 0; k < 4; ++k)
      sum += static_cast<uint32_t>(static_cast<A>(a[i] >> (8 * k)) * static_cast<B>(b[i] >> (8 * k)));
    return sum;
  });
}
template <typename A, typename B, bool High>
void dot2(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b), *c = numbers<uint32_t>(x.c);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    uint32_t sum = c[i];
    for (unsigned k = 0; k < 2; ++k)
      sum += static_cast<uint32_t>(static_cast<A>(a[i] >> (16 * k)) *
                                   static_cast<B>(b[i] >> (8 * k + (High ? 16 : 0))));
    return sum;
  });
}
/// fns: the position of the n-th set bit of a from `base` upwards (n > 0) or downwards (n < 0), or all ones.
void findNth(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b);
  const auto *c = numbers<int32_t>(x.c);
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    const int step = c[i] < 0 ? -1 : 1;
    int64_t left = c[i] < 0 ? -static_cast<int64_t>(c[i]) : c[i];
    const int64_t base = b[i];
    if (base > 31)
      return ~0u;
    if (left == 0)
      return a[i] >> base & 1 ? static_cast<uint32_t>(base) : ~0u;
    for (int64_t at = base; at >= 0 && at < 32; at += step)
      if ((a[i] >> at & 1) && --left == 0)
        return static_cast<uint32_t>(at);
    return ~0u;
  });
}

// .sat: only of s32.
template <typename T>
NPUC_LANES T clamp(int64_t v) {
  return static_cast<T>(v < least<T> ? least<T> : v > greatest<T> ? greatest<T> : v);
}
template <bool Subtract>
void addS32(const LaneArguments &x) {
  if (!(x.flags & Sat))
    return binary<int32_t, int32_t, int32_t, std::conditional_t<Subtract, Sub<int32_t>, Add<int32_t>>>(x);
  const auto *a = numbers<int32_t>(x.a), *b = numbers<int32_t>(x.b);
  store<int32_t>(x.d, x.mask, [&](unsigned i) {
    return clamp<int32_t>(Subtract ? int64_t{a[i]} - b[i] : int64_t{a[i]} + b[i]);
  });
}
void madHiS32(const LaneArguments &x) {
  if (!(x.flags & Sat))
    return ternary<int32_t, int32_t, int32_t, int32_t, MadHi<int32_t>>(x);
  const auto *a = numbers<int32_t>(x.a), *b = numbers<int32_t>(x.b), *c = numbers<int32_t>(x.c);
  store<int32_t>(x.d, x.mask,
                 [&](unsigned i) { return clamp<int32_t>(int64_t{mulHigh<int32_t>(a[i], b[i])} + c[i]); });
}
template <typename T, typename Op>
void relu(const LaneArguments &x) {
  if (!(x.flags & Relu))
    return binary<T, T, T, Op>(x);
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  store<T>(x.d, x.mask, [&](unsigned i) {
    const T v = Op::of(a[i], b[i]);
    return v < 0 ? T{0} : v;
  });
}

// Two numbers of 16 bits.
template <typename T, typename Op>
void pairs(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a), *b = numbers<uint32_t>(x.b);
  const bool clampNegative = x.flags & Relu;
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    T low = Op::of(static_cast<T>(a[i]), static_cast<T>(b[i]));
    T high = Op::of(static_cast<T>(a[i] >> 16), static_cast<T>(b[i] >> 16));
    if (Traits<T>::isSigned && clampNegative) {
      low = low < 0 ? T{0} : low;
      high = high < 0 ? T{0} : high;
    }
    return static_cast<uint32_t>(static_cast<uint16_t>(high)) << 16 | static_cast<uint16_t>(low);
  });
}

/// Extended precision: the carry goes in and out as masks (d2). Subtraction is the addition of the complement
/// with the borrow as an inverted carry.
enum class Carry { Out, In, InOut };
template <typename T, Carry How, bool Subtract>
void carry(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  auto *flags = static_cast<Number<uint32_t> *>(x.d2);
  const uint32_t in = How == Carry::Out ? 0 : *flags;
  uint32_t out = 0;
  T result[warpSize];
  for (unsigned i = 0; i < warpSize; ++i) {
    const UInt128 c = in >> i & 1;
    const UInt128 wide = Subtract ? UInt128{a[i]} - b[i] - c : UInt128{a[i]} + b[i] + c;
    result[i] = static_cast<T>(wide);
    out |= static_cast<uint32_t>(wide >> bits<T> & 1) << i;
  }
  if (How != Carry::In)
    *flags = (in & ~x.mask) | (out & x.mask);
  store<T>(x.d, x.mask, [&](unsigned i) { return result[i]; });
}
template <typename T, Carry How, bool High>
void madCarry(const LaneArguments &x) {
  using U = Unsigned<T>;
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  U product[warpSize];
  for (unsigned i = 0; i < warpSize; ++i)
    product[i] = static_cast<U>(High ? mulHigh<T>(a[i], b[i]) : mul<T>(a[i], b[i]));
  LaneArguments y = x;
  y.a = product;
  y.b = x.c;
  carry<U, How, false>(y);
}

template <typename T>
void select(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  const uint32_t c = *numbers<uint32_t>(x.c);
  store<T>(x.d, x.mask, [&](unsigned i) { return c >> i & 1 ? a[i] : b[i]; });
}
template <typename T, typename C>
struct SelectSign {
  NPUC_LANES T of(T a, T b, C c) { return c >= 0 ? a : b; }
};

#define NPUC_COMPARISON(Name, operator_)                                                                     \
  template <typename T>                                                                                      \
  void compare##Name(const LaneArguments &x) {                                                               \
    const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);                                                   \
    compare(x, [&](unsigned i) { return a[i] operator_ b[i]; });                                             \
  }
NPUC_COMPARISON(Eq, ==)
NPUC_COMPARISON(Ne, !=)
NPUC_COMPARISON(Lt, <)
NPUC_COMPARISON(Le, <=)
NPUC_COMPARISON(Gt, >)
NPUC_COMPARISON(Ge, >=)

template <typename Op>
void predicates(const LaneArguments &x) {
  const uint32_t b = x.b ? *numbers<uint32_t>(x.b) : 0;
  storePredicate(x.d, Op::of(*numbers<uint32_t>(x.a), b), x.mask);
}
struct NotPredicate {
  NPUC_LANES uint32_t of(uint32_t a, uint32_t) { return ~a; }
};
struct MovePredicate {
  NPUC_LANES uint32_t of(uint32_t a, uint32_t) { return a; }
};

// Rows of one operation for several types.
#define NPUC_ROW1(name, type, T, Op) {name "." type, unary<T, T, Op<T>>}
#define NPUC_ROW2(name, type, T, Op) {name "." type, binary<T, T, T, Op<T>>}
#define NPUC_ROW3(name, type, T, Op) {name "." type, ternary<T, T, T, T, Op<T>>}
#define NPUC_SIGNED(row, name, Op)                                                                           \
  row(name, "s16", int16_t, Op), row(name, "s32", int32_t, Op), row(name, "s64", int64_t, Op)
#define NPUC_UNSIGNED(row, name, Op)                                                                         \
  row(name, "u16", uint16_t, Op), row(name, "u32", uint32_t, Op), row(name, "u64", uint64_t, Op)
#define NPUC_BITS(row, name, Op)                                                                             \
  row(name, "b16", uint16_t, Op), row(name, "b32", uint32_t, Op), row(name, "b64", uint64_t, Op)
#define NPUC_WHOLE(row, name, Op) NPUC_SIGNED(row, name, Op), NPUC_UNSIGNED(row, name, Op)
#define NPUC_COMPARE(row, name, Op)                                                                          \
  row(name, Op, "s16", int16_t), row(name, Op, "s32", int32_t), row(name, Op, "s64", int64_t),               \
      row(name, Op, "u16", uint16_t), row(name, Op, "u32", uint32_t), row(name, Op, "u64", uint64_t)
#define NPUC_SETP(name, Op, type, T) {"setp." name "." type, compare##Op<T>}
#define NPUC_SETP_UNSIGNED(name, Op)                                                                         \
  NPUC_SETP(name, Op, "u16", uint16_t), NPUC_SETP(name, Op, "u32", uint32_t),                                \
      NPUC_SETP(name, Op, "u64", uint64_t)
#define NPUC_SETP_BITS(name, Op)                                                                             \
  NPUC_SETP(name, Op, "b16", uint16_t), NPUC_SETP(name, Op, "b32", uint32_t),                                \
      NPUC_SETP(name, Op, "b64", uint64_t)
#define NPUC_CARRY(name, How, Subtract)                                                                      \
  {name ".u32", carry<uint32_t, How, Subtract>}, {name ".s32", carry<uint32_t, How, Subtract>},              \
      {name ".u64", carry<uint64_t, How, Subtract>}, {                                                       \
    name ".s64", carry<uint64_t, How, Subtract>                                                              \
  }
#define NPUC_MADC(name, How, High)                                                                           \
  {name ".u32", madCarry<uint32_t, How, High>}, {name ".s32", madCarry<int32_t, How, High>},                 \
      {name ".u64", madCarry<uint64_t, How, High>}, {                                                        \
    name ".s64", madCarry<int64_t, How, High>                                                                \
  }
#define NPUC_SHIFT(name, type, T, Op) {name "." type, binary<T, T, uint32_t, Op<T>>}
#define NPUC_WIDE2(name, type, T, Op) {name "." type, binary<Wide<T>, T, T, Op<T>>}
#define NPUC_WIDE3(name, type, T, Op) {name "." type, ternary<Wide<T>, T, T, Wide<T>, Op<T>>}
#define NPUC_COUNT(name, type, T, Op) {name "." type, unary<uint32_t, T, Op<T>>}
#define NPUC_FIND(type, T)                                                                                   \
  {"bfind." type, unary<uint32_t, T, FindBit<T, false>>}, {                                                  \
    "bfind.shiftamt." type, unary<uint32_t, T, FindBit<T, true>>                                             \
  }
#define NPUC_EXTRACT(type, T) {"bfe." type, ternary<T, T, uint32_t, uint32_t, Extract<T>>}
#define NPUC_SLCT(type, T)                                                                                   \
  {"slct." type ".s32", ternary<T, T, T, int32_t, SelectSign<T, int32_t>>}, {                                \
    "slct." type ".f32", ternary<T, T, T, float, SelectSign<T, float>>                                       \
  }

constexpr NamedLanes rows[] = {
    NPUC_BITS(NPUC_ROW1, "mov", Move),
    {"mov.pred", predicates<MovePredicate>},
    {"add.s16", binary<int16_t, int16_t, int16_t, Add<int16_t>>},
    {"add.s32", addS32<false>},
    {"add.s64", binary<int64_t, int64_t, int64_t, Add<int64_t>>},
    NPUC_UNSIGNED(NPUC_ROW2, "add", Add),
    {"sub.s16", binary<int16_t, int16_t, int16_t, Sub<int16_t>>},
    {"sub.s32", addS32<true>},
    {"sub.s64", binary<int64_t, int64_t, int64_t, Sub<int64_t>>},
    NPUC_UNSIGNED(NPUC_ROW2, "sub", Sub),
    {"add.s16x2", pairs<int16_t, Add<int16_t>>},
    {"add.u16x2", pairs<uint16_t, Add<uint16_t>>},
    {"min.s16x2", pairs<int16_t, Min<int16_t>>},
    {"min.u16x2", pairs<uint16_t, Min<uint16_t>>},
    {"max.s16x2", pairs<int16_t, Max<int16_t>>},
    {"max.u16x2", pairs<uint16_t, Max<uint16_t>>},
    NPUC_CARRY("add.cc", Carry::Out, false),
    NPUC_CARRY("addc", Carry::In, false),
    NPUC_CARRY("addc.cc", Carry::InOut, false),
    NPUC_CARRY("sub.cc", Carry::Out, true),
    NPUC_CARRY("subc", Carry::In, true),
    NPUC_CARRY("subc.cc", Carry::InOut, true),
    NPUC_MADC("mad.lo.cc", Carry::Out, false),
    NPUC_MADC("mad.hi.cc", Carry::Out, true),
    NPUC_MADC("madc.lo", Carry::In, false),
    NPUC_MADC("madc.hi", Carry::In, true),
    NPUC_MADC("madc.lo.cc", Carry::InOut, false),
    NPUC_MADC("madc.hi.cc", Carry::InOut, true),
    NPUC_WHOLE(NPUC_ROW2, "mul.lo", MulLo),
    NPUC_WHOLE(NPUC_ROW2, "mul.hi", MulHi),
    NPUC_WHOLE(NPUC_ROW3, "mad.lo", MadLo),
    NPUC_UNSIGNED(NPUC_ROW3, "mad.hi", MadHi),
    {"mad.hi.s16", ternary<int16_t, int16_t, int16_t, int16_t, MadHi<int16_t>>},
    {"mad.hi.s32", madHiS32},
    {"mad.hi.s64", ternary<int64_t, int64_t, int64_t, int64_t, MadHi<int64_t>>},
    NPUC_WIDE2("mul.wide", "s16", int16_t, MulWide),
    NPUC_WIDE2("mul.wide", "u16", uint16_t, MulWide),
    NPUC_WIDE2("mul.wide", "s32", int32_t, MulWide),
    NPUC_WIDE2("mul.wide", "u32", uint32_t, MulWide),
    NPUC_WIDE3("mad.wide", "s16", int16_t, MadWide),
    NPUC_WIDE3("mad.wide", "u16", uint16_t, MadWide),
    NPUC_WIDE3("mad.wide", "s32", int32_t, MadWide),
    NPUC_WIDE3("mad.wide", "u32", uint32_t, MadWide),
    NPUC_ROW2("mul24.lo", "s32", int32_t, Mul24Lo),
    NPUC_ROW2("mul24.lo", "u32", uint32_t, Mul24Lo),
    NPUC_ROW2("mul24.hi", "s32", int32_t, Mul24Hi),
    NPUC_ROW2("mul24.hi", "u32", uint32_t, Mul24Hi),
    NPUC_ROW3("mad24.lo", "s32", int32_t, Mad24Lo),
    NPUC_ROW3("mad24.lo", "u32", uint32_t, Mad24Lo),
    NPUC_ROW3("mad24.hi", "s32", int32_t, Mad24Hi),
    NPUC_ROW3("mad24.hi", "u32", uint32_t, Mad24Hi),
    NPUC_WHOLE(NPUC_ROW3, "sad", Sad),
    NPUC_WHOLE(NPUC_ROW2, "div", Div),
    NPUC_WHOLE(NPUC_ROW2, "rem", Rem),
    NPUC_SIGNED(NPUC_ROW1, "abs", Abs),
    NPUC_SIGNED(NPUC_ROW1, "neg", Neg),
    NPUC_UNSIGNED(NPUC_ROW2, "min", Min),
    NPUC_UNSIGNED(NPUC_ROW2, "max", Max),
    {"min.s16", binary<int16_t, int16_t, int16_t, Min<int16_t>>},
    {"min.s32", relu<int32_t, Min<int32_t>>},
    {"min.s64", binary<int64_t, int64_t, int64_t, Min<int64_t>>},
    {"max.s16", binary<int16_t, int16_t, int16_t, Max<int16_t>>},
    {"max.s32", relu<int32_t, Max<int32_t>>},
    {"max.s64", binary<int64_t, int64_t, int64_t, Max<int64_t>>},
    NPUC_BITS(NPUC_ROW2, "and", And),
    NPUC_BITS(NPUC_ROW2, "or", Or),
    NPUC_BITS(NPUC_ROW2, "xor", Xor),
    NPUC_BITS(NPUC_ROW1, "not", Not),
    NPUC_BITS(NPUC_ROW1, "cnot", CNot),
    {"and.pred", predicates<And<uint32_t>>},
    {"or.pred", predicates<Or<uint32_t>>},
    {"xor.pred", predicates<Xor<uint32_t>>},
    {"not.pred", predicates<NotPredicate>},
    NPUC_BITS(NPUC_SHIFT, "shl", Shl),
    NPUC_BITS(NPUC_SHIFT, "shr", Shr),
    NPUC_WHOLE(NPUC_SHIFT, "shr", Shr),
    {"shf.l.b32", funnel<true>},
    {"shf.r.b32", funnel<false>},
    {"lop3.b32", lop3},
    {"prmt.b32", permute},
    {"prmt.b32.f4e", permuteMode<PermuteMode::F4e>},
    {"prmt.b32.b4e", permuteMode<PermuteMode::B4e>},
    {"prmt.b32.rc8", permuteMode<PermuteMode::Rc8>},
    {"prmt.b32.ecl", permuteMode<PermuteMode::Ecl>},
    {"prmt.b32.ecr", permuteMode<PermuteMode::Ecr>},
    {"prmt.b32.rc16", permuteMode<PermuteMode::Rc16>},
    NPUC_COUNT("popc", "b32", uint32_t, PopCount),
    NPUC_COUNT("popc", "b64", uint64_t, PopCount),
    NPUC_COUNT("clz", "b32", uint32_t, LeadingZeros),
    NPUC_COUNT("clz", "b64", uint64_t, LeadingZeros),
    NPUC_FIND("u32", uint32_t),
    NPUC_FIND("u64", uint64_t),
    NPUC_FIND("s32", int32_t),
    NPUC_FIND("s64", int64_t),
    NPUC_ROW1("brev", "b32", uint32_t, Reverse),
    NPUC_ROW1("brev", "b64", uint64_t, Reverse),
    NPUC_EXTRACT("u32", uint32_t),
    NPUC_EXTRACT("u64", uint64_t),
    NPUC_EXTRACT("s32", int32_t),
    NPUC_EXTRACT("s64", int64_t),
    {"bfi.b32", insert<uint32_t>},
    {"bfi.b64", insert<uint64_t>},
    {"bmsk.b32", mask},
    {"szext.s32", signExtend<int32_t>},
    {"szext.u32", signExtend<uint32_t>},
    {"fns.b32", findNth},
    {"dp4a.s32.s32", dot4<int8_t, int8_t>},
    {"dp4a.s32.u32", dot4<int8_t, uint8_t>},
    {"dp4a.u32.s32", dot4<uint8_t, int8_t>},
    {"dp4a.u32.u32", dot4<uint8_t, uint8_t>},
    {"dp2a.lo.s32.s32", dot2<int16_t, int8_t, false>},
    {"dp2a.lo.s32.u32", dot2<int16_t, uint8_t, false>},
    {"dp2a.lo.u32.s32", dot2<uint16_t, int8_t, false>},
    {"dp2a.lo.u32.u32", dot2<uint16_t, uint8_t, false>},
    {"dp2a.hi.s32.s32", dot2<int16_t, int8_t, true>},
    {"dp2a.hi.s32.u32", dot2<int16_t, uint8_t, true>},
    {"dp2a.hi.u32.s32", dot2<uint16_t, int8_t, true>},
    {"dp2a.hi.u32.u32", dot2<uint16_t, uint8_t, true>},
    {"selp.b16", select<uint16_t>},
    {"selp.b32", select<uint32_t>},
    {"selp.b64", select<uint64_t>},
    NPUC_SLCT("b16", uint16_t),
    NPUC_SLCT("b32", uint32_t),
    NPUC_SLCT("b64", uint64_t),
    NPUC_COMPARE(NPUC_SETP, "eq", Eq),
    NPUC_COMPARE(NPUC_SETP, "ne", Ne),
    NPUC_COMPARE(NPUC_SETP, "lt", Lt),
    NPUC_COMPARE(NPUC_SETP, "le", Le),
    NPUC_COMPARE(NPUC_SETP, "gt", Gt),
    NPUC_COMPARE(NPUC_SETP, "ge", Ge),
    NPUC_SETP_BITS("eq", Eq),
    NPUC_SETP_BITS("ne", Ne),
    NPUC_SETP_UNSIGNED("lo", Lt),
    NPUC_SETP_UNSIGNED("ls", Le),
    NPUC_SETP_UNSIGNED("hi", Gt),
    NPUC_SETP_UNSIGNED("hs", Ge),
};

} // namespace

extern const LaneTable integerLanes = {rows, sizeof rows / sizeof *rows};

} // namespace npuc::ptx::NPUC_SIMD
