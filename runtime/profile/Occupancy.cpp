#include "runtime/profile/Occupancy.h"

#include <algorithm>
#include <map>

namespace npuc::profile {
namespace {

using timing::CommandTime;

/// One use of a range of a core's scratchpad.
struct Use {
  uint64_t start, end; ///< Of the command.
  int64_t first, last; ///< Bytes [first, last).
  uint32_t core;
  bool writes; ///< Anew, without reading.
};

/// What is live in one scratchpad: ranges by their first byte.
class Live {
public:
  explicit Live(std::map<uint64_t, int64_t> &changes) : changes_(changes) {}

  void read(const Use &use) {
    split(use.first);
    split(use.last);
    for (int64_t at = use.first; at < use.last;) {
      auto it = ranges_.lower_bound(at);
      const int64_t next = it == ranges_.end() ? use.last : std::min(it->first, use.last);
      if (next > at) // never written: it was there from the start
        ranges_[at] = {next, 0, use.end};
      else
        it->second.lastUse = std::max(it->second.lastUse, use.end);
      at = next > at ? next : it->second.end;
    }
  }

  void write(const Use &use) {
    split(use.first);
    split(use.last);
    auto it = ranges_.lower_bound(use.first);
    while (it != ranges_.end() && it->first < use.last) {
      // A command that writes what it reads itself does so in place.
      it->second.lastUse = std::min(it->second.lastUse, use.start);
      close(it->first, it->second);
      it = ranges_.erase(it);
    }
    ranges_[use.first] = {use.last, use.start, use.end};
  }

  void closeAll() {
    for (const auto &[first, range] : ranges_)
      close(first, range);
    ranges_.clear();
  }

private:
  struct Range {
    int64_t end;
    uint64_t born, lastUse;
  };

  // Afterwards no range has `at` inside it.
  void split(int64_t at) {
    auto it = ranges_.lower_bound(at);
    if (it == ranges_.begin())
      return;
    --it;
    if (it->second.end <= at)
      return;
    Range tail = it->second;
    it->second.end = at;
    ranges_[at] = tail;
  }

  void close(int64_t first, const Range &range) {
    changes_[range.born] += range.end - first;
    changes_[range.lastUse] -= range.end - first;
  }

  std::map<int64_t, Range> ranges_;
  std::map<uint64_t, int64_t> &changes_;
};

void addUses(std::vector<Use> &uses, const isa::Program &program, const isa::Command &command,
             const CommandTime &time) {
  if (time.bound == timing::Bound::Nothing)
    return;
  auto operands = program.operandsOf(command);
  for (unsigned o = 0; o < operands.size(); ++o) {
    const isa::View &view = operands[o];
    if (view.space != isa::Space::Scratchpad)
      continue;
    auto range = isa::reach(view, program.registers);
    if (!range || range->begin >= range->end)
      continue;
    const isa::Access access = isa::access(program, command, o);
    Use use{time.start, time.end, range->begin, range->end, view.buffer, access.writes && !access.reads};
    if (access.writes && command.multicastCount > 0) {
      for (uint16_t core : program.multicastOf(command)) {
        use.core = core;
        uses.push_back(use);
      }
      continue;
    }
    uses.push_back(use);
  }
}

} // namespace

std::vector<std::vector<Occupancy>> scratchpadOccupancy(const isa::Program &program,
                                                        const timing::Timeline &timeline) {
  std::vector<Use> uses;
  for (size_t core = 0; core < program.streams.size(); ++core)
    for (size_t i = 0; i < program.streams[core].size(); ++i)
      addUses(uses, program, program.streams[core][i], timeline.commands[core][i]);
  // A command that starts where another ends comes after it; one that reads before one that writes.
  std::ranges::stable_sort(uses, [](const Use &a, const Use &b) {
    return a.start != b.start ? a.start < b.start : a.writes < b.writes;
  });
  size_t cores = program.streams.size();
  for (const Use &use : uses)
    cores = std::max<size_t>(cores, use.core + 1);
  std::vector<std::map<uint64_t, int64_t>> changes(cores);
  std::vector<Live> live;
  for (auto &c : changes)
    live.emplace_back(c);
  for (const Use &use : uses)
    use.writes ? live[use.core].write(use) : live[use.core].read(use);
  std::vector<std::vector<Occupancy>> result(cores);
  for (size_t core = 0; core < cores; ++core) {
    live[core].closeAll();
    int64_t bytes = 0;
    for (const auto &[cycle, change] : changes[core]) {
      if (change == 0)
        continue;
      bytes += change;
      result[core].push_back({cycle, static_cast<uint64_t>(bytes)});
    }
  }
  return result;
}

std::vector<Occupancy> thinned(const std::vector<Occupancy> &changes, uint64_t cycles, size_t most) {
  if (changes.size() <= most)
    return changes;
  const uint64_t part = cycles / most + 1;
  std::vector<Occupancy> result;
  uint64_t current = 0;
  size_t next = 0;
  for (uint64_t at = 0; at <= cycles; at += part) {
    uint64_t greatest = current;
    for (; next < changes.size() && changes[next].cycle < at + part; ++next) {
      current = changes[next].bytes;
      greatest = std::max(greatest, current);
    }
    if (result.empty() || result.back().bytes != greatest)
      result.push_back({at, greatest});
  }
  return result;
}

} // namespace npuc::profile
