#include "ostinato/device/cuda/kernels/reduce.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Reductions: a block to each result.
namespace ostinato::cuda {

namespace {

constexpr int kMostThreads = 256;

/// Calls `f(i, value)` for this thread's elements of the block's result.
template <typename T, typename F>
__device__ void each(const Operands& operands, const ReduceParams& params, F&& f) {
  int64_t base = 0;
  walk_to<1>(params.kept, blockIdx.x, &base);
  for (int64_t i = threadIdx.x; i < params.count; i += blockDim.x) {
    int64_t offset = 0;
    walk_to<1>(params.reduced, i, &offset);
    f(i, load<T>(operands.at[0], base + offset, params.x));
  }
}

template <typename T, typename Op>
__device__ void reduce(const Operands& operands, const ReduceParams& params, Op op, T none) {
  T value = none;
  each<T>(operands, params, [&](int64_t, T x) { value = op(value, x); });
  value = block_reduce(value, op, none);
  if (threadIdx.x != 0) return;
  if (params.scale != 1) value = static_cast<T>(value * static_cast<float>(params.scale));
  store(operands.at[1], blockIdx.x, params.y, value);
}

struct Product {
  __device__ float operator()(float a, float b) const { return a * b; }
  __device__ int64_t operator()(int64_t a, int64_t b) const {  // wraps
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};

/// An element and where it is; the earlier of equal ones, and the first NaN before all.
template <typename T>
struct Best {
  T value;
  int32_t index;
};

template <bool largest, typename T>
__device__ bool is_better(const Best<T>& a, const Best<T>& b) {
  if (b.index < 0 || a.index < 0) return b.index < 0 && a.index >= 0;
  const bool nan = a.value != a.value, b_nan = b.value != b.value;
  if (nan != b_nan) return nan;
  if (!nan && a.value != b.value) return largest ? a.value > b.value : a.value < b.value;
  return a.index < b.index;
}

template <bool largest, typename T>
__device__ void arg_extremum(const Operands& operands, const ReduceParams& params) {
  __shared__ Best<T> bests[kWarp];
  Best<T> best{T{}, -1};
  const auto take = [&best](const Best<T>& other) {
    if (is_better<largest>(other, best)) best = other;
  };
  each<T>(operands, params, [&](int64_t i, T value) { take({value, static_cast<int32_t>(i)}); });
  const auto across_lanes = [&] {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      take({__shfl_xor_sync(kAllLanes, best.value, step),
            __shfl_xor_sync(kAllLanes, best.index, step)});
    }
  };
  across_lanes();
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (lane == 0) bests[warp] = best;
  __syncthreads();
  if (warp != 0) return;
  best = lane < blockDim.x / kWarp ? bests[lane] : Best<T>{T{}, -1};
  across_lanes();
  if (lane != 0) return;
  if (operands.at[1] != nullptr) store(operands.at[1], blockIdx.x, params.x, best.value);
  if (operands.at[2] != nullptr) {
    static_cast<int64_t*>(operands.at[2])[blockIdx.x] = best.index;
  }
}

__device__ inline float larger(float a, float b) { return a > b || a != a ? a : b; }
__device__ inline float smaller(float a, float b) { return a < b || a != a ? a : b; }

}  // namespace

OSTINATO_KERNEL(sum_real, kMostThreads, ReduceParams) { reduce(operands, params, Sum(), 0.0f); }
OSTINATO_KERNEL(sum_integer, kMostThreads, ReduceParams) {
  reduce(operands, params, Sum(), int64_t{0});
}
OSTINATO_KERNEL(prod_real, kMostThreads, ReduceParams) {
  reduce(operands, params, Product(), 1.0f);
}
OSTINATO_KERNEL(prod_integer, kMostThreads, ReduceParams) {
  reduce(operands, params, Product(), int64_t{1});
}
OSTINATO_KERNEL(amax_real, kMostThreads, ReduceParams) {
  reduce(operands, params, larger, -INFINITY);
}
OSTINATO_KERNEL(amin_real, kMostThreads, ReduceParams) {
  reduce(operands, params, smaller, INFINITY);
}
OSTINATO_KERNEL(amax_integer, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](int64_t a, int64_t b) { return a > b ? a : b; }, INT64_MIN);
}
OSTINATO_KERNEL(amin_integer, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](int64_t a, int64_t b) { return a < b ? a : b; }, INT64_MAX);
}
OSTINATO_KERNEL(any_real, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](float a, float b) { return a != 0 || b != 0 ? 1.0f : 0.0f; }, 0.0f);
}
OSTINATO_KERNEL(all_real, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](float a, float b) { return a != 0 && b != 0 ? 1.0f : 0.0f; }, 1.0f);
}
OSTINATO_KERNEL(argmax_real, kMostThreads, ReduceParams) {
  arg_extremum<true, float>(operands, params);
}
OSTINATO_KERNEL(argmin_real, kMostThreads, ReduceParams) {
  arg_extremum<false, float>(operands, params);
}
OSTINATO_KERNEL(argmax_integer, kMostThreads, ReduceParams) {
  arg_extremum<true, int64_t>(operands, params);
}
OSTINATO_KERNEL(argmin_integer, kMostThreads, ReduceParams) {
  arg_extremum<false, int64_t>(operands, params);
}

OSTINATO_KERNEL(variance, kMostThreads, ReduceParams) {
  const auto count = static_cast<float>(params.count);
  float sum = 0, squares = 0;
  each<float>(operands, params, [&](int64_t, float x) { sum += x; });
  const float mean = block_reduce(sum, Sum(), 0.0f) / count;
  each<float>(operands, params, [&](int64_t, float x) { squares += (x - mean) * (x - mean); });
  squares = block_reduce(squares, Sum(), 0.0f);
  if (threadIdx.x != 0) return;
  const auto divisor =
      static_cast<float>(max(0.0, static_cast<double>(params.count) - params.correction));
  const float variance = squares / divisor;
  store(operands.at[1], blockIdx.x, params.y, params.deviation != 0 ? sqrtf(variance) : variance);
  if (operands.at[2] != nullptr) store(operands.at[2], blockIdx.x, params.y, mean);
}

OSTINATO_KERNEL(vector_norm, kMostThreads, ReduceParams) {
  const auto order = static_cast<float>(params.order);
  float value = order == -INFINITY ? INFINITY : 0.0f;
  if (isinf(order)) {
    const auto extreme = [order](float a, float b) {
      return order > 0 ? larger(a, b) : smaller(a, b);
    };
    const float none = value;
    each<float>(operands, params, [&](int64_t, float x) { value = extreme(value, fabsf(x)); });
    value = block_reduce(value, extreme, none);
  } else {
    each<float>(operands, params, [&](int64_t, float x) {
      value += order == 2   ? x * x
               : order == 1 ? fabsf(x)
               : order == 0 ? (x != 0 ? 1.0f : 0.0f)
                            : powf(fabsf(x), order);
    });
    value = block_reduce(value, Sum(), 0.0f);
    if (order == 2) {
      value = sqrtf(value);
    } else if (order != 1 && order != 0) {
      value = powf(value, 1 / order);
    }
  }
  if (threadIdx.x == 0) store(operands.at[1], blockIdx.x, params.y, value);
}

OSTINATO_KERNEL(histogram, kMostThreads, HistogramParams) {
  const auto values = [&](auto&& f) {
    for (int64_t i = threadIdx.x; i < params.count; i += blockDim.x) {
      int64_t offset = 0;
      walk_to<1>(params.walk, i, &offset);
      f(load<float>(operands.at[0], offset, params.x));
    }
  };
  float low = params.min, high = params.max;
  if (low == high && params.count > 0) {
    low = INFINITY;
    high = -INFINITY;
    values([&](float x) {
      low = smaller(low, x);
      high = larger(high, x);
    });
    low = block_reduce(low, smaller, INFINITY);
    high = block_reduce(high, larger, -INFINITY);
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  // Finite, and not so large that one more is the same number.
  const bool has_range = low < high && !isinf(low) && !isinf(high);
  if (!has_range && threadIdx.x == 0) *operands.fault = operands.node;
  int64_t count = 0;
  values([&](float x) {
    if (!has_range || !(x >= low && x <= high)) return;
    const double range = static_cast<double>(high) - low;
    const double place = (static_cast<double>(x) - low) / range * static_cast<double>(params.bins);
    const int64_t bin = min(static_cast<int64_t>(place), params.bins - 1);
    count += bin == blockIdx.x ? 1 : 0;
  });
  count = block_reduce(count, Sum(), int64_t{0});
  if (threadIdx.x == 0) store(operands.at[1], blockIdx.x, params.y, static_cast<float>(count));
}

}  // namespace ostinato::cuda
