#include "ostinato/device/cuda/kernels/attention_tile.cuh"
#include "ostinato/device/cuda/kernels/mma.cuh"

/// Attention of many queries on tensor cores (Dao 2023): a block to 64 queries of a head, a warp to
/// 16 of them, 64 keys at a time. Scores and sums stay in registers, in fp32; keys and values pass
/// through shared memory, each copied while the other is multiplied.
namespace ostinato::cuda {

namespace {

constexpr int kKeys = 64;  // at a time
constexpr int kRowsOfWarp = 16;
constexpr int kThreads = kTileQueries / kRowsOfWarp * kWarp;
constexpr int kPadding = 8;  // elements to a row of shared memory, against bank conflicts
constexpr float kLog2e = 1.4426950408889634f;

/// Rows of keys or values, and how many elements each has.
template <typename T>
struct Source {
  const T* first;
  int64_t row_stride, stride, size;
  bool packed;  // 16 bytes can be read at once

  __device__ Source(const void* data, int64_t at, const int64_t* strides, int64_t count)
      : first(static_cast<const T*>(data) + at),
        row_stride(strides[2]),
        stride(strides[3]),
        size(count),
        packed(stride == 1 && row_stride % Pack<T>::kCount == 0 && count % Pack<T>::kCount == 0 &&
               is_aligned(first)) {}

  /// Begins to bring `kKeys` rows to shared memory, with zeros where there are none.
  template <int dim>
  __device__ void bring(T (*shared)[dim + kPadding], int64_t row, int64_t last) const {
    constexpr int kPacks = dim / Pack<T>::kCount;
    for (int i = static_cast<int>(threadIdx.x); i < kKeys * kPacks; i += kThreads) {
      const int r = i / kPacks, column = i % kPacks * Pack<T>::kCount;
      T* to = &shared[r][column];
      const bool is_row = row + r < last;
      const T* from = first + (is_row ? (row + r) * row_stride : 0);
      if (packed) {
        copy_later(to, column < size ? from + column : first, !is_row || column >= size);
        continue;
      }
      for (int j = 0; j < Pack<T>::kCount; ++j) {
        const bool inside = is_row && column + j < size;
        to[j] = inside ? from[(column + j) * stride] : from_float<T>(0.0f);
      }
    }
  }
};

/// Over the four lanes that share a row.
template <typename Op>
__device__ inline float row_reduce(float value, Op op) {
  value = op(value, __shfl_xor_sync(kAllLanes, value, 1));
  return op(value, __shfl_xor_sync(kAllLanes, value, 2));
}

/// The queries of this warp, as the left operand of `mma`.
template <typename T, int dim>
__device__ void read_queries(const Operands& operands, const AttentionParams& params,
                             const Tile& tile, int64_t first_query,
                             uint32_t (&fragments)[dim / 16][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* q = static_cast<const T*>(operands.at[0]) + tile.b * params.q_strides[0] +
               tile.h * params.q_strides[1];
  const auto element = [&](int64_t query, int64_t d) {
    if (query >= params.queries || d >= params.head_dim) return from_float<T>(0.0f);
    return q[query * params.q_strides[2] + d * params.q_strides[3]];
  };
  OSTINATO_UNROLL
  for (int k = 0; k < dim / 16; ++k) {
    OSTINATO_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64_t query = first_query + lane / 4 + i % 2 * 8;
      const int64_t d = k * 16 + lane % 4 * 2 + i / 2 * 8;
      fragments[k][i] = pair_of(element(query, d), element(query, d + 1));
    }
  }
}

/// Largest scores and divisors of the two rows that a lane has parts of, and their sums.
template <int dim>
struct Rows {
  float largest[2] = {-INFINITY, -INFINITY}, divisor[2] = {};
  float sums[dim / 8][4] = {};

  /// Makes of scores what values are multiplied by, relative to the largest so far.
  __device__ void take(float (&scores)[kKeys / 8][4]) {
    OSTINATO_UNROLL
    for (int r = 0; r < 2; ++r) {
      float now = largest[r];
      OSTINATO_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        now = fmaxf(now, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
      }
      now = row_reduce(now, [](float a, float b) { return fmaxf(a, b); });
      const float base = now == -INFINITY ? 0.0f : now * kLog2e;
      const float keep = exp2f(largest[r] * kLog2e - base);
      float sum = 0;
      OSTINATO_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        OSTINATO_UNROLL
        for (int e = 2 * r; e < 2 * r + 2; ++e) {
          scores[n][e] = exp2f(scores[n][e] * kLog2e - base);
          sum += scores[n][e];
        }
      }
      divisor[r] = divisor[r] * keep + sum;
      largest[r] = now;
      OSTINATO_UNROLL
      for (int n = 0; n < dim / 8; ++n) {
        sums[n][2 * r] *= keep;
        sums[n][2 * r + 1] *= keep;
      }
    }
  }
};

template <typename T, int dim>
__device__ void attend(const Operands& operands, const AttentionParams& params) {
  alignas(16) __shared__ T keys[kKeys][dim + kPadding];
  alignas(16) __shared__ T values[kKeys][dim + kPadding];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Tile tile = tile_of(operands, params);
  const int64_t first_query =
      tile.first_query + static_cast<int64_t>(threadIdx.x) / kWarp * kRowsOfWarp;
  const int64_t kv = tile.h / params.group;
  const Source<T> k(operands.at[1], tile.b * params.k_strides[0] + kv * params.k_strides[1],
                    params.k_strides, params.head_dim);
  const Source<T> v(operands.at[2], tile.b * params.v_strides[0] + kv * params.v_strides[1],
                    params.v_strides, params.value_dim);
  uint32_t queries[dim / 16][4];
  read_queries<T, dim>(operands, params, tile, first_query, queries);
  Rows<dim> rows;
  const int64_t first_key = tile.first_key / kKeys * kKeys;
  k.template bring<dim>(keys, first_key, tile.last_key);
  for (int64_t key = first_key; key < tile.last_key; key += kKeys) {
    wait_for_copies();
    __syncthreads();
    v.template bring<dim>(values, key, tile.last_key);
    float scores[kKeys / 8][4] = {};
    OSTINATO_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) {
      OSTINATO_UNROLL
      for (int d = 0; d < dim; d += 32) {
        uint32_t tiles[4];
        load_tiles(tiles, &keys[n * 8 + lane % 8][d + lane / 8 * 8]);
        mma<T>(scores[n], queries[d / 16], tiles[0], tiles[1]);
        mma<T>(scores[n], queries[d / 16 + 1], tiles[2], tiles[3]);
      }
      OSTINATO_UNROLL
      for (int e = 0; e < 4; ++e) {
        scores[n][e] = score_of(operands, params, tile, first_query + lane / 4 + e / 2 * 8,
                                key + n * 8 + lane % 4 * 2 + e % 2, scores[n][e]);
      }
    }
    rows.take(scores);
    wait_for_copies();
    __syncthreads();
    if (key + kKeys < tile.last_key) k.template bring<dim>(keys, key + kKeys, tile.last_key);
    OSTINATO_UNROLL
    for (int j = 0; j < kKeys / 16; ++j) {
      uint32_t weights[4];
      OSTINATO_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float* pair = &scores[2 * j + i / 2][i % 2 * 2];
        weights[i] = pair_of(from_float<T>(pair[0]), from_float<T>(pair[1]));
      }
      OSTINATO_UNROLL
      for (int d = 0; d < dim; d += 16) {
        uint32_t tiles[4];
        load_tiles_transposed(tiles, &values[j * 16 + lane % 16][d + lane / 16 * 8]);
        mma<T>(rows.sums[d / 8], weights, tiles[0], tiles[1]);
        mma<T>(rows.sums[d / 8 + 1], weights, tiles[2], tiles[3]);
      }
    }
  }
  wait_for_copies();
  OSTINATO_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float divisor = row_reduce(rows.divisor[r], Sum());
    const float factor = factor_of(operands, params, tile, divisor, rows.largest[r]);
    const int64_t query = first_query + lane / 4 + r * 8;
    if (query >= params.queries) continue;
    T* y = result_of<T>(operands, params, tile, query);
    OSTINATO_UNROLL
    for (int n = 0; n < dim / 8; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      OSTINATO_UNROLL
      for (int e = 0; e < 2; ++e) {
        if (column + e < params.value_dim) {
          y[(column + e) * params.y_strides[3]] = from_float<T>(rows.sums[n][2 * r + e] * factor);
        }
      }
    }
  }
}

}  // namespace

OSTINATO_KERNEL(attention_tiles_bfloat16_64, kThreads, AttentionParams) {
  attend<bf16, 64>(operands, params);
}
OSTINATO_KERNEL(attention_tiles_bfloat16_128, kThreads, AttentionParams) {
  attend<bf16, 128>(operands, params);
}
OSTINATO_KERNEL(attention_tiles_float16_64, kThreads, AttentionParams) {
  attend<f16, 64>(operands, params);
}
OSTINATO_KERNEL(attention_tiles_float16_128, kThreads, AttentionParams) {
  attend<f16, 128>(operands, params);
}

}  // namespace ostinato::cuda
