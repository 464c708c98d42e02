#include "ostinato/device/cuda/kernels/attention.h"
#include "ostinato/device/cuda/kernels/heads.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

namespace ostinato::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

struct HeadRow {
  int64_t b, h, s;

  __device__ int64_t at(const int64_t* strides) const {
    return b * strides[0] + h * strides[1] + s * strides[2];
  }
};

__device__ HeadRow row_of(int64_t row, int64_t heads, int64_t length) {
  return {row / (heads * length), row / length % heads, row % length};
}

/// Leaves the row in `values`, normalised and rounded as the norm's operator of its own does it.
__device__ void read_head(const HeadsParams& params, const void* x, int64_t first, int64_t stride,
                          const void* weight, float* values) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float squares = 0;
  for (int64_t i = lane; i < params.head_dim; i += kWarp) {
    values[i] = load<float>(x, first + i * stride, params.type);
    squares += values[i] * values[i];
  }
  if (params.normed != 0) {
    squares = warp_reduce(squares, Sum());
    const float scale = rsqrtf(squares / static_cast<float>(params.head_dim) + params.eps);
    for (int64_t i = lane; i < params.head_dim; i += kWarp) {
      float y = rounded(values[i] * scale, params.type);
      if (weight != nullptr) y = rounded(y * load<float>(weight, i, params.type), params.type);
      values[i] = y;
    }
  }
  __syncwarp();
}

/// The element d after its rotation with its partner.
__device__ float rotated_value(const Operands& operands, const HeadsParams& params,
                               const HeadRow& row, const float* values, int64_t d) {
  if (d >= params.rotated) return values[d];
  const int64_t half = params.rotated / 2;
  float turned = 0;
  if (params.interleaved != 0) {
    turned = d % 2 == 0 ? -values[d + 1] : values[d - 1];
  } else {
    turned = d < half ? -values[d + half] : values[d - half];
  }
  const float cos = load<float>(
      operands.at[4], row.at(params.cos_strides) + d * params.cos_strides[3], params.table);
  const float sin = load<float>(
      operands.at[5], row.at(params.sin_strides) + d * params.sin_strides[3], params.table);
  return values[d] * cos + turned * sin;
}

}  // namespace

OSTINATO_KERNEL(heads, kThreads, HeadsParams) {
  __shared__ float shared[kWarps][kMostHeadDim];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  int64_t position = 0;
  if (operands.at[3] != nullptr) position = *static_cast<const int64_t*>(operands.at[3]);
  if (position < 0 || position > params.most) {
    *operands.fault = operands.node;
    return;
  }
  int64_t index = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  if (index < params.query_rows) {
    const HeadRow row = row_of(index, params.heads, params.length);
    read_head(params, operands.at[0], row.at(params.q_strides), params.q_strides[3], operands.at[6],
              shared[warp]);
    const int64_t to = row.at(params.to_query_strides);
    for (int64_t d = lane; d < params.head_dim; d += kWarp) {
      store(operands.at[8], to + d, params.type,
            rotated_value(operands, params, row, shared[warp], d));
    }
    return;
  }
  index -= params.query_rows;
  if (index < params.key_rows) {
    const HeadRow row = row_of(index, params.key_heads, params.length);
    read_head(params, operands.at[1], row.at(params.k_strides), params.k_strides[3], operands.at[7],
              shared[warp]);
    const int64_t to = row.at(params.to_key_strides) + position * params.to_key_strides[2];
    for (int64_t d = lane; d < params.head_dim; d += kWarp) {
      store(operands.at[9], to + d, params.type,
            rotated_value(operands, params, row, shared[warp], d));
    }
    return;
  }
  index -= params.key_rows;
  if (operands.at[2] == nullptr || index >= params.key_rows) return;
  const HeadRow row = row_of(index, params.key_heads, params.length);
  const int64_t from = row.at(params.v_strides);
  const int64_t to = row.at(params.to_value_strides) + position * params.to_value_strides[2];
  for (int64_t d = lane; d < params.value_dim; d += kWarp) {
    store(operands.at[10], to + d, params.type,
          load<float>(operands.at[2], from + d * params.v_strides[3], params.type));
  }
}

}  // namespace ostinato::cuda
