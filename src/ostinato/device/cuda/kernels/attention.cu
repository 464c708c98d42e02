#include "ostinato/device/cuda/kernels/attention.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

/// Attention for any dtype, stride and mask: a block to each query of a head and each part of its
/// keys, a warp to each key in turn. With few queries, as in decoding, the parts fill the GPU.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kEach = kMostHeadDim / kWarp;  // elements of a head to a lane
constexpr int kAhead = 4;                    // keys that a warp reads at a time

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

/// Of a query's product with a key that it may attend, as far as position and window go.
__device__ inline float final_score(const Operands& operands, const AttentionParams& params,
                                    const Place& place, int64_t key, float product) {
  float score = product * params.scale;
  if (params.softcap > 0) score = params.softcap * tanhf(score / params.softcap);
  if (operands.at[3] == nullptr) return score;
  const int64_t at = place.b * params.mask_strides[0] + place.h * params.mask_strides[1] +
                     place.query * params.mask_strides[2] + key * params.mask_strides[3];
  const float mask = load<float>(operands.at[3], at, params.mask);
  if (params.mask != Type::boolean) return score + mask;
  return mask != 0 ? score : -INFINITY;
}

/// One part in scratch: its sums, largest score and divisor, in floats.
__device__ inline float* part_of(const Operands& operands, const AttentionParams& params,
                                 int64_t head, int64_t query, int64_t split) {
  const int64_t part = (head * params.queries + query) * params.splits + split;
  return static_cast<float*>(operands.at[5]) + part * (params.value_dim + 2);
}

__device__ inline float sink_of(const Operands& operands, const AttentionParams& params,
                                int64_t h) {
  return operands.at[7] == nullptr ? -INFINITY : load<float>(operands.at[7], h, params.sinks);
}

/// What the sums are divided by, in the end, when the largest score is `largest`: the sink has its
/// share. Zero for a query that may attend nothing, which gives zeros.
__device__ inline float whole_divisor(float divisor, float largest, float sink) {
  return largest == -INFINITY ? 0.0f : divisor + expf(sink - largest);
}

__device__ inline int64_t place_of_result(const AttentionParams& params, const Place& place,
                                          int64_t element) {
  return place.b * params.y_strides[0] + place.h * params.y_strides[1] +
         place.query * params.y_strides[2] + element * params.y_strides[3];
}

/// Joins the parts of a query; by one block.
__device__ void join(const Operands& operands, const AttentionParams& params, const Place& place) {
  const int64_t head = blockIdx.y;
  float largest = -INFINITY, divisor = 0;
  for (int64_t s = 0; s < params.splits; ++s) {
    largest = fmaxf(largest, part_of(operands, params, head, place.query, s)[params.value_dim]);
  }
  const auto factor = [&](const float* part) {
    const float own = part[params.value_dim];
    return own == -INFINITY ? 0.0f : expf(own - largest);
  };
  for (int64_t s = 0; s < params.splits; ++s) {
    const float* part = part_of(operands, params, head, place.query, s);
    divisor += part[params.value_dim + 1] * factor(part);
  }
  divisor = whole_divisor(divisor, largest, sink_of(operands, params, place.h));
  for (int64_t i = threadIdx.x; i < params.value_dim; i += kThreads) {
    float sum = 0;
    for (int64_t s = 0; s < params.splits; ++s) {
      const float* part = part_of(operands, params, head, place.query, s);
      sum += part[i] * factor(part);
    }
    store(operands.at[6], place_of_result(params, place, i), params.y,
          divisor > 0 ? sum / divisor : 0.0f);
  }
}

/// Whether this block is the last of its query's that is done; what the others wrote can be read.
__device__ bool is_last(const Operands& operands, const AttentionParams& params,
                        const Place& place) {
  __shared__ unsigned ticket;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    // Wraps to zero with the last, as the next kernel wants it.
    ticket = atomicInc(operands.tickets + blockIdx.y * params.queries + place.query,
                       static_cast<unsigned>(params.splits) - 1);
  }
  __syncthreads();
  __threadfence();
  return ticket == static_cast<unsigned>(params.splits) - 1;
}

}  // namespace

OSTINATO_KERNEL(attention, kThreads, AttentionParams) {
  __shared__ float shared_sums[kWarps][kMostHeadDim];
  __shared__ float shared_largest[kWarps], shared_divisor[kWarps];
  const Place place = place_of(params);
  const auto [b, h, query, split] = place;
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
  const int64_t k_head = b * params.k_strides[0] + kv * params.k_strides[1];
  const int64_t v_head = b * params.v_strides[0] + kv * params.v_strides[1];
  State state;
  // kAhead keys at a time, so that their loads overlap.
  for (int64_t key = begin + warp; key < end; key += kAhead * kWarps) {
    float scores[kAhead] = {};
    OSTINATO_UNROLL
    for (int n = 0; n < kAhead; ++n) {
      const int64_t k_at = k_head + min(key + n * kWarps, end - 1) * params.k_strides[2];
      OSTINATO_UNROLL
      for (int i = 0; i < kEach; ++i) {
        if (element(i) >= params.head_dim) continue;
        scores[n] +=
            q[i] * load<float>(operands.at[1], k_at + element(i) * params.k_strides[3], params.k);
      }
    }
    OSTINATO_UNROLL
    for (int n = 0; n < kAhead; ++n) {
      const int64_t at = key + n * kWarps;
      const float score = warp_reduce(scores[n], Sum());
      scores[n] = at < end ? final_score(operands, params, place, at, score) : -INFINITY;
    }
    OSTINATO_UNROLL
    for (int n = 0; n < kAhead; ++n) {
      if (scores[n] == -INFINITY) continue;
      const int64_t v_at = v_head + (key + n * kWarps) * params.v_strides[2];
      float values[kEach];
      OSTINATO_UNROLL
      for (int i = 0; i < kEach; ++i) {
        const bool inside = element(i) < params.value_dim;
        values[i] =
            inside ? load<float>(operands.at[2], v_at + element(i) * params.v_strides[3], params.v)
                   : 0.0f;
      }
      state.add(scores[n], values);
    }
  }
  if (lane == 0) {
    shared_largest[warp] = state.largest;
    shared_divisor[warp] = state.divisor;
  }
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) shared_sums[warp][element(i)] = state.sums[i];
  __syncthreads();
  float largest = -INFINITY, divisor = 0;
  for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, shared_largest[w]);
  float factors[kWarps];
  OSTINATO_UNROLL
  for (int w = 0; w < kWarps; ++w) {
    factors[w] = shared_largest[w] == -INFINITY ? 0.0f : expf(shared_largest[w] - largest);
    divisor += shared_divisor[w] * factors[w];
  }
  const bool whole = params.splits == 1;
  if (whole) divisor = whole_divisor(divisor, largest, sink_of(operands, params, h));
  float* const part =
      whole ? nullptr : part_of(operands, params, b * params.heads + h, query, split);
  for (int64_t i = threadIdx.x; i < params.value_dim; i += kThreads) {
    float sum = 0;
    OSTINATO_UNROLL
    for (int w = 0; w < kWarps; ++w) sum += shared_sums[w][i] * factors[w];
    if (whole) {
      store(operands.at[6], place_of_result(params, place, i), params.y,
            divisor > 0 ? sum / divisor : 0.0f);
    } else {
      part[i] = sum;
    }
  }
  if (whole) return;
  if (threadIdx.x == 0) {
    part[params.value_dim] = largest;
    part[params.value_dim + 1] = divisor;
  }
  if (is_last(operands, params, place)) join(operands, params, place);
}

}  // namespace ostinato::cuda
