// Target descriptions: loading, checking, printing, and the figures that everybody derives from them.
//
// The schema is target.proto. Paths of fields ("dma[neural].startup_cycles") are explained there.
#pragma once

#include "backends/npu/isa/Program.h"
#include "backends/npu/target/target.pb.h"
#include "support/Diagnostic.h"
#include "support/ElementType.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npuc::target {

// --- Loading
// ---------------------------------------------------------------------------------------------------------

/// Names of the descriptions that are built in, in alphabetical order, numbers in theirs.
std::vector<std::string> builtinNames();

/// The description of that name, or in the file that a path (something with '/' or ending in ".json") names.
/// Each override is "PATH=VALUE"; fields in bytes take KiB, MiB, GiB, TiB (powers of 1024) and KB, MB, GB, TB
/// (powers of 1000). Reports every fault of the text, the overrides and the whole, each at its line and
/// column.
std::optional<TargetDescription> load(const std::string &nameOrPath, std::span<const std::string> overrides,
                                      Diagnostics &diagnostics);

/// The same for a description's JSON text; errors call it `origin`.
std::optional<TargetDescription> parse(std::string_view json, const std::string &origin,
                                       std::span<const std::string> overrides, Diagnostics &diagnostics);

/// Checks a description that did not come from `parse`, such as an artifact's: every field's range, and all
/// that relates fields to each other. Errors are placed at `origin`.
bool verify(const TargetDescription &description, const std::string &origin, Diagnostics &diagnostics);

// --- Printing
// --------------------------------------------------------------------------------------------------------

/// JSON that `parse` reads back to an equal description: fields in the schema's order, every number written
/// out.
std::string toJson(const TargetDescription &description);

/// For a reader: what the machine is, its peaks, and which figures are assumed, with reasons.
std::string describe(const TargetDescription &description);

/// Every field of the schema with type, unit, range and meaning of its absence, as a Markdown table.
std::string schemaReference();

// --- Provenance
// ------------------------------------------------------------------------------------------------------

/// A figure that no primary or press source states.
struct AssumedField {
  std::string path;
  std::string value;
  Provenance::Grade grade = Provenance::ASSUMED;
  std::string source; ///< May be empty.
  std::string reason;
};

/// The assumed figures at or below any of `paths`; of the whole description if `paths` is empty. In the
/// schema's order.
std::vector<AssumedField> assumedFields(const TargetDescription &description,
                                        std::span<const std::string> paths = {});

// --- Figures
// ---------------------------------------------------------------------------------------------------------

/// The machine is a GPU that is reached through CUDA. It has no command streams: whatever simulates,
/// schedules or encodes them is for other machines.
bool isGpu(const TargetDescription &description);

/// Cores of the machine. They are numbered from 0, cores of a cluster one after another.
uint32_t coreCount(const TargetDescription &description);
/// Slices of all cores.
uint32_t sliceCount(const TargetDescription &description);

ElementType elementType(DataType type);
/// Nothing for types that the schema has no name for.
std::optional<DataType> dataType(ElementType type);

/// The entry of a type, or null if the engine does not have it.
const MatrixType *matrixType(const TargetDescription &description, ElementType type);
const VectorType *vectorType(const TargetDescription &description, ElementType type);
const Accumulator *accumulator(const TargetDescription &description, ElementType operand);

/// Multiply-adds per cycle of the whole machine: cores · slices · lanes_m · lanes_n · lanes_k · rate; 0 if it
/// lacks the type.
double peakMacsPerCycle(const TargetDescription &description, ElementType type);
/// Simple vector operations per cycle of the whole machine: cores · slices · lanes · rate; 0 if it lacks the
/// type.
double peakVectorOpsPerCycle(const TargetDescription &description, ElementType type);
/// Simple vector operations per cycle of one core; 0 if it lacks the type.
double vectorLanes(const TargetDescription &description, ElementType type);
/// Operations per lane and cycle: 1 for simple ones, 0 for what the engine lacks. Table look-ups are not
/// among them: see VectorEngine.table_ports.
double functionRate(const TargetDescription &description, isa::VectorOp op);
/// Runs at rate 1 wherever the type is computed in, without being listed.
bool isSimple(isa::VectorOp op);

/// The instruction that the target's kind of requantization is.
isa::VectorOp requantizeOp(const TargetDescription &description);
/// The greatest number of products of two operands of that integer type whose sum fits its accumulator,
/// whatever the values are: (2^(bits-1) - 1) / 2^(2b-2) for b-bit integers. Nothing for floats and for types
/// that the engine lacks.
std::optional<uint64_t> safeProducts(const TargetDescription &description, ElementType type);

/// channels · bytes_per_cycle · clock_ghz · 10^9.
double dramBytesPerSecond(const TargetDescription &description);
/// The same per cycle of the core clock.
double dramBytesPerCycle(const TargetDescription &description);
/// Bytes of DRAM that programs may use.
uint64_t usableDramBytes(const TargetDescription &description);

/// The space of operands as transfers name it; `sameCore` tells a core's scratchpad from another's.
/// Accumulators have none.
std::optional<Space> space(isa::Space space, bool sameCore = true);
/// The first DMA class with that route.
std::optional<uint8_t> dmaClass(const TargetDescription &description, Space source, Space destination);

} // namespace npuc::target
