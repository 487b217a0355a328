#include "backends/npu/timing/Machine.h"

#include <algorithm>

namespace npuc::timing {
namespace {

using isa::VectorOp;

// Instructions that run at one for each lane and cycle unless the description says otherwise. Operand
// accesses, constants and look-ups are here too: they take bandwidth or ports, not lanes.
constexpr std::array<VectorOp, 31> simpleOps = {
    VectorOp::Load,     VectorOp::Index,    VectorOp::Constant,  VectorOp::Move,      VectorOp::Add,
    VectorOp::Subtract, VectorOp::Multiply, VectorOp::Minimum,   VectorOp::Maximum,   VectorOp::Negate,
    VectorOp::Absolute, VectorOp::Floor,    VectorOp::Ceil,      VectorOp::RoundEven, VectorOp::Sign,
    VectorOp::Equal,    VectorOp::Less,     VectorOp::LessEqual, VectorOp::And,       VectorOp::Or,
    VectorOp::Xor,      VectorOp::Not,      VectorOp::Select,    VectorOp::ShiftLeft, VectorOp::ShiftRight,
    VectorOp::Convert,  VectorOp::Table,    VectorOp::Store,     VectorOp::StoreSum,  VectorOp::StoreMax,
    VectorOp::StoreMin,
};

} // namespace

std::optional<ElementType> elementType(target::DataType type) {
  switch (type) {
  case target::INT4:
    return ElementType::I4;
  case target::INT8:
    return ElementType::I8;
  case target::UINT8:
    return ElementType::U8;
  case target::INT16:
    return ElementType::I16;
  case target::INT32:
    return ElementType::I32;
  case target::INT64:
    return ElementType::I64;
  case target::FP8_E4M3:
    return ElementType::F8E4M3;
  case target::FP8_E5M2:
    return ElementType::F8E5M2;
  case target::FP16:
    return ElementType::F16;
  case target::BF16:
    return ElementType::BF16;
  case target::FP32:
    return ElementType::F32;
  default:
    return std::nullopt;
  }
}

Machine::Machine(const target::TargetDescription &description) : target(description) {
  const target::Topology &topology = target.topology();
  cores = topology.devices() * topology.clusters_per_device() * topology.cores_per_cluster();
  slices = topology.slices_per_core();
  dramCyclesPerCycle = target.dram().clock_ghz() / target.clock_ghz();
  auto fill = [](auto &table, target::DataType type, auto value) {
    if (auto element = elementType(type))
      table[static_cast<size_t>(*element)] = value;
  };
  const target::MatrixEngine &matrix = target.matrix();
  for (const target::MatrixType &type : matrix.types()) {
    fill(matrixLanesK, type.type(), type.lanes_k());
    fill(matrixStepCycles, type.type(), type.lanes_k() / (matrix.lanes_k() * type.rate()));
  }
  for (const target::VectorType &type : target.vector().types())
    fill(vectorRate, type.type(), type.rate());
  for (const target::OperationEnergy &energy : target.energy().multiply_add())
    fill(multiplyAddPicojoules, energy.type(), energy.picojoules());
  for (VectorOp op : simpleOps)
    functionRate[static_cast<size_t>(op)] = 1;
  for (const target::FunctionRate &rate : target.vector().functions())
    if (auto op = isa::vectorOpFromName(rate.function()))
      functionRate[static_cast<size_t>(*op)] = rate.rate();
}

ElementType Machine::contractionType(ElementType a, ElementType b) const {
  if (a == ElementType::I4 || b == ElementType::I4)
    return ElementType::I4;
  auto listed = [&](ElementType type) {
    if (matrixStepCycles[static_cast<size_t>(type)] > 0)
      return type;
    return type == ElementType::U8 ? ElementType::I8 : type == ElementType::U16 ? ElementType::I16 : type;
  };
  if (a == b)
    return listed(a);
  if (bitWidth(a) != bitWidth(b))
    return listed(bitWidth(a) > bitWidth(b) ? a : b);
  // Equal widths: signed with unsigned runs as signed; two float formats run at the slower one's rate.
  if (!isFloat(a))
    return isSigned(a) ? a : b;
  return matrixStepCycles[static_cast<size_t>(a)] >= matrixStepCycles[static_cast<size_t>(b)] ? a : b;
}

ElementType Machine::laneType(ElementType type) const {
  if (isFloat(type) || vectorRate[static_cast<size_t>(type)] > 0)
    return type;
  return ElementType::I32;
}

double Machine::dramBytesPerCycle() const {
  return target.dram().channels() * target.dram().bytes_per_cycle() * dramCyclesPerCycle;
}

std::vector<int64_t> registerValues(const isa::Program &program, std::span<const int64_t> values) {
  std::vector<int64_t> result(values.begin(), values.end());
  for (size_t i = result.size(); i < program.registers.size(); ++i)
    result.push_back(program.registers[i].greatest);
  return result;
}

isa::View resolve(const isa::View &view, std::span<const int64_t> registers) {
  isa::View result = view;
  if (view.baseRegister != isa::noRegister)
    result.base += registers[view.baseRegister] * view.registerScale;
  if (view.boundRegister != isa::noRegister) {
    int32_t &size = result.dims[view.boundDim].size;
    size =
        static_cast<int32_t>(std::clamp<int64_t>(registers[view.boundRegister] - view.boundOffset, 0, size));
  }
  return result;
}

bool isActive(const isa::Command &command, std::span<const int64_t> registers) {
  return command.predicateRegister == isa::noRegister ||
         registers[command.predicateRegister] > command.predicateBound;
}

} // namespace npuc::timing
