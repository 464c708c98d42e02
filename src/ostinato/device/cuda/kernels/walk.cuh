#pragma once

#include "ostinato/device/cuda/kernels/prelude.cuh"
#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// Where the element at a position in row-major order lies in each tensor, in elements.
template <int tensors, typename Position>
__device__ __forceinline__ void walk_by(const Walk& walk, Position position, int64_t* offsets) {
  OSTINATO_UNROLL
  for (int k = 0; k < tensors; ++k) offsets[k] = 0;
  for (int d = walk.dims - 1; d >= 0; --d) {
    // A dim that has more than a position can say is as good as one that has just so many.
    constexpr int64_t kMost = sizeof(Position) == 4 ? 0xffffffffll : INT64_MAX;
    const auto size = static_cast<Position>(walk.sizes[d] < kMost ? walk.sizes[d] : kMost);
    const auto index = static_cast<int64_t>(position % size);
    position /= size;
    OSTINATO_UNROLL
    for (int k = 0; k < tensors; ++k) offsets[k] += index * walk.strides[k][d];
  }
}

/// The same; a block's number needs no more than 32 bits, whose divisions are several times faster.
template <int tensors>
__device__ __forceinline__ void walk_to(const Walk& walk, unsigned block, int64_t* offsets) {
  walk_by<tensors>(walk, static_cast<uint32_t>(block), offsets);
}
template <int tensors>
__device__ inline void walk_to(const Walk& walk, int64_t position, int64_t* offsets) {
  if (position <= 0x7fffffff) {
    walk_by<tensors>(walk, static_cast<uint32_t>(position), offsets);
  } else {
    walk_by<tensors>(walk, position, offsets);
  }
}

}  // namespace ostinato::cuda
