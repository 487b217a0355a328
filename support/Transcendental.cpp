#include "support/Transcendental.h"

#include "support/TranscendentalArrays.h"

namespace npuc::transcendental {
namespace {

const Arrays &best() {
  static const Arrays &chosen = arrays(simdLevel());
  return chosen;
}

} // namespace

void exp(std::span<const float> x, float *y) {
  best().exp(x.data(), y, x.size());
}
void log(std::span<const float> x, float *y) {
  best().log(x.data(), y, x.size());
}
void tanh(std::span<const float> x, float *y) {
  best().tanh(x.data(), y, x.size());
}
void erf(std::span<const float> x, float *y) {
  best().erf(x.data(), y, x.size());
}
void sin(std::span<const float> x, float *y) {
  best().sin(x.data(), y, x.size());
}
void cos(std::span<const float> x, float *y) {
  best().cos(x.data(), y, x.size());
}
void rsqrt(std::span<const float> x, float *y) {
  best().rsqrt(x.data(), y, x.size());
}
void sigmoid(std::span<const float> x, float *y) {
  best().sigmoid(x.data(), y, x.size());
}

} // namespace npuc::transcendental
