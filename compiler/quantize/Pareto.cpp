#include "compiler/quantize/Pareto.h"

#include <algorithm>
#include <numeric>

namespace npuc::quantize {
namespace {

/// Time saved per damage on the way from `a` to `b`, compared without dividing: whether that to `b` is more
/// than that from `b` to `c`. Damage rises along both.
bool isConvex(const FormatCost &a, const FormatCost &b, const FormatCost &c) {
  return (a.time - b.time) * (c.damage - b.damage) > (b.time - c.time) * (b.damage - a.damage);
}

/// The formats on an operator's hull: damage rises, time falls.
std::vector<size_t> hull(const std::vector<FormatCost> &formats) {
  std::vector<size_t> order(formats.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return std::pair(formats[a].damage, formats[a].time) < std::pair(formats[b].damage, formats[b].time);
  });
  std::vector<size_t> kept;
  for (size_t next : order) {
    if (!kept.empty() && formats[next].time >= formats[kept.back()].time)
      continue;
    while (kept.size() > 1 && !isConvex(formats[kept[kept.size() - 2]], formats[kept.back()], formats[next]))
      kept.pop_back();
    kept.push_back(next);
  }
  return kept;
}

struct Edge {
  size_t op, to;
  double time, damage; ///< Saved, and added.
};

} // namespace

std::vector<ParetoPoint> paretoFront(const std::vector<std::vector<FormatCost>> &operators) {
  ParetoPoint point;
  std::vector<Edge> edges;
  for (size_t op = 0; op < operators.size(); ++op) {
    const std::vector<FormatCost> &formats = operators[op];
    std::vector<size_t> kept = hull(formats);
    point.formats.push_back(kept.front());
    point.time += formats[kept.front()].time;
    point.damage += formats[kept.front()].damage;
    for (size_t i = 1; i < kept.size(); ++i)
      edges.push_back({op, kept[i], formats[kept[i - 1]].time - formats[kept[i]].time,
                       formats[kept[i]].damage - formats[kept[i - 1]].damage});
  }
  // Within an operator slopes fall, so its edges keep their order.
  std::ranges::stable_sort(
      edges, [](const Edge &a, const Edge &b) { return a.time / a.damage > b.time / b.damage; });
  std::vector<ParetoPoint> front = {point};
  for (const Edge &edge : edges) {
    point.formats[edge.op] = edge.to;
    point.time -= edge.time;
    point.damage += edge.damage;
    front.push_back(point);
  }
  return front;
}

std::optional<size_t> fastestWithin(const std::vector<ParetoPoint> &front, double damage) {
  for (size_t i = front.size(); i-- > 0;)
    if (front[i].damage <= damage)
      return i;
  return std::nullopt;
}

size_t bestWithin(const std::vector<ParetoPoint> &front, double slowdown) {
  double most = slowdown * front.back().time;
  auto found = std::ranges::find_if(front, [&](const ParetoPoint &point) { return point.time <= most; });
  return found == front.end() ? front.size() - 1 : static_cast<size_t>(found - front.begin());
}

} // namespace npuc::quantize
