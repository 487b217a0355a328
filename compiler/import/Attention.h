// What the attention operators of several domains share.
#pragma once

#include "compiler/import/Node.h"

namespace npuc::importer {

/// [batch, sequence, heads · size] as [batch, heads, sequence, size]. Fails if the heads do not divide the
/// last dimension.
Value splitHeads(Node &node, Value value, int64_t heads);
/// The inverse.
Value joinHeads(Node &node, Value value);

struct AttentionOptions {
  Value mask;                          ///< Null, bool or float, see nn.attention.
  std::optional<float> scale;          ///< 1/√(head size) without one.
  std::optional<int64_t> causalOffset; ///< See nn.attention.
  float softcap = 0;
  bool zeroMasked = false; ///< See nn.attention.
};
Value makeAttention(Node &node, Value query, Value key, Value value, const AttentionOptions &options);

/// Keys or values after those of the past, if there is one, along the sequence of [batch, heads, sequence,
/// size].
Value appendToPast(Node &node, Value past, Value update);

/// Rotates `value` [batch, heads, sequence, size] by cos and sin caches [positions, r/2] picked by
/// `positions` [batch, sequence] or, without these, [batch, sequence, r/2].
Value makeRope(Node &node, Value value, Value cos, Value sin, Value positions, bool interleaved);

} // namespace npuc::importer
