#include "backends/npu/target/Capability.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace npuc::target {
namespace {

using T = TargetDescription;
using Id = CapabilityId;
using Machines = Capability::Machines;

std::string list(const std::vector<std::string> &items) {
  if (items.empty())
    return "nothing";
  if (items.size() == 1)
    return items.front();
  return fmt::format("{} and {}", fmt::join(items.begin(), items.end() - 1, ", "), items.back());
}

template <typename Entries>
std::string typeList(const Entries &entries) {
  std::vector<std::string> names;
  for (const auto &entry : entries)
    names.emplace_back(name(elementType(entry.type())));
  return list(names);
}

std::string accumulatorList(const T &t) {
  std::vector<std::string> items;
  for (const Accumulator &a : t.matrix().accumulators())
    items.push_back(fmt::format("{} {}bits for {}", a.bits(), a.is_float() ? "float " : "",
                                name(elementType(a.operand()))));
  return list(items);
}

std::string functionList(const T &t) {
  std::vector<std::string> names;
  for (const FunctionRate &function : t.vector().functions())
    if (function.rate() > 0)
      names.push_back(function.function());
  return list(names);
}

std::string routeList(const T &t, bool (*wanted)(const DmaClass &)) {
  std::vector<std::string> items;
  for (const DmaClass &dma : t.dma())
    for (const DmaClass::Route &route : dma.routes()) {
      std::string item = fmt::format("{} to {}", Space_Name(route.source()), Space_Name(route.destination()));
      if (wanted(dma) && std::ranges::find(items, item) == items.end())
        items.push_back(item);
    }
  return list(items);
}

bool hasRoute(const T &t, const Facts &facts, bool (*wanted)(const DmaClass &)) {
  return std::ranges::any_of(t.dma(), [&](const DmaClass &dma) {
    return wanted(dma) && std::ranges::any_of(dma.routes(), [&](const DmaClass::Route &route) {
             return route.source() == facts.source && route.destination() == facts.destination;
           });
  });
}

constexpr auto any = [](const DmaClass &) { return true; };
constexpr auto multicasts = [](const DmaClass &dma) { return dma.multicast(); };
constexpr auto gathers = [](const DmaClass &dma) { return dma.gather_scatter(); };

bool fitsAccumulator(const T &t, const Facts &facts) {
  const Accumulator *sums = accumulator(t, facts.type);
  if (!sums || sums->is_float())
    return sums;
  if (facts.bound > 0)
    return facts.bound < uint64_t(1) << (sums->bits() - 1);
  return facts.count <= safeProducts(t, facts.type);
}

std::string foundType(const Facts &facts) {
  return fmt::format("the operands are {}", name(facts.type));
}
std::string foundFunction(const Facts &facts) {
  return fmt::format("the operation is {}", isa::name(facts.function));
}
std::string foundRoute(const Facts &facts) {
  return fmt::format("the transfer is {} to {}", Space_Name(facts.source), Space_Name(facts.destination));
}
std::string foundSum(const Facts &facts) {
  if (facts.bound > 0)
    return fmt::format("a sum of {} products of {} can reach {}", facts.count, name(facts.type), facts.bound);
  return fmt::format("nothing bounds a sum of {} products of {}", facts.count, name(facts.type));
}
std::string foundCount(const Facts &facts) {
  return fmt::format("{} needed", facts.count);
}

uint64_t accumulatorElements(const T &t) {
  return t.matrix().accumulator_elements();
}
uint64_t vectorOperands(const T &t) {
  return t.vector().operands();
}
uint64_t vectorRegisters(const T &t) {
  return t.vector().registers();
}
uint64_t programLength(const T &t) {
  return t.vector().program_length();
}
uint64_t tableEntries(const T &t) {
  return t.vector().table_entries();
}
uint64_t viewRank(const T &t) {
  return t.control().address_dimensions();
}
uint64_t scalarRegisters(const T &t) {
  return t.control().registers();
}
uint64_t semaphores(const T &t) {
  return t.control().semaphores();
}
uint64_t scratchpadBytes(const T &t) {
  return t.scratchpad().bytes();
}
uint64_t sharedBytes(const T &t) {
  return t.shared().bytes();
}

uint64_t ptxVersion(const T &t) {
  return t.gpu().ptx_version();
}
uint64_t blockThreads(const T &t) {
  return t.gpu().threads_per_block();
}
uint64_t blockSharedBytes(const T &t) {
  return t.gpu().shared_bytes_per_block();
}
uint64_t threadRegisters(const T &t) {
  return t.gpu().registers_per_thread();
}

// A capability that is a greatest count.
template <uint64_t (*limit)(const T &)>
constexpr Capability atMost(Machines machines, Id id, std::string_view name, std::string_view sentence,
                            std::string_view hint) {
  return {machines,
          id,
          name,
          sentence,
          [](const T &t) { return std::to_string(limit(t)); },
          [](const T &t, const Facts &facts) { return facts.count <= limit(t); },
          foundCount,
          hint};
}

const std::array table = {
    Capability{Machines::All, Id::MatrixType, "matrix-type", "the matrix engine multiplies {}",
               [](const T &t) { return typeList(t.matrix().types()); },
               [](const T &t, const Facts &facts) { return matrixType(t, facts.type) != nullptr; }, foundType,
               "choose another precision"},
    Capability{Machines::All, Id::AccumulatorWidth, "accumulator-width", "the matrix engine's sums have {}",
               accumulatorList, fitsAccumulator, foundSum, "split k into sums that fit"},
    atMost<accumulatorElements>(Machines::Npus, Id::AccumulatorElements, "accumulator-elements",
                                "a slice's accumulators hold {} elements", "use smaller tiles"),
    Capability{Machines::All, Id::VectorType, "vector-type", "the vector engine computes in {}",
               [](const T &t) { return typeList(t.vector().types()); },
               [](const T &t, const Facts &facts) { return vectorType(t, facts.type) != nullptr; }, foundType,
               "convert to one of them"},
    Capability{Machines::All, Id::VectorFunction, "vector-function",
               "beyond simple operations the vector engine runs {}", functionList,
               [](const T &t, const Facts &facts) { return functionRate(t, facts.function) > 0; },
               foundFunction, ""},
    atMost<vectorOperands>(Machines::Npus, Id::VectorOperands, "vector-operands",
                           "a vector command has at most {} operands", "fuse fewer operations"),
    atMost<vectorRegisters>(Machines::Npus, Id::VectorRegisters, "vector-registers",
                            "a vector program uses at most {} registers", "fuse fewer operations"),
    atMost<programLength>(Machines::Npus, Id::ProgramLength, "program-length",
                          "a vector program has at most {} instructions", "fuse fewer operations"),
    atMost<tableEntries>(Machines::Npus, Id::TableEntries, "table-entries",
                         "a look-up table has at most {} entries", ""),
    Capability{Machines::All, Id::Requantization, "requantization", "sums are requantized by {}",
               [](const T &t) { return std::string(isa::name(requantizeOp(t))); },
               [](const T &t, const Facts &facts) { return facts.function == requantizeOp(t); },
               foundFunction, ""},
    atMost<viewRank>(Machines::Npus, Id::ViewRank, "view-rank", "an operand has at most {} dimensions",
                     "split the command along a dimension"),
    atMost<scalarRegisters>(Machines::Npus, Id::ScalarRegisters, "scalar-registers",
                            "a program has at most {} registers", ""),
    atMost<semaphores>(Machines::Npus, Id::Semaphores, "semaphores", "a program has at most {} semaphores",
                       ""),
    Capability{Machines::Npus, Id::TransferRoute, "transfer-route", "transfers go from {}",
               [](const T &t) { return routeList(t, any); },
               [](const T &t, const Facts &facts) { return hasRoute(t, facts, any); }, foundRoute,
               "go through another memory"},
    Capability{Machines::Npus, Id::Multicast, "multicast", "one transfer reaches several cores from {}",
               [](const T &t) { return routeList(t, multicasts); },
               [](const T &t, const Facts &facts) { return hasRoute(t, facts, multicasts); }, foundRoute,
               "copy to each core"},
    Capability{Machines::Npus, Id::GatherScatter, "gather-scatter", "gather and scatter go from {}",
               [](const T &t) { return routeList(t, gathers); },
               [](const T &t, const Facts &facts) { return hasRoute(t, facts, gathers); }, foundRoute, ""},
    atMost<scratchpadBytes>(Machines::Npus, Id::ScratchpadBytes, "scratchpad-bytes",
                            "a core's scratchpad has {} bytes", "use smaller tiles"),
    atMost<sharedBytes>(Machines::Npus, Id::SharedBytes, "shared-bytes", "shared memory has {} bytes",
                        "place fewer tensors there"),
    atMost<usableDramBytes>(Machines::All, Id::DramBytes, "dram-bytes", "programs may use {} bytes of DRAM",
                            "choose a smaller precision, batch or sequence length"),
    Capability{Machines::Gpus, Id::PtxVersion, "ptx-version", "kernels are in PTX {}",
               [](const T &t) {
                 return fmt::format("{}.{} for sm_{}", ptxVersion(t) / 10, ptxVersion(t) % 10,
                                    t.gpu().compute_capability());
               },
               [](const T &t, const Facts &facts) { return facts.count <= ptxVersion(t); }, foundCount, ""},
    atMost<blockThreads>(Machines::Gpus, Id::BlockThreads, "block-threads", "a block has at most {} threads",
                         "use smaller tiles"),
    atMost<blockSharedBytes>(Machines::Gpus, Id::BlockSharedBytes, "block-shared-bytes",
                             "a block has at most {} bytes of shared memory", "use smaller tiles"),
    atMost<threadRegisters>(Machines::Gpus, Id::ThreadRegisters, "thread-registers",
                            "a thread has at most {} registers", "use smaller tiles"),
};

} // namespace

std::span<const Capability> capabilities() {
  return table;
}

const Capability &capability(CapabilityId id) {
  return table[static_cast<size_t>(id)];
}

std::string sentence(const Capability &capability, const TargetDescription &description) {
  return fmt::format(fmt::runtime(capability.sentence), capability.limit(description));
}

bool applies(const Capability &capability, const TargetDescription &description) {
  return capability.machines == Machines::All ||
         (capability.machines == Machines::Gpus) == isGpu(description);
}

bool holds(CapabilityId id, const TargetDescription &description, const Facts &facts) {
  return !applies(capability(id), description) || capability(id).holds(description, facts);
}

bool check(CapabilityId id, const TargetDescription &description, const Facts &facts,
           const std::string &where, Diagnostics &diagnostics) {
  if (holds(id, description, facts))
    return true;
  const Capability &asked = capability(id);
  diagnostics.error(where, fmt::format("{}: {}", description.name(), sentence(asked, description)),
                    asked.found(facts), std::string(asked.hint));
  return false;
}

} // namespace npuc::target
