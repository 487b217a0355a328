// In what numbers each multiplication is computed: formats, the text table that says so, and what tells
// multiplications apart by name.
#pragma once

#include "support/Diagnostic.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::quantize {

/// On a multiplication of floats: the name of its format, as below.
inline constexpr llvm::StringLiteral formatAttr = "nn.format";

enum class Activations : uint8_t {
  Float,
  Int8,      ///< One scale for all values, from calibration.
  Int8Token, ///< A scale for each row, found as the program runs.
  Fp8,       ///< e4m3, one scale.
};

/// A format: of what is computed, and of weights. A product of two activations has that of activations alone;
/// scales for each row are for a linear's input, and are one for all otherwise.
struct OperatorFormat {
  Activations activations = Activations::Int8;
  /// Of weights: 8, 4, or 0 for those of activations in floats or fp8.
  unsigned weightBits = 8;
  int64_t group = 0; ///< Rows of 4-bit weights that share a scale.
  bool asymmetric = false;

  /// Of 4 bits, or 3 behind the point: their rounding costs more than that of anything else.
  bool hasCoarseWeights() const { return weightBits == 4 || activations == Activations::Fp8; }
  /// What is multiplied becomes integers, and may be over factors by channel.
  bool isInteger() const { return activations == Activations::Int8 || activations == Activations::Int8Token; }

  bool operator==(const OperatorFormat &) const = default;
};

/// float, fp8, int8, int8-token; int4-32, int4-64, int4-128 (activations int8), with an `a` behind for
/// asymmetric weights, then -token or -float for other activations.
std::string text(const OperatorFormat &format);
std::optional<OperatorFormat> formatFromText(std::string_view text);
/// That of a multiplication's attribute, which names one; without it, int8.
OperatorFormat formatOf(mlir::Operation *op);
/// All that there are.
std::vector<std::string> formatNames();

/// The multiplications of `function` (see observedOperands), in order, each with the name of its node; of
/// several of one name, the later ones with #2, #3, … behind.
std::vector<std::pair<mlir::Operation *, std::string>> multiplications(mlir::func::FuncOp function);

/// One line of a precision table.
struct PrecisionRow {
  std::string operation, format, reason;
  int64_t line = 0; ///< Where it stood in its file, from 1.
};

/// A line of text for each:
///   npuc-precision 1
///   # operator  format  # reason
///   "/layer.0/query/MatMul"  int8  # given by --precision
std::string printPrecisionTable(const std::vector<PrecisionRow> &rows);

/// Reads such a text; the reason may be missing. In a name stand \" and \\ for " and \. Another version,
/// every line that is not of that form, names no format or an operator twice is an error at `file`:line.
std::optional<std::vector<PrecisionRow>> parsePrecisionTable(std::string_view text, const std::string &file,
                                                             Diagnostics &diagnostics);

/// Sets the attribute on the multiplications that `rows` name. An operator that the function has not is an
/// error with the nearest name, and a format that is not among `available` one that lists these.
bool applyPrecisionTable(mlir::func::FuncOp function, const std::vector<PrecisionRow> &rows,
                         const std::string &file, const std::vector<std::string> &available,
                         Diagnostics &diagnostics);

} // namespace npuc::quantize
