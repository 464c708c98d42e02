#pragma once

#include "ostinato/device/cuda/kernels/prelude.cuh"
#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// Where the element at a position in row-major order lies in each tensor, in elements.
template <int tensors>
__device__ inline void walk_to(const Walk& walk, int64_t position, int64_t* offsets) {
  OSTINATO_UNROLL
  for (int k = 0; k < tensors; ++k) offsets[k] = 0;
  for (int d = walk.dims - 1; d >= 0; --d) {
    int64_t index = 0;
    if (position <= 0x7fffffff) {  // divisions of 32 bits are several times faster
      const auto low = static_cast<uint32_t>(position);
      const auto size = static_cast<uint32_t>(walk.sizes[d]);
      index = low % size;
      position = low / size;
    } else {
      index = position % walk.sizes[d];
      position /= walk.sizes[d];
    }
    OSTINATO_UNROLL
    for (int k = 0; k < tensors; ++k) offsets[k] += index * walk.strides[k][d];
  }
}

}  // namespace ostinato::cuda
