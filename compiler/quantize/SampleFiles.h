// Samples of a model's inputs in NumPy's files, of which memory holds one at a time.
#pragma once

#include "compiler/quantize/Calibrate.h"
#include "support/ElementType.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace npuc::quantize {

/// What a model wants of an input.
struct SampleInput {
  std::string name;
  std::optional<ElementType> type; ///< Nothing: NumPy has several for it.
  std::vector<int64_t> shape;      ///< -1: any size.
};

/// The inputs of a function as arrays.
std::vector<SampleInput> sampleInputs(mlir::func::FuncOp function);

/// Arrays of a file are named as the inputs and hold, along a dimension more in front, or along the first if
/// that is a multiple of the input's, or of any size, one sample after another; or they are NAME[0], NAME[1],
/// … with a sample each.
class SampleFiles : public Samples {
public:
  /// Opens .npz files, and of folders all of them in the order of their names, and reads what they say of
  /// their arrays. Nothing, and an error for each of: a path that cannot be read; an array that is no input;
  /// an input without an array; another type or shape; numbers [i] with gaps; inputs with different numbers
  /// of samples; several samples in an array in Fortran order.
  static std::optional<SampleFiles> open(const std::vector<SampleInput> &inputs,
                                         const std::vector<std::string> &paths, Diagnostics &diagnostics);

  /// The shape that the first sample gives each input: 1 for a first dimension of any size that counts
  /// samples.
  std::map<std::string, std::vector<int64_t>> shapes() const;

  size_t count() const override;
  bool forEach(llvm::function_ref<bool(size_t, std::span<const NamedArray>)> use,
               Diagnostics &diagnostics) const override;
  /// "sample 2 of FILE".
  std::string nameOf(size_t sample) const override;

private:
  struct Input {
    std::string name;
    ElementType type;
    std::vector<int64_t> shape; ///< Of one sample.
    std::vector<size_t> arrays; ///< In the file: one with all samples, or one for each.
    bool isStacked;
  };
  struct File {
    std::string path;
    size_t count = 0;
    std::vector<Input> inputs;
  };
  class Checker;
  std::vector<File> files_;
};

} // namespace npuc::quantize
