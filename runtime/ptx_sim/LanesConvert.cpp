// Conversions, in two steps: what a register holds becomes an integer of 64 bits or fp64, exactly; that
// becomes the destination.
#include "runtime/ptx_sim/LaneNumbers.h"

namespace npuc::ptx::NPUC_SIMD {
namespace {

/// From type T in a register of R's width.
template <typename T, typename R>
void fromInteger(const LaneArguments &x) {
  const auto *a = numbers<R>(x.a);
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  store<Wide>(x.d, ~0u, [&](unsigned i) { return static_cast<Wide>(static_cast<T>(a[i])); });
}
template <typename T>
void fromFloat(const LaneArguments &x) {
  const auto *a = numbers<T>(x.a);
  const bool ftz = x.flags & Ftz;
  store<double>(x.d, ~0u, [&](unsigned i) {
    return static_cast<double>(ftz ? flush(static_cast<T>(a[i])) : static_cast<T>(a[i]));
  });
}
template <typename Format>
void fromHalf(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a);
  store<double>(x.d, ~0u, [&](unsigned i) { return static_cast<double>(Format::load(a[i])); });
}

NPUC_LANES double roundToInteger(double v, uint32_t flags) {
  switch (flags & RoundMask) {
  case RoundZero:
    return __builtin_trunc(v);
  case RoundDown:
    return __builtin_floor(v);
  case RoundUp:
    return __builtin_ceil(v);
  default:
    return __builtin_rint(v);
  }
}

/// To the integer type T in a register of R's width, extended as T is.
template <typename T, typename R, typename Wide>
void toInteger(const LaneArguments &x) {
  const auto *a = numbers<Wide>(x.a);
  using Extended = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<R>, R>;
  constexpr T least = std::is_signed_v<T> ? static_cast<T>(uint64_t{1} << (sizeof(T) * 8 - 1)) : T{0},
              greatest = static_cast<T>(~least);
  const uint32_t flags = x.flags;
  store<R>(x.d, x.mask, [&](unsigned i) {
    const Wide v = a[i];
    T t = static_cast<T>(v);
    if (flags & Sat) {
      // Compared as numbers, of whatever sign.
      if (std::is_signed_v<Wide> && v < 0)
        t = std::is_signed_v<T> && static_cast<int64_t>(v) >= static_cast<int64_t>(least) ? static_cast<T>(v)
                                                                                          : least;
      else
        t = static_cast<uint64_t>(v) > static_cast<uint64_t>(greatest) ? greatest : static_cast<T>(v);
    }
    return static_cast<R>(static_cast<Extended>(t));
  });
}
/// Always clamped. NaN: 0, but the highest bit alone where 64 bits are involved (SatFinite in the flags says
/// so).
template <typename T, typename R>
void floatToInteger(const LaneArguments &x) {
  const auto *a = numbers<double>(x.a);
  using Extended = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<R>, R>;
  constexpr T least = std::is_signed_v<T> ? static_cast<T>(uint64_t{1} << (sizeof(T) * 8 - 1)) : T{0},
              greatest = static_cast<T>(~least);
  // One more than the greatest is a power of two, and exact.
  constexpr double beyond = std::is_signed_v<T>
                                ? -static_cast<double>(least)
                                : 2.0 * static_cast<double>(uint64_t{1} << (sizeof(T) * 8 - 1));
  const T nan = x.flags & SatFinite ? static_cast<T>(uint64_t{1} << (sizeof(T) * 8 - 1)) : T{0};
  const uint32_t flags = x.flags;
  store<R>(x.d, x.mask, [&](unsigned i) {
    const double v = roundToInteger(a[i], flags);
    const T t = v != v                           ? nan
                : v >= beyond                    ? greatest
                : v < static_cast<double>(least) ? least
                                                 : static_cast<T>(v);
    return static_cast<R>(static_cast<Extended>(t));
  });
}

/// fp64 that rounds as the integer does: what lies below 53 bits is kept as one bit.
NPUC_LANES double odd(uint64_t magnitude) {
  return magnitude >> 53 ? static_cast<double>(magnitude >> 10 | ((magnitude & 1023) != 0)) * 1024.0
                         : static_cast<double>(magnitude);
}
NPUC_LANES double exact(double v) {
  return v;
}
NPUC_LANES double exact(uint64_t v) {
  return odd(v);
}
NPUC_LANES double exact(int64_t v) {
  return v < 0 ? -odd(0 - static_cast<uint64_t>(v)) : odd(static_cast<uint64_t>(v));
}

template <typename T, typename Wide>
void toFloat(const LaneArguments &x) {
  const auto *a = numbers<Wide>(x.a);
  const uint32_t flags = x.flags;
  const bool integral = flags & ToInteger;
  const Rounding rounding(integral ? 0 : flags);
  store<T>(x.d, x.mask, [&](unsigned i) {
    T v;
    if constexpr (std::is_same_v<Wide, double>)
      v = canonical(static_cast<T>(integral ? roundToInteger(a[i], flags) : static_cast<double>(a[i])));
    else
      v = static_cast<T>(a[i]);
    v = flags & Ftz ? flush(v) : v;
    v = flags & Relu && v <= 0 ? T{0} : v;
    return flags & Sat ? saturate(v) : v;
  });
}
template <typename Format, typename Fast, typename Wide>
void toHalf(const LaneArguments &x) {
  const auto *a = numbers<Wide>(x.a);
  const uint32_t flags = x.flags;
  constexpr bool isFloat = std::is_same_v<Wide, double>;
  store<uint16_t>(x.d, x.mask, [&](unsigned i) {
    double v = exact(static_cast<Wide>(a[i]));
    if (isFloat && flags & ToInteger)
      v = roundToInteger(v, flags);
    if (flags & Sat)
      v = saturate(v);
    return static_cast<uint16_t>(Format::encode(v, flags & ToInteger ? flags & ~RoundMask : flags));
  });
}

// Two of fp32 into one register, a into the upper half.
template <typename Format, typename R, unsigned Bits>
void pack(const LaneArguments &x) {
  const auto *a = numbers<float>(x.a), *b = numbers<float>(x.b);
  const uint32_t flags = x.flags;
  store<R>(x.d, x.mask, [&](unsigned i) {
    return static_cast<R>(Format::encode(a[i], flags) << Bits | Format::encode(b[i], flags));
  });
}
template <typename Format>
void packRounded(const LaneArguments &x) {
  if (x.flags & ~Relu)
    return pack<std::conditional_t<std::is_same_v<Format, Half>, SmallHalf, SmallBrain>, uint32_t, 16>(x);
  const auto *a = numbers<float>(x.a), *b = numbers<float>(x.b);
  const bool relu = x.flags & Relu;
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    float high = a[i], low = b[i];
    high = relu && high <= 0 ? 0.0f : high;
    low = relu && low <= 0 ? 0.0f : low;
    return static_cast<uint32_t>(Format::store(high)) << 16 | Format::store(low);
  });
}
template <typename Format>
void packFromHalves(const LaneArguments &x) {
  const auto *a = numbers<uint32_t>(x.a);
  const uint32_t flags = x.flags;
  store<uint16_t>(x.d, x.mask, [&](unsigned i) {
    const double high = Half::load(static_cast<uint16_t>(a[i] >> 16)),
                 low = Half::load(static_cast<uint16_t>(a[i]));
    return static_cast<uint16_t>(Format::encode(high, flags) << 8 | Format::encode(low, flags));
  });
}
template <typename Format>
void unpackToHalves(const LaneArguments &x) {
  const auto *a = numbers<uint16_t>(x.a);
  const uint32_t flags = x.flags & Relu;
  store<uint32_t>(x.d, x.mask, [&](unsigned i) {
    return SmallHalf::encode(Format::decode(a[i] >> 8), flags) << 16 |
           SmallHalf::encode(Format::decode(a[i] & 255), flags);
  });
}
void toTF32(const LaneArguments &x) {
  const auto *a = numbers<float>(x.a);
  const uint32_t flags = x.flags;
  store<uint32_t>(x.d, x.mask,
                  [&](unsigned i) { return a[i] != a[i] ? 0x7fffffffu : TF32::encode(a[i], flags) << 13; });
}

#define NPUC_FROM(type, T, width, R) {"from." type "." width, fromInteger<T, R>}
#define NPUC_TO(type, T, width, R)                                                                           \
  {"to." type "." width ".s", toInteger<T, R, int64_t>},                                                     \
      {"to." type "." width ".u", toInteger<T, R, uint64_t>}, {                                              \
    "to." type "." width ".f", floatToInteger<T, R>                                                          \
  }
#define NPUC_INTEGERS(row)                                                                                   \
  row("u8", uint8_t, "2", uint16_t), row("u8", uint8_t, "4", uint32_t), row("u8", uint8_t, "8", uint64_t),   \
      row("s8", int8_t, "2", uint16_t), row("s8", int8_t, "4", uint32_t), row("s8", int8_t, "8", uint64_t),  \
      row("u16", uint16_t, "2", uint16_t), row("u16", uint16_t, "4", uint32_t),                              \
      row("u16", uint16_t, "8", uint64_t), row("s16", int16_t, "2", uint16_t),                               \
      row("s16", int16_t, "4", uint32_t), row("s16", int16_t, "8", uint64_t),                                \
      row("u32", uint32_t, "4", uint32_t), row("u32", uint32_t, "8", uint64_t),                              \
      row("s32", int32_t, "4", uint32_t), row("s32", int32_t, "8", uint64_t),                                \
      row("u64", uint64_t, "8", uint64_t), row("s64", int64_t, "8", uint64_t)
#define NPUC_TO_FLOAT(type, width, function, ...)                                                            \
  {"to." type "." width ".s", function<__VA_ARGS__, int64_t>},                                               \
      {"to." type "." width ".u", function<__VA_ARGS__, uint64_t>}, {                                        \
    "to." type "." width ".f", function<__VA_ARGS__, double>                                                 \
  }

constexpr NamedLanes rows[] = {
    NPUC_INTEGERS(NPUC_FROM),
    {"from.f16.2", fromHalf<Half>},
    {"from.bf16.2", fromHalf<Brain>},
    {"from.f32.4", fromFloat<float>},
    {"from.f64.8", fromFloat<double>},
    NPUC_INTEGERS(NPUC_TO),
    NPUC_TO_FLOAT("f16", "2", toHalf, SmallHalf, Half),
    NPUC_TO_FLOAT("bf16", "2", toHalf, SmallBrain, Brain),
    NPUC_TO_FLOAT("f32", "4", toFloat, float),
    NPUC_TO_FLOAT("f64", "8", toFloat, double),
    {"cvt.f16x2.f32", packRounded<Half>},
    {"cvt.bf16x2.f32", packRounded<Brain>},
    {"cvt.e4m3x2.f32", pack<E4M3, uint16_t, 8>},
    {"cvt.e5m2x2.f32", pack<E5M2, uint16_t, 8>},
    {"cvt.e4m3x2.f16x2", packFromHalves<E4M3>},
    {"cvt.e5m2x2.f16x2", packFromHalves<E5M2>},
    {"cvt.f16x2.e4m3x2", unpackToHalves<E4M3>},
    {"cvt.f16x2.e5m2x2", unpackToHalves<E5M2>},
    {"cvt.tf32.f32", toTF32},
};

} // namespace

extern const LaneTable convertLanes = {rows, sizeof rows / sizeof *rows};

} // namespace npuc::ptx::NPUC_SIMD
