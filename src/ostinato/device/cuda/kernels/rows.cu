#include "ostinato/device/cuda/kernels/walk.cuh"

/// Norms and softmax: a block to each row, in fp32.
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

OSTINATO_KERNEL(group_norm, kMostThreads, GroupNormParams) {
  const int64_t first = blockIdx.x * params.length;
  const auto x = [&](int64_t i) { return load<float>(operands.at[0], first + i, params.x); };
  float sum = 0, squares = 0;
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) sum += x(i);
  const float mean = block_reduce(sum, Sum(), 0.0f) / static_cast<float>(params.length);
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) {
    squares += (x(i) - mean) * (x(i) - mean);
  }
  const float variance = block_reduce(squares, Sum(), 0.0f) / static_cast<float>(params.length);
  const float scale = rsqrtf(variance + params.eps);
  for (int64_t i = threadIdx.x; i < params.length; i += blockDim.x) {
    const int64_t channel = (first + i) / params.plane % params.channels;
    float y = (x(i) - mean) * scale;
    if (operands.at[1] != nullptr) y *= load<float>(operands.at[1], channel, params.weight);
    if (operands.at[2] != nullptr) y += load<float>(operands.at[2], channel, params.bias);
    store(operands.at[3], first + i, params.x, y);
  }
  if (threadIdx.x == 0) {
    store(operands.at[4], blockIdx.x, params.x, mean);
    store(operands.at[5], blockIdx.x, params.x, scale);
  }
}

OSTINATO_KERNEL(batch_norm, kMostThreads, BatchNormParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const int64_t channel = i / params.plane % params.channels;
    int64_t offset = 0;
    walk_to<1>(params.walk, i, &offset);
    const auto of_channel = [&](int k, float otherwise) {
      return operands.at[k] == nullptr ? otherwise
                                       : load<float>(operands.at[k], channel, params.types[k]);
    };
    const float scale = 1 / sqrtf(of_channel(4, 1) + params.eps);
    const float value =
        (load<float>(operands.at[0], offset, params.types[0]) - of_channel(3, 0)) * scale;
    store(operands.at[5], i, params.types[0], value * of_channel(1, 1) + of_channel(2, 0));
  }
}

}  // namespace ostinato::cuda
