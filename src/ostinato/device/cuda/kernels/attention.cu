#include "ostinato/device/cuda/kernels/attention.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

/// Attention for any dtype, stride and mask: a block to each query of a head and each part of its
/// keys, a warp to each key in turn. With few queries, as in decoding, the parts fill the GPU.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kEach = kMostHeadDim / kWarp;  // elements of a head to a lane

/// Of the scores so far, relative to the largest, so that none overflows.
struct State {
  float largest = -INFINITY, divisor = 0;
  float sums[kEach] = {};

  __device__ void add(float score, const float* values) {
    const float now = fmaxf(largest, score);
    const float keep = expf(largest - now), take = expf(score - now);
    divisor = divisor * keep + take;
    OSTINATO_UNROLL
    for (int i = 0; i < kEach; ++i) sums[i] = sums[i] * keep + take * values[i];
    largest = now;
  }
};

struct Place {
  int64_t b, h, query, split;
};

__device__ inline Place place_of(const AttentionParams& params) {
  const int64_t block = blockIdx.y;
  return {block / params.heads, block % params.heads, blockIdx.x / params.splits,
          blockIdx.x % params.splits};
}

/// Bytes of scratch to one part: its sums, largest score and divisor, in floats.
__device__ inline float* part_of(const Operands& operands, const AttentionParams& params,
                                 int64_t head, int64_t query, int64_t split) {
  const int64_t part = (head * params.queries + query) * params.splits + split;
  return static_cast<float*>(operands.at[5]) + part * (params.value_dim + 2);
}

}  // namespace

OSTINATO_KERNEL(attention_parts, kThreads, AttentionParams) {
  __shared__ float shared_sums[kWarps][kMostHeadDim];
  __shared__ float shared_largest[kWarps], shared_divisor[kWarps];
  const auto [b, h, query, split] = place_of(params);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t past =
      operands.at[4] == nullptr ? params.offset : *static_cast<const int64_t*>(operands.at[4]);
  int64_t first = 0, last = params.keys;
  if (params.causal != 0) {
    last = min(last, query + past + 1);
    if (params.window >= 0) first = max(first, query + past - params.window + 1);
  }
  // Parts of what this query attends, so that they are alike however long the cache is.
  const int64_t count = max(last - first, int64_t{0});
  const int64_t each = (count + params.splits - 1) / params.splits;
  const int64_t begin = first + split * each, end = min(begin + each, last);

  const auto element = [&](int i) { return lane + i * kWarp; };
  const int64_t q_at =
      b * params.q_strides[0] + h * params.q_strides[1] + query * params.q_strides[2];
  float q[kEach];
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const bool inside = element(i) < params.head_dim;
    q[i] = inside ? load<float>(operands.at[0], q_at + element(i) * params.q_strides[3], params.q)
                  : 0.0f;
  }
  const int64_t kv = h / params.group;
  State state;
  for (int64_t key = begin + warp; key < end; key += kWarps) {
    const int64_t k_at =
        b * params.k_strides[0] + kv * params.k_strides[1] + key * params.k_strides[2];
    float score = 0;
    OSTINATO_UNROLL
    for (int i = 0; i < kEach; ++i) {
      if (element(i) >= params.head_dim) continue;
      score +=
          q[i] * load<float>(operands.at[1], k_at + element(i) * params.k_strides[3], params.k);
    }
    score = warp_reduce(score, Sum()) * params.scale;
    if (operands.at[3] != nullptr) {
      const int64_t at = b * params.mask_strides[0] + h * params.mask_strides[1] +
                         query * params.mask_strides[2] + key * params.mask_strides[3];
      const float mask = load<float>(operands.at[3], at, params.mask);
      score = params.mask != Type::boolean ? score + mask : mask != 0 ? score : -INFINITY;
    }
    if (score == -INFINITY) continue;
    const int64_t v_at =
        b * params.v_strides[0] + kv * params.v_strides[1] + key * params.v_strides[2];
    float values[kEach];
    OSTINATO_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const bool inside = element(i) < params.value_dim;
      values[i] =
          inside ? load<float>(operands.at[2], v_at + element(i) * params.v_strides[3], params.v)
                 : 0.0f;
    }
    state.add(score, values);
  }
  if (lane == 0) {
    shared_largest[warp] = state.largest;
    shared_divisor[warp] = state.divisor;
  }
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) shared_sums[warp][element(i)] = state.sums[i];
  __syncthreads();
  float* const part = part_of(operands, params, b * params.heads + h, query, split);
  float largest = -INFINITY, divisor = 0;
  for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, shared_largest[w]);
  float factors[kWarps];
  OSTINATO_UNROLL
  for (int w = 0; w < kWarps; ++w) {
    factors[w] = shared_largest[w] == -INFINITY ? 0.0f : expf(shared_largest[w] - largest);
    divisor += shared_divisor[w] * factors[w];
  }
  for (int64_t i = threadIdx.x; i < params.value_dim; i += kThreads) {
    float sum = 0;
    OSTINATO_UNROLL
    for (int w = 0; w < kWarps; ++w) sum += shared_sums[w][i] * factors[w];
    part[i] = sum;
  }
  if (threadIdx.x == 0) {
    part[params.value_dim] = largest;
    part[params.value_dim + 1] = divisor;
  }
}

OSTINATO_KERNEL(attention_join, kThreads, AttentionParams) {
  const int64_t head = blockIdx.y, query = blockIdx.x;
  float largest = -INFINITY, divisor = 0;
  for (int64_t s = 0; s < params.splits; ++s) {
    largest = fmaxf(largest, part_of(operands, params, head, query, s)[params.value_dim]);
  }
  const auto factor = [&](const float* part) {
    const float own = part[params.value_dim];
    return own == -INFINITY ? 0.0f : expf(own - largest);
  };
  for (int64_t s = 0; s < params.splits; ++s) {
    const float* part = part_of(operands, params, head, query, s);
    divisor += part[params.value_dim + 1] * factor(part);
  }
  for (int64_t i = threadIdx.x; i < params.value_dim; i += kThreads) {
    float sum = 0;
    for (int64_t s = 0; s < params.splits; ++s) {
      const float* part = part_of(operands, params, head, query, s);
      sum += part[i] * factor(part);
    }
    const int64_t at = head / params.heads * params.y_strides[0] +
                       head % params.heads * params.y_strides[1] + query * params.y_strides[2] +
                       i * params.y_strides[3];
    // A query that may attend nothing gives zeros.
    store(operands.at[6], at, params.y, divisor > 0 ? sum / divisor : 0.0f);
  }
}

}  // namespace ostinato::cuda
