// Device memory by the run of a row: channels, bank groups, banks and rows, without a tick for each cycle.
//
// Address map, from the lowest bits: the byte in a burst; `groups` banks that take turns burst by burst, as
// many bank groups as it takes to hide t_ccd_l; the column; [interleave_bytes of a channel, then the next
// channel, hashed or not, lie over these]; the bank; the row. So a stream fills a row of `groups` banks in
// every channel before it moves on to the next banks.
//
// Each piece of a request that lies in one row of one channel is priced once: activate as soon as the bank,
// t_rrd, t_faw and a refresh allow, then its bursts on the channel's data bus, in the earliest gap that is
// long enough. So a piece whose bank is ready overtakes one that waits for a precharge, as with a controller
// that takes the first ready request.
//
// Reads go before writes, which a channel keeps back until 32 bursts of them have come or its bus has nothing
// else to do: the bus turns around once for many of them.
#pragma once

#include "backends/npu/timing/Machine.h"

#include <array>
#include <cstdint>
#include <vector>

namespace npuc::timing {

class DramModel {
public:
  explicit DramModel(const Machine &machine);

  /// Reads or writes [address, address + bytes), asked for at core cycle `time`; the core cycle (not whole)
  /// at which the last burst has left or entered the bus, of a write if no more requests came. Requests must
  /// come with times that do not fall by more than a few row cycles. Does not include Dram.latency_cycles.
  double access(double time, uint64_t address, uint64_t bytes, bool write);

  struct Statistics {
    uint64_t readBytes = 0, writtenBytes = 0; ///< In whole bursts.
    uint64_t hits = 0;                        ///< Runs whose row was open.
    uint64_t misses = 0;                      ///< Runs whose bank was precharged.
    uint64_t conflicts = 0;                   ///< Runs whose bank had another row open.
    uint64_t refreshes = 0;                   ///< All channels, until the last access.
  };
  /// Of all requests until now.
  Statistics statistics() const;

private:
  struct Bank {
    int64_t row = -1;      ///< Open row.
    int64_t epoch = 0;     ///< Refresh interval in which it was opened: a refresh closes all rows.
    double accessFrom = 0; ///< Next access, DRAM cycles.
    double prechargeFrom = 0;
  };
  /// A time in which the data bus is idle, and the direction of what comes before and after it.
  struct Gap {
    double from, to;
    bool writeBefore, writeAfter;
  };
  /// `bursts` bursts from byte `offset` of a channel on, all in one row of `groups_` banks.
  struct Piece {
    double time;
    uint64_t offset, bursts;
    double extra; ///< Bus cycles for ragged ends.
    bool write;
  };
  struct Channel {
    std::vector<Bank> banks;
    std::array<double, 64> activates; ///< The last ones, ascending; earlier times are not given any more.
    std::array<Gap, 64> gaps;         ///< The last ones.
    unsigned nextGap = 0;
    double busFrom = 0;
    bool writing = false;
    std::vector<Piece> writes; ///< Kept back.
    uint64_t writeBursts = 0;  ///< In them.
    uint64_t hits = 0, misses = 0, conflicts = 0;
  };

  double request(Channel &channel, const Piece &piece) const;
  double writeAll(Channel &channel) const;
  double serve(Channel &channel, const Piece &piece) const;
  double activate(Channel &channel, double from) const;
  double reserveBus(Channel &channel, double from, double length, bool write) const;
  double afterRefresh(double time) const;
  int64_t epoch(double time) const;

  double cyclesPerCycle_;
  double burstCycles_, spacingCycles_; ///< Of one burst on the bus; of accesses to one bank group.
  uint64_t channels_, interleave_, burstBytes_, rowBytes_, groups_,
      slots_; ///< slots_: sets of `groups_` banks.
  bool hash_;
  double rcd_, rp_, ras_, cl_, rrd_, faw_, wr_, turnaround_, refi_, rfc_;
  double readPenalty_, writePenalty_;
  std::vector<Channel> channel_;
  Statistics statistics_;
};

} // namespace npuc::timing
