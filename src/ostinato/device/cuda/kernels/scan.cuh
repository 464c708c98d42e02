#pragma once

#include "ostinato/device/cuda/kernels/prelude.cuh"

namespace ostinato::cuda {

/// Over the block's threads up to and with this one, of which there is a whole number of warps;
/// `total` is over all of them.
template <typename Op, typename T>
__device__ inline T block_scan(T value, Op op, T none, T* total) {
  __shared__ T totals[kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  for (int step = 1; step < kWarp; step *= 2) {
    const T before = __shfl_sync(kAllLanes, value, lane < step ? lane : lane - step);
    if (lane >= step) value = op(before, value);
  }
  __syncthreads();  // what an earlier scan left has been read
  if (lane == kWarp - 1) totals[warp] = value;
  __syncthreads();
  T before = none, all = none;
  for (int i = 0; i < warps; ++i) {
    if (i == warp) before = all;
    all = op(all, totals[i]);
  }
  *total = all;
  return op(before, value);
}

}  // namespace ostinato::cuda
