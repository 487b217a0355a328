#include "Fixtures.h"

#include <google/protobuf/text_format.h>

#include <stdexcept>

namespace npuc::timing::test {

target::TargetDescription handMachine() {
  static const char *text = R"(
    schema_version: 1 name: "hand" title: "counted by hand" clock_ghz: 1
    topology { devices: 1 clusters_per_device: 1 cores_per_cluster: 2 slices_per_core: 1 }
    matrix {
      lanes_m: 1 lanes_n: 4 lanes_k: 4 stationary: WEIGHTS
      types { type: INT8 rate: 1 lanes_k: 4 } types { type: INT4 rate: 2 lanes_k: 8 } types { type: FP16 rate: 0.5 lanes_k: 4 }
      stationary_load_cycles: 4 stationary_double_buffered: false stationary_bytes: 16 latency_cycles: 8
      stream_bytes_per_cycle: 4 weight_bytes_per_cycle: 16 stream_reuse: 1
      accumulators { operand: INT8 bits: 32 } accumulators { operand: INT4 bits: 32 }
      accumulators { operand: FP16 bits: 32 is_float: true }
      accumulator_elements: 4096 drain_elements_per_cycle: 4 chained_to_vector: true
    }
    vector {
      lanes: 4 types { type: FP32 rate: 1 } types { type: INT32 rate: 1 } types { type: FP16 rate: 2 }
      functions { function: "exp" rate: 0.25 } functions { function: "requantize" rate: 0.5 }
      program_length: 64 registers: 16 operands: 8 chained_stages: 1 latency_cycles: 6 bytes_per_cycle: 16
      table_ports: 2 table_entries: 256 program_load_cycles: 10
    }
    scratchpad {
      bytes: 65536 alignment: 16 banks: 4 ports: 1 bank_bytes: 16 dma_bytes_per_cycle: 8 latency_cycles: 2
      interleave_bytes: 64 slice_hop_cycles: 1 slice_bytes_per_cycle: 4
    }
    shared { bytes: 65536 alignment: 16 bytes_per_cycle_per_core: 4 bytes_per_cycle: 6 latency_cycles: 5 }
    dram {
      kind: SIMPLE bytes: 16777216 channels: 1 bank_groups: 1 banks: 2 row_bytes: 256 clock_ghz: 1 bytes_per_cycle: 8
      burst_bytes: 16 interleave_bytes: 256 t_rcd: 5 t_rp: 4 t_ras: 9 t_cl: 3 t_ccd_l: 2 t_rrd: 2 t_faw: 8 t_wr: 6
      t_turnaround: 3 unaligned_read_penalty: 1 unaligned_write_penalty: 1 latency_cycles: 20
    }
    dma {
      name: "copy" queues_per_core: 2 bytes_per_cycle: 8 startup_cycles: 30 dimensions: 3 descriptor_cycles: 7
      granule_bytes: 16 multicast: true gather_scatter: true
      routes { source: DRAM destination: SCRATCHPAD } routes { source: SCRATCHPAD destination: DRAM }
      routes { source: SCRATCHPAD destination: SCRATCHPAD } routes { source: SCRATCHPAD destination: REMOTE_SCRATCHPAD }
      routes { source: SHARED destination: SCRATCHPAD } routes { source: SCRATCHPAD destination: SHARED }
    }
    network { bytes_per_cycle_per_core: 8 bytes_per_cycle: 12 hop_cycles: 3 cluster_hop_cycles: 9 }
    control {
      semaphores: 64 queue_depth: 4 dispatch_cycles: 2 signal_cycles: 1 remote_signal_cycles: 5 command_bytes: 64
      fetch_bytes_per_cycle: 64 launch_microseconds: 3 address_dimensions: 8 registers: 4
    }
    numbers { requantization: FLOAT_SCALE }
    energy {
      multiply_add { type: INT8 picojoules: 1 } multiply_add { type: INT4 picojoules: 0.5 }
      multiply_add { type: FP16 picojoules: 4 }
      scratchpad_pj_per_byte: 1 shared_pj_per_byte: 2 network_pj_per_byte_hop: 3 dram_pj_per_byte: 10
      vector_pj_per_operation: 5 control_factor: 2 board_watts: 10 idle_fraction: 0.5
    }
    host { kind: "none" gigabytes_per_second: 1 latency_microseconds: 1 }
  )";
  target::TargetDescription result;
  if (!google::protobuf::TextFormat::ParseFromString(text, &result))
    throw std::runtime_error("the test's machine does not parse");
  return result;
}

isa::View strided(isa::Space space, uint32_t buffer, int64_t base, ElementType type,
                  std::initializer_list<isa::Dim> dims) {
  isa::View result;
  result.space = space;
  result.type = type;
  result.buffer = buffer;
  result.base = base;
  for (const isa::Dim &dim : dims)
    result.dims[result.rank++] = dim;
  return result;
}

isa::View view(isa::Space space, uint32_t buffer, int64_t base, ElementType type,
               std::initializer_list<int32_t> sizes) {
  isa::View result = strided(space, buffer, base, type, {});
  for (int32_t size : sizes)
    result.dims[result.rank++].size = size;
  int64_t stride = 1;
  for (unsigned d = result.rank; d-- > 0; stride *= result.dims[d].size)
    result.dims[d].stride = stride;
  return result;
}

Builder::Builder(uint32_t cores) {
  program.name = "test";
  program.streams.resize(cores);
  program.sources.emplace_back();
}

uint32_t Builder::dram(int64_t bytes) {
  isa::Buffer buffer;
  buffer.name = "buffer" + std::to_string(program.buffers.size());
  buffer.bytes = bytes;
  buffer.shape = {bytes};
  program.buffers.push_back(buffer);
  return static_cast<uint32_t>(program.buffers.size() - 1);
}

uint32_t Builder::semaphore() {
  return program.semaphores++;
}

isa::Command &Builder::add(uint32_t core, isa::Command command, std::vector<isa::View> operands,
                           std::vector<isa::VectorInstruction> instructions) {
  program.streams[core].push_back(program.add(command, operands, instructions));
  return program.streams[core].back();
}

isa::Command &Builder::copy(uint32_t core, isa::View source, isa::View destination, uint8_t dmaClass,
                            uint8_t queue) {
  isa::Command command;
  command.opcode = isa::Opcode::Copy;
  command.engine = isa::Engine::Dma;
  command.dmaClass = dmaClass;
  command.queue = queue;
  return add(core, command, {source, destination});
}

isa::Command &Builder::contract(uint32_t core, int32_t m, int32_t n, int32_t k, ElementType type) {
  isa::Command command;
  command.opcode = isa::Opcode::Contract;
  command.engine = isa::Engine::Matrix;
  command.rankM = command.rankN = command.rankK = 1;
  const ElementType sum = isFloat(type) ? ElementType::F32 : ElementType::I32;
  return add(core, command,
             {view(isa::Space::Scratchpad, core, 0, type, {m, k}),
              view(isa::Space::Scratchpad, core, 0, type, {k, n}),
              view(isa::Space::Accumulator, core, 0, sum, {m, n})});
}

isa::Command &Builder::vector(uint32_t core, std::vector<isa::View> operands,
                              std::vector<isa::VectorInstruction> instructions) {
  isa::Command command;
  command.opcode = isa::Opcode::Vector;
  command.engine = isa::Engine::Vector;
  return add(core, command, std::move(operands), std::move(instructions));
}

isa::Command &Builder::barrier(uint32_t core, isa::Engine engine) {
  isa::Command command;
  command.opcode = isa::Opcode::Barrier;
  command.engine = engine;
  return add(core, command, {});
}

void Builder::wait(isa::Command &command, uint32_t semaphore, uint32_t value) {
  // A command's waits lie together: move those it has to the pool's end and add one.
  std::vector<isa::Wait> waits(program.waitsOf(command).begin(), program.waitsOf(command).end());
  waits.push_back({semaphore, value});
  command.firstWait = static_cast<uint32_t>(program.waits.size());
  command.waitCount = static_cast<uint16_t>(waits.size());
  program.waits.insert(program.waits.end(), waits.begin(), waits.end());
}

} // namespace npuc::timing::test
