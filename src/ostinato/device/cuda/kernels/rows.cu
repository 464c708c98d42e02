#include "ostinato/device/cuda/kernels/walk.cuh"

/// Norms, softmax and reductions: a block to each row, in fp32.
namespace ostinato::cuda {

namespace {

constexpr int kMostThreads = 256;  // more would leave too few registers to each

__device__ inline const void* moved(const void* data, int64_t elements, Type type) {
  const int64_t bytes = type == Type::float32 || type == Type::int32      ? 4
                        : type == Type::bfloat16 || type == Type::float16 ? 2
                        : type == Type::int64                             ? 8
                                                                          : 1;
  return static_cast<const char*>(data) + elements * bytes;
}
__device__ inline void* moved(void* data, int64_t elements, Type type) {
  return const_cast<void*>(moved(static_cast<const void*>(data), elements, type));
}

/// The row as sums of x and the residual, each rounded to x's type; or x as it is.
struct Row {
  const void *x, *residual;
  Type x_type, residual_type;
  int64_t length;
  bool fours;  // whether its elements can be read four at a time

  /// Calls `f(i, value)` for this thread's elements.
  template <typename F>
  __device__ __forceinline__ void each(F&& f) const {
    const int64_t step = fours ? kAtOnce : 1;
    for (int64_t i = threadIdx.x * step; i < length; i += blockDim.x * step) {
      float values[kAtOnce] = {};
      if (fours) {
        load_four(x, i, x_type, values);
      } else {
        values[0] = load<float>(x, i, x_type);
      }
      OSTINATO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        if (j >= step) break;
        float value = values[j];
        if (residual != nullptr) {
          value = rounded(value + load<float>(residual, i + j, residual_type), x_type);
        }
        f(i + j, value);
      }
    }
  }
};

__device__ Row row_of(const Operands& operands, const NormParams& params) {
  int64_t offsets[2];
  walk_to<2>(params.walk, blockIdx.x, offsets);
  Row row{moved(operands.at[0], offsets[0], params.x),
          nullptr,
          params.x,
          params.residual,
          params.length,
          false};
  if (operands.at[1] != nullptr) row.residual = moved(operands.at[1], offsets[1], params.residual);
  row.fours = params.length % kAtOnce == 0 && is_aligned(row.x);
  return row;
}

}  // namespace

OSTINATO_KERNEL(rms_norm, kMostThreads, NormParams) {
  const Row row = row_of(operands, params);
  const int64_t first = blockIdx.x * params.length;
  float squares = 0;
  row.each([&](int64_t i, float value) {
    squares += value * value;
    if (operands.at[5] != nullptr) store(operands.at[5], first + i, params.y, value);
  });
  squares = block_reduce(squares, Sum(), 0.0f);
  const float scale = rsqrtf(squares * params.inverse_length + params.eps);
  const void* weight = operands.at[2];
  row.each([&](int64_t i, float value) {
    float y = rounded(value * scale, params.x);
    if (weight != nullptr) y *= load<float>(weight, i, params.weight);
    store(operands.at[4], first + i, params.y, y);
  });
}

OSTINATO_KERNEL(layer_norm, kMostThreads, NormParams) {
  const Row row = row_of(operands, params);
  const int64_t first = blockIdx.x * params.length;
  float sum = 0, squares = 0;
  row.each([&](int64_t i, float value) {
    sum += value;
    if (operands.at[7] != nullptr) store(operands.at[7], first + i, params.y, value);
  });
  const float mean = block_reduce(sum, Sum(), 0.0f) * params.inverse_length;
  row.each([&](int64_t, float value) { squares += (value - mean) * (value - mean); });
  const float scale =
      rsqrtf(block_reduce(squares, Sum(), 0.0f) * params.inverse_length + params.eps);
  const void *weight = operands.at[2], *bias = operands.at[3];
  row.each([&](int64_t i, float value) {
    float y = (value - mean) * scale;
    if (weight != nullptr) y *= load<float>(weight, i, params.weight);
    if (bias != nullptr) y += load<float>(bias, i, params.bias);
    store(operands.at[4], first + i, params.y, y);
  });
  if (threadIdx.x == 0 && operands.at[5] != nullptr) {
    store(operands.at[5], blockIdx.x, params.moments, mean);
    store(operands.at[6], blockIdx.x, params.moments, scale);
  }
}

OSTINATO_KERNEL(softmax, kMostThreads, SoftmaxParams) {
  int64_t offsets[2];
  walk_to<2>(params.walk, blockIdx.x, offsets);
  const auto x = [&](int64_t i) {
    return load<float>(operands.at[0], offsets[0] + i * params.x_stride, params.x);
  };
  float most = -INFINITY, sum = 0;
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) most = fmaxf(most, x(i));
  most = block_reduce(
      most, [](float a, float b) { return fmaxf(a, b); }, -INFINITY);
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) sum += expf(x(i) - most);
  sum = block_reduce(sum, Sum(), 0.0f);
  const float log_sum = logf(sum);
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) {
    const float shifted = x(i) - most;
    const float y = params.logarithm != 0 ? shifted - log_sum : expf(shifted) / sum;
    store(operands.at[1], offsets[1] + i * params.y_stride, params.y, y);
  }
}

namespace {

template <typename T, typename Op>
__device__ void reduce(const Operands& operands, const ReduceParams& params, Op op, T none) {
  int64_t base = 0;
  walk_to<1>(params.kept, blockIdx.x, &base);
  T value = none;
  for (int64_t i = threadIdx.x; i < params.count; i += blockDim.x) {
    int64_t offset = 0;
    walk_to<1>(params.reduced, i, &offset);
    value = op(value, load<T>(operands.at[0], base + offset, params.x));
  }
  value = block_reduce(value, op, none);
  if (threadIdx.x != 0) return;
  if (params.scale != 1) value = static_cast<T>(value * static_cast<float>(params.scale));
  store(operands.at[1], blockIdx.x, params.y, value);
}

/// An element and where it is; the earlier of equal ones, and the first NaN before all.
struct Best {
  float value;
  int32_t index;
};

template <bool largest>
__device__ bool is_better(float value, int32_t index, float than, int32_t than_index) {
  const bool nan = value != value, than_nan = than != than;
  if (nan != than_nan) return nan;
  if (!nan && value != than) return largest ? value > than : value < than;
  return index < than_index;
}

template <bool largest>
__device__ void arg_extremum(const Operands& operands, const ReduceParams& params) {
  __shared__ float values[kWarp];
  __shared__ int32_t indices[kWarp];
  int64_t base = 0;
  walk_to<1>(params.kept, blockIdx.x, &base);
  Best best{largest ? -INFINITY : INFINITY, 0x7fffffff};
  const auto take = [&best](float value, int32_t index) {
    if (is_better<largest>(value, index, best.value, best.index)) best = {value, index};
  };
  for (int64_t i = threadIdx.x; i < params.count; i += blockDim.x) {
    int64_t offset = 0;
    walk_to<1>(params.reduced, i, &offset);
    take(load<float>(operands.at[0], base + offset, params.x), static_cast<int32_t>(i));
  }
  const auto across_lanes = [&] {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const float value = __shfl_xor_sync(kAllLanes, best.value, step);
      const int32_t index = __shfl_xor_sync(kAllLanes, best.index, step);
      take(value, index);
    }
  };
  across_lanes();
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  if (lane == 0) {
    values[warp] = best.value;
    indices[warp] = best.index;
  }
  __syncthreads();
  if (warp != 0) return;
  if (lane < blockDim.x / kWarp) {
    best = {values[lane], indices[lane]};
  } else {
    best = {largest ? -INFINITY : INFINITY, 0x7fffffff};
  }
  across_lanes();
  if (lane == 0) store(operands.at[1], blockIdx.x, params.y, static_cast<int64_t>(best.index));
}

}  // namespace

OSTINATO_KERNEL(sum_real, kMostThreads, ReduceParams) { reduce(operands, params, Sum(), 0.0f); }
OSTINATO_KERNEL(sum_integer, kMostThreads, ReduceParams) {
  reduce(operands, params, Sum(), int64_t{0});
}
OSTINATO_KERNEL(amax_real, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](float a, float b) { return a > b || a != a ? a : b; }, -INFINITY);
}
OSTINATO_KERNEL(amin_real, kMostThreads, ReduceParams) {
  reduce(
      operands, params, [](float a, float b) { return a < b || a != a ? a : b; }, INFINITY);
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
OSTINATO_KERNEL(argmax, kMostThreads, ReduceParams) { arg_extremum<true>(operands, params); }
OSTINATO_KERNEL(argmin, kMostThreads, ReduceParams) { arg_extremum<false>(operands, params); }

}  // namespace ostinato::cuda
