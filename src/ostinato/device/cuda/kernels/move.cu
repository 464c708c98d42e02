#include "ostinato/device/cuda/kernels/move.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Kernels that place and rotate.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

}  // namespace

OSTINATO_KERNEL(cache_update, kThreads, CacheParams) {
  const int64_t position = *static_cast<const int64_t*>(operands.at[2]);
  if (position < 0 || position > params.most) {
    *operands.fault = operands.node;
    return;
  }
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    int64_t offsets[2];
    walk_to<2>(params.walk, i, offsets);
    store(operands.at[0], offsets[1] + position * params.position_stride, params.cache,
          load<float>(operands.at[1], offsets[0], params.value));
  }
}

OSTINATO_KERNEL(rotary, kThreads, RotaryParams) {
  const int64_t count = params.rows * params.length, half = params.rotated / 2;
  for (int64_t i = first_of_thread(); i < count; i += threads_of_grid()) {
    const int64_t d = i % params.length;
    int64_t offsets[3];
    walk_to<3>(params.walk, i / params.length, offsets);
    const auto x = [&](int64_t at) {
      return load<float>(operands.at[0], offsets[0] + at * params.x_stride, params.x);
    };
    float y = x(d);
    if (d < params.rotated) {
      float turned = 0;
      if (params.interleaved != 0) {
        turned = d % 2 == 0 ? -x(d + 1) : x(d - 1);
      } else {
        turned = d < half ? -x(d + half) : x(d - half);
      }
      y = y * load<float>(operands.at[1], offsets[1] + d * params.cos_stride, params.cos) +
          turned * load<float>(operands.at[2], offsets[2] + d * params.sin_stride, params.sin);
    }
    store(operands.at[3], i, params.y, y);
  }
}

OSTINATO_KERNEL(arange_real, kThreads, ArangeParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const double value = params.first + params.step * static_cast<double>(i);
    store(operands.at[0], i, params.y, static_cast<float>(value));
  }
}

OSTINATO_KERNEL(arange_integer, kThreads, ArangeParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const uint64_t value = static_cast<uint64_t>(params.first_integer) +
                           static_cast<uint64_t>(i) * static_cast<uint64_t>(params.step_integer);
    store(operands.at[0], i, params.y, static_cast<int64_t>(value));
  }
}

OSTINATO_KERNEL(roll, kThreads, RollParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    int64_t rest = i, from = 0;
    for (int d = params.dims - 1; d >= 0; --d) {
      const int64_t size = params.sizes[d], index = rest % size - params.shifts[d];
      from += (index < 0 ? index + size : index) * params.strides[d];
      rest /= size;
    }
    copy_element(operands.at[1], i, operands.at[0], from, params.type);
  }
}

OSTINATO_KERNEL(triangle, kThreads, TriangleParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const int64_t above = i % params.columns - i / params.columns % params.rows;
    if (params.lower != 0 ? above <= params.diagonal : above >= params.diagonal) {
      int64_t from = 0;
      walk_to<1>(params.walk, i, &from);
      copy_element(operands.at[1], i, operands.at[0], from, params.type);
    } else {
      store(operands.at[1], i, params.type, int64_t{0});
    }
  }
}

}  // namespace ostinato::cuda
