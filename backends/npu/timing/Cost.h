// What one command costs when nothing else runs: closed formulas. The simulator (Simulator.h) adds what other
// commands do to it; the compiler takes them as they are.
//
// Every cost is start-up + the greatest of the times of the resources that work side by side + latency, and
// names the resource that it is bound by. Times are in cycles of the core's clock. Bandwidths are of one
// slice where a core has slices: they share a command's batch, m or n (Contract) or its points (Vector)
// evenly and work in lock step.
#pragma once

#include "backends/npu/timing/Machine.h"

#include <string>
#include <string_view>

namespace npuc::timing {

/// What a command's time is bound by.
enum class Bound : uint8_t {
  Nothing,        ///< No work: a barrier, a predicate that is false, an empty extent.
  Latency,        ///< Fill and drain of the engine, or the way to memory and back.
  Compute,        ///< Multiply-adds, or vector operations.
  StationaryLoad, ///< Loading blocks of the stationary operand.
  Operands,       ///< Scratchpad bandwidth of the engine's operands.
  SliceExchange,  ///< Data that slices need from each other.
  Drain,          ///< Sums leaving the accumulators.
  Tables,         ///< Look-up ports.
  ProgramLoad,    ///< Loading the vector program.
  Startup,        ///< Start-up and descriptors of a DMA command.
  DmaEngine,      ///< The DMA queue's own rate.
  ScratchpadPort, ///< A scratchpad's bandwidth to DMA.
  Network,
  SharedMemory,
  Dram,
};
inline constexpr size_t boundCount = static_cast<size_t>(Bound::Dram) + 1;
std::string_view name(Bound bound);

struct Cost {
  double cycles = 0;
  Bound bound = Bound::Nothing;
  double scratchpadBytes = 0; ///< Read and written by the engine: matrix and vector.
};

/// A contraction as the matrix engine sees it: products of the extents of its batch, m, n and k dimensions.
struct Contraction {
  ElementType a = ElementType::I8, b = ElementType::I8, sum = ElementType::I32;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool accumulate = false;
  bool sumsInScratchpad = false; ///< C is a view of the scratchpad, not of the accumulators.
  /// No dimension of A (B) has elements next to each other, so each takes a bank access of its own.
  bool scatteredA = false, scatteredB = false;
  int64_t multiplyAdds() const { return batch * m * n * k; }
  friend bool operator==(const Contraction &, const Contraction &) = default;
};
Contraction contraction(const isa::Pools &pools, const isa::Command &command,
                        std::span<const int64_t> registers);

/// Each slice takes ceil(batch/sb) x ceil(m/sm) x ceil(n/sn), sb·sm·sn ≤ slices; of all such splits the one
/// with the least cycles. With M, N, K the numbers of blocks of lanes_m, lanes_n and the type's lanes_k in it
/// (edges padded):
///   step      = lanes_k of the type / (lanes_k · rate)                      cycles
///   compute   = batch · M · N · K · step
///   stream    = batch · M · K · ceil(N / reuse) · bytes of an A block / stream_bytes_per_cycle
///   weights   = batch · K · N · max(stationary_load_cycles, bytes of a B block / weight_bytes_per_cycle)
///   [WEIGHTS]
///             = batch · M · K · N · bytes of a B block / weight_bytes_per_cycle [OUTPUT]
///   exchange  = (bytes of A and B that a slice needs − its even share of them) / slice_bytes_per_cycle
///   drain     = batch · m · n of a slice / drain_elements_per_cycle if C is in the scratchpad, twice with
///   `accumulate`
/// `reuse` is stream_reuse, at most N and at most the B blocks that stationary_bytes (its half, if
/// double-buffered) hold. WEIGHTS: the B blocks of one group of `reuse` are loaded together. Double-buffered,
/// only the first group's load and what the others exceed the streaming by are seen:  load + (groups − 1) ·
/// max(load, work) + work;  otherwise groups · (load + work), with work = max(compute, stream, exchange,
/// drain) / groups. OUTPUT: max(compute, stream, weights, exchange, drain). A bandwidth is at most banks ·
/// ports · bank_bytes of the scratchpad, and a scattered operand gets one element from each bank access.
/// Added once: latency_cycles, the scratchpad's latency, the drain of the last step's sums (lanes_m · lanes_n
/// / drain_elements_per_cycle) if C is in the scratchpad, and one slice_hop_cycles for each slice after the
/// first that shares an operand.
Cost contractCost(const Machine &machine, const Contraction &work);

/// Accumulator to scratchpad on the matrix engine: latency of the scratchpad + elements / (slices ·
/// drain_elements_per_cycle).
Cost drainCost(const Machine &machine, int64_t elements);

/// Whether an instruction is priced by the lanes: not operand accesses, constants, indices and look-ups.
bool takesLanes(isa::VectorOp op);

/// A vector command under given register values.
struct VectorWork {
  std::span<const isa::VectorInstruction> instructions;
  int64_t points = 0;      ///< Of the loop nest.
  uint32_t operations = 0; ///< Instructions that take lanes or look-up ports.
  int64_t outputs = 0;     ///< Points that are not reduced together; `points` if nothing is reduced.
  int64_t bytes = 0;       ///< Read from and written to the scratchpad, all slices.
  int64_t scattered =
      0; ///< Accesses of one element each (an innermost stride that is not 1), not in `bytes`.
  int64_t accumulatorElements = 0;
};
/// An operand is read again for every point but along the innermost loops in which it is broadcast; a
/// reduction's result is written once.
VectorWork vectorWork(const isa::Pools &pools, const isa::Command &command,
                      std::span<const int64_t> registers);

/// With p = ceil(points / slices):
///   compute  = Σ over groups of `chained_stages` instructions of max(ceil(p / (lanes · type rate)) /
///   function rate);
///              operand accesses, constants, indices and look-ups take no lanes, reductions do
///   operands = bytes / slices / bytes_per_cycle + scattered accesses / slices / (banks · ports)
///   tables   = p · look-ups / table_ports
///   drain    = accumulator elements / slices / drain_elements_per_cycle; without chained_to_vector the sums
///   go through the
///              scratchpad first: that time comes before, and their bytes are added to the operands'
/// Cycles: the greatest of them + latency_cycles + the scratchpad's latency + program_load_cycles if
/// `loadProgram` + one slice_hop_cycles for each further slice that an output is reduced over.
Cost vectorCost(const Machine &machine, const VectorWork &work, bool loadProgram = true);

/// One side of a DMA transfer in its memory: runs of bytes that lie next to each other, in the order of the
/// copy.
struct Side {
  isa::Space space = isa::Space::Scratchpad;
  uint32_t core = 0;    ///< Scratchpad: the owner.
  int64_t base = 0;     ///< Bytes; of the first run, from the start of the buffer or memory.
  int64_t runBytes = 0; ///< Of each run.
  uint8_t rank = 0;     ///< Loops around the run, outermost first, strides in bytes.
  uint32_t buffer = 0;  ///< Dram: View::buffer.
  struct Loop {
    int64_t size = 0, stride = 0;
  };
  std::array<Loop, isa::maxRank + 1> loops{};
  /// > 0: gather or scatter: rows of runBytes, this many to choose from, at base + stride · index.
  int64_t rows = 0, rowStride = 0;
  int64_t runs() const;
};

struct Transfer {
  bool fill = false; ///< No source.
  Side source, destination;
  int64_t bytes = 0;       ///< Payload, once.
  int64_t engineBytes = 0; ///< Payload with each run rounded up to the class's granule.
  int64_t descriptors = 1;
  int64_t indexBytes = 0; ///< Of gather and scatter.
  isa::Space indexSpace = isa::Space::Dram;
  uint32_t indexBuffer = 0;
  int64_t indexBase = 0;
  uint32_t core = 0;                  ///< Whose stream the command is in.
  uint32_t copies = 1;                ///< Destinations of a multicast.
  uint32_t sends = 1;                 ///< Times the payload leaves: `copies` if the class cannot multicast.
  uint32_t hops = 0, clusterHops = 0; ///< Core to core: the longest way.
  bool crossesCores = false;          ///< Scratchpad to another core's.
};
/// `core` is the core whose stream the command is in; `cores[b]` the owner of scratchpad buffer b, if the
/// operands name virtual buffers (a tile graph), empty if View::buffer is the core itself.
Transfer transfer(const Machine &machine, const isa::Pools &pools, const isa::Command &command, uint32_t core,
                  std::span<const int64_t> registers, std::span<const uint32_t> cores = {});

/// startup_cycles + (descriptors − 1) · descriptor_cycles + the greatest of
///   engine     = engineBytes · sends / bytes_per_cycle
///   port       = bytes / scratchpad.dma_bytes_per_cycle, of each scratchpad that takes part (both ways in
///   one add up) network    = bytes · sends / least of network.bytes_per_cycle and, if a core takes part,
///   bytes_per_cycle_per_core shared     = bytes / least of shared.bytes_per_cycle and
///   bytes_per_cycle_per_core DRAM       = max(bursts touched / peak, row activations · least time between
///   two / channels) / (1 − t_rfc / t_refi)
/// + latency: of each memory, t_rcd + t_cl of DRAM, hops. Indices come before the data: their DRAM or SRAM
/// latency is added.
Cost transferCost(const Machine &machine, const isa::Command &command, const Transfer &work);

/// Any command; of a vector command with the load of its program. `core`, `cores`: see transfer().
Cost cost(const Machine &machine, const isa::Pools &pools, const isa::Command &command,
          std::span<const int64_t> registers, uint32_t core = 0, std::span<const uint32_t> cores = {});

/// Why the machine cannot run the command at all (a data type, function, DMA class or route that it lacks),
/// as one sentence; empty if it can.
std::string unsupported(const Machine &machine, const isa::Pools &pools, const isa::Command &command);

} // namespace npuc::timing
