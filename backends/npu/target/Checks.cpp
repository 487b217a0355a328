#include "backends/npu/target/Checks.h"

#include "backends/npu/target/Fields.h"
#include "backends/npu/target/Target.h"

#include <bit>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

namespace npuc::target {
namespace {

bool validScalar(const Message &message, const FieldDescriptor &field, bool gpu) {
  const Constraint &constraint = constraintOf(field);
  const auto *reflection = message.GetReflection();
  if (isOptional(field, gpu) && !reflection->HasField(message, &field))
    return true;
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    int value = reflection->GetEnumValue(message, &field);
    return value != 0 && field.enum_type()->FindValueByNumber(value);
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING)
    return !reflection->GetString(message, &field).empty();
  if (!isNumber(field))
    return true;
  double value = numberValue(message, field);
  return value >= constraint.least() && value <= constraint.greatest() &&
         (!constraint.power_of_two() || std::has_single_bit(static_cast<uint64_t>(value)));
}

void checkMessage(const Message &message, const std::string &path, bool gpu, Report &report) {
  const auto *reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor &field = *message.GetDescriptor()->field(i);
    std::string fieldPath = join(path, field.name());
    bool isMessage = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (isList(field)) {
      int count = reflection->FieldSize(message, &field);
      if (count == 0 && !isOptional(field, gpu))
        report.badField(fieldPath, fieldPath + " is empty", "it must have an element");
      if (static_cast<size_t>(count) > greatestListElements) {
        report.badField(fieldPath, fmt::format("{} has {} elements", fieldPath, count),
                        fmt::format("it must have at most {}", greatestListElements));
        continue;
      }
      std::set<std::string> keys;
      for (int e = 0; isMessage && e < count; ++e) {
        std::string key = elementKey(message, field, e);
        if (!keys.insert(key).second)
          report.badField(fieldPath, fmt::format("{} has two elements '{}'", fieldPath, key));
        checkMessage(reflection->GetRepeatedMessage(message, &field, e),
                     fmt::format("{}[{}]", fieldPath, key), gpu, report);
      }
    } else if (isMessage) {
      if (reflection->HasField(message, &field))
        checkMessage(reflection->GetMessage(message, &field), fieldPath, gpu, report);
      else if (!isOptional(field, gpu))
        report.badField(fieldPath, fieldPath + " is missing", "it must be " + requirement(field));
    } else if (!validScalar(message, field, gpu)) {
      report.badField(fieldPath, fmt::format("{} is {}", fieldPath, formatValue(message, field)),
                      "it must be " + requirement(field));
    }
  }
}

// What belongs to machines without `gpu`, in a description that has it.
void rejectNpuFields(const Message &message, const std::string &path, Report &report) {
  std::vector<const FieldDescriptor *> present;
  message.GetReflection()->ListFields(message, &present);
  for (const FieldDescriptor *field : present) {
    std::string fieldPath = join(path, field->name());
    if (constraintOf(*field).npu())
      report.badField(fieldPath, fmt::format("{} is given, but the machine is a GPU", fieldPath),
                      "nothing on a GPU is described by it", "leave it out");
    else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !isList(*field))
      rejectNpuFields(message.GetReflection()->GetMessage(message, field), fieldPath, report);
  }
}

// Versions of PTX, times ten, from which on it knows a compute capability.
struct Family {
  uint32_t computeCapability, ptx;
};
constexpr Family families[] = {{80, 70},  {86, 71},  {87, 74},  {89, 78},  {90, 78},
                               {100, 86}, {103, 88}, {110, 90}, {120, 87}, {121, 88}};
// From which on kernels multiply fp8.
constexpr Family fp8 = {89, 84};
constexpr uint32_t warpThreads = 32;

// Relations of one description, each skipped if a field that it rests on is known to be wrong.
class Relations {
public:
  Relations(const TargetDescription &description, Report &report) : t(description), report(report) {}

  void check() {
    checkName();
    checkMatrix();
    checkVector();
    checkMemories();
    holds(t.dram().reserved_bytes() < t.dram().bytes(), {"dram.reserved_bytes", "dram.bytes"},
          "dram.reserved_bytes is {}, which leaves nothing of dram.bytes, {}", t.dram().reserved_bytes(),
          t.dram().bytes());
    holds(coreCount(t) <= 65536, {"topology"},
          "topology has {} cores, more than the 65536 that a program can name", coreCount(t));
    checkEnergy();
    if (isGpu(t)) {
      rejectNpuFields(t, "", report);
      checkGpu();
    } else {
      checkEngines();
      checkSlices();
      checkDram();
      checkTransfers();
    }
  }

private:
  // The first path is where the error is placed.
  bool holds(bool condition, std::initializer_list<std::string> paths, const char *format, auto... values) {
    for (const std::string &path : paths)
      if (report.isBad(path))
        return true;
    if (!condition)
      report.error(*paths.begin(), fmt::format(fmt::runtime(format), values...));
    return condition;
  }

  void checkName() {
    bool valid = !t.name().empty() &&
                 t.name().find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_:") == std::string::npos;
    holds(valid, {"name"},
          "name is \"{}\", but a target's name is of lower case letters, digits, '-', '_' and ':'", t.name());
  }

  void checkMatrix() {
    const MatrixEngine &m = t.matrix();
    static const std::set<DataType> contractible = {INT4,     INT8, UINT8, INT16, FP8_E4M3,
                                                    FP8_E5M2, FP16, BF16,  FP32};
    for (const MatrixType &type : m.types()) {
      std::string name = DataType_Name(type.type());
      std::string path = fmt::format("matrix.types[{}]", name);
      holds(contractible.count(type.type()) > 0, {path + ".type"}, "{} is no type that can be contracted",
            name);
      const Accumulator *sums = nullptr;
      for (const Accumulator &a : m.accumulators())
        if (a.operand() == type.type())
          sums = &a;
      if (!holds(sums, {path, "matrix.accumulators"}, "{} has no entry in matrix.accumulators", path) ||
          !sums)
        continue;
      bool isFloatType = isFloat(elementType(type.type()));
      holds(sums->is_float() == isFloatType, {fmt::format("matrix.accumulators[{}].is_float", name), path},
            "sums of {} are {}, but its accumulator says is_float: {}", name,
            isFloatType ? "floats" : "integers", sums->is_float());
      if (m.stationary() == MatrixEngine::WEIGHTS)
        checkStationaryBlock(type, path);
    }
    for (const Accumulator &a : m.accumulators()) {
      std::string path = fmt::format("matrix.accumulators[{}]", DataType_Name(a.operand()));
      bool known =
          std::ranges::any_of(m.types(), [&](const MatrixType &type) { return type.type() == a.operand(); });
      holds(known, {path, "matrix.types"}, "{} is of a type that matrix.types does not have", path);
    }
  }

  void checkEngines() {
    const MatrixEngine &m = t.matrix();
    holds(m.accumulator_elements() >= uint64_t(m.lanes_m()) * m.lanes_n(),
          {"matrix.accumulator_elements", "matrix.lanes_m", "matrix.lanes_n"},
          "matrix.accumulator_elements is {}, fewer than the lanes_m × lanes_n = {} sums of one step",
          m.accumulator_elements(), uint64_t(m.lanes_m()) * m.lanes_n());
    bool noStationary =
        m.stationary_bytes() == 0 && m.stationary_load_cycles() == 0 && !m.stationary_double_buffered();
    holds(m.stationary() != MatrixEngine::OUTPUT || noStationary,
          {"matrix.stationary", "matrix.stationary_bytes", "matrix.stationary_load_cycles",
           "matrix.stationary_double_buffered"},
          "matrix.stationary is OUTPUT, so stationary_bytes, stationary_load_cycles and "
          "stationary_double_buffered must be absent");
    const VectorEngine &v = t.vector();
    holds((v.table_ports() > 0) == (v.table_entries() > 0), {"vector.table_entries", "vector.table_ports"},
          "vector.table_ports is {} and vector.table_entries is {}: with look-up tables both are more than "
          "0, without both are 0",
          v.table_ports(), v.table_entries());
  }

  void checkStationaryBlock(const MatrixType &type, const std::string &path) {
    const MatrixEngine &m = t.matrix();
    uint64_t block = byteSize(elementType(type.type()), uint64_t(type.lanes_k()) * m.lanes_n());
    uint64_t needed = block * (m.stationary_double_buffered() ? 2 : 1);
    holds(m.stationary_bytes() >= needed,
          {"matrix.stationary_bytes", "matrix.lanes_n", path, "matrix.stationary_double_buffered"},
          "matrix.stationary_bytes is {}, less than the {} that {}lanes_k × lanes_n of {} take",
          m.stationary_bytes(), needed, m.stationary_double_buffered() ? "two blocks of " : "",
          DataType_Name(type.type()));
  }

  void checkVector() {
    const VectorEngine &v = t.vector();
    for (const VectorType &type : v.types()) {
      std::string path = fmt::format("vector.types[{}].type", DataType_Name(type.type()));
      bool known = type.type() == INT32 || type.type() == FP32 || type.type() == FP16 || type.type() == BF16;
      holds(known, {path}, "{} is {}, but vector programs compute in INT32, FP32, FP16 or BF16", path,
            DataType_Name(type.type()));
    }
    for (const FunctionRate &function : v.functions())
      checkFunction(function.function());
    checkRequantization();
  }

  void checkFunction(const std::string &name) {
    std::string path = fmt::format("vector.functions[{}]", name);
    std::vector<std::string> known = functionNames();
    if (report.isBad(path) || std::ranges::find(known, name) != known.end())
      return;
    std::string near = nearest(name, known);
    report.error(path + ".function",
                 fmt::format("vector.functions has '{}', which no vector program can call", name), "",
                 near.empty() ? fmt::format("functions are {}", fmt::join(known, ", "))
                              : fmt::format("did you mean '{}'?", near));
  }

  // Operations that compute something, so that an engine may run them at a rate of its own.
  static std::vector<std::string> functionNames() {
    std::vector<std::string> names;
    for (unsigned i = 0; i < isa::vectorOpCount; ++i) {
      const isa::VectorOpInfo &op = isa::info(static_cast<isa::VectorOp>(i));
      if (op.dst == isa::Field::Register && op.a == isa::Field::Register && op.b != isa::Field::Operand)
        names.emplace_back(op.name);
    }
    return names;
  }

  void checkRequantization() {
    bool integers =
        std::ranges::any_of(t.matrix().accumulators(), [](const Accumulator &a) { return !a.is_float(); });
    if (!integers || t.numbers().requantization() == Numbers::REQUANTIZATION_UNSPECIFIED)
      return;
    isa::VectorOp op = requantizeOp(t);
    holds(functionRate(t, op) > 0, {"vector.functions", "numbers.requantization", "matrix.accumulators"},
          "vector.functions has no '{}', which numbers.requantization = {} needs", isa::name(op),
          Numbers::Requantization_Name(t.numbers().requantization()));
  }

  void checkMemories() {
    const Scratchpad &s = t.scratchpad();
    uint32_t slices = std::max(1u, t.topology().slices_per_core());
    std::string slicesPath = "topology.slices_per_core";
    if (holds(s.bytes() % slices == 0, {"scratchpad.bytes", slicesPath},
              "scratchpad.bytes is {}, which {} slices cannot share equally", s.bytes(), slices)) {
      uint64_t alignment = std::max(1u, s.alignment());
      holds(s.bytes() / slices % alignment == 0, {"scratchpad.alignment", "scratchpad.bytes", slicesPath},
            "scratchpad.alignment is {}, which does not divide the {} bytes of one slice", s.alignment(),
            s.bytes() / slices);
    }
    if (t.has_shared())
      holds(t.shared().bytes() % std::max(1u, t.shared().alignment()) == 0,
            {"shared.alignment", "shared.bytes"},
            "shared.alignment is {}, which does not divide shared.bytes, {}", t.shared().alignment(),
            t.shared().bytes());
  }

  void checkSlices() {
    const Scratchpad &s = t.scratchpad();
    uint32_t slices = std::max(1u, t.topology().slices_per_core());
    std::string slicesPath = "topology.slices_per_core";
    holds(s.bytes() % slices != 0 || s.interleave_bytes() <= s.bytes() / slices,
          {"scratchpad.interleave_bytes", "scratchpad.bytes", slicesPath},
          "scratchpad.interleave_bytes is {}, more than the {} bytes of one slice", s.interleave_bytes(),
          s.bytes() / slices);
    holds(slices == 1 || s.slice_bytes_per_cycle() > 0, {"scratchpad.slice_bytes_per_cycle", slicesPath},
          "scratchpad.slice_bytes_per_cycle is 0, but a core has {} slices that take data from each other",
          slices);
    holds(s.alignment() <= s.interleave_bytes() || slices == 1,
          {"scratchpad.interleave_bytes", "scratchpad.alignment", slicesPath},
          "scratchpad.interleave_bytes is {}, less than scratchpad.alignment, {}", s.interleave_bytes(),
          s.alignment());
  }

  void checkDram() {
    const Dram &d = t.dram();
    holds(d.banks() % std::max(1u, d.bank_groups()) == 0, {"dram.banks", "dram.bank_groups"},
          "dram.banks is {}, which {} bank groups cannot share equally", d.banks(), d.bank_groups());
    holds(d.burst_bytes() <= d.row_bytes(), {"dram.burst_bytes", "dram.row_bytes"},
          "dram.burst_bytes is {}, more than dram.row_bytes, {}", d.burst_bytes(), d.row_bytes());
    holds(d.interleave_bytes() >= d.burst_bytes(), {"dram.interleave_bytes", "dram.burst_bytes"},
          "dram.interleave_bytes is {}, less than dram.burst_bytes, {}", d.interleave_bytes(),
          d.burst_bytes());
    double burst = d.bytes_per_cycle() > 0 ? d.burst_bytes() / d.bytes_per_cycle() : 0;
    holds(d.t_ccd_l() >= burst, {"dram.t_ccd_l", "dram.burst_bytes", "dram.bytes_per_cycle"},
          "dram.t_ccd_l is {}, less than the burst_bytes / bytes_per_cycle = {} cycles that a burst holds "
          "the bus",
          d.t_ccd_l(), burst);
    holds(d.t_faw() >= d.t_rrd(), {"dram.t_faw", "dram.t_rrd"},
          "dram.t_faw is {}, less than dram.t_rrd, {}: four activates take longer than one", d.t_faw(),
          d.t_rrd());
    bool refreshes = d.t_refi() > 0;
    holds(refreshes ? d.t_rfc() > 0 && d.t_rfc() < d.t_refi() : d.t_rfc() == 0, {"dram.t_rfc", "dram.t_refi"},
          "dram.t_rfc is {} and dram.t_refi is {}: with refresh 0 < t_rfc < t_refi, without both are 0",
          d.t_rfc(), d.t_refi());
  }

  void checkTransfers() {
    std::set<std::pair<Space, Space>> all;
    for (const DmaClass &dma : t.dma()) {
      std::set<std::pair<Space, Space>> own;
      for (int i = 0; i < dma.routes_size(); ++i) {
        const DmaClass::Route &route = dma.routes(i);
        std::string path = fmt::format("dma[{}].routes[{}]", dma.name(), i);
        bool fresh = own.insert({route.source(), route.destination()}).second;
        holds(fresh, {path}, "{} is given twice", path);
        checkRoute(route, path);
      }
      all.merge(own);
    }
    for (auto [source, destination] : {std::pair(DRAM, SCRATCHPAD), std::pair(SCRATCHPAD, DRAM)})
      holds(all.count({source, destination}) > 0, {"dma"},
            "no DMA class has a route from {} to {}, which every program needs", Space_Name(source),
            Space_Name(destination));
  }

  void checkRoute(const DmaClass::Route &route, const std::string &path) {
    auto touches = [&](Space s) { return route.source() == s || route.destination() == s; };
    holds(!touches(SHARED) || t.has_shared(), {path, "shared"},
          "{} uses SHARED, but the description has no shared memory", path);
    if (!touches(REMOTE_SCRATCHPAD))
      return;
    holds(coreCount(t) > 1, {path, "topology"}, "{} uses REMOTE_SCRATCHPAD, but the machine has one core",
          path);
    holds(touches(SCRATCHPAD), {path}, "{} uses REMOTE_SCRATCHPAD, whose other end must be SCRATCHPAD", path);
  }

  void checkGpu() {
    const Gpu &g = t.gpu();
    constexpr const char *prefix = "cuda:sm_";
    holds(!t.name().starts_with(prefix) || t.name() == prefix + std::to_string(g.compute_capability()),
          {"name", "gpu.compute_capability"}, "name is {}, but gpu.compute_capability is {}", t.name(),
          g.compute_capability());
    const Family *family = std::ranges::find(families, g.compute_capability(), &Family::computeCapability);
    if (holds(family != std::end(families), {"gpu.compute_capability"},
              "gpu.compute_capability is {}, which no kernel can be compiled for: there are {}",
              g.compute_capability(), capabilityList()) &&
        family != std::end(families))
      holds(g.ptx_version() >= family->ptx, {"gpu.ptx_version", "gpu.compute_capability"},
            "gpu.ptx_version is {}, but compute capability {} needs {}", g.ptx_version(),
            g.compute_capability(), family->ptx);
    for (const MatrixType &type : t.matrix().types())
      if (type.type() == FP8_E4M3 || type.type() == FP8_E5M2)
        holds(g.compute_capability() >= fp8.computeCapability && g.ptx_version() >= fp8.ptx,
              {fmt::format("matrix.types[{}]", DataType_Name(type.type())), "gpu"},
              "matrix.types has {}, which needs compute capability {} and PTX {}, and gpu has {} and {}",
              DataType_Name(type.type()), fp8.computeCapability, fp8.ptx, g.compute_capability(),
              g.ptx_version());
    holds(g.threads_per_block() <= g.threads_per_core(), {"gpu.threads_per_block", "gpu.threads_per_core"},
          "gpu.threads_per_block is {}, more than gpu.threads_per_core, {}", g.threads_per_block(),
          g.threads_per_core());
    holds(g.registers_per_thread() * warpThreads <= g.registers_per_core(),
          {"gpu.registers_per_thread", "gpu.registers_per_core"},
          "gpu.registers_per_thread is {}, of which the {} threads of a warp need more than "
          "gpu.registers_per_core, {}",
          g.registers_per_thread(), warpThreads, g.registers_per_core());
    for (auto [field, threads] : {std::pair("gpu.threads_per_block", g.threads_per_block()),
                                  std::pair("gpu.threads_per_core", g.threads_per_core())})
      holds(threads % warpThreads == 0, {field}, "{} is {}, which is no whole number of warps of {}", field,
            threads, warpThreads);
    holds(g.shared_bytes_per_block() + g.shared_bytes_reserved() <= t.scratchpad().bytes(),
          {"gpu.shared_bytes_per_block", "gpu.shared_bytes_reserved", "scratchpad.bytes"},
          "gpu.shared_bytes_per_block and gpu.shared_bytes_reserved are {} and {}, together more than "
          "scratchpad.bytes, {}",
          g.shared_bytes_per_block(), g.shared_bytes_reserved(), t.scratchpad().bytes());
  }

  static std::string capabilityList() {
    std::vector<uint32_t> all;
    for (const Family &family : families)
      all.push_back(family.computeCapability);
    return fmt::format("{}", fmt::join(all, ", "));
  }

  void checkEnergy() {
    auto hasType = [](const auto &list, DataType type) {
      return std::ranges::any_of(list, [&](const auto &entry) { return entry.type() == type; });
    };
    for (const MatrixType &type : t.matrix().types())
      holds(hasType(t.energy().multiply_add(), type.type()), {"energy.multiply_add", "matrix.types"},
            "energy.multiply_add has no entry for {}, which matrix.types has", DataType_Name(type.type()));
    for (const OperationEnergy &energy : t.energy().multiply_add())
      holds(hasType(t.matrix().types(), energy.type()),
            {fmt::format("energy.multiply_add[{}]", DataType_Name(energy.type())), "matrix.types"},
            "energy.multiply_add has an entry for {}, which matrix.types does not have",
            DataType_Name(energy.type()));
    holds(t.has_shared() == (t.energy().shared_pj_per_byte() > 0), {"energy.shared_pj_per_byte", "shared"},
          "energy.shared_pj_per_byte is {}, but the description {} shared memory",
          t.energy().shared_pj_per_byte(), t.has_shared() ? "has" : "has no");
  }

  const TargetDescription &t;
  Report &report;
};

} // namespace

void checkFields(const TargetDescription &description, Report &report) {
  checkMessage(description, "", isGpu(description), report);
}

void checkRelations(const TargetDescription &description, Report &report) {
  Relations(description, report).check();
}

bool isAssumed(Provenance::Grade grade) {
  return grade != Provenance::PRIMARY && grade != Provenance::PRESS;
}

const Provenance *provenanceOf(const TargetDescription &description, const std::string &path) {
  const Provenance *best = nullptr;
  size_t longest = 0;
  for (const Provenance &entry : description.provenance())
    for (const std::string &group : entry.paths())
      if (covers(group, path) && (!best || group.size() > longest)) {
        best = &entry;
        longest = group.size();
      }
  return best;
}

void checkProvenance(const TargetDescription &description, Report &report) {
  if (report.isBad("provenance"))
    return;
  TargetDescription copy = description; // resolve() wants a message that it could change
  std::set<std::string> seen;
  for (int i = 0; i < description.provenance_size(); ++i) {
    const Provenance &entry = description.provenance(i);
    std::string entryPath = fmt::format("provenance[{}]", i);
    for (const std::string &path : entry.paths()) {
      if (!seen.insert(path).second)
        report.error(entryPath,
                     fmt::format("two sources for {}", path.empty() ? "the whole description" : path), "",
                     "keep one of them");
      PathError error;
      if (!path.empty() && !report.isBad(path) && !resolve(copy, path, error).message)
        report.error(entryPath, fmt::format("the source of '{}' is of nothing: {}", path, error.what), "",
                     error.hint);
    }
    bool needsSource = !isAssumed(entry.grade()) || entry.grade() == Provenance::TERTIARY;
    if (needsSource && entry.source().empty())
      report.error(entryPath, fmt::format("{} has no source", entryPath),
                   fmt::format("grade {} says that one exists", Provenance::Grade_Name(entry.grade())));
    if (!needsSource && entry.reason().empty())
      report.error(entryPath, fmt::format("{} has no reason", entryPath),
                   fmt::format("grade {} asks for one", Provenance::Grade_Name(entry.grade())));
  }
  for (const Field &figure : figures(description))
    if (!report.isBad(figure.path) && !provenanceOf(description, figure.path))
      report.error(figure.path, fmt::format("{} has no source", figure.path),
                   "every figure has one entry in provenance",
                   "add its path, or that of a group around it, to an entry");
}

} // namespace npuc::target
