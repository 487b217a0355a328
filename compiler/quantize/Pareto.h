// Choosing one of several formats for each operator, so that time and damage are traded best.
#pragma once

#include <optional>
#include <vector>

namespace npuc::quantize {

/// What an operator in one format costs: time (in whatever unit, the same everywhere) and damage at the
/// model's output (1 - cosine, taken to add up over operators).
struct FormatCost {
  double time = 0, damage = 0;
};

/// One choice for every operator: which of its formats.
struct ParetoPoint {
  std::vector<size_t> formats;
  double time = 0, damage = 0; ///< Sums over the operators.
};

/// The lower convex hull of all (time, damage) that choices of one format for each operator have, from the
/// least damage to the least time: of each operator the hull of its own formats, whose edges are taken in the
/// order of time saved per damage. Every operator has at least one format. Of formats with equal costs the
/// first is taken.
std::vector<ParetoPoint> paretoFront(const std::vector<std::vector<FormatCost>> &operators);

/// The number of the point of `front` with the least time whose damage is at most `damage`; nothing if there
/// is none.
std::optional<size_t> fastestWithin(const std::vector<ParetoPoint> &front, double damage);
/// The number of the point with the least damage whose time is at most `slowdown` times the least (>= 1).
size_t bestWithin(const std::vector<ParetoPoint> &front, double slowdown);

} // namespace npuc::quantize
