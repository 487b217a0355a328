#include "RandomGraph.h"

#include "backends/npu/schedule/Dependences.h"

#include <catch2/catch.hpp>
#include <deque>

namespace npuc::schedule::test {
namespace {

using isa::Engine;
using isa::Opcode;
using isa::Space;

class Generator {
public:
  Generator(Random &random, const RandomOptions &options) : random_(random), options_(options) {
    graph_.name = "random";
    graph_.sources = {"", "first", "second", "third"};
    graph_.registers = {{"position", 1, 5}};
    constant_ = dram("weights", isa::Role::Constant, 4096);
    output_ = dram("output", isa::Role::Output, 2048);
    state_ = dram("state", isa::Role::State, 1024);
    live_.resize(options.cores);
  }

  TileGraph run() {
    for (int i = 0; i < options_.steps; ++i)
      step();
    return std::move(graph_);
  }

private:
  struct Tile {
    int row, rows, column, columns;
  };
  // A matrix of bytes in one buffer.
  struct Matrix {
    uint32_t buffer;
    int rows, columns;
  };

  uint32_t dram(std::string name, isa::Role role, int64_t bytes) {
    isa::Buffer buffer;
    buffer.name = std::move(name);
    buffer.role = role;
    buffer.bytes = bytes;
    buffer.shape = {bytes};
    graph_.dram.push_back(buffer);
    return add({Space::Dram, 0, bytes, 64, static_cast<uint32_t>(graph_.dram.size() - 1)});
  }
  uint32_t add(VirtualBuffer buffer) {
    graph_.buffers.push_back(buffer);
    return static_cast<uint32_t>(graph_.buffers.size() - 1);
  }
  int pick(int least, int greatest) { return test::pick(random_, least, greatest); }

  isa::View view(const Matrix &m, const Tile &t) const {
    isa::View view;
    view.space = graph_.buffers[m.buffer].space;
    view.buffer = m.buffer;
    view.base = t.row * m.columns + t.column;
    view.rank = 2;
    view.dims[0] = {t.rows, m.columns};
    view.dims[1] = {t.columns, 1};
    return view;
  }
  // Any bytes of a DRAM buffer in the tile's shape.
  isa::View dramView(uint32_t buffer, const Tile &t) {
    isa::View view;
    view.space = Space::Dram;
    view.buffer = buffer;
    view.rank = 2;
    const int stride = t.columns + pick(0, 8);
    view.dims[0] = {t.rows, stride};
    view.dims[1] = {t.columns, 1};
    const int64_t reach = (t.rows - 1) * stride + t.columns + (buffer == state_ ? 5 * 16 : 0);
    view.base = pick(0, static_cast<int>(graph_.buffers[buffer].bytes - reach));
    if (buffer == state_) {
      view.baseRegister = 0;
      view.registerScale = 16;
    }
    return view;
  }

  void operation(uint32_t core, Opcode opcode, Engine engine, std::vector<isa::View> operands,
                 bool accumulate = false, std::vector<uint16_t> multicast = {}) {
    isa::Command command;
    command.opcode = opcode;
    command.engine = engine;
    command.accumulate = accumulate;
    command.source = pick(0, 3);
    std::vector<isa::VectorInstruction> body;
    if (opcode == Opcode::Vector) {
      const auto last = static_cast<uint8_t>(operands.size() - 1);
      for (uint8_t i = 0; i < last; ++i)
        body.push_back({isa::VectorOp::Load, ElementType::I32, i, i});
      body.push_back({isa::VectorOp::Store, ElementType::I32, last, 0});
    }
    graph_.operations.push_back(graph_.add(command, operands, body, {}, multicast));
    graph_.cores.push_back(core);
  }

  Tile anyTile(const Matrix &m) {
    Tile t;
    t.row = pick(0, m.rows - 1);
    t.rows = pick(1, m.rows - t.row);
    t.column = pick(0, m.columns - 1);
    t.columns = pick(1, m.columns - t.column);
    return t;
  }
  const Matrix &any(const std::vector<Matrix> &list) { return list[random_() % list.size()]; }

  // Cut by rows or by columns.
  std::vector<Tile> tiles(const Matrix &m) {
    std::vector<Tile> result;
    const bool byRows = pick(0, 1) == 0;
    const int size = byRows ? m.rows : m.columns;
    for (int at = 0, length = 0; at < size; at += length) {
      length = pick(1, size - at);
      result.push_back(byRows ? Tile{at, length, 0, m.columns} : Tile{0, m.rows, at, length});
    }
    std::shuffle(result.begin(), result.end(), random_);
    return result;
  }

  void step() {
    const auto core = static_cast<uint32_t>(pick(0, static_cast<int>(options_.cores) - 1));
    switch (pick(0, 9)) {
    case 0:
      return viaAccumulator(core);
    case 1:
      return multicast(core);
    case 2:
      return viaShared(core);
    case 3:
      return viaWorkspace(core);
    case 4:
      return update(core);
    case 5:
      return store(core);
    default:
      return fill(make(core));
    }
  }

  Matrix make(uint32_t core) {
    Matrix m{0, pick(1, options_.columns / 2), pick(1, options_.columns)};
    m.buffer = add({Space::Scratchpad, core, m.rows * m.columns, uint32_t(1) << pick(0, 4)});
    return m;
  }

  void keep(uint32_t core, const Matrix &m) {
    auto &list = live_[core];
    list.push_back(m);
    if (static_cast<int>(list.size()) > options_.livePerCore)
      list.erase(list.begin() + pick(0, static_cast<int>(list.size()) - 1));
  }

  void fill(const Matrix &m) {
    const uint32_t core = graph_.buffers[m.buffer].core;
    for (const Tile &t : tiles(m)) {
      const auto from = static_cast<uint32_t>(pick(0, static_cast<int>(options_.cores) - 1));
      const int how = pick(0, 3);
      if (how == 0 && !live_[core].empty()) {
        const Matrix &a = any(live_[core]), &b = any(live_[core]);
        operation(core, Opcode::Vector, Engine::Vector,
                  {view(a, anyTile(a)), view(b, anyTile(b)), view(m, t)});
      } else if (how == 1 && !live_[from].empty()) {
        const Matrix &a = any(live_[from]);
        operation(pick(0, 1) == 0 ? core : from, Opcode::Copy, Engine::Dma,
                  {view(a, anyTile(a)), view(m, t)});
      } else {
        operation(core, Opcode::Copy, Engine::Dma, {dramView(constant_, t), view(m, t)});
      }
    }
    keep(core, m);
  }

  void viaAccumulator(uint32_t core) {
    if (live_[core].empty())
      return;
    Matrix sums{0, pick(1, 4), 4 * pick(1, 4)};
    sums.buffer = add({Space::Accumulator, core, sums.rows * sums.columns, 4});
    const Tile whole{0, sums.rows, 0, sums.columns};
    for (int i = 0, count = pick(1, 3); i < count; ++i) {
      const Matrix &a = any(live_[core]), &b = any(live_[core]);
      operation(core, Opcode::Contract, Engine::Matrix,
                {view(a, anyTile(a)), view(b, anyTile(b)), view(sums, whole)}, i > 0);
    }
    Matrix m{0, sums.rows, sums.columns};
    m.buffer = add({Space::Scratchpad, core, m.rows * m.columns, 1});
    operation(core, Opcode::Copy, Engine::Matrix, {view(sums, whole), view(m, whole)});
    keep(core, m);
  }

  void multicast(uint32_t core) {
    const uint32_t group = groups_++;
    Matrix m{0, pick(1, 4), pick(1, options_.columns)};
    std::vector<uint16_t> cores;
    std::vector<Matrix> members;
    for (uint32_t c = 0; c < options_.cores; ++c)
      if (c == core || pick(0, 2) > 0) {
        m.buffer = add({Space::Scratchpad, c, m.rows * m.columns, 8, isa::none, group});
        cores.push_back(static_cast<uint16_t>(c));
        members.push_back(m);
      }
    for (const Tile &t : tiles(m))
      operation(core, Opcode::Copy, Engine::Dma, {dramView(constant_, t), view(any(members), t)}, false,
                cores);
    for (size_t i = 0; i < cores.size(); ++i)
      keep(cores[i], members[i]);
  }

  void viaShared(uint32_t core) {
    Matrix m{0, pick(1, options_.columns / 2), pick(1, options_.columns)};
    m.buffer = add({Space::Shared, 0, m.rows * m.columns, 4});
    for (const Tile &t : tiles(m))
      operation(core, Opcode::Copy, Engine::Dma, {dramView(constant_, t), view(m, t)});
    for (int i = 0, count = pick(1, 3); i < count; ++i) {
      const auto to = static_cast<uint32_t>(pick(0, static_cast<int>(options_.cores) - 1));
      Matrix copy = m;
      copy.buffer = add({Space::Scratchpad, to, m.rows * m.columns, 1});
      for (const Tile &t : tiles(m))
        operation(to, Opcode::Copy, Engine::Dma, {view(m, t), view(copy, t)});
      keep(to, copy);
    }
  }

  void viaWorkspace(uint32_t core) {
    if (live_[core].empty())
      return;
    const Matrix source = any(live_[core]);
    Matrix spilled = source, back = source;
    spilled.buffer = dram("spilled", isa::Role::Workspace, source.rows * source.columns);
    for (const Tile &t : tiles(source))
      operation(core, Opcode::Copy, Engine::Dma, {view(source, t), view(spilled, t)});
    const auto to = static_cast<uint32_t>(pick(0, static_cast<int>(options_.cores) - 1));
    back.buffer = add({Space::Scratchpad, to, source.rows * source.columns, 2});
    for (const Tile &t : tiles(source))
      operation(to, Opcode::Copy, Engine::Dma, {view(spilled, t), view(back, t)});
    keep(to, back);
  }

  void update(uint32_t core) {
    if (live_[core].empty())
      return;
    const Matrix &a = any(live_[core]), &m = any(live_[core]);
    operation(core, Opcode::Vector, Engine::Vector, {view(a, anyTile(a)), view(m, anyTile(m))});
  }

  void store(uint32_t core) {
    if (live_[core].empty())
      return;
    const Matrix &m = any(live_[core]);
    const Tile t = anyTile(m);
    if (pick(0, 2) == 0) {
      const uint32_t buffer = pick(0, 1) == 0 ? output_ : state_;
      operation(core, Opcode::Copy, Engine::Dma, {dramView(buffer, t), view(m, t)});
    } else {
      operation(core, Opcode::Copy, Engine::Dma,
                {view(m, t), dramView(pick(0, 1) == 0 ? output_ : state_, t)});
    }
  }

  Random &random_;
  RandomOptions options_;
  TileGraph graph_;
  uint32_t constant_ = 0, output_ = 0, state_ = 0, groups_ = 0;
  std::vector<std::vector<Matrix>> live_; // of each core: whole and readable
};

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9E3779B97F4A7C15u + b;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ (x >> 29);
}

// Each byte that the view reaches under the register's value, element by element.
template <typename Visit>
void forEachByte(const isa::View &view, std::span<const isa::Register> registers, double share, Visit visit) {
  int64_t base = view.base;
  if (view.baseRegister != isa::noRegister) {
    const isa::Register &r = registers[view.baseRegister];
    base += (r.least + static_cast<int64_t>(share * double(r.greatest - r.least))) * view.registerScale;
  }
  const int64_t bytes = bitWidth(view.type) / 8;
  std::array<int32_t, isa::maxRank> at{};
  while (true) {
    int64_t offset = base;
    for (unsigned d = 0; d < view.rank; ++d)
      offset += at[d] * view.dims[d].stride * bytes;
    for (int64_t i = 0; i < bytes; ++i)
      visit(offset + i);
    unsigned d = view.rank;
    while (d > 0 && ++at[d - 1] == view.dims[d - 1].size)
      at[--d] = 0;
    if (d == 0)
      return;
  }
}

constexpr uint64_t unwritten = 0;

// What a command reads, as one number; what it writes follows from that and from what it is.
struct Execution {
  const isa::Pools &pools;
  std::span<const isa::Register> registers;
  double share;

  template <typename Memory>
  uint64_t read(const isa::Command &command, uint64_t identity, Memory memory) const {
    uint64_t hash = identity;
    const auto operands = pools.operandsOf(command);
    for (unsigned i = 0; i < operands.size(); ++i)
      if (isa::access(pools, command, i).reads)
        forEachByte(operands[i], registers, share, [&](int64_t at) {
          const uint64_t value = memory(operands[i])[at];
          hash = mix(hash, value == unwritten ? 0xBADu : value);
          sawUnwritten |= value == unwritten;
        });
    return hash;
  }
  template <typename Memories>
  void write(const isa::Command &command, uint64_t hash, Memories memories) const {
    const auto operands = pools.operandsOf(command);
    for (unsigned i = 0; i < operands.size(); ++i)
      if (isa::access(pools, command, i).writes)
        for (Bytes *memory : memories(operands[i])) {
          uint64_t count = 0;
          forEachByte(operands[i], registers, share,
                      [&](int64_t at) { (*memory)[at] = mix(hash, ++count) | 1; });
        }
  }
  mutable bool sawUnwritten = false;
};

// Operations are told apart by what they are, for the program has them in another order.
uint64_t identityOf(const isa::Command &command) {
  return mix(static_cast<uint64_t>(command.opcode), command.firstInstruction);
}

Bytes initial(const isa::Buffer &buffer) {
  Bytes bytes(buffer.bytes);
  if (buffer.role != isa::Role::Workspace)
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = mix(std::hash<std::string>()(buffer.name), i) | 1;
  return bytes;
}

class ProgramRun {
public:
  ProgramRun(const isa::Program &program, const Limits &limits, double share, Random &random)
      : program_(program), limits_(limits), random_(random), execution_{program, program.registers, share},
        next_(program.streams.size()), queues_(program.streams.size() * queuesPerCore(limits)),
        raised_(program.semaphores) {
    for (const isa::Buffer &buffer : program.buffers)
      dram_.push_back(initial(buffer));
    for (uint32_t core = 0; core < limits.cores; ++core) {
      scratchpads_.emplace_back(limits.scratchpad.bytes);
      accumulators_.emplace_back(limits.accumulator.bytes);
    }
    shared_.resize(limits.shared.bytes);
  }

  std::vector<Bytes> run() {
    size_t left = program_.commandCount();
    while (left > 0) {
      dispatch();
      std::vector<uint32_t> can;
      for (uint32_t q = 0; q < queues_.size(); ++q)
        if (!queues_[q].empty() && (queues_[q].front().started || isFree(*queues_[q].front().command)))
          can.push_back(q);
      if (can.empty())
        return {};
      const uint32_t q = can[random_() % can.size()];
      Entry &head = queues_[q].front();
      if (!head.started) {
        head.hash = execution_.read(*head.command, identityOf(*head.command),
                                    [&](const isa::View &view) -> Bytes & { return memory(view); });
        head.started = true;
        continue;
      }
      execution_.write(*head.command, head.hash,
                       [&](const isa::View &view) { return destinations(*head.command, view); });
      if (head.command->signal != isa::none)
        ++raised_[head.command->signal];
      queues_[q].pop_front();
      --left;
    }
    return std::move(dram_);
  }

private:
  struct Entry {
    const isa::Command *command;
    bool started = false;
    uint64_t hash = 0;
  };

  void dispatch() {
    for (uint32_t core = 0; core < program_.streams.size(); ++core)
      for (; next_[core] < program_.streams[core].size(); ++next_[core]) {
        const isa::Command &command = program_.streams[core][next_[core]];
        auto &queue = queues_[core * queuesPerCore(limits_) + queueOf(limits_, command)];
        if (queue.size() >= limits_.queueDepth)
          break;
        queue.push_back({&command});
      }
  }
  bool isFree(const isa::Command &command) const {
    for (const isa::Wait &wait : program_.waitsOf(command))
      if (raised_[wait.semaphore] < wait.value)
        return false;
    return true;
  }
  Bytes &memory(const isa::View &view) {
    switch (view.space) {
    case Space::Dram:
      return dram_[view.buffer];
    case Space::Scratchpad:
      return scratchpads_[view.buffer];
    case Space::Accumulator:
      return accumulators_[view.buffer];
    case Space::Shared:
      break;
    }
    return shared_;
  }
  std::vector<Bytes *> destinations(const isa::Command &command, const isa::View &view) {
    if (command.multicastCount == 0)
      return {&memory(view)};
    std::vector<Bytes *> result;
    for (uint16_t core : program_.multicastOf(command))
      result.push_back(&scratchpads_[core]);
    return result;
  }

  const isa::Program &program_;
  const Limits &limits_;
  Random &random_;
  Execution execution_;
  std::vector<uint32_t> next_;
  std::vector<std::deque<Entry>> queues_;
  std::vector<uint32_t> raised_;
  std::vector<Bytes> dram_, scratchpads_, accumulators_;
  Bytes shared_;
};

} // namespace

Limits smallMachine(uint32_t cores) {
  Limits limits;
  limits.cores = cores;
  limits.scratchpad = {4096, 4};
  limits.accumulator = {1024, 4};
  limits.shared = {2048, 8};
  limits.dram = {1 << 20, 16};
  auto route = [](unsigned from, unsigned to) { return static_cast<uint16_t>(1u << (4 * from + to)); };
  limits.dma.push_back({2, true, false,
                        static_cast<uint16_t>(route(0, 2) | route(2, 0) | route(2, 3) | route(3, 2) |
                                              route(2, 2) | route(0, 3))});
  limits.dma.push_back(
      {1, false, true,
       static_cast<uint16_t>(route(0, 1) | route(1, 0) | route(1, 2) | route(2, 1) | route(0, 2))});
  limits.semaphores = 64;
  limits.queueDepth = 2;
  limits.dispatchCycles = 1;
  limits.signalCycles = 2;
  limits.remoteSignalCycles = 5;
  return limits;
}

Price ByteCost::price(const TileGraph &graph, uint32_t operation, uint8_t dmaClass) const {
  Price price{8 + dmaClass};
  for (const isa::View &view : graph.operandsOf(graph.operations[operation])) {
    const auto bytes = static_cast<int64_t>(byteSize(view.type, view.elements()));
    price.cycles += bytes / 8;
    if (view.space == Space::Dram)
      price.shared[Price::Dram] += bytes / 32;
    if (view.space == Space::Shared)
      price.shared[Price::SharedMemory] += bytes / 16;
  }
  return price;
}

TileGraph randomGraph(Random &random, const RandomOptions &options) {
  return Generator(random, options).run();
}

std::vector<Bytes> runGraph(const TileGraph &graph, double registerShare) {
  std::vector<Bytes> memory;
  for (const VirtualBuffer &buffer : graph.buffers)
    memory.push_back(buffer.space == Space::Dram ? initial(graph.dram[buffer.dram]) : Bytes(buffer.bytes));
  const GraphAccesses accesses(graph);
  const Execution execution{graph, graph.registers, registerShare};
  for (const isa::Command &command : graph.operations) {
    const uint64_t hash = execution.read(
        command, identityOf(command), [&](const isa::View &view) -> Bytes & { return memory[view.buffer]; });
    execution.write(command, hash, [&](const isa::View &view) {
      std::vector<Bytes *> result;
      if (command.multicastCount == 0)
        result.push_back(&memory[view.buffer]);
      for (uint16_t core : graph.multicastOf(command))
        result.push_back(&memory[accesses.member(graph.buffers[view.buffer].group, core)]);
      return result;
    });
  }
  REQUIRE_FALSE(execution.sawUnwritten);
  std::vector<Bytes> result;
  for (size_t b = 0; b < memory.size(); ++b)
    if (graph.buffers[b].space == Space::Dram &&
        graph.dram[graph.buffers[b].dram].role != isa::Role::Workspace)
      result.push_back(std::move(memory[b]));
  return result;
}

std::vector<Bytes> runProgram(const isa::Program &program, const Limits &limits, double registerShare,
                              Random &random) {
  std::vector<Bytes> result = ProgramRun(program, limits, registerShare, random).run();
  // Workspaces are the last buffer.
  if (!result.empty() && program.buffers.back().role == isa::Role::Workspace)
    result.pop_back();
  return result;
}

} // namespace npuc::schedule::test
