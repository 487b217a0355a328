#include "backends/npu/timing/Machine.h"

#include "backends/npu/target/Target.h"

#include <algorithm>

namespace npuc::timing {
Machine::Machine(const target::TargetDescription &description) : target(description) {
  cores = target::coreCount(target);
  slices = target.topology().slices_per_core();
  dramCyclesPerCycle = target.dram().clock_ghz() / target.clock_ghz();
  auto entry = [](auto &table, target::DataType type) -> auto & {
    return table[static_cast<size_t>(target::elementType(type))];
  };
  const target::MatrixEngine &matrix = target.matrix();
  for (const target::MatrixType &type : matrix.types()) {
    entry(matrixLanesK, type.type()) = type.lanes_k();
    entry(matrixStepCycles, type.type()) = type.lanes_k() / (matrix.lanes_k() * type.rate());
  }
  for (const target::VectorType &type : target.vector().types())
    entry(vectorRate, type.type()) = type.rate();
  for (const target::OperationEnergy &energy : target.energy().multiply_add())
    entry(multiplyAddPicojoules, energy.type()) = energy.picojoules();
  for (size_t i = 0; i < functionRate.size(); ++i)
    functionRate[i] = target::functionRate(target, static_cast<isa::VectorOp>(i));
}

ElementType Machine::contractionType(ElementType a, ElementType b) const {
  if (bitWidth(a) == 4 || bitWidth(b) == 4)
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
