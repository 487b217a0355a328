#include "backends/npu/target/Target.h"

#include <array>

namespace npuc::target {
namespace {

constexpr std::array<std::pair<DataType, ElementType>, 11> typePairs = {{
    {INT4, ElementType::I4},
    {INT8, ElementType::I8},
    {INT16, ElementType::I16},
    {INT32, ElementType::I32},
    {FP8_E4M3, ElementType::F8E4M3},
    {FP8_E5M2, ElementType::F8E5M2},
    {FP16, ElementType::F16},
    {BF16, ElementType::BF16},
    {FP32, ElementType::F32},
    {UINT8, ElementType::U8},
    {INT64, ElementType::I64},
}};

template <typename Entries>
auto find(const Entries &entries, ElementType type) -> decltype(&entries.Get(0)) {
  for (const auto &entry : entries)
    if (dataType(type) == entry.type())
      return &entry;
  return nullptr;
}

} // namespace

bool isGpu(const TargetDescription &description) {
  return description.has_gpu();
}

uint32_t coreCount(const TargetDescription &description) {
  const Topology &t = description.topology();
  return t.devices() * t.clusters_per_device() * t.cores_per_cluster();
}

uint32_t sliceCount(const TargetDescription &description) {
  return coreCount(description) * description.topology().slices_per_core();
}

ElementType elementType(DataType type) {
  for (auto [data, element] : typePairs)
    if (data == type)
      return element;
  return ElementType::Bool; // DATA_TYPE_UNSPECIFIED, which no checked description holds
}

std::optional<DataType> dataType(ElementType type) {
  for (auto [data, element] : typePairs)
    if (element == type)
      return data;
  return std::nullopt;
}

const MatrixType *matrixType(const TargetDescription &description, ElementType type) {
  return find(description.matrix().types(), type);
}

const VectorType *vectorType(const TargetDescription &description, ElementType type) {
  return find(description.vector().types(), type);
}

const Accumulator *accumulator(const TargetDescription &description, ElementType operand) {
  for (const Accumulator &entry : description.matrix().accumulators())
    if (dataType(operand) == entry.operand())
      return &entry;
  return nullptr;
}

double peakMacsPerCycle(const TargetDescription &description, ElementType type) {
  const MatrixType *entry = matrixType(description, type);
  if (!entry)
    return 0;
  const MatrixEngine &m = description.matrix();
  return double(sliceCount(description)) * m.lanes_m() * m.lanes_n() * m.lanes_k() * entry->rate();
}

double vectorLanes(const TargetDescription &description, ElementType type) {
  const VectorType *entry = vectorType(description, type);
  return entry
             ? double(description.topology().slices_per_core()) * description.vector().lanes() * entry->rate()
             : 0;
}

double peakVectorOpsPerCycle(const TargetDescription &description, ElementType type) {
  return coreCount(description) * vectorLanes(description, type);
}

bool isSimple(isa::VectorOp op) {
  using enum isa::VectorOp;
  switch (op) {
  case Divide:
  case Reciprocal:
  case Exp:
  case Log:
  case Sqrt:
  case Rsqrt:
  case Tanh:
  case Erf:
  case Sin:
  case Cos:
  case Sigmoid:
  case Requantize:
  case RequantizeFixedPoint:
  case RequantizeShift:
  case Table:
    return false;
  default:
    return true;
  }
}

double functionRate(const TargetDescription &description, isa::VectorOp op) {
  for (const FunctionRate &entry : description.vector().functions())
    if (entry.function() == isa::name(op))
      return entry.rate();
  return isSimple(op) ? 1 : 0;
}

isa::VectorOp requantizeOp(const TargetDescription &description) {
  switch (description.numbers().requantization()) {
  case Numbers::FIXED_POINT:
    return isa::VectorOp::RequantizeFixedPoint;
  case Numbers::SHIFT_MULTIPLY_SHIFT:
    return isa::VectorOp::RequantizeShift;
  default:
    return isa::VectorOp::Requantize;
  }
}

std::optional<uint64_t> safeProducts(const TargetDescription &description, ElementType type) {
  const Accumulator *sums = accumulator(description, type);
  if (!sums || sums->is_float() || isFloat(type))
    return std::nullopt;
  // int4 weights meet int8 activations.
  unsigned otherBits = type == ElementType::I4 ? 8 : bitWidth(type);
  // The greatest product: (-2^(b-1))², or for unsigned operands below 2^(2b).
  unsigned productBits = isSigned(type) ? bitWidth(type) + otherBits - 2 : 2 * bitWidth(type);
  uint64_t greatestSum = (uint64_t(1) << (sums->bits() - 1)) - 1;
  return greatestSum >> productBits;
}

double dramBytesPerSecond(const TargetDescription &description) {
  const Dram &d = description.dram();
  return d.channels() * d.bytes_per_cycle() * d.clock_ghz() * 1e9;
}

double dramBytesPerCycle(const TargetDescription &description) {
  return dramBytesPerSecond(description) / (description.clock_ghz() * 1e9);
}

uint64_t usableDramBytes(const TargetDescription &description) {
  return description.dram().bytes() - description.dram().reserved_bytes();
}

std::optional<Space> space(isa::Space space, bool sameCore) {
  switch (space) {
  case isa::Space::Dram:
    return DRAM;
  case isa::Space::Shared:
    return SHARED;
  case isa::Space::Scratchpad:
    return sameCore ? SCRATCHPAD : REMOTE_SCRATCHPAD;
  case isa::Space::Accumulator:
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<uint8_t> dmaClass(const TargetDescription &description, Space source, Space destination) {
  for (int i = 0; i < description.dma_size(); ++i)
    for (const DmaClass::Route &route : description.dma(i).routes())
      if (route.source() == source && route.destination() == destination)
        return static_cast<uint8_t>(i);
  return std::nullopt;
}

} // namespace npuc::target
