#include "backends/npu/timing/Dram.h"
#include "DramReference.h"
#include "Fixtures.h"

#include <catch2/catch.hpp>

#include <queue>
#include <random>

using namespace npuc;
using namespace npuc::timing;
using namespace npuc::timing::test;

namespace {

DramModel handDram() {
  return DramModel(Machine(handMachine()));
}

DramModel changed(void (*change)(target::Dram &)) {
  auto target = handMachine();
  change(*target.mutable_dram());
  return DramModel(Machine(target));
}

struct Kind {
  const char *name;
  DramRules rules;
  unsigned bytesPerCycle, rowBytes;
};

// One channel each. GDDR6 at 16 Gb/s on 16 pins (clock 2 GHz, 32-byte bursts): the published GDDR6-AiM
// figures, with t_rrd 5.5 ns, t_faw 22 ns, t_wr 15 ns of JESD250. LPDDR4-4266 on 16 pins (2.133 GHz, burst
// 16): JESD209-4. HBM2/3 pseudo channel at 1 GHz (64-byte bursts of 128 bits): the published HBM2 figures
// with t_rrd 4, t_faw 16 of JESD235.
const Kind kinds[] = {
    {"GDDR6", {4, 16, 2, 36, 32, 54, 50, 3, 11, 44, 30, 12, 3333, 210}, 16, 2048},
    {"LPDDR4", {1, 8, 8, 39, 45, 90, 36, 8, 22, 86, 39, 16, 8333, 598}, 4, 2048},
    {"HBM3", {4, 16, 2, 14, 14, 33, 20, 4, 4, 16, 16, 6, 3900, 350}, 32, 1024},
};

target::TargetDescription described(const Kind &kind) {
  auto target = handMachine();
  target::Dram &dram = *target.mutable_dram();
  const DramRules &r = kind.rules;
  dram.set_bank_groups(r.groups);
  dram.set_banks(r.banks);
  dram.set_row_bytes(kind.rowBytes);
  dram.set_bytes_per_cycle(kind.bytesPerCycle);
  dram.set_burst_bytes(r.burst * kind.bytesPerCycle);
  dram.set_interleave_bytes(256);
  dram.set_t_rcd(r.rcd);
  dram.set_t_rp(r.rp);
  dram.set_t_ras(r.ras);
  dram.set_t_cl(r.cl);
  dram.set_t_ccd_l(r.ccdL);
  dram.set_t_rrd(r.rrd);
  dram.set_t_faw(r.faw);
  dram.set_t_wr(r.wr);
  dram.set_t_turnaround(r.turnaround);
  dram.set_t_refi(r.refi);
  dram.set_t_rfc(r.rfc);
  return target;
}

struct Request {
  uint64_t address, bytes;
  bool write;
};

// The address map that Dram.h states, for one channel: bursts take turns over two bank groups (t_ccd_l is at
// most two bursts), or over none where there are none.
std::vector<DramBurst> bursts(const Kind &kind, const std::vector<Request> &requests) {
  const unsigned burst = kind.rules.burst * kind.bytesPerCycle, turns = kind.rules.groups > 1 ? 2 : 1;
  std::vector<DramBurst> result;
  for (const Request &r : requests)
    for (uint64_t at = r.address / burst; at <= (r.address + r.bytes - 1) / burst; ++at) {
      const uint64_t pair = at * burst / (kind.rowBytes * turns);
      const auto group = static_cast<unsigned>(at % turns);
      const auto slot = static_cast<unsigned>(pair % (kind.rules.banks / turns));
      // Pairs of banks: the two of a pair lie in different groups, and pairs share groups.
      result.push_back({(group + turns * slot) % kind.rules.groups, slot * turns + group,
                        static_cast<int64_t>(pair / (kind.rules.banks / turns)), r.write});
    }
  return result;
}

/// DRAM cycles of the event-driven model for `requests`, asked for in pieces of at most 256 bytes, with as
/// many bursts ahead as the reference's queue holds.
double modelCycles(const Kind &kind, const std::vector<Request> &requests) {
  DramModel dram{Machine(described(kind))};
  const unsigned burst = kind.rules.burst * kind.bytesPerCycle;
  std::priority_queue<double, std::vector<double>, std::greater<>> free;
  double time = 0, done = 0;
  unsigned ahead = 0;
  for (const Request &r : requests)
    for (uint64_t at = 0; at < r.bytes; at += 256) {
      const uint64_t bytes = std::min<uint64_t>(256, r.bytes - at);
      const auto size = static_cast<unsigned>((bytes + burst - 1) / burst);
      for (ahead += size; ahead > kind.rules.queue; --ahead) {
        time = std::max(time, free.top());
        free.pop();
      }
      const double end = dram.access(time, r.address + at, bytes, r.write);
      done = std::max(done, end);
      // An entry is free when its access is issued, t_cl before its data.
      for (unsigned i = 0; i < size; ++i)
        free.push(end - kind.rules.cl - (i + 1.0) * kind.rules.burst);
    }
  return done;
}

std::vector<Request> stream(uint64_t bytes, uint64_t step) {
  std::vector<Request> result;
  for (uint64_t at = 0; at < bytes; at += step)
    result.push_back({at, step, false});
  return result;
}

std::vector<Request> random(unsigned count, uint64_t bytes, unsigned percentWrites) {
  std::mt19937 generator(7);
  std::vector<Request> result;
  for (unsigned i = 0; i < count; ++i)
    result.push_back({generator() % (1u << 26) / bytes * bytes, bytes, generator() % 100 < percentWrites});
  return result;
}

} // namespace

TEST_CASE("a row miss, a hit and a conflict", "[dram]") {
  DramModel dram = handDram();
  // 16 bytes from a precharged bank: activate at 0, access at t_rcd 5, data from 5 + t_cl 3, for 16 / 8 = 2
  // cycles.
  CHECK(dram.access(0, 0, 16, false) == 5 + 3 + 2);
  // Same row, long after: access at 100.
  CHECK(dram.access(100, 16, 16, false) == 100 + 3 + 2);
  // Another row of the same bank (2 banks of 256-byte rows): precharge t_rp 4, activate, t_rcd 5.
  CHECK(dram.access(200, 512, 16, false) == 200 + 4 + 5 + 3 + 2);
  // The other bank.
  CHECK(dram.access(300, 256, 16, false) == 300 + 5 + 3 + 2);
  CHECK(dram.statistics().misses == 2);
  CHECK(dram.statistics().hits == 1);
  CHECK(dram.statistics().conflicts == 1);
  CHECK(dram.statistics().readBytes == 64);
}

TEST_CASE("a run of a row is priced once", "[dram]") {
  // 256 bytes: 32 cycles of data. The next row is in the other bank, activated (t_rrd after the first) while
  // these come: no gap.
  DramModel dram = handDram();
  CHECK(dram.access(0, 0, 256, false) == 8 + 32);
  CHECK(dram.access(0, 256, 256, false) == 8 + 64);
}

TEST_CASE("precharge waits for t_ras and, after a write, t_wr", "[dram]") {
  // Activate at 0, data done at 10, but the row stays open until t_ras 9; asked for at once: precharge at 9,
  // + 4 + 5 + 3 + 2.
  DramModel dram = handDram();
  dram.access(0, 0, 16, false);
  CHECK(dram.access(0, 512, 16, false) == 9 + 4 + 5 + 3 + 2);
  // After a write whose data end at 10, t_wr 6: precharge at 16; the read turns the bus around, long over.
  DramModel written = handDram();
  written.access(0, 0, 16, true);
  CHECK(written.access(0, 512, 16, false) == 16 + 4 + 5 + 3 + 2);
}

TEST_CASE("turnaround, activate spacing, bank groups", "[dram]") {
  // A write in the same row right after a read: its data start t_turnaround 3 after the read's end at 10.
  DramModel dram = handDram();
  dram.access(0, 0, 16, false);
  CHECK(dram.access(0, 16, 16, true) == 10 + 3 + 2);
  // t_rrd 20: the other bank's activate comes at 20.
  DramModel spaced = changed([](target::Dram &d) { d.set_t_rrd(20); });
  spaced.access(0, 0, 16, false);
  CHECK(spaced.access(0, 256, 16, false) == 20 + 5 + 3 + 2);
  // t_faw 50 with 8 banks: four activates at 0, 2, 4, 6, the fifth at 50.
  DramModel window = changed([](target::Dram &d) {
    d.set_banks(8);
    d.set_t_faw(50);
  });
  for (uint64_t bank = 0; bank < 4; ++bank)
    window.access(0, 256 * bank, 16, false);
  CHECK(window.access(0, 256 * 4, 16, false) == 50 + 5 + 3 + 2);
  // t_ccd_l 4 is two bursts: one bank group leaves the bus idle every other burst (16 bursts: 15 * 4 + 2),
  // two take turns.
  DramModel one = changed([](target::Dram &d) { d.set_t_ccd_l(4); });
  CHECK(one.access(0, 0, 256, false) == 8 + 15 * 4 + 2);
  DramModel two = changed([](target::Dram &d) {
    d.set_t_ccd_l(4);
    d.set_bank_groups(2);
  });
  // Two activates, t_rrd apart.
  CHECK(two.access(0, 0, 256, false) == 2 + 8 + 32);
}

TEST_CASE("reads go before writes that are kept back", "[dram]") {
  // All asked for at once, in one row: activate at 0, the first read's data from 8 to 10. The write would
  // come t_turnaround 3 later, but the second read does without that: 10 to 12.
  DramModel dram = handDram();
  CHECK(dram.access(0, 0, 16, false) == 10);
  CHECK(dram.access(0, 16, 16, true) == 10 + 3 + 2);
  CHECK(dram.access(0, 32, 16, false) == 12);
  // 31 more bursts of writes, and no more are kept back: 32 of 2 cycles after the turn.
  CHECK(dram.access(0, 64, 31 * 16, true) == 12 + 3 + 64);
  CHECK(dram.access(0, 48, 16, false) > 12 + 3 + 64);
  // A bus with nothing else to do takes them at once: long after, it has turned around.
  DramModel idle = handDram();
  idle.access(0, 0, 16, false);
  CHECK(idle.access(50, 16, 16, true) == 50 + 3 + 2);
  CHECK(idle.access(60, 32, 16, false) == 60 + 3 + 2);
}

TEST_CASE("refresh", "[dram]") {
  auto refreshed = [](target::Dram &d) {
    d.set_t_refi(1000);
    d.set_t_rfc(50);
  };
  // Before the first refresh nothing changes; a row opened before it is closed by it, and the channel is busy
  // until 1050.
  DramModel dram = changed(refreshed);
  CHECK(dram.access(900, 0, 16, false) == 900 + 5 + 3 + 2);
  CHECK(dram.access(1010, 16, 16, false) == 1050 + 5 + 3 + 2);
  CHECK(dram.access(1100, 32, 16, false) == 1100 + 3 + 2);
  CHECK(dram.statistics().misses == 2);
  CHECK(dram.statistics().conflicts == 0);
  CHECK(dram.statistics().refreshes == 1);
}

TEST_CASE("channels work side by side, and a hash spreads a stride over them", "[dram]") {
  // Four channels of 256 bytes: 1024 bytes take as long as 256.
  DramModel four = changed([](target::Dram &d) { d.set_channels(4); });
  CHECK(four.access(0, 0, 1024, false) == 8 + 32);
  // A stride of 1024 meets one channel, which has 2 banks: conflicts. Hashed, four requests meet four
  // channels.
  auto strided = [](DramModel dram) {
    double done = 0;
    for (uint64_t i = 0; i < 4; ++i)
      done = std::max(done, dram.access(0, i * 1024, 256, false));
    return done;
  };
  CHECK(strided(changed([](target::Dram &d) { d.set_channels(4); })) > 4 * 32);
  CHECK(strided(changed([](target::Dram &d) {
          d.set_channels(4);
          d.set_channel_hash(true);
        })) == 8 + 32);
}

TEST_CASE("unaligned ends cost what the target says", "[dram]") {
  // 16 bytes from byte 8: two bursts of 2 cycles, each ragged; reads twice, writes 10 times.
  auto penalty = [](target::Dram &d) {
    d.set_unaligned_read_penalty(2);
    d.set_unaligned_write_penalty(10);
  };
  CHECK(changed(penalty).access(0, 8, 16, false) == 8 + 2 * 2 * 2);
  CHECK(changed(penalty).access(0, 8, 16, true) == 8 + 2 * 2 * 10);
  CHECK(changed(penalty).access(0, 16, 16, true) == 8 + 2);
}

TEST_CASE("the clocks of core and DRAM", "[dram]") {
  // At half the core's clock every DRAM cycle takes two.
  DramModel slow = changed([](target::Dram &d) { d.set_clock_ghz(0.5); });
  CHECK(slow.access(0, 0, 16, false) == 2 * 10);
}

TEST_CASE("a stream reaches the bus's rate less refresh", "[dram]") {
  for (const Kind &kind : kinds) {
    INFO(kind.name);
    const uint64_t bytes = 1 << 20;
    auto requests = stream(bytes, 256);
    const double model = modelCycles(kind, requests);
    // Closed form: data cycles over the part of the time that is not refresh.
    const double closed = double(bytes) / kind.bytesPerCycle / (1 - double(kind.rules.rfc) / kind.rules.refi);
    CHECK(model == Approx(closed).epsilon(0.05));
    CHECK(model >= double(bytes) / kind.bytesPerCycle);
    CHECK(model == Approx(double(referenceCycles(kind.rules, bursts(kind, requests)))).epsilon(0.05));
  }
}

TEST_CASE("random accesses as the cycle-by-cycle reference", "[dram]") {
  for (const Kind &kind : kinds)
    for (uint64_t bytes : {64, 256}) {
      auto requests = random(2000, bytes, 0);
      INFO(kind.name << ", " << bytes << " bytes");
      const double model = modelCycles(kind, requests),
                   reference = double(referenceCycles(kind.rules, bursts(kind, requests)));
      CHECK(model == Approx(reference).epsilon(0.15));
    }
}
