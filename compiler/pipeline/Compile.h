// The compiler library's front door: from an ONNX model to an artifact, through levels that can each be
// printed.
#pragma once

#include "backends/npu/schedule/Scheduler.h"
#include "backends/npu/target/target.pb.h"
#include "compiler/quantize/Ranges.h"
#include "support/Diagnostic.h"
#include "support/Npz.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace npuc::artifact {
class Writer;
}
namespace npuc::quantize {
struct Exported;
struct Report;
} // namespace npuc::quantize

namespace npuc::pipeline {

/// How the floats of a model are stored and multiplied. Sums are fp32, or with Int8, where multiplications
/// are of integers (see Options::format), exact.
enum class Precision : uint8_t { Fp16, Bf16, Int8 };
std::string_view name(Precision precision);
std::optional<Precision> precisionFromName(std::string_view name);
std::vector<std::string> precisionNames();

/// The levels of docs/architecture.md, in order. A program for a GPU goes from Linalg to Ptx, any other to
/// Isa.
enum class Level : uint8_t { Nn, Linalg, Tiled, Npu, Graph, Isa, Ptx };
std::string_view name(Level level);
std::optional<Level> levelFromName(std::string_view name);
std::vector<std::string> levelNames();

struct Options {
  /// A built-in target's name or a description's file; not needed for Level::Nn.
  std::string target;
  std::vector<std::string> targetOptions; ///< "path=value": see target::load.
  /// Sizes of what the model leaves symbolic: see importer::ImportOptions.
  std::map<std::string, std::vector<int64_t>> shapes;
  /// Nothing: the fastest 16-bit float of the target's matrix engine.
  std::optional<Precision> precision;
  /// For Int8: the format of multiplications (see quantize::OperatorFormat), where `precisionTable` names no
  /// other one.
  std::string format = "int8";
  /// For Int8: the text of a precision table (see quantize::parsePrecisionTable), and its file for errors.
  std::string precisionTable, precisionTableFile;
  /// For Int8, one of both: formats are mixed, by measuring, so that the cosine at the outputs is at least so
  /// much on the samples, or that operators together take at most so many times what the fastest formats do.
  std::optional<double> minCosine, maxSlowdown;
  /// For Int8, where neither is given: what the outputs may lose on the samples (see quantize::raiseFormats);
  /// nothing: as much as suits the format.
  std::optional<double> maxLoss;
  /// For Int8: files and folders of samples of the inputs, from which ranges are taken by `ranges`; see
  /// quantize::SampleFiles. A model that is quantized needs none.
  std::vector<std::string> calibration;
  quantize::RangeOptions ranges;
  /// For Int8: the text of a calibration table (see quantize::CalibrationTable), whose lines go before what
  /// samples give, and which takes their place if it has all tensors; and its file for errors.
  std::string calibrationTable, calibrationTableFile;
  /// For Int8: makes a report of what quantization does, on the first of the samples, or on `reportInputs` if
  /// there are any.
  bool report = false;
  std::vector<NamedArray> reportInputs;
  /// Told what takes long while it does: a few words.
  std::function<void(const std::string &step)> progress;
  /// Multiplications stay those of the model's nodes, for exportQuantized: no attention is recovered, and no
  /// layers are outlined.
  bool byNodes = false;
  unsigned threads = 2;
  /// For a GPU: the program ptxas, which then checks every kernel (see cuda::findPtxas); empty: it is not
  /// asked.
  std::string ptxas;
  /// Which decisions are told: see collectRemarks; empty: none.
  std::string remarks;
};

/// One model on its way. Steps run as far as a question needs and no further.
class Compilation {
public:
  /// Loads the target, if one is named, imports the model and recovers its meaning: Level::Nn. Nothing, and
  /// every error, if it cannot.
  static std::unique_ptr<Compilation> import(const std::string &model, const Options &options,
                                             Diagnostics &diagnostics);
  /// Goes on from a file with the text of Level::Nn or Level::Npu, as `text(true)` gives it. At Level::Npu
  /// the model's work is not known any more.
  static std::unique_ptr<Compilation> resume(const std::string &file, const Options &options,
                                             Diagnostics &diagnostics);
  ~Compilation();

  /// Whether the target's programs go through `level`; if not, an error.
  bool hasLevel(Level level, Diagnostics &diagnostics) const;
  /// Lowers to `level`; false, and errors, if that cannot be done.
  bool lowerTo(Level level, Diagnostics &diagnostics);
  Level level() const;
  /// The level of a program that artifacts hold: Isa, or Ptx for a GPU.
  Level programLevel() const;
  /// What `level()` is lowered to next.
  Level nextLevel() const;
  /// The text of the level reached; of one in MLIR, `withNodes` says of each operation which node it came
  /// from.
  std::string text(bool withNodes = false) const;

  /// Level::Nn: the module.
  mlir::ModuleOp module() const;
  /// At Level::Isa: the program with its predicted timeline, and its target.
  const schedule::Solution &solution() const;
  const target::TargetDescription &target() const;

  /// What Options::remarks asks for, of the levels reached, or tried.
  const std::vector<Diagnostic> &remarks() const;

  /// At Level::Nn: makes multiplications of integers what the options or the model itself ask for, as
  /// lowering further does first. Without a target they stay quantize and dequantize around floats. The
  /// module is one function then.
  bool quantize(Diagnostics &diagnostics);

  /// From Level::Linalg on, or after `quantize`: which steps quantization took, how much of the multiplying
  /// is in integers, and what is not and why; empty if nothing is.
  std::string quantization() const;
  /// The format of each multiplication as a precision table; empty if the options asked for none.
  std::string precisionTable() const;
  /// The range of each tensor as a calibration table; empty if the options asked for no integers.
  std::string calibrationTable() const;

  /// What quantization does, if the options asked for a report; null otherwise.
  const quantize::Report *report() const;
  /// At programLevel(): adds to the report what is saved of time and energy, by compiling the model in
  /// floats. Of a GPU neither is known without one, which the report then says.
  void addSaved();

  /// Imported `byNodes`: quantizes as --precision=int8 does and writes the model with QuantizeLinear and
  /// DequantizeLinear to an ONNX file; see quantize::exportModel.
  std::optional<quantize::Exported> exportQuantized(const std::string &path, Diagnostics &diagnostics);

  /// At Level::Ptx, if ptxas was asked: what it made of the kernels.
  std::string_view cubin() const;

  /// The bytes of a constant of the program (index among its buffers), as the device wants them.
  std::optional<std::vector<std::byte>> constant(uint32_t buffer, Diagnostics &diagnostics) const;

  /// Writes the artifact, which is at its programLevel(); constants are read, converted and written one at a
  /// time.
  bool write(const std::string &path, bool withConstants, Diagnostics &diagnostics) const;
  /// The same, in memory.
  std::optional<std::string> encode(bool withConstants, Diagnostics &diagnostics) const;

private:
  struct State;
  bool readsConstantsFrom(const std::string &path) const;
  bool fill(artifact::Writer &writer, bool withConstants, Diagnostics &diagnostics) const;
  const std::vector<isa::Buffer> &buffers() const;
  explicit Compilation(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace npuc::pipeline
