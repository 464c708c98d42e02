#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

inline constexpr int kMostHeadDim = 256;
inline constexpr int kMostTileDim = 128;  // of heads and values on tensor cores
inline constexpr int kTileQueries = 64;   // to a block, where they are many

/// softmax(cap(q·kᵀ·scale) + mask)·v, with the keys of each query in `splits` parts. Where there
/// are several, each leaves a sum that is not yet divided, its largest score and its divisor in
/// scratch, and the last to be done joins them. Operands: q, k, v, mask or none, position or none,
/// scratch or none, y, sinks or none: a logit of each head that leads to no key.
struct AttentionParams {
  int64_t q_strides[4], k_strides[4], v_strides[4], mask_strides[4], y_strides[4];
  int64_t heads, group;  ///< query heads, and how many of them share a head of keys
  int64_t queries, keys, batch;
  int64_t head_dim, value_dim;
  int64_t offset, window;  ///< where there is no position; window below zero: none
  int64_t splits;
  float scale, softcap;  ///< softcap zero: none
  int32_t causal;
  Type q, k, v, mask, y, sinks;
};

}  // namespace ostinato::cuda
