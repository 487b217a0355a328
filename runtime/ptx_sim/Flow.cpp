// In which order the parts of a warp that has parted go on.
//
// Blocks are ranked so that a block comes after all from which it can be reached, and a loop's blocks before
// those that follow the loop. The part of least rank runs, so a part that stands at a block waits there until
// no other lane can still reach it without going round a loop that contains it: lanes meet again at the first
// block that both can reach, which is at the latest the immediate post-dominator of where they parted, and
// also earlier where some of the ways end the thread.
#include "runtime/ptx_sim/Flow.h"

#include <algorithm>

namespace npuc::ptx {
namespace {

struct BasicBlock {
  uint32_t begin = 0;
  std::vector<uint32_t> next;
};

class Ranker {
public:
  Ranker(const std::vector<BasicBlock> &blocks)
      : blocks_(blocks), before_(blocks.size()), rank_(blocks.size()), part_(blocks.size(), 0),
        state_(blocks.size()) {
    for (uint32_t b = 0; b < blocks.size(); ++b)
      for (uint32_t next : blocks[b].next)
        before_[next].push_back(b);
  }

  std::vector<uint32_t> run() {
    std::vector<uint32_t> all(blocks_.size());
    for (uint32_t b = 0; b < all.size(); ++b)
      all[b] = b;
    // Sets of blocks to be ordered, the first on top; single ones get their rank when they are taken.
    std::vector<std::vector<uint32_t>> work;
    work.push_back(std::move(all));
    uint32_t next = 0;
    while (!work.empty()) {
      const std::vector<uint32_t> set = std::move(work.back());
      work.pop_back();
      if (set.size() == 1) {
        rank_[set[0]] = next++;
        continue;
      }
      // Tarjan's components come in reverse topological order, so the first to be ranked is pushed last.
      for (std::vector<uint32_t> &component : components(set))
        work.push_back(std::move(component));
    }
    return rank_;
  }

private:
  struct State {
    uint32_t index = 0, low = 0;
    bool onStack = false;
  };
  struct Visit {
    uint32_t block;
    size_t next;
  };

  /// The strongly connected components of a set. Edges to its first block do not count, where the set is a
  /// loop: a loop without the edges back to where it is entered.
  std::vector<std::vector<uint32_t>> components(const std::vector<uint32_t> &set) {
    ++generation_;
    for (uint32_t b : set) {
      part_[b] = generation_;
      state_[b] = {};
    }
    const uint32_t entry = entryOf(set);
    std::vector<std::vector<uint32_t>> found;
    std::vector<uint32_t> stack;
    uint32_t count = 0;
    auto visitFrom = [&](uint32_t root) {
      std::vector<Visit> path;
      auto enter = [&](uint32_t b) {
        state_[b] = {++count, count, true};
        stack.push_back(b);
        path.push_back({b, 0});
      };
      enter(root);
      while (!path.empty()) {
        Visit &at = path.back();
        const uint32_t block = at.block;
        if (at.next < blocks_[block].next.size()) {
          const uint32_t to = blocks_[block].next[at.next++];
          if (part_[to] != generation_ || to == entry)
            continue;
          if (!state_[to].index)
            enter(to);
          else if (state_[to].onStack)
            state_[block].low = std::min(state_[block].low, state_[to].index);
          continue;
        }
        path.pop_back();
        if (!path.empty())
          state_[path.back().block].low = std::min(state_[path.back().block].low, state_[block].low);
        if (state_[block].low != state_[block].index)
          continue;
        auto &component = found.emplace_back();
        uint32_t member;
        do {
          member = stack.back();
          stack.pop_back();
          state_[member].onStack = false;
          component.push_back(member);
        } while (member != block);
      }
    };
    // The entry last: what it reaches has then been found, and it comes out last, to be ranked first.
    for (uint32_t b : set)
      if (b != entry && !state_[b].index)
        visitFrom(b);
    visitFrom(entry);
    return found;
  }

  /// Where the set, whose blocks are marked, is come to from outside. A loop may have several such blocks,
  /// and the kernel has none: the one that stands first in the text is taken.
  uint32_t entryOf(const std::vector<uint32_t> &set) const {
    const uint32_t first = *std::ranges::min_element(set);
    uint32_t entry = UINT32_MAX;
    for (uint32_t b : set)
      if (std::ranges::any_of(before_[b], [&](uint32_t from) { return part_[from] != generation_; }))
        entry = std::min(entry, b);
    return entry == UINT32_MAX ? first : entry;
  }

  const std::vector<BasicBlock> &blocks_;
  std::vector<std::vector<uint32_t>> before_;
  std::vector<uint32_t> rank_, part_;
  std::vector<State> state_;
  uint32_t generation_ = 0;
};

} // namespace

void rankInstructions(Kernel &kernel) {
  std::vector<Instruction> &code = kernel.code;
  code[0].leads = true;
  auto targets = [&](const Instruction &i, auto body) {
    if (i.flow == Flow::Branch)
      body(i.target);
    if (i.flow == Flow::Indexed)
      for (unsigned t = 0; t < i.listCount; ++t)
        body(static_cast<uint32_t>(kernel.lists[i.list + t]));
  };
  for (size_t pc = 0; pc < code.size(); ++pc) {
    targets(code[pc], [&](uint32_t to) { code[to].leads = true; });
    if (code[pc].flow != Flow::Next && code[pc].flow != Flow::Barrier && pc + 1 < code.size())
      code[pc + 1].leads = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<uint32_t> blockOf(code.size());
  for (uint32_t pc = 0; pc < code.size(); ++pc) {
    if (code[pc].leads)
      blocks.push_back({pc, {}});
    blockOf[pc] = static_cast<uint32_t>(blocks.size() - 1);
  }
  for (uint32_t b = 0; b < blocks.size(); ++b) {
    const uint32_t last =
        (b + 1 < blocks.size() ? blocks[b + 1].begin : static_cast<uint32_t>(code.size())) - 1;
    const Instruction &i = code[last];
    targets(i, [&](uint32_t to) { blocks[b].next.push_back(blockOf[to]); });
    const bool always = i.flow != Flow::Next && i.flow != Flow::Barrier && i.guard == noSlot;
    if (!always && b + 1 < blocks.size())
      blocks[b].next.push_back(b + 1);
  }
  const std::vector<uint32_t> rank = Ranker(blocks).run();
  for (uint32_t pc = 0; pc < code.size(); ++pc)
    code[pc].rank = rank[blockOf[pc]];
}

} // namespace npuc::ptx
