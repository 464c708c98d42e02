#include "ostinato/device/cuda/kernels/attention_tile.cuh"

/// Attention of many queries in float32 arithmetic, for float32 and for heads that do not fit on
/// tensor cores: a block to 64 queries of a head, 64 keys at a time. Queries, keys and values pass
/// through shared memory a few elements deep; a thread has four by four scores, and sums of the
/// same four queries.
namespace ostinato::cuda {

namespace {

constexpr int kKeys = 64;   // at a time
constexpr int kDepth = 16;  // elements of queries and keys at a time, and rows of values
constexpr int kAcross = 16;
constexpr int kThreads = kAcross * kAcross;
constexpr int kEach = kTileQueries / kAcross;  // queries of a thread, and keys

static_assert(kKeys == kTileQueries);

/// One head's rows of an operand.
template <typename T>
struct Rows {
  const T* first;
  int64_t row_stride, stride, size;

  __device__ Rows(const void* data, int64_t at, const int64_t* strides, int64_t count)
      : first(static_cast<const T*>(data) + at),
        row_stride(strides[2]),
        stride(strides[3]),
        size(count) {}

  /// Zero outside.
  __device__ float at(int64_t row, int64_t last, int64_t element) const {
    const bool inside = row < last && element < size;
    return inside ? to_float(first[row * row_stride + element * stride]) : 0.0f;
  }

  /// Brings `kDepth` elements of 64 rows to shared memory, transposed. With few loads at a time
  /// heads of up to 128 leave registers for two blocks to a multiprocessor.
  template <int dim>
  __device__ void bring(float (*shared)[kKeys + 1], int64_t row, int64_t last,
                        int64_t element) const {
    const auto bring_one = [&](int i) {
      shared[i % kDepth][i / kDepth] = at(row + i / kDepth, last, element + i % kDepth);
    };
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (dim > kMostTileDim) {
      for (int i = thread; i < kKeys * kDepth; i += kThreads) bring_one(i);
    } else {
      OSTINATO_UNROLL_2
      for (int i = thread; i < kKeys * kDepth; i += kThreads) bring_one(i);
    }
  }
};

/// Over the sixteen lanes that share queries.
template <typename Op>
__device__ inline float row_reduce(float value, Op op) {
  for (int step = kAcross / 2; step > 0; step /= 2) {
    value = op(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

template <typename T, int dim>
__device__ void attend(const Operands& operands, const AttentionParams& params) {
  constexpr int kColumns = dim / kAcross;
  __shared__ float query_tile[kDepth][kKeys + 1];
  __shared__ float key_tile[kDepth][kKeys + 1];
  __shared__ float value_tile[kDepth][dim];
  __shared__ float weights[kTileQueries][kKeys + 1];
  const int row = static_cast<int>(threadIdx.x) / kAcross;
  const int column = static_cast<int>(threadIdx.x) % kAcross;
  const Tile tile = tile_of(operands, params);
  const int64_t kv = tile.h / params.group;
  const Rows<T> q(operands.at[0], tile.b * params.q_strides[0] + tile.h * params.q_strides[1],
                  params.q_strides, params.head_dim);
  const Rows<T> k(operands.at[1], tile.b * params.k_strides[0] + kv * params.k_strides[1],
                  params.k_strides, params.head_dim);
  const Rows<T> v(operands.at[2], tile.b * params.v_strides[0] + kv * params.v_strides[1],
                  params.v_strides, params.value_dim);
  float largest[kEach], divisor[kEach] = {}, sums[kEach][kColumns] = {};
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) largest[i] = -INFINITY;
  for (int64_t key = tile.first_key / kKeys * kKeys; key < tile.last_key; key += kKeys) {
    float scores[kEach][kEach] = {};
    for (int64_t d = 0; d < params.head_dim; d += kDepth) {
      __syncthreads();  // what was there before has been read
      q.template bring<dim>(query_tile, tile.first_query, params.queries, d);
      k.template bring<dim>(key_tile, key, tile.last_key, d);
      __syncthreads();
      OSTINATO_UNROLL
      for (int n = 0; n < kDepth; ++n) {
        float left[kEach], right[kEach];
        OSTINATO_UNROLL
        for (int i = 0; i < kEach; ++i) {
          left[i] = query_tile[n][row + i * kAcross];
          right[i] = key_tile[n][column + i * kAcross];
        }
        OSTINATO_UNROLL
        for (int i = 0; i < kEach; ++i) {
          OSTINATO_UNROLL
          for (int j = 0; j < kEach; ++j) scores[i][j] += left[i] * right[j];
        }
      }
    }
    OSTINATO_UNROLL
    for (int i = 0; i < kEach; ++i) {
      float now = largest[i];
      OSTINATO_UNROLL
      for (int j = 0; j < kEach; ++j) {
        scores[i][j] = score_of(operands, params, tile, tile.first_query + row + i * kAcross,
                                key + column + j * kAcross, scores[i][j]);
        now = fmaxf(now, scores[i][j]);
      }
      now = row_reduce(now, [](float a, float b) { return fmaxf(a, b); });
      const float base = now == -INFINITY ? 0.0f : now;
      const float keep = expf(largest[i] - base);
      largest[i] = now;
      divisor[i] *= keep;
      OSTINATO_UNROLL
      for (int j = 0; j < kEach; ++j) {
        const float weight = expf(scores[i][j] - base);
        divisor[i] += weight;
        weights[row + i * kAcross][column + j * kAcross] = weight;
      }
      OSTINATO_UNROLL
      for (int c = 0; c < kColumns; ++c) sums[i][c] *= keep;
    }
    const int64_t last = min(key + kKeys, tile.last_key);
    for (int64_t first = key; first < last; first += kDepth) {
      __syncthreads();
      OSTINATO_UNROLL_4
      for (int i = static_cast<int>(threadIdx.x); i < kDepth * dim; i += kThreads) {
        value_tile[i / dim][i % dim] = v.at(first + i / dim, last, i % dim);
      }
      __syncthreads();
      OSTINATO_UNROLL_4
      for (int n = 0; n < kDepth; ++n) {
        float weight[kEach];
        OSTINATO_UNROLL
        for (int i = 0; i < kEach; ++i) {
          weight[i] = weights[row + i * kAcross][static_cast<int>(first - key) + n];
        }
        OSTINATO_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const float value = value_tile[n][column + c * kAcross];
          OSTINATO_UNROLL
          for (int i = 0; i < kEach; ++i) sums[i][c] += weight[i] * value;
        }
      }
    }
  }
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const float whole = row_reduce(divisor[i], Sum());
    const float factor = factor_of(operands, params, tile, whole, largest[i]);
    const int64_t query = tile.first_query + row + i * kAcross;
    if (query >= params.queries) continue;
    T* y = result_of<T>(operands, params, tile, query);
    OSTINATO_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const int element = column + c * kAcross;
      if (element < params.value_dim) {
        y[element * params.y_strides[3]] = from_float<T>(sums[i][c] * factor);
      }
    }
  }
}

}  // namespace

OSTINATO_KERNEL(attention_blocks_float32_64, kThreads, AttentionParams) {
  attend<float, 64>(operands, params);
}
OSTINATO_KERNEL(attention_blocks_float32_128, kThreads, AttentionParams) {
  attend<float, 128>(operands, params);
}
OSTINATO_KERNEL(attention_blocks_float32_256, kThreads, AttentionParams) {
  attend<float, 256>(operands, params);
}
OSTINATO_KERNEL(attention_blocks_bfloat16_256, kThreads, AttentionParams) {
  attend<bf16, 256>(operands, params);
}
OSTINATO_KERNEL(attention_blocks_float16_256, kThreads, AttentionParams) {
  attend<f16, 256>(operands, params);
}

}  // namespace ostinato::cuda
