#include "compiler/interpret/kernels/Cast.h"

#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Types.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace npuc::interpret {
namespace {

// Elements pass through one of four wide types that hold the source exactly: float, double, int64_t,
// uint64_t.

template <typename Wide>
struct Source {
  const std::byte *data;
  ElementType type;

  /// Elements [at, at + count) into `out`.
  void load(int64_t at, int64_t count, Wide *out) const {
    auto plain = [&]<typename T>(TypeTag<T>) {
      const T *x = reinterpret_cast<const T *>(data) + at;
      for (int64_t i = 0; i < count; ++i)
        out[i] = static_cast<Wide>(x[i]);
    };
    auto small = [&]<typename T>(TypeTag<T>, float (*decode)(T)) {
      const T *x = reinterpret_cast<const T *>(data) + at;
      for (int64_t i = 0; i < count; ++i)
        out[i] = static_cast<Wide>(decode(x[i]));
    };
    switch (type) {
    case ElementType::F8E4M3:
      return small(TypeTag<uint8_t>(), fromF8E4M3);
    case ElementType::F8E5M2:
      return small(TypeTag<uint8_t>(), fromF8E5M2);
    case ElementType::F16:
      return small(TypeTag<uint16_t>(), fromF16);
    case ElementType::BF16:
      return small(TypeTag<uint16_t>(), fromBF16);
    default:
      return dispatchNumber(type, plain);
    }
  }
};

/// Calls f(TypeTag<Wide>) with the wide type that holds `type`.
template <typename F>
void dispatchWide(ElementType type, F &&f) {
  if (type == ElementType::F64)
    f(TypeTag<double>());
  else if (isFloat(type))
    f(TypeTag<float>());
  else if (type == ElementType::U64)
    f(TypeTag<uint64_t>());
  else
    f(TypeTag<int64_t>());
}

/// x as float, rounded to odd where it is not exact: rounding that once more, to a type of at most 22
/// significant bits, is as rounding x itself.
template <typename Wide>
float roundedToOdd(Wide x) {
  if constexpr (std::is_same_v<Wide, float>) {
    return x;
  } else {
    auto nearest = static_cast<float>(x);
    // 64 bits of significand: exact for every source.
    auto exact = static_cast<long double>(x);
    if (!(exact == exact) || static_cast<long double>(nearest) == exact)
      return nearest;
    uint32_t bits;
    std::memcpy(&bits, &nearest, 4);
    bool away = std::abs(static_cast<long double>(nearest)) > std::abs(exact);
    bits = (bits - away) | 1; // toward zero (from infinity: the greatest finite), then odd
    std::memcpy(&nearest, &bits, 4);
    return nearest;
  }
}

/// Toward zero, clamped to the integers of `bits` bits that a T holds; NaN gives 0.
template <typename T, typename Real>
T clampedInteger(Real x, unsigned bits) {
  Real beyond = std::ldexp(Real(1), static_cast<int>(bits) - std::is_signed_v<T>);
  Real least = std::is_signed_v<T> ? -beyond : Real(0);
  if (!(x == x))
    return 0;
  if (x >= beyond)
    return static_cast<T>(std::numeric_limits<T>::max() >> (sizeof(T) * 8 - bits));
  return static_cast<T>(x <= least ? least : x);
}

/// The integers of `bits` bits, two's complement or not, stored in a T.
template <typename T, typename Wide>
T integerFrom(Wide x, unsigned bits) {
  if constexpr (std::is_floating_point_v<Wide>) {
    return clampedInteger<T>(x, bits);
  } else {
    auto wrapped = static_cast<T>(x);
    if (bits == 4)
      wrapped = static_cast<T>(std::is_signed_v<T> && (wrapped & 8) ? (wrapped & 15) - 16 : wrapped & 15);
    return wrapped;
  }
}

template <typename Wide>
void store(const Wide *x, int64_t count, ElementType type, bool saturate, std::byte *out) {
  auto each = [&]<typename T>(TypeTag<T>, auto convert) {
    T *y = reinterpret_cast<T *>(out);
    for (int64_t i = 0; i < count; ++i)
      y[i] = convert(x[i]);
  };
  unsigned bits = bitWidth(type);
  switch (type) {
  case ElementType::Bool:
    return each(TypeTag<uint8_t>(), [](Wide v) { return static_cast<uint8_t>(v != Wide(0)); });
  case ElementType::F8E4M3:
    return each(TypeTag<uint8_t>(), [=](Wide v) { return toF8E4M3(roundedToOdd(v), saturate); });
  case ElementType::F8E5M2:
    return each(TypeTag<uint8_t>(), [=](Wide v) { return toF8E5M2(roundedToOdd(v), saturate); });
  case ElementType::F16:
    return each(TypeTag<uint16_t>(), [](Wide v) { return toF16(roundedToOdd(v)); });
  case ElementType::BF16:
    return each(TypeTag<uint16_t>(), [](Wide v) { return toBF16(roundedToOdd(v)); });
  default:
    return dispatchNumber(type, [&]<typename T>(TypeTag<T> tag) {
      if constexpr (std::is_floating_point_v<T>)
        each(tag, [](Wide v) { return static_cast<T>(v); });
      else
        each(tag, [=](Wide v) { return integerFrom<T>(v, bits); });
    });
  }
}

constexpr int64_t block = 1024;

/// Where the element of an index of the quantized axis finds its parameter: parameter = (outer · parts +
/// index / run) · inner' + …; worked out once for each run of elements.
struct ParameterMap {
  int64_t outer = 1, size = 1, inner = 1; ///< The input as [outer, size, inner] around the axis.
  int64_t blockSize = 0;
  bool single = false, blocked = false;

  /// For `count` parameters.
  ParameterMap(const Shape &shape, int64_t count, QuantizedAxis axis) {
    blocked = axis.blockSize > 0;
    single = !blocked && count == 1;
    blockSize = axis.blockSize;
    if (single)
      return;
    auto a = static_cast<size_t>(axis.axis);
    for (size_t d = 0; d < shape.size(); ++d)
      (d < a ? outer : d == a ? size : inner) *= shape[d];
  }

  /// The parameter's index for element [o, s, i].
  int64_t parameter(int64_t o, int64_t s, int64_t i) const {
    if (single)
      return 0;
    if (!blocked)
      return s;
    return (o * ((size + blockSize - 1) / blockSize) + s / blockSize) * inner + i;
  }

  /// Calls body(first element, count, parameter, step) for runs of elements of which the first has that
  /// parameter, and each next one the parameter `step` further, 0 or 1.
  template <typename F>
  void run(ThreadPool &pool, int64_t count, F &&body) const {
    if (single)
      return parallelRange(pool, count, parallelGrain,
                           [&](int64_t begin, int64_t end) { body(begin, end - begin, 0, 0); });
    if (!blocked && inner == 1)
      return parallelRange(pool, outer, parallelGrain / std::max<int64_t>(size, 1),
                           [&](int64_t begin, int64_t end) {
                             for (int64_t row = begin; row < end; ++row)
                               body(row * size, size, 0, 1);
                           });
    int64_t run = blocked ? 1 : inner;
    parallelRange(pool, count / std::max<int64_t>(run, 1), parallelGrain / std::max<int64_t>(run, 1),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) {
                      int64_t element = r * run;
                      body(element, run,
                           parameter(element / (size * inner), element / inner % size, element % inner), 0);
                    }
                  });
  }
};

std::vector<int64_t> integers(const HostTensor &tensor) {
  std::vector<int64_t> out(static_cast<size_t>(tensor.count()));
  Source<int64_t>{tensor.raw(), tensor.type()}.load(0, tensor.count(), out.data());
  return out;
}

struct Range {
  int64_t least, greatest;
};

Range rangeOf(ElementType type) {
  int bits = static_cast<int>(bitWidth(type));
  return isSigned(type) ? Range{-(int64_t{1} << (bits - 1)), (int64_t{1} << (bits - 1)) - 1}
                        : Range{0, (int64_t{1} << bits) - 1};
}

template <typename Real>
Real rounded(Real x, Requantization::Rounding rounding) {
  switch (rounding) {
  case Requantization::Rounding::HalfEven:
    return std::nearbyint(x);
  case Requantization::Rounding::HalfAway:
    return std::round(x);
  case Requantization::Rounding::Down:
    return std::floor(x);
  case Requantization::Rounding::HalfUp:
    break;
  }
  // floor(x + 1/2) would round the sum; of the two neighbours the upper from the middle on.
  Real below = std::floor(x);
  return x - below >= Real(0.5) ? below + 1 : below;
}

/// value / 2^shift rounded to an integer.
__int128 shiftedRight(__int128 value, int shift, Requantization::Rounding rounding) {
  // |value| < 2^95: beyond these shifts nothing is left, or every result type is exceeded.
  if (shift > 96)
    return 0;
  if (shift <= 0)
    return value << std::min(-shift, 30);
  __int128 below = value >> shift;
  if (rounding == Requantization::Rounding::Down)
    return below;
  __int128 rest = value - (below << shift);
  __int128 half = __int128{1} << (shift - 1);
  if (rest < half)
    return below;
  if (rest > half)
    return below + 1;
  switch (rounding) {
  case Requantization::Rounding::HalfEven:
    return below + (below & 1);
  case Requantization::Rounding::HalfAway:
    return value < 0 ? below : below + 1;
  case Requantization::Rounding::HalfUp:
  case Requantization::Rounding::Down:
    break;
  }
  return below + 1;
}

} // namespace

HostTensor cast(ThreadPool &pool, const HostTensor &input, ElementType type, bool saturate) {
  if (input.type() == type)
    return input;
  HostTensor result(type, input.shape());
  auto *out = result.mutableData<std::byte>();
  dispatchWide(input.type(), [&]<typename Wide>(TypeTag<Wide>) {
    Source<Wide> source{input.raw(), input.type()};
    parallelRange(pool, input.count(), parallelGrain, [&](int64_t begin, int64_t end) {
      Wide buffer[block];
      for (int64_t at = begin; at < end; at += block) {
        int64_t count = std::min(block, end - at);
        source.load(at, count, buffer);
        store(buffer, count, type, saturate, out + static_cast<size_t>(at) * itemSize(type));
      }
    });
  });
  return result;
}

HostTensor widened(ThreadPool &pool, const HostTensor &input) {
  return isSmallFloat(input.type()) ? cast(pool, input, ElementType::F32) : input;
}

HostTensor quantize(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                    const HostTensor &zeroPoint, QuantizedAxis axis, ElementType type, bool saturate) {
  HostTensor result(type, input.shape());
  ParameterMap map(input.shape(), std::max(scale.count(), zeroPoint ? zeroPoint.count() : 1), axis);
  const int64_t scales = scale.count() == 1 ? 0 : 1, zeroPoints = zeroPoint && zeroPoint.count() > 1 ? 1 : 0;
  const float *x = input.data<float>();
  const float *s = scale.data<float>();
  if (isFloat(type)) {
    auto *out = result.mutableData<std::byte>();
    map.run(pool, input.count(), [&](int64_t first, int64_t count, int64_t parameter, int64_t step) {
      float buffer[block];
      for (int64_t at = first; at < first + count; at += block) {
        int64_t n = std::min(block, first + count - at);
        for (int64_t i = 0; i < n; ++i)
          buffer[i] = x[at + i] / s[scales * (parameter + step * (at + i - first))];
        store(buffer, n, type, saturate, out + static_cast<size_t>(at) * itemSize(type));
      }
    });
    return result;
  }
  std::vector<int64_t> zeros = zeroPoint ? integers(zeroPoint) : std::vector<int64_t>();
  Range limits = rangeOf(type);
  dispatchNumber(type, [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    map.run(pool, input.count(), [&](int64_t first, int64_t count, int64_t parameter, int64_t step) {
      auto least = static_cast<double>(limits.least), greatest = static_cast<double>(limits.greatest);
      for (int64_t i = first; i < first + count; ++i, parameter += step) {
        float by = s[scales * parameter];
        auto zero =
            static_cast<double>(zeros.empty() ? 0 : zeros[static_cast<size_t>(zeroPoints * parameter)]);
        // The rounded quotient and the zero point are exact in double, and so is their sum within the limits.
        double q = static_cast<double>(std::nearbyint(x[i] / by)) + zero;
        out[i] = static_cast<T>(q >= greatest ? greatest : q > least ? q : least); // NaN is the least too.
      }
    });
  });
  return result;
}

HostTensor dequantize(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                      const HostTensor &zeroPoint, QuantizedAxis axis) {
  HostTensor result(ElementType::F32, input.shape());
  ParameterMap map(input.shape(), std::max(scale.count(), zeroPoint ? zeroPoint.count() : 1), axis);
  const int64_t scales = scale.count() == 1 ? 0 : 1, zeroPoints = zeroPoint && zeroPoint.count() > 1 ? 1 : 0;
  const float *s = scale.data<float>();
  float *out = result.mutableData<float>();
  if (isFloat(input.type())) {
    HostTensor wide = widened(pool, input);
    HostTensor zeros = zeroPoint ? widened(pool, zeroPoint) : HostTensor();
    const float *x = wide.data<float>();
    map.run(pool, input.count(), [&](int64_t first, int64_t count, int64_t parameter, int64_t step) {
      for (int64_t i = first; i < first + count; ++i, parameter += step) {
        float zero = zeros ? zeros.data<float>()[zeroPoints * parameter] : 0;
        out[i] = (x[i] - zero) * s[scales * parameter];
      }
    });
    return result;
  }
  std::vector<int64_t> zeros = zeroPoint ? integers(zeroPoint) : std::vector<int64_t>();
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *x = input.data<T>();
    map.run(pool, input.count(), [&](int64_t first, int64_t count, int64_t parameter, int64_t step) {
      for (int64_t i = first; i < first + count; ++i, parameter += step) {
        auto zero = zeros.empty() ? 0 : zeros[static_cast<size_t>(zeroPoints * parameter)];
        out[i] = static_cast<float>(static_cast<int64_t>(x[i]) - zero) * s[scales * parameter];
      }
    });
  });
  return result;
}

HostTensor requantize(ThreadPool &pool, const HostTensor &input, const Requantization &how,
                      ElementType type) {
  HostTensor result(type, input.shape());
  Range limits = rangeOf(type);
  size_t entries = how.fixedPoint ? how.multipliers.size() : how.scales.size();
  ParameterMap map(input.shape(), static_cast<int64_t>(entries), {how.axis, 0});
  auto saturated = [&](__int128 value) {
    return value < limits.least      ? limits.least
           : value > limits.greatest ? limits.greatest
                                     : static_cast<int64_t>(value);
  };
  dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    const T *x = input.data<T>();
    dispatchNumber(type, [&]<typename R>(TypeTag<R>) {
      R *out = result.mutableData<R>();
      map.run(pool, input.count(), [&](int64_t first, int64_t count, int64_t parameter, int64_t step) {
        for (int64_t i = first; i < first + count; ++i, parameter += step) {
          auto p = static_cast<size_t>(parameter);
          __int128 value;
          if (how.fixedPoint) {
            value = shiftedRight(static_cast<__int128>(x[i]) * how.multipliers[p], 31 + how.shifts[p],
                                 how.rounding);
          } else {
            float scaled = rounded(static_cast<float>(x[i]) * how.scales[p], how.rounding);
            // Far beyond any result type, but within __int128.
            value =
                scaled == scaled ? static_cast<__int128>(std::min(std::max(scaled, -0x1p40f), 0x1p40f)) : 0;
          }
          out[i] = static_cast<R>(saturated(value + how.zeroPoint));
        }
      });
    });
  });
  return result;
}

} // namespace npuc::interpret
