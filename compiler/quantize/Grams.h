// Sums of products of a linear's inputs with each other, gathered while a model is observed: what GPTQ needs.
#pragma once

#include "compiler/quantize/Observers.h"

#include <map>
#include <span>
#include <vector>

namespace npuc::quantize {

/// XᵀX of each linear's input X, in f32: channels² · 4 bytes each.
class Grams {
public:
  /// For ObserverOptions::visitor; this must live as long.
  RowVisitor visitor() {
    return [this](size_t tensor, size_t channels, std::span<const float> rows, ThreadPool &pool) {
      add(tensor, channels, rows, pool);
    };
  }

  /// Adds the rows that wait in buffers. To be called once all have been seen.
  void finish(ThreadPool &pool);

  /// (X / factors)ᵀ (X / factors) of a tensor of Statistics; empty if no row of it was seen. No factors: 1.
  std::vector<double> of(size_t tensor, std::span<const float> factors) const;

private:
  struct Sums {
    size_t channels = 0;
    std::vector<float> products, waiting;
  };
  void add(size_t tensor, size_t channels, std::span<const float> rows, ThreadPool &pool);
  static void addWaiting(Sums &sums, ThreadPool &pool);

  std::map<size_t, Sums> sums_;
};

} // namespace npuc::quantize
