#pragma once

#include "ostinato/device/cuda/kernels/attention.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

/// What the kernels share that attend for many queries at a time.
namespace ostinato::cuda {

/// Which keys the queries of a block may attend, and where its operands begin.
struct Tile {
  int64_t b, h;
  int64_t first_query, past;
  int64_t first_key, last_key;
};

__device__ inline Tile tile_of(const Operands& operands, const AttentionParams& params) {
  Tile tile;
  tile.b = blockIdx.y / params.heads;
  tile.h = blockIdx.y % params.heads;
  // The last queries first: of a causal mask they have most to do.
  tile.first_query = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kTileQueries;
  tile.past =
      operands.at[4] == nullptr ? params.offset : *static_cast<const int64_t*>(operands.at[4]);
  tile.first_key = 0;
  tile.last_key = params.keys;
  if (params.causal != 0) {
    const int64_t last_query = min(tile.first_query + kTileQueries, params.queries) - 1;
    tile.last_key = max(min(tile.last_key, last_query + tile.past + 1), int64_t{0});
    if (params.window >= 0) {
      tile.first_key = max(tile.first_query + tile.past - params.window + 1, int64_t{0});
    }
  }
  return tile;
}

/// The score of a query's product with a key, or -inf where it may not attend.
__device__ inline float score_of(const Operands& operands, const AttentionParams& params,
                                 const Tile& tile, int64_t query, int64_t key, float product) {
  float score = product * params.scale;
  if (params.softcap > 0) score = params.softcap * tanhf(score / params.softcap);
  if (key >= tile.last_key || query >= params.queries) return -INFINITY;
  if (params.causal != 0) {
    const int64_t last = query + tile.past;
    if (key > last || (params.window >= 0 && key <= last - params.window)) return -INFINITY;
  }
  if (operands.at[3] == nullptr) return score;
  const int64_t at = tile.b * params.mask_strides[0] + tile.h * params.mask_strides[1] +
                     query * params.mask_strides[2] + key * params.mask_strides[3];
  const float mask = load<float>(operands.at[3], at, params.mask);
  if (params.mask != Type::boolean) return score + mask;
  return mask != 0 ? score : -INFINITY;
}

/// What a row's sums are multiplied by at last: zero where nothing is attended.
/// @param divisor of all keys, by the row's largest score
__device__ inline float factor_of(const Operands& operands, const AttentionParams& params,
                                  const Tile& tile, float divisor, float largest) {
  if (operands.at[7] != nullptr && divisor > 0) {
    divisor += expf(load<float>(operands.at[7], tile.h, params.sinks) - largest);
  }
  return divisor > 0 ? 1 / divisor : 0.0f;
}

/// Where a query's results begin.
template <typename T>
__device__ T* result_of(const Operands& operands, const AttentionParams& params, const Tile& tile,
                        int64_t query) {
  return static_cast<T*>(operands.at[6]) + tile.b * params.y_strides[0] +
         tile.h * params.y_strides[1] + query * params.y_strides[2];
}

}  // namespace ostinato::cuda
