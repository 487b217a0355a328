// Conversions between element types, and quantization.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/ThreadPool.h"

#include <vector>

namespace npuc::interpret {

/// nn.cast: see its description for what is rounded, clamped or wrapped. `saturate` is about fp8 results
/// alone.
HostTensor cast(ThreadPool &pool, const HostTensor &input, ElementType type, bool saturate = true);

/// Floats of fewer than 32 bits as F32, exactly; anything else as it is.
HostTensor widened(ThreadPool &pool, const HostTensor &input);
inline bool isSmallFloat(ElementType type) {
  return isFloat(type) && bitWidth(type) < 32;
}

/// How `scale` and `zero point` of (de)quantization fall on elements: one for all, one for each index of
/// `axis`, or one for each run of `blockSize` indices of `axis`.
struct QuantizedAxis {
  int64_t axis = 0;
  int64_t blockSize = 0;
};

/// saturate(round(x / scale) + zeroPoint), in fp32, ties to even. `input` and `scale` F32; `zeroPoint` of
/// `type`, or none. fp8: the quotient rounded to `type`, saturating if `saturate`.
HostTensor quantize(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                    const HostTensor &zeroPoint, QuantizedAxis axis, ElementType type, bool saturate);

/// (x - zeroPoint) · scale as F32. `scale` F32.
HostTensor dequantize(ThreadPool &pool, const HostTensor &input, const HostTensor &scale,
                      const HostTensor &zeroPoint, QuantizedAxis axis);

/// See nn.requantize. Scales (or multipliers and shifts) hold one entry or one for each index of `axis`.
struct Requantization {
  enum class Rounding : uint8_t { HalfEven, HalfAway, HalfUp, Down };
  bool fixedPoint = false;
  std::vector<float> scales;
  std::vector<int32_t> multipliers;
  std::vector<int32_t> shifts;
  int64_t axis = 0;
  int64_t zeroPoint = 0;
  Rounding rounding = Rounding::HalfEven;
};

/// `input` I32 or I64; `type` an integer of up to 32 bits.
HostTensor requantize(ThreadPool &pool, const HostTensor &input, const Requantization &how, ElementType type);

} // namespace npuc::interpret
