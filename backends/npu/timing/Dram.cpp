#include "backends/npu/timing/Dram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace npuc::timing {
namespace {

constexpr double never = -1e30;
/// Bursts of writes that a channel's controller keeps back. Public simulators of controllers hold 32 as well.
constexpr uint64_t writeQueueBursts = 32;

} // namespace

DramModel::DramModel(const Machine &machine) {
  const target::Dram &dram = machine.target.dram();
  cyclesPerCycle_ = machine.dramCyclesPerCycle;
  channels_ = dram.channels();
  interleave_ = dram.interleave_bytes();
  burstBytes_ = dram.burst_bytes();
  rowBytes_ = dram.row_bytes();
  hash_ = dram.channel_hash();
  burstCycles_ = dram.burst_bytes() / dram.bytes_per_cycle();
  spacingCycles_ = std::max<double>(dram.t_ccd_l(), burstCycles_);
  const auto needed = static_cast<uint64_t>(std::ceil(spacingCycles_ / burstCycles_));
  groups_ = std::clamp<uint64_t>(needed, 1, std::min(dram.bank_groups(), dram.banks()));
  slots_ = std::max<uint64_t>(1, dram.banks() / groups_);
  rcd_ = dram.t_rcd();
  rp_ = dram.t_rp();
  ras_ = dram.t_ras();
  cl_ = dram.t_cl();
  rrd_ = dram.t_rrd();
  faw_ = dram.t_faw();
  wr_ = dram.t_wr();
  turnaround_ = dram.t_turnaround();
  refi_ = dram.t_refi();
  rfc_ = dram.t_rfc();
  readPenalty_ = dram.unaligned_read_penalty();
  writePenalty_ = dram.unaligned_write_penalty();
  Channel channel;
  channel.banks.resize(slots_ * groups_);
  channel.activates.fill(never);
  channel.gaps.fill({0, 0, false, false});
  channel_.assign(channels_, channel);
}

int64_t DramModel::epoch(double time) const {
  return refi_ > 0 ? static_cast<int64_t>(time / refi_) : 0;
}

// Every t_refi, from the first on, the whole channel refreshes for t_rfc.
double DramModel::afterRefresh(double time) const {
  if (refi_ <= 0 || time < refi_)
    return time;
  return std::max(time, std::floor(time / refi_) * refi_ + rfc_);
}

// The earliest time from `from` on that is t_rrd from every other activate and leaves no five within t_faw.
double DramModel::activate(Channel &channel, double from) const {
  auto &acts = channel.activates;
  const size_t count = acts.size();
  double time = afterRefresh(from);
  size_t at = count; // activates before it
  while (at > 0 && acts[at - 1] > time)
    --at;
  for (at = std::max<size_t>(at, 1);; ++at) {
    // What is older than all that are kept is not filled any more.
    time = std::max(time, acts[at > 0 ? at - 1 : 0] + rrd_);
    if (at >= 4)
      time = std::max(time, acts[at - 4] + faw_);
    time = afterRefresh(time);
    if (at == count)
      break;
    // It goes before acts[at] if that, and every window of five that it then is part of, still holds.
    bool fits = time + rrd_ <= acts[at];
    for (size_t last = at; fits && last < std::min(count, at + 4); ++last)
      fits = last < 3 || acts[last] - (last - 3 >= at ? time : acts[last - 3]) >= faw_;
    if (fits)
      break;
  }
  // The oldest goes, the new one takes its place in order.
  if (at > 0) {
    std::copy(acts.begin() + 1, acts.begin() + at, acts.begin());
    acts[at - 1] = time;
  }
  return time;
}

// Data phases fill gaps between each other, with room for the bus to turn around where the direction changes.
double DramModel::reserveBus(Channel &channel, double from, double length, bool write) const {
  auto turn = [&](bool other) { return other != write ? turnaround_ : 0; };
  from = afterRefresh(from);
  if (from < channel.busFrom)
    for (Gap &gap : channel.gaps) {
      const double start = std::max(gap.from + turn(gap.writeBefore), from), end = start + length;
      if (end + turn(gap.writeAfter) > gap.to || afterRefresh(start) != start)
        continue;
      // Keep the longer remainder.
      if (start - gap.from > gap.to - end) {
        gap.to = start;
        gap.writeAfter = write;
      } else {
        gap.from = end;
        gap.writeBefore = write;
      }
      return start;
    }
  const double before = channel.busFrom;
  const double start = afterRefresh(std::max(from, before + (before > 0 ? turn(channel.writing) : 0)));
  if (start > before) {
    channel.gaps[channel.nextGap] = {before, start, channel.writing, write};
    channel.nextGap = (channel.nextGap + 1) % channel.gaps.size();
  }
  channel.writing = write;
  channel.busFrom = start + length;
  return start;
}

// A piece that is due, on the banks and the bus; when its last burst is through.
double DramModel::serve(Channel &channel, const Piece &piece) const {
  const auto [time, offset, bursts, extra, write] = piece;
  const uint64_t burst = offset / burstBytes_;
  const uint64_t span = rowBytes_ * groups_;
  const uint64_t first = (offset / span) % slots_ * groups_;
  const auto row = static_cast<int64_t>(offset / span / slots_);
  const uint64_t touched = std::min(groups_, bursts);
  double ready = 0;
  for (uint64_t g = 0; g < touched; ++g) {
    Bank &bank = channel.banks[first + (burst + g) % groups_];
    double from = afterRefresh(std::max(time, bank.accessFrom));
    const bool open = bank.row >= 0 && bank.epoch == epoch(from);
    if (open && bank.row == row) {
      ++channel.hits;
    } else {
      ++(open ? channel.conflicts : channel.misses);
      // A refresh has precharged every bank.
      from = open ? std::max(time, bank.prechargeFrom) + rp_ : time;
      const double activated = activate(channel, from);
      bank.row = row;
      bank.epoch = epoch(activated);
      bank.prechargeFrom = activated + ras_;
      from = bank.accessFrom = activated + rcd_;
    }
    ready = std::max(ready, from);
  }
  const uint64_t perBank = (bursts + groups_ - 1) / groups_;
  const double length =
      std::max(double(bursts) * burstCycles_, double(perBank - 1) * spacingCycles_ + burstCycles_) + extra;
  const double start = reserveBus(channel, ready + cl_, length, write);
  const double end = start + length;
  for (uint64_t g = 0; g < touched; ++g) {
    Bank &bank = channel.banks[first + (burst + g) % groups_];
    bank.accessFrom =
        std::max(bank.accessFrom, start - cl_ + std::max(length, double(perBank) * spacingCycles_));
    bank.prechargeFrom = std::max(bank.prechargeFrom, write ? end + wr_ : end - cl_);
  }
  return end;
}

// The writes kept back, each as soon as it can.
double DramModel::writeAll(Channel &channel) const {
  double done = 0;
  for (const Piece &piece : channel.writes)
    done = std::max(done, serve(channel, piece));
  channel.writes.clear();
  channel.writeBursts = 0;
  return done;
}

double DramModel::request(Channel &channel, const Piece &piece) const {
  if (!piece.write) {
    if (channel.busFrom <= piece.time)
      writeAll(channel);
    return serve(channel, piece);
  }
  channel.writes.push_back(piece);
  channel.writeBursts += piece.bursts;
  if (channel.writeBursts >= writeQueueBursts)
    return writeAll(channel);
  Channel alone = channel;
  return writeAll(alone);
}

double DramModel::access(double time, uint64_t address, uint64_t bytes, bool write) {
  if (bytes == 0)
    return time;
  const double asked = time * cyclesPerCycle_;
  double done = asked;
  const uint64_t end = address + bytes;
  const double penalty = (write ? writePenalty_ : readPenalty_) - 1;
  for (uint64_t at = address; at < end;) {
    const uint64_t unit = at / interleave_;
    const uint64_t stripe = unit / channels_;
    uint64_t index = unit % channels_;
    if (hash_) {
      // The higher bits, folded. XOR permutes the channels if they are a power of two; else they are rotated.
      uint64_t fold = stripe ^ (stripe >> 7) ^ (stripe >> 13);
      index = std::has_single_bit(channels_) ? index ^ (fold & (channels_ - 1)) : (index + fold) % channels_;
    }
    const uint64_t offset = stripe * interleave_ + at % interleave_;
    const uint64_t span = rowBytes_ * groups_;
    const uint64_t length = std::min({end - at, interleave_ - at % interleave_, span - offset % span});
    const uint64_t firstBurst = offset / burstBytes_, lastBurst = (offset + length - 1) / burstBytes_;
    const uint64_t bursts = lastBurst - firstBurst + 1;
    unsigned ragged = 0; // ends of the request inside a burst
    ragged += at == address && offset % burstBytes_ != 0;
    ragged += at + length == end && (offset + length) % burstBytes_ != 0;
    ragged = std::min<unsigned>(ragged, static_cast<unsigned>(bursts));
    const Piece piece = {asked, offset, bursts, ragged * penalty * burstCycles_, write};
    done = std::max(done, request(channel_[index], piece));
    (write ? statistics_.writtenBytes : statistics_.readBytes) += bursts * burstBytes_;
    at += length;
  }
  if (refi_ > 0)
    statistics_.refreshes = std::max(statistics_.refreshes, channels_ * static_cast<uint64_t>(done / refi_));
  return done / cyclesPerCycle_;
}

DramModel::Statistics DramModel::statistics() const {
  Statistics result = statistics_;
  for (Channel channel : channel_) {
    writeAll(channel);
    result.hits += channel.hits;
    result.misses += channel.misses;
    result.conflicts += channel.conflicts;
  }
  return result;
}

} // namespace npuc::timing
