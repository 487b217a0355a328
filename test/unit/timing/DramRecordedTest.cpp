// The DRAM model beside figures recorded from a public simulator that ticks every cycle: DRAMsim3
// (github.com/umd-memsys/DRAMsim3, commit 29817593b3389f1337235d63cac515024ab8fd6e).
//
// Its configuration is the description's: [dram_structure] bankgroups, banks_per_group; columns and
// device_width such that a row has row_bytes, BL and bus_width such that a burst has burst_bytes and takes
// burst_bytes / bytes_per_cycle cycles:
//   atom         GDDR6   4 x 4 banks, columns 64, device_width 8, BL 32, bus_width 8, 16 channels, t32AW 0
//   sapeon-x220  LPDDR4  1 x 8 banks, columns 1024, device_width 16, BL 16, bus_width 32, 4 channels
// [timing] CL = CWL = t_cl, tRCD = tRCDRD = tRCDWR = t_rcd, tRP, tRAS, tFAW, tWR, tREFI and tRFC those of
// their names, tRRD_S = tRRD_L = t_rrd, tCCD_L = t_ccd_l, tCCD_S = tRTP = a burst, tPPD 0; tRTRS =
// t_turnaround and tWTR_S = tWTR_L = t_turnaround - t_cl, so that data of different directions lie
// t_turnaround apart. [system] row_buf_policy OPEN_PAGE, queue_structure PER_BANK, cmd_queue_size 8,
// trans_queue_size 32, the default refresh_policy. A burst's channel, bank, row and column are those that
// Dram.h's address map gives it.
//
// A trace's requests are asked for in order, burst by burst, each as soon as there are less than 64 a channel
// under way; recorded are the cycles until the last burst is through, but for up to 8 writes a channel that
// the simulator keeps.
#include "Fixtures.h"
#include "backends/npu/target/Target.h"
#include "backends/npu/timing/Dram.h"

#include <catch2/catch.hpp>

#include <queue>

using namespace npuc;
using namespace npuc::timing;

namespace {

enum class Kind : uint8_t {
  Stream, ///< Request i at i * stride.
  Copy,   ///< By turns read from the start on, and written from 64 MiB on.
  Random, ///< Anywhere in 256 MiB, at a multiple of its bytes; `writes` of 100 are writes.
};

struct Trace {
  Kind kind;
  uint64_t total, bytes, stride; ///< `total` bytes in requests of `bytes`.
  unsigned writes;
  double atom, x220; ///< Cycles of DRAMsim3.
};

constexpr uint64_t mebi = 1 << 20;
const Trace traces[] = {
    {Kind::Stream, 4 * mebi, 256, 256, 0, 17942, 138740},
    {Kind::Stream, 4 * mebi, 256, 256, 100, 18058, 139695},
    {Kind::Stream, 4 * mebi, 8192, 8192, 0, 17942, 138740},
    {Kind::Stream, 1 * mebi, 256, 1024, 0, 4514, 138740},
    {Kind::Stream, 1 * mebi, 256, 3072, 0, 5020, 138797},
    {Kind::Stream, 1 * mebi, 256, 8448, 0, 4863, 35165},
    {Kind::Stream, 1 * mebi, 64, 256, 0, 4509, 34879},
    {Kind::Stream, 1 * mebi, 512, 4096, 0, 4620, 69590},
    {Kind::Copy, 4 * mebi, 8192, 0, 0, 28252, 176556},
    {Kind::Copy, 4 * mebi, 1024, 0, 0, 28077, 173306},
    {Kind::Random, 1 * mebi, 64, 0, 0, 9865, 99639},
    {Kind::Random, 1 * mebi, 256, 0, 0, 5586, 38798},
    {Kind::Random, 2 * mebi, 1024, 0, 0, 10626, 71614},
    {Kind::Random, 4 * mebi, 4096, 0, 0, 19407, 141016},
    {Kind::Random, 1 * mebi, 64, 0, 100, 10827, 102692},
    {Kind::Random, 1 * mebi, 256, 0, 100, 6348, 41597},
    {Kind::Random, 1 * mebi, 64, 0, 50, 12074, 103167},
    {Kind::Random, 1 * mebi, 256, 0, 25, 6564, 45896},
    {Kind::Random, 1 * mebi, 256, 0, 50, 6753, 47812},
    {Kind::Random, 2 * mebi, 1024, 0, 50, 13041, 88736},
    {Kind::Random, 4 * mebi, 4096, 0, 50, 23530, 157066},
};

struct Request {
  uint64_t address;
  bool write;
};

std::vector<Request> requests(const Trace &trace) {
  std::vector<Request> result;
  uint64_t state = 88172645463325252u; // xorshift64, with the seed of its paper
  auto random = [&] {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  };
  for (uint64_t i = 0; i < trace.total / trace.bytes; ++i) {
    if (trace.kind == Kind::Stream) {
      result.push_back({i * trace.stride, trace.writes == 100});
    } else if (trace.kind == Kind::Copy) {
      result.push_back({i / 2 * trace.bytes + i % 2 * 64 * mebi, i % 2 == 1});
    } else {
      const uint64_t address = random() % (256 * mebi / trace.bytes) * trace.bytes;
      result.push_back({address, random() % 100 < trace.writes});
    }
  }
  return result;
}

double cycles(target::TargetDescription target, const Trace &trace) {
  const target::Dram &dram = target.dram();
  target.set_clock_ghz(dram.clock_ghz()); // so that times are DRAM cycles
  DramModel model{Machine(target)};
  const uint64_t burst = dram.burst_bytes(), piece = dram.interleave_bytes();
  std::priority_queue<double, std::vector<double>, std::greater<>> free;
  double time = 0, done = 0;
  uint64_t ahead = 0;
  for (const Request &request : requests(trace))
    for (uint64_t at = 0; at < trace.bytes; at += piece) {
      const uint64_t bytes = std::min(piece, trace.bytes - at);
      for (ahead += bytes / burst; ahead > uint64_t{64} * dram.channels(); --ahead) {
        time = std::max(time, free.top());
        free.pop();
      }
      const double end = model.access(time, request.address + at, bytes, request.write);
      done = std::max(done, end);
      for (uint64_t i = 0; i < bytes / burst; ++i)
        free.push(end - double(i * burst) / dram.bytes_per_cycle());
    }
  return done;
}

} // namespace

TEST_CASE("bandwidth as DRAMsim3 has it: streams within 5 %, the rest within 15 %", "[dram]") {
  for (const char *name : {"atom", "sapeon-x220"}) {
    Diagnostics diagnostics;
    auto target = target::load(name, {}, diagnostics);
    REQUIRE(target);
    for (const Trace &trace : traces) {
      INFO(name << ", trace " << &trace - traces);
      const bool stream =
          trace.kind == Kind::Copy || (trace.kind == Kind::Stream && trace.stride == trace.bytes);
      const double recorded = target->name() == "atom" ? trace.atom : trace.x220;
      CHECK(cycles(*target, trace) == Approx(recorded).epsilon(stream ? 0.05 : 0.15));
    }
  }
}
