#include "runtime/npu_sim/Kernels.h"

#include <array>

namespace npuc::npu_sim {

const float *f8Values(ElementType type) {
  static const auto values = [] {
    std::array<std::array<float, 256>, 2> out{};
    for (unsigned i = 0; i < 256; ++i) {
      out[0][i] = fromF8E4M3(static_cast<uint8_t>(i));
      out[1][i] = fromF8E5M2(static_cast<uint8_t>(i));
    }
    return out;
  }();
  return values[type == ElementType::F8E5M2].data();
}

} // namespace npuc::npu_sim
