#include "compiler/interpret/kernels/Pointwise.h"

#include "compiler/interpret/kernels/Loops.h"
#include "compiler/interpret/kernels/Types.h"
#include "support/Transcendental.h"

#include <cmath>
#include <limits>
#include <type_traits>

namespace npuc::interpret {
namespace {

/// y[i] = f(x[i]) for every element, in pieces side by side.
template <typename In, typename Out, typename F>
HostTensor map(ThreadPool &pool, const HostTensor &input, ElementType resultType, F f) {
  HostTensor result(resultType, input.shape());
  const In *x = input.data<In>();
  Out *y = result.mutableData<Out>();
  parallelRange(pool, input.count(), parallelGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      y[i] = f(x[i]);
  });
  return result;
}

/// The same for a function over arrays of floats: f(x, y, count), in blocks that stay in cache.
template <typename F>
HostTensor mapBlocks(ThreadPool &pool, const HostTensor &input, F f) {
  constexpr int64_t block = 2048;
  HostTensor result(ElementType::F32, input.shape());
  const float *x = input.data<float>();
  float *y = result.mutableData<float>();
  parallelRange(pool, input.count(), parallelGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += block)
      f(x + i, y + i, std::min(block, end - i));
  });
  return result;
}

using Array = void (*)(std::span<const float>, float *);

HostTensor mapArray(ThreadPool &pool, const HostTensor &input, Array function) {
  return mapBlocks(pool, input, [=](const float *x, float *y, int64_t count) {
    function({x, static_cast<size_t>(count)}, y);
  });
}

/// y = x · f(prepare(x)), finished by `finish(x, f)`: the gated functions.
template <typename Prepare, typename Finish>
HostTensor mapGated(ThreadPool &pool, const HostTensor &input, Array function, Prepare prepare,
                    Finish finish) {
  return mapBlocks(pool, input, [=](const float *x, float *y, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      y[i] = prepare(x[i]);
    function({y, static_cast<size_t>(count)}, y);
    for (int64_t i = 0; i < count; ++i)
      y[i] = finish(x[i], y[i]);
  });
}

template <typename T>
T softplus(T x) {
  return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
}

HostTensor unaryF32(ThreadPool &pool, Unary kind, const HostTensor &input, float alpha) {
  auto same = [](float x) { return x; };
  auto each = [&](auto f) { return map<float, float>(pool, input, ElementType::F32, f); };
  switch (kind) {
  case Unary::Exp:
    return mapArray(pool, input, transcendental::exp);
  case Unary::Log:
    return mapArray(pool, input, transcendental::log);
  case Unary::Sin:
    return mapArray(pool, input, transcendental::sin);
  case Unary::Cos:
    return mapArray(pool, input, transcendental::cos);
  case Unary::Tanh:
    return mapArray(pool, input, transcendental::tanh);
  case Unary::Erf:
    return mapArray(pool, input, transcendental::erf);
  case Unary::Rsqrt:
    return mapArray(pool, input, transcendental::rsqrt);
  case Unary::Sigmoid:
    return mapArray(pool, input, transcendental::sigmoid);
  case Unary::Silu:
    return mapGated(pool, input, transcendental::sigmoid, same, [](float x, float s) { return x * s; });
  case Unary::Gelu:
    return mapGated(
        pool, input, transcendental::erf, [](float x) { return x * 0.70710678f; },
        [](float x, float e) { return 0.5f * x * (1 + e); });
  case Unary::GeluTanh:
    return mapGated(
        pool, input, transcendental::tanh, [](float x) { return 0.79788456f * (x + 0.044715f * x * x * x); },
        [](float x, float t) { return 0.5f * x * (1 + t); });
  case Unary::Sqrt:
    return each([](float x) { return std::sqrt(x); });
  case Unary::Reciprocal:
    return each([](float x) { return 1 / x; });
  case Unary::Softplus:
    return each([](float x) { return softplus(x); });
  case Unary::Floor:
    return each([](float x) { return std::floor(x); });
  case Unary::Ceil:
    return each([](float x) { return std::ceil(x); });
  case Unary::Round:
    return each([](float x) { return std::nearbyint(x); });
  case Unary::Elu:
    return each([=](float x) { return x >= 0 || x != x ? x : alpha * std::expm1(x); });
  default:
    std::abort(); // the other kinds are unaryNumber's
  }
}

HostTensor unaryF64(ThreadPool &pool, Unary kind, const HostTensor &input, float alpha) {
  auto each = [&](auto f) { return map<double, double>(pool, input, ElementType::F64, f); };
  switch (kind) {
  case Unary::Exp:
    return each([](double x) { return std::exp(x); });
  case Unary::Log:
    return each([](double x) { return std::log(x); });
  case Unary::Sin:
    return each([](double x) { return std::sin(x); });
  case Unary::Cos:
    return each([](double x) { return std::cos(x); });
  case Unary::Tanh:
    return each([](double x) { return std::tanh(x); });
  case Unary::Erf:
    return each([](double x) { return std::erf(x); });
  case Unary::Rsqrt:
    return each([](double x) { return 1 / std::sqrt(x); });
  case Unary::Sigmoid:
    return each([](double x) { return 1 / (1 + std::exp(-x)); });
  case Unary::Silu:
    return each([](double x) { return x / (1 + std::exp(-x)); });
  case Unary::Gelu:
    return each([](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); });
  case Unary::GeluTanh:
    return each(
        [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); });
  case Unary::Sqrt:
    return each([](double x) { return std::sqrt(x); });
  case Unary::Reciprocal:
    return each([](double x) { return 1 / x; });
  case Unary::Softplus:
    return each([](double x) { return softplus(x); });
  case Unary::Floor:
    return each([](double x) { return std::floor(x); });
  case Unary::Ceil:
    return each([](double x) { return std::ceil(x); });
  case Unary::Round:
    return each([](double x) { return std::nearbyint(x); });
  case Unary::Elu:
    return each([=](double x) { return x >= 0 || x != x ? x : alpha * std::expm1(x); });
  default:
    std::abort(); // the other kinds are unaryNumber's
  }
}

template <typename T>
T negated(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(-Wrapping<T>(x));
  else
    return -x;
}

template <typename T>
T magnitude(T x) {
  if constexpr (std::is_unsigned_v<T>)
    return x;
  else if constexpr (std::is_integral_v<T>)
    return x < 0 ? negated(x) : x;
  else
    return std::abs(x);
}

HostTensor unaryNumber(ThreadPool &pool, Unary kind, const HostTensor &input) {
  return dispatchNumber(input.type(), [&]<typename T>(TypeTag<T>) {
    auto each = [&](auto f) { return map<T, T>(pool, input, input.type(), f); };
    switch (kind) {
    case Unary::Neg:
      return each([](T x) { return negated(x); });
    case Unary::Abs:
      return each([](T x) { return magnitude(x); });
    case Unary::Sign:
      return each([](T x) { return x != x ? x : static_cast<T>((x > T(0)) - (x < T(0))); });
    case Unary::Relu:
      return each([](T x) { return x < T(0) ? T(0) : x; });
    case Unary::Not:
      if constexpr (std::is_integral_v<T>) {
        if (input.type() == ElementType::Bool)
          return each([](T x) { return static_cast<T>(x ^ 1); });
        return each([](T x) { return static_cast<T>(~x); });
      }
      std::abort(); // the verifier lets no float through
    default:
      std::abort(); // the other kinds are of floats alone
    }
  });
}

template <typename T>
T power(T base, T exponent) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    if (exponent < T(0))
      return base == T(1) ? T(1) : base == T(-1) ? (exponent % 2 ? T(-1) : T(1)) : T(0);
    Wrapping<T> result = 1;
    Wrapping<T> factor = static_cast<Wrapping<T>>(base);
    for (auto e = static_cast<std::make_unsigned_t<T>>(exponent); e; e >>= 1, factor *= factor)
      if (e & 1)
        result *= factor;
    return static_cast<T>(result);
  }
}

template <typename T>
T divided(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    if (b == 0)
      return 0;
    if (std::is_signed_v<T> && b == T(-1))
      return negated(a); // the least number divided by -1 wraps, and traps in hardware
  }
  return static_cast<T>(a / b);
}

/// With the sign of the dividend.
template <typename T>
T truncatedRemainder(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmod(a, b);
  else
    return b == 0 || (std::is_signed_v<T> && b == T(-1)) ? T(0) : static_cast<T>(a % b);
}

/// With the sign of the divisor.
template <typename T>
T flooredRemainder(T a, T b) {
  T r = truncatedRemainder(a, b);
  return r != T(0) && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r;
}

template <typename T>
T shifted(T a, T b, bool left) {
  constexpr int width = sizeof(T) * 8;
  bool beyond = b < T(0) || b >= T(width);
  if (beyond)
    return !left && a < T(0) ? T(-1) : T(0);
  return left ? static_cast<T>(Wrapping<T>(a) << b) : static_cast<T>(a >> b);
}

/// result[i] = f(lhs[i], rhs[i]), broadcast.
template <typename In, typename Out, typename F>
HostTensor zip(ThreadPool &pool, const HostTensor &lhs, const HostTensor &rhs, ElementType resultType, F f) {
  HostTensor result(resultType, broadcastShape(lhs.shape(), rhs.shape()));
  const Shape &shape = result.shape();
  Nest<3> nest = {
      shape,
      {rowMajorStrides(shape), broadcastStrides(lhs.shape(), shape), broadcastStrides(rhs.shape(), shape)}};
  nest.merge();
  Out *out = result.mutableData<Out>();
  const In *x = lhs.data<In>();
  const In *y = rhs.data<In>();
  nest.run(pool, [=](const auto &at, int64_t length, const auto &step) {
    Out *o = out + at[0];
    const In *a = x + at[1];
    const In *b = y + at[2];
    if (step[1] == 1 && step[2] == 1)
      for (int64_t i = 0; i < length; ++i)
        o[i] = f(a[i], b[i]);
    else if (step[1] == 1 && step[2] == 0)
      for (int64_t i = 0; i < length; ++i)
        o[i] = f(a[i], b[0]);
    else if (step[1] == 0 && step[2] == 1)
      for (int64_t i = 0; i < length; ++i)
        o[i] = f(a[0], b[i]);
    else
      for (int64_t i = 0; i < length; ++i)
        o[i] = f(a[i * step[1]], b[i * step[2]]);
  });
  return result;
}

template <typename T>
T greater(T a, T b) {
  return a != a || a > b ? a : b;
}
template <typename T>
T lesser(T a, T b) {
  return a != a || a < b ? a : b;
}

/// Brings results of arithmetic on 4-bit integers, done in 8 bits, back into 4.
HostTensor wrapped(ThreadPool &pool, HostTensor tensor) {
  if (tensor.type() == ElementType::I4)
    return map<int8_t, int8_t>(pool, tensor, ElementType::I4, [](int8_t x) {
      return static_cast<int8_t>((x & 15) > 7 ? (x & 15) - 16 : x & 15);
    });
  if (tensor.type() == ElementType::U4)
    return map<uint8_t, uint8_t>(pool, tensor, ElementType::U4,
                                 [](uint8_t x) { return static_cast<uint8_t>(x & 15); });
  return tensor;
}

bool isNumberKind(Unary kind) {
  return kind <= Unary::Not;
}

template <typename T>
HostTensor binaryOf(ThreadPool &pool, Binary kind, const HostTensor &lhs, const HostTensor &rhs) {
  auto each = [&](auto f) { return zip<T, T>(pool, lhs, rhs, lhs.type(), f); };
  auto arithmetic = [&](auto f) {
    return each([=](T a, T b) {
      return static_cast<T>(f(static_cast<Wrapping<T>>(a), static_cast<Wrapping<T>>(b)));
    });
  };
  switch (kind) {
  case Binary::Add:
    return arithmetic([](auto a, auto b) { return a + b; });
  case Binary::Sub:
    return arithmetic([](auto a, auto b) { return a - b; });
  case Binary::Mul:
    return arithmetic([](auto a, auto b) { return a * b; });
  case Binary::Div:
    return each([](T a, T b) { return divided(a, b); });
  case Binary::Pow:
    if (std::is_floating_point_v<T> && rhs.count() == 1 && *rhs.data<T>() == T(2))
      return each([](T a, T) { return static_cast<T>(a * a); });
    return each([](T a, T b) { return power(a, b); });
  case Binary::Mod:
    return each([](T a, T b) { return flooredRemainder(a, b); });
  case Binary::Fmod:
    return each([](T a, T b) { return truncatedRemainder(a, b); });
  case Binary::Max:
    return each([](T a, T b) { return greater(a, b); });
  case Binary::Min:
    return each([](T a, T b) { return lesser(a, b); });
  default:
    break;
  }
  if constexpr (std::is_integral_v<T>) {
    switch (kind) {
    case Binary::And:
      return each([](T a, T b) { return static_cast<T>(a & b); });
    case Binary::Or:
      return each([](T a, T b) { return static_cast<T>(a | b); });
    case Binary::Xor:
      return each([](T a, T b) { return static_cast<T>(a ^ b); });
    case Binary::ShiftLeft:
      return each([](T a, T b) { return shifted(a, b, true); });
    case Binary::ShiftRight:
      return each([](T a, T b) { return shifted(a, b, false); });
    default:
      break;
    }
  }
  std::abort(); // the verifier lets no float through to the bitwise kinds
}

} // namespace

HostTensor unary(ThreadPool &pool, Unary kind, const HostTensor &input, float alpha) {
  if (isNumberKind(kind))
    return wrapped(pool, unaryNumber(pool, kind, input));
  return input.type() == ElementType::F64 ? unaryF64(pool, kind, input, alpha)
                                          : unaryF32(pool, kind, input, alpha);
}

HostTensor isNan(ThreadPool &pool, const HostTensor &input) {
  return dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
    return map<T, uint8_t>(pool, input, ElementType::Bool, [](T x) { return static_cast<uint8_t>(x != x); });
  });
}

HostTensor isInf(ThreadPool &pool, const HostTensor &input, bool positive, bool negative) {
  return dispatchFloat(input.type(), [&]<typename T>(TypeTag<T>) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    return map<T, uint8_t>(pool, input, ElementType::Bool, [=](T x) {
      return static_cast<uint8_t>((positive && x == infinity) || (negative && x == -infinity));
    });
  });
}

HostTensor binary(ThreadPool &pool, Binary kind, const HostTensor &lhs, const HostTensor &rhs) {
  return wrapped(pool, dispatchNumber(lhs.type(), [&]<typename T>(TypeTag<T>) {
                   return binaryOf<T>(pool, kind, lhs, rhs);
                 }));
}

HostTensor compare(ThreadPool &pool, Relation relation, const HostTensor &lhs, const HostTensor &rhs) {
  return dispatchNumber(lhs.type(), [&]<typename T>(TypeTag<T>) {
    auto each = [&](auto f) {
      return zip<T, uint8_t>(pool, lhs, rhs, ElementType::Bool,
                             [=](T a, T b) { return static_cast<uint8_t>(f(a, b)); });
    };
    switch (relation) {
    case Relation::Eq:
      return each([](T a, T b) { return a == b; });
    case Relation::Ne:
      return each([](T a, T b) { return a != b; });
    case Relation::Lt:
      return each([](T a, T b) { return a < b; });
    case Relation::Le:
      return each([](T a, T b) { return a <= b; });
    case Relation::Gt:
      return each([](T a, T b) { return a > b; });
    case Relation::Ge:
      return each([](T a, T b) { return a >= b; });
    }
    std::abort();
  });
}

HostTensor select(ThreadPool &pool, const HostTensor &condition, const HostTensor &onTrue,
                  const HostTensor &onFalse) {
  Shape shape = broadcastShape(condition.shape(), broadcastShape(onTrue.shape(), onFalse.shape()));
  HostTensor result(onTrue.type(), shape);
  Nest<4> nest = {shape,
                  {rowMajorStrides(shape), broadcastStrides(condition.shape(), shape),
                   broadcastStrides(onTrue.shape(), shape), broadcastStrides(onFalse.shape(), shape)}};
  nest.merge();
  dispatchItem(result.type(), [&]<typename T>(TypeTag<T>) {
    T *out = result.mutableData<T>();
    const auto *c = condition.data<uint8_t>();
    const T *a = onTrue.data<T>();
    const T *b = onFalse.data<T>();
    nest.run(pool, [=](const auto &at, int64_t length, const auto &step) {
      for (int64_t i = 0; i < length; ++i)
        out[at[0] + i] = c[at[1] + i * step[1]] ? a[at[2] + i * step[2]] : b[at[3] + i * step[3]];
    });
  });
  return result;
}

HostTensor range(const HostTensor &start, const HostTensor &step, int64_t count) {
  HostTensor result(start.type(), {count});
  dispatchNumber(start.type(), [&]<typename T>(TypeTag<T>) {
    T first = *start.data<T>();
    T by = *step.data<T>();
    T *out = result.mutableData<T>();
    for (int64_t i = 0; i < count; ++i)
      out[i] = static_cast<T>(static_cast<Wrapping<T>>(first) +
                              static_cast<Wrapping<T>>(i) * static_cast<Wrapping<T>>(by));
  });
  return result;
}

} // namespace npuc::interpret
