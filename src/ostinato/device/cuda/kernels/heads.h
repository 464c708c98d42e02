#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

/// What stands between the products for queries, keys and values and the attention: each head's
/// RMSNorm, rotary embedding, and the writes of keys and values to their caches, a warp to each row
/// of a head. Operands: query, key, value or none, position or none, cos, sin, query weight or
/// none, key weight or none; the new queries; where the keys and where the values go.
struct HeadsParams {
  int64_t q_strides[4], k_strides[4], v_strides[4];  ///< of (batch, head, row, element)
  int64_t cos_strides[4], sin_strides[4];
  /// Of rows, whose elements lie side by side. New queries and keys may overwrite the old ones.
  int64_t to_query_strides[3], to_key_strides[3], to_value_strides[3];
  int64_t heads, key_heads, length, head_dim, value_dim, rotated;
  int64_t query_rows, key_rows;  ///< of all batches and heads
  int64_t most;                  ///< the last position that the caches have room for
  float eps;
  int32_t normed, interleaved;
  Type type, table;  ///< of all but the tables; of cosines and sines
};

}  // namespace ostinato::cuda
