// One DRAM channel cycle by cycle, straight from the timing rules of the JEDEC standards, to check the
// event-driven model against: it shares no code and no idea with it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace npuc::timing::test {

/// Cycles of the DRAM clock.
struct DramRules {
  unsigned groups, banks; // banks: all groups
  unsigned burst;         // data bus cycles of one burst
  unsigned rcd, rp, ras, cl, ccdL, rrd, faw, wr, turnaround, refi, rfc;
  unsigned queue = 64; // bursts that the controller sees
};

struct DramBurst {
  unsigned group, bank; // bank: within all of the channel
  int64_t row;
  bool write;
};

/// Cycles from the first command to the last datum of `bursts`, with a controller that each cycle issues one
/// command, oldest row hit first, else what brings the oldest request nearer, over a queue that is refilled
/// as bursts are issued; it writes only when no read waits.
inline uint64_t referenceCycles(const DramRules &rules, const std::vector<DramBurst> &bursts) {
  struct Bank {
    int64_t row = -1;
    uint64_t activated = 0, accessFrom = 0, prechargeFrom = 0, activateFrom = 0;
  };
  std::vector<Bank> banks(rules.banks);
  std::vector<uint64_t> lastAccess(rules.groups, 0);
  std::vector<bool> accessed(rules.groups, false);
  std::deque<uint64_t> activates;
  std::deque<DramBurst> queue;
  size_t next = 0;
  uint64_t now = 0, busFrom = 0, done = 0;
  bool writing = false, any = false;
  uint64_t nextRefresh = rules.refi;
  while (next < bursts.size() || !queue.empty()) {
    while (queue.size() < rules.queue && next < bursts.size())
      queue.push_back(bursts[next++]);
    if (rules.refi && now >= nextRefresh) {
      for (Bank &bank : banks)
        bank.row = -1, bank.activateFrom = now + rules.rfc;
      now += rules.rfc;
      nextRefresh += rules.refi;
      continue;
    }
    bool readWaits = false;
    for (const DramBurst &b : queue)
      readWaits |= !b.write;
    auto isTurn = [&](const DramBurst &b) { return b.write != readWaits; };
    bool issued = false;
    // A column access whose row is open, oldest first.
    for (size_t i = 0; i < queue.size() && !issued; ++i) {
      const DramBurst b = queue[i];
      Bank &bank = banks[b.bank];
      if (!isTurn(b) || bank.row != b.row || now < bank.accessFrom)
        continue;
      if (accessed[b.group] && now < lastAccess[b.group] + rules.ccdL)
        continue;
      const uint64_t bus = busFrom + (any && writing != b.write ? rules.turnaround : 0);
      if (now + rules.cl < bus)
        continue;
      busFrom = now + rules.cl + rules.burst;
      done = busFrom;
      writing = b.write;
      any = true;
      lastAccess[b.group] = now;
      accessed[b.group] = true;
      bank.prechargeFrom =
          std::max(bank.activated + rules.ras, b.write ? busFrom + rules.wr : now + rules.burst);
      queue.erase(queue.begin() + static_cast<long>(i));
      issued = true;
    }
    // Otherwise open the row of the oldest that can be, unless an older one still uses the bank's row.
    std::vector<bool> claimed(rules.banks, false);
    for (size_t i = 0; i < queue.size() && !issued; ++i) {
      const DramBurst b = queue[i];
      Bank &bank = banks[b.bank];
      if (!isTurn(b) || claimed[b.bank])
        continue;
      claimed[b.bank] = true;
      if (bank.row == b.row)
        continue;
      if (bank.row >= 0) {
        bool used = false; // row hits go first
        for (const DramBurst &other : queue)
          used |= other.bank == b.bank && other.row == bank.row && isTurn(other);
        if (used || now < std::max(bank.prechargeFrom, bank.activated + rules.ras))
          continue;
        bank.row = -1;
        bank.activateFrom = now + rules.rp;
        issued = true;
      } else if (now >= bank.activateFrom && (activates.empty() || now >= activates.back() + rules.rrd) &&
                 (activates.size() < 4 || now >= activates[activates.size() - 4] + rules.faw)) {
        bank.row = b.row;
        bank.activated = now;
        bank.accessFrom = now + rules.rcd;
        bank.prechargeFrom = now + rules.ras;
        activates.push_back(now);
        if (activates.size() > 4)
          activates.pop_front();
        issued = true;
      }
    }
    ++now;
  }
  return done;
}

} // namespace npuc::timing::test
