// Arithmetic of fp32, fp64, fp16 and bf16. What the hardware approximates is computed in fp64 and rounded
// once.
#include "runtime/ptx_sim/LaneNumbers.h"

namespace npuc::ptx::NPUC_SIMD {
namespace {

#define NPUC_FLOAT1(Name, expression)                                                                        \
  struct Name {                                                                                              \
    template <typename T>                                                                                    \
    NPUC_LANES T of(T a) {                                                                                   \
      return expression;                                                                                     \
    }                                                                                                        \
  };
#define NPUC_FLOAT2(Name, expression)                                                                        \
  struct Name {                                                                                              \
    template <typename T>                                                                                    \
    NPUC_LANES T of(T a, T b) {                                                                              \
      return expression;                                                                                     \
    }                                                                                                        \
  };
NPUC_FLOAT2(Add, a + b)
NPUC_FLOAT2(Sub, a - b)
NPUC_FLOAT2(Mul, a *b)
NPUC_FLOAT2(Div, a / b)
struct Sqrt {
  NPUC_LANES float of(float a) { return __builtin_sqrtf(a); }
  NPUC_LANES double of(double a) { return __builtin_sqrt(a); }
};
NPUC_FLOAT1(Reciprocal, T{1} / a)
struct Fma {
  NPUC_LANES float of(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  NPUC_LANES double of(double a, double b, double c) { return __builtin_fma(a, b, c); }
};
// Computed in fp64.
struct ReciprocalRoot {
  NPUC_LANES double of(double a) { return 1.0 / __builtin_sqrt(a); }
};
struct Sine {
  NPUC_LANES double of(double a) { return __builtin_sin(a); }
};
struct Cosine {
  NPUC_LANES double of(double a) { return __builtin_cos(a); }
};
struct Log2 {
  NPUC_LANES double of(double a) { return __builtin_log2(a); }
};
struct Exp2 {
  NPUC_LANES double of(double a) { return __builtin_exp2(a); }
};
struct Tanh {
  NPUC_LANES double of(double a) { return __builtin_tanh(a); }
};

/// What rounding, .ftz and .sat make of a function.
template <typename T, typename F>
NPUC_LANES void finish(const LaneArguments &x, F f) {
  const Rounding rounding(x.flags);
  if (!(x.flags & (Ftz | Sat)))
    return store<T>(x.d, x.mask, [&](unsigned i) { return canonical(f(i, [](T v) { return v; })); });
  const bool ftz = x.flags & Ftz, sat = x.flags & Sat;
  store<T>(x.d, x.mask, [&](unsigned i) {
    T v = canonical(f(i, [&](T in) { return ftz ? flush(in) : in; }));
    v = ftz ? flush(v) : v;
    return sat ? saturate(v) : v;
  });
}
template <typename T, typename Op>
void float1(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a);
  finish<T>(x, [&](unsigned i, auto in) { return static_cast<T>(Op::of(in(a[i]))); });
}
template <typename T, typename Op>
void float2(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  finish<T>(x, [&](unsigned i, auto in) { return Op::of(in(a[i]), in(b[i])); });
}
template <typename T, typename Op>
void float3(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b), *c = numbers<T>(x.c);
  finish<T>(x, [&](unsigned i, auto in) { return Op::of(in(a[i]), in(b[i]), in(c[i])); });
}
template <typename Op>
void throughDouble(const LaneArguments &x) {
  const auto *a = numbers<float>(x.a);
  finish<float>(
      x, [&](unsigned i, auto in) { return static_cast<float>(Op::of(static_cast<double>(in(a[i])))); });
}

/// Of fp64, with .ftz: from the upper 32 bits of the operand to the upper 32 bits of the result, the others
/// being 0 (PTX ISA, "rcp.approx.ftz.f64"). Those are the correctly rounded ones here.
template <typename Op>
void gross(const LaneArguments &x) {
  if (!(x.flags & Ftz))
    return float1<double, Op>(x);
  const auto *a = numbers<uint64_t>(x.a);
  store<uint64_t>(x.d, x.mask, [&](unsigned i) {
    constexpr uint64_t upper = ~uint64_t{0} << 32, exponent = uint64_t{0x7ff} << 52, sign = uint64_t{1} << 63;
    const uint64_t in = a[i] & exponent ? a[i] & upper : a[i] & sign;
    const uint64_t out = bitsOf(static_cast<double>(Op::of(doubleOf(in))));
    // To nearest, ties to even; a carry goes into the exponent as it should.
    const uint64_t rounded = (out + 0x7fffffffu + (out >> 32 & 1)) & upper;
    return (out & exponent) == exponent ? out & upper : rounded & exponent ? rounded : rounded & sign;
  });
}

// Signs alone, also of NaN.
template <typename T, typename U, typename Op>
void signs(const LaneArguments &x) {
  const auto *a = numbers<U>(x.a);
  const bool ftz = x.flags & Ftz;
  store<U>(x.d, x.mask, [&](unsigned i) {
    const T v = __builtin_bit_cast(T, Op::of(static_cast<U>(a[i])));
    return __builtin_bit_cast(U, ftz ? flush(v) : v);
  });
}
template <typename U>
constexpr U signBit = static_cast<U>(U{1} << (sizeof(U) * 8 - 1));
struct Negate {
  template <typename U>
  NPUC_LANES U of(U v) {
    return v ^ signBit<U>;
  }
};
struct Absolute {
  template <typename U>
  NPUC_LANES U of(U v) {
    return v & static_cast<U>(~signBit<U>);
  }
};
template <typename U>
void copySign(const LaneArguments &x) {
  const auto *a = numbers<U>(x.a), *b = numbers<U>(x.b);
  store<U>(x.d, x.mask, [&](unsigned i) {
    return static_cast<U>((a[i] & signBit<U>) | (b[i] & static_cast<U>(~signBit<U>)));
  });
}

/// Of a NaN and a number the number, unless .NaN; -0 is below +0.
template <bool Max, typename T>
NPUC_LANES T extreme(T a, T b, uint32_t flags, T nan) {
  T sign = T{1};
  if (flags & XorSign) {
    sign = __builtin_copysign(T{1}, a) * __builtin_copysign(T{1}, b);
    a = a < 0 ? -a : a;
    b = b < 0 ? -b : b;
  }
  const bool bFirst =
      Max ? b > a || (a == b && __builtin_signbit(a)) : b < a || (a == b && __builtin_signbit(b));
  T v = a != a ? b : b != b ? a : bFirst ? b : a;
  if (flags & XorSign)
    v = __builtin_copysign(v, sign);
  const bool undefined = (a != a && b != b) || (flags & PropagateNaN && (a != a || b != b));
  return undefined ? nan : v;
}
template <typename T, bool Max>
void extremes(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  const uint32_t flags = x.flags;
  const bool ftz = flags & Ftz;
  const T nan = sizeof(T) == 4 ? static_cast<T>(floatOf(0x7fffffffu)) : static_cast<T>(__builtin_nan(""));
  store<T>(x.d, x.mask, [&](unsigned i) {
    const T u = ftz ? flush(static_cast<T>(a[i])) : a[i], v = ftz ? flush(static_cast<T>(b[i])) : b[i];
    const T r = extreme<Max, T>(u, v, flags, nan);
    return sizeof(T) == 4 ? canonical(r) : r;
  });
}

// fp16 and bf16, N to a register.
template <typename Format, unsigned N, typename F>
NPUC_LANES void halves(const LaneArguments &x, F f) {
  auto *d = static_cast<Number<uint16_t> *>(x.d);
  const uint32_t flags = x.flags;
  uint16_t result[warpSize * N];
  auto in = [&](uint16_t h) { return Format::load(flags & Ftz ? Format::flush(h) : h); };
#pragma GCC ivdep
  for (unsigned i = 0; i < warpSize * N; ++i) {
    float v = f(i, in);
    v = flags & Sat ? saturate(v) : v;
    v = flags & Relu && v <= 0 ? 0.0f : v;
    const uint16_t h = Format::store(v);
    result[i] = flags & Ftz ? Format::flush(h) : h;
  }
  for (unsigned i = 0; i < warpSize * N; ++i)
    d[i] = x.mask >> (i / N) & 1 ? result[i] : d[i];
}
template <typename Format, unsigned N, typename Op>
void half2(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a), *b = numbers<uint16_t>(x.b);
  // fp32 has more than twice their bits, so rounding twice is rounding once.
  halves<Format, N>(x, [&](unsigned i, auto in) { return Op::of(in(a[i]), in(b[i])); });
}
template <typename Format, unsigned N>
void halfFma(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a), *b = numbers<uint16_t>(x.b), *c = numbers<uint16_t>(x.c);
  halves<Format, N>(x, [&](unsigned i, auto in) {
    return toOddFloat(sumToOdd(static_cast<double>(in(a[i])) * in(b[i]), in(c[i])));
  });
}
// An operand of 16 bits, or two, with one of fp32.
template <typename Format, typename Op>
void mixed2(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a);
  const auto *b = numbers<float>(x.b);
  finish<float>(x, [&](unsigned i, auto in) { return Op::of(Format::load(a[i]), in(b[i])); });
}
template <typename Format>
void mixedFma(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a), *b = numbers<uint16_t>(x.b);
  const auto *c = numbers<float>(x.c);
  finish<float>(
      x, [&](unsigned i, auto in) { return Fma::of(Format::load(a[i]), Format::load(b[i]), in(c[i])); });
}
template <typename Format, unsigned N, typename Op>
void half1(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a);
  halves<Format, N>(x,
                    [&](unsigned i, auto in) { return toOddFloat(Op::of(static_cast<double>(in(a[i])))); });
}
template <typename Format, unsigned N, bool Max>
void halfExtreme(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a), *b = numbers<uint16_t>(x.b);
  halves<Format, N>(x, [&](unsigned i, auto in) {
    return extreme<Max, float>(in(a[i]), in(b[i]), x.flags, floatOf(0x7fffffffu));
  });
}
template <typename Format, unsigned N, typename Op>
void halfSign(const LaneArguments &x) {
  auto *d = static_cast<Number<uint16_t> *>(x.d);
  const auto *a = numbers<uint16_t>(x.a);
  for (unsigned i = 0; i < warpSize * N; ++i) {
    const uint16_t h = Op::of(static_cast<uint16_t>(a[i]));
    d[i] = x.mask >> (i / N) & 1 ? (x.flags & Ftz ? Format::flush(h) : h) : d[i];
  }
}

// Comparisons: those ending in u hold for NaN too.
#define NPUC_COMPARISON(Name, expression)                                                                    \
  struct Name {                                                                                              \
    template <typename T>                                                                                    \
    NPUC_LANES bool of(T a, T b) {                                                                           \
      return expression;                                                                                     \
    }                                                                                                        \
  };
NPUC_COMPARISON(Eq, a == b)
NPUC_COMPARISON(Ne, a<b || a> b)
NPUC_COMPARISON(Lt, a < b)
NPUC_COMPARISON(Le, a <= b)
NPUC_COMPARISON(Gt, a > b)
NPUC_COMPARISON(Ge, a >= b)
NPUC_COMPARISON(EqU, !(a < b || a > b))
NPUC_COMPARISON(NeU, !(a == b))
NPUC_COMPARISON(LtU, !(a >= b))
NPUC_COMPARISON(LeU, !(a > b))
NPUC_COMPARISON(GtU, !(a <= b))
NPUC_COMPARISON(GeU, !(a < b))
NPUC_COMPARISON(Num, a == a && b == b)
NPUC_COMPARISON(Nan, a != a || b != b)
template <typename T, typename Op>
void compareFloats(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a), *b = numbers<T>(x.b);
  if (x.flags & Ftz)
    compare(x, [&](unsigned i) { return Op::of(flush(static_cast<T>(a[i])), flush(static_cast<T>(b[i]))); });
  else
    compare(x, [&](unsigned i) { return Op::of(static_cast<T>(a[i]), static_cast<T>(b[i])); });
}
template <typename Format, typename Op>
void compareHalves(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a), *b = numbers<uint16_t>(x.b);
  auto in = [&](uint16_t h) { return Format::load(x.flags & Ftz ? Format::flush(h) : h); };
  compare(x, [&](unsigned i) { return Op::of(in(a[i]), in(b[i])); });
}

#define NPUC_TEST(Name, expression)                                                                          \
  struct Name {                                                                                              \
    template <typename T>                                                                                    \
    NPUC_LANES bool of(T a) {                                                                                \
      return expression;                                                                                     \
    }                                                                                                        \
  };
NPUC_TEST(IsFinite, __builtin_isfinite(a))
NPUC_TEST(IsInfinite, __builtin_isinf(a))
NPUC_TEST(IsNumber, a == a)
NPUC_TEST(IsNaN, a != a)
NPUC_TEST(IsNormal, __builtin_isnormal(a))
NPUC_TEST(IsSubnormal, a != 0 && __builtin_isfinite(a) && !__builtin_isnormal(a))
template <typename T, typename Op>
void test(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a);
  compare(x, [&](unsigned i) { return Op::of(static_cast<T>(a[i])); });
}

#define NPUC_HALVES(name, function, ...)                                                                     \
  {name ".f16", function<Half, 1, ##__VA_ARGS__>}, {name ".f16x2", function<Half, 2, ##__VA_ARGS__>},        \
      {name ".bf16", function<Brain, 1, ##__VA_ARGS__>}, {                                                   \
    name ".bf16x2", function<Brain, 2, ##__VA_ARGS__>                                                        \
  }
#define NPUC_MIXED(name, function, ...)                                                                      \
  {name ".f32.f16", function<Half, ##__VA_ARGS__>}, {                                                        \
    name ".f32.bf16", function<Brain, ##__VA_ARGS__>                                                         \
  }
#define NPUC_COMPARE(name, Op)                                                                               \
  {"setp." name ".f32", compareFloats<float, Op>}, {"setp." name ".f64", compareFloats<double, Op>},         \
      {"setp." name ".f16", compareHalves<Half, Op>}, {                                                      \
    "setp." name ".bf16", compareHalves<Brain, Op>                                                           \
  }
#define NPUC_TESTS(name, Op)                                                                                 \
  {"testp." name ".f32", test<float, Op>}, {                                                                 \
    "testp." name ".f64", test<double, Op>                                                                   \
  }

constexpr NamedLanes rows[] = {
    {"add.f32", float2<float, Add>},
    {"add.f64", float2<double, Add>},
    NPUC_HALVES("add", half2, Add),
    NPUC_MIXED("add", mixed2, Add),
    {"sub.f32", float2<float, Sub>},
    {"sub.f64", float2<double, Sub>},
    NPUC_HALVES("sub", half2, Sub),
    NPUC_MIXED("sub", mixed2, Sub),
    {"mul.f32", float2<float, Mul>},
    {"mul.f64", float2<double, Mul>},
    NPUC_HALVES("mul", half2, Mul),
    {"fma.f32", float3<float, Fma>},
    {"fma.f64", float3<double, Fma>},
    NPUC_HALVES("fma", halfFma),
    NPUC_MIXED("fma", mixedFma),
    {"mad.f32", float3<float, Fma>},
    {"mad.f64", float3<double, Fma>},
    {"div.f32", float2<float, Div>},
    {"div.f64", float2<double, Div>},
    {"rcp.f32", float1<float, Reciprocal>},
    {"rcp.f64", gross<Reciprocal>},
    {"sqrt.f32", float1<float, Sqrt>},
    {"sqrt.f64", float1<double, Sqrt>},
    {"rsqrt.f32", throughDouble<ReciprocalRoot>},
    {"rsqrt.f64", gross<ReciprocalRoot>},
    {"sin.f32", throughDouble<Sine>},
    {"cos.f32", throughDouble<Cosine>},
    {"lg2.f32", throughDouble<Log2>},
    {"ex2.f32", throughDouble<Exp2>},
    {"tanh.f32", throughDouble<Tanh>},
    NPUC_HALVES("ex2", half1, Exp2),
    NPUC_HALVES("tanh", half1, Tanh),
    {"neg.f32", signs<float, uint32_t, Negate>},
    {"neg.f64", signs<double, uint64_t, Negate>},
    NPUC_HALVES("neg", halfSign, Negate),
    {"abs.f32", signs<float, uint32_t, Absolute>},
    {"abs.f64", signs<double, uint64_t, Absolute>},
    NPUC_HALVES("abs", halfSign, Absolute),
    {"copysign.f32", copySign<uint32_t>},
    {"copysign.f64", copySign<uint64_t>},
    {"min.f32", extremes<float, false>},
    {"min.f64", extremes<double, false>},
    NPUC_HALVES("min", halfExtreme, false),
    {"max.f32", extremes<float, true>},
    {"max.f64", extremes<double, true>},
    NPUC_HALVES("max", halfExtreme, true),
    NPUC_COMPARE("eq", Eq),
    NPUC_COMPARE("ne", Ne),
    NPUC_COMPARE("lt", Lt),
    NPUC_COMPARE("le", Le),
    NPUC_COMPARE("gt", Gt),
    NPUC_COMPARE("ge", Ge),
    NPUC_COMPARE("equ", EqU),
    NPUC_COMPARE("neu", NeU),
    NPUC_COMPARE("ltu", LtU),
    NPUC_COMPARE("leu", LeU),
    NPUC_COMPARE("gtu", GtU),
    NPUC_COMPARE("geu", GeU),
    NPUC_COMPARE("num", Num),
    NPUC_COMPARE("nan", Nan),
    NPUC_TESTS("finite", IsFinite),
    NPUC_TESTS("infinite", IsInfinite),
    NPUC_TESTS("number", IsNumber),
    NPUC_TESTS("notanumber", IsNaN),
    NPUC_TESTS("normal", IsNormal),
    NPUC_TESTS("subnormal", IsSubnormal),
};

} // namespace

extern const LaneTable floatLanes = {rows, sizeof rows / sizeof *rows};

} // namespace npuc::ptx::NPUC_SIMD
