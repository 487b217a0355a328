#include "backends/npu/schedule/Packing.h"

#include "backends/npu/schedule/IntervalMap.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace npuc::schedule {
namespace {

using Item = PackingProblem::Item;
using Life = PackingProblem::Life;

int64_t length(const Item &item) {
  int64_t sum = 0;
  for (const Life &life : item.lives)
    sum += life.end - life.begin;
  return sum;
}

class Packer {
public:
  explicit Packer(const PackingProblem &problem) : problem_(problem), enough_(lowerBounds(problem)) {
    for (size_t m = 0; m < problem.enough.size(); ++m)
      enough_[m] = std::max(enough_[m], problem.enough[m]);
  }

  PackingSolution run() {
    std::vector<uint32_t> order(problem_.items.size());
    std::iota(order.begin(), order.end(), 0);
    auto byKey = [&](auto key) {
      std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
      consider(order);
    };
    const auto &items = problem_.items;
    auto start = [&](uint32_t i) { return items[i].lives.empty() ? 0 : items[i].lives.front().begin; };
    byKey([&](uint32_t i) { return start(i); });
    if (!isDone())
      byKey([&](uint32_t i) { return -items[i].bytes; });
    if (!isDone())
      byKey([&](uint32_t i) { return -double(items[i].bytes) * double(length(items[i])); });
    climb();
    return std::move(best_);
  }

private:
  // First fit of all items in this order; keeps the result if it is the best so far.
  void consider(const std::vector<uint32_t> &order) {
    std::vector<IntervalMap<uint32_t>> live(problem_.memories);
    PackingSolution solution{std::vector<int64_t>(problem_.items.size()),
                             std::vector<int64_t>(problem_.memories)};
    for (uint32_t i : order) {
      const int64_t address = solution.addresses[i] = firstFit(i, live, solution);
      for (const Life &life : problem_.items[i].lives) {
        live[life.memory].insert(life.begin, life.end, i);
        int64_t &peak = solution.peaks[life.memory];
        peak = std::max(peak, address + problem_.items[i].bytes);
      }
    }
    if (best_.peaks.empty() || excess(solution) < excess(best_)) {
      best_ = std::move(solution);
      bestOrder_ = order;
    }
  }

  int64_t firstFit(uint32_t index, std::vector<IntervalMap<uint32_t>> &live,
                   const PackingSolution &solution) {
    const Item &item = problem_.items[index];
    neighbours_.clear();
    for (const Life &life : item.lives)
      live[life.memory].visitOverlaps(life.begin, life.end, [&](uint32_t other) {
        neighbours_.emplace_back(solution.addresses[other],
                                 solution.addresses[other] + problem_.items[other].bytes);
        return false;
      });
    std::sort(neighbours_.begin(), neighbours_.end());
    int64_t address = 0;
    for (auto [low, high] : neighbours_) {
      if (address + item.bytes <= low)
        break;
      address = std::max(address, (high + item.alignment - 1) / item.alignment * item.alignment);
    }
    return address;
  }

  // Bytes above what would do, all memories together.
  int64_t excess(const PackingSolution &solution) const {
    int64_t sum = 0;
    for (uint32_t m = 0; m < problem_.memories; ++m)
      sum += std::max<int64_t>(0, solution.peaks[m] - enough_[m]);
    return sum;
  }
  bool isDone() const { return excess(best_) == 0; }

  // Moves a highest item, or one that lives beside it, to the front of the order, or swaps two; worse orders
  // are dropped.
  void climb() {
    const auto n = static_cast<int64_t>(problem_.items.size());
    std::minstd_rand random(1);
    for (int64_t work = 0; !isDone() && work < problem_.climbing; work += n + 1) {
      std::vector<uint32_t> order = bestOrder_;
      const size_t highest = highestAt(order);
      const size_t other = random() % n;
      if (random() % 2 == 0)
        std::rotate(order.begin() + std::min(other, highest), order.begin() + highest,
                    order.begin() + highest + 1);
      else
        std::swap(order[highest], order[other]);
      std::swap(order[random() % n], order[random() % n]);
      consider(order);
    }
  }

  size_t highestAt(const std::vector<uint32_t> &order) const {
    auto isHighest = [&](uint32_t i) {
      for (const Life &life : problem_.items[i].lives) {
        const int64_t peak = best_.peaks[life.memory];
        if (peak > enough_[life.memory] && best_.addresses[i] + problem_.items[i].bytes == peak)
          return true;
      }
      return false;
    };
    return std::find_if(order.begin(), order.end(), isHighest) - order.begin();
  }

  const PackingProblem &problem_;
  std::vector<int64_t> enough_; // of each memory: what would do
  PackingSolution best_;
  std::vector<uint32_t> bestOrder_;
  std::vector<std::pair<int64_t, int64_t>> neighbours_;
};

} // namespace

std::vector<int64_t> lowerBounds(const PackingProblem &problem) {
  struct Change {
    uint32_t memory;
    int64_t at, bytes;
  };
  std::vector<Change> changes;
  for (const Item &item : problem.items)
    for (const Life &life : item.lives)
      if (life.begin < life.end) {
        changes.push_back({life.memory, life.begin, item.bytes});
        changes.push_back({life.memory, life.end, -item.bytes});
      }
  std::sort(changes.begin(), changes.end(), [](const Change &a, const Change &b) {
    return std::tie(a.memory, a.at, a.bytes) < std::tie(b.memory, b.at, b.bytes);
  });
  std::vector<int64_t> bounds(problem.memories), alive(problem.memories);
  for (const Change &change : changes) {
    alive[change.memory] += change.bytes;
    bounds[change.memory] = std::max(bounds[change.memory], alive[change.memory]);
  }
  return bounds;
}

PackingSolution pack(const PackingProblem &problem) {
  return Packer(problem).run();
}

bool verify(const PackingProblem &problem, const PackingSolution &solution) {
  std::vector<IntervalMap<uint32_t>> live(problem.memories);
  for (uint32_t i = 0; i < problem.items.size(); ++i) {
    const Item &item = problem.items[i];
    bool sound = solution.addresses[i] >= 0 && solution.addresses[i] % item.alignment == 0;
    for (const Life &life : item.lives) {
      sound &= solution.addresses[i] + item.bytes <= solution.peaks[life.memory];
      live[life.memory].visitOverlaps(life.begin, life.end, [&](uint32_t other) {
        sound &= solution.addresses[i] + item.bytes <= solution.addresses[other] ||
                 solution.addresses[other] + problem.items[other].bytes <= solution.addresses[i];
        return false;
      });
      live[life.memory].insert(life.begin, life.end, i);
    }
    if (!sound)
      return false;
  }
  return true;
}

} // namespace npuc::schedule
