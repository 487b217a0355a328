#include "compiler/quantize/Calibrate.h"

#include "compiler/interpret/HostTensor.h"
#include "compiler/interpret/Interpreter.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/quantize/Padding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace npuc::quantize {
namespace {

/// So many samples that cannot be used are told one by one.
constexpr size_t mostBad = 8;

/// Infinity may be a mask's.
void checkNumbers(std::span<const NamedArray> inputs, ThreadPool &pool, Diagnostics &diagnostics) {
  for (const NamedArray &input : inputs) {
    if (!isFloat(input.array.type))
      continue;
    interpret::HostTensor wide = interpret::cast(pool, interpret::fromArray(input.array), ElementType::F64);
    const auto *x = wide.data<double>(), *end = x + wide.count();
    const auto *found = std::find_if(x, end, [](double value) { return std::isnan(value); });
    if (found != end)
      diagnostics.error(fmt::format("input '{}'", input.name), fmt::format("element {} is NaN", found - x),
                        "no range holds it", "correct the sample, or leave it out");
  }
}

} // namespace

bool SamplesInMemory::forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
                              Diagnostics &) const {
  for (size_t i = 0; i < samples_.size(); ++i)
    if (!use(i, samples_[i]))
      return false;
  return true;
}

std::optional<Statistics> observe(func::FuncOp function, const Samples &samples,
                                  const CalibrationOptions &options, Diagnostics &diagnostics) {
  Observers observers(function, options.observers);
  Padding padding(function);
  interpret::Interpreter interpreter(function, {.threads = options.threads});
  size_t bad = 0;
  auto run = [&](size_t sample, std::span<const NamedArray> inputs) {
    if (options.onSample)
      options.onSample(sample, inputs);
    Diagnostics own;
    auto see = [&](const interpret::Observation &seen) {
      observers.observe(seen, padding, interpreter.threads(), own);
    };
    checkNumbers(inputs, interpreter.threads(), own);
    if (!own.hasErrors() && padding.read(inputs, own))
      interpreter.run(inputs, own, see);
    bad += own.hasErrors();
    for (const Diagnostic &found : own.all())
      if (bad <= mostBad)
        diagnostics.error(fmt::format("{}: {}", samples.nameOf(sample), found.where), found.what, found.why,
                          found.hint);
    return true;
  };
  samples.forEach(run, diagnostics);
  if (bad > mostBad)
    diagnostics.error("calibration", fmt::format("{} more of {} samples cannot be used either", bad - mostBad,
                                                 samples.count()));
  if (diagnostics.hasErrors())
    return std::nullopt;
  return observers.take();
}

} // namespace npuc::quantize
