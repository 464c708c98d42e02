#include "ostinato/device/cuda/kernels/few_rows.h"
#include "ostinato/device/cuda/kernels/product.cuh"

/// Products of few rows, as in decoding. They are bound by how fast the weights can be read, so
/// whatever stands before and after them is done on the way: an RMSNorm of x, several weights or
/// two gated ones in one launch, bias, activation and residual.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

__device__ inline float sum_and_bias(const Operands& operands, const FewRowsParams& params,
                                     int which, int64_t row, int64_t column, float sum) {
  const FewRowsWeight& weight = params.weights[which];
  const void* bias = operands.at[4 + 3 * which];
  const float value = params.alpha * sum;
  if (bias == nullptr) return value;
  return value +
         load<float>(bias, row * weight.bias_row + column * weight.bias_column, weight.bias);
}

/// Writes the rows of x to `normed`, normalised and rounded as the operator of its own does it.
template <typename T>
__device__ void normalise(const Operands& operands, const FewRowsParams& params, T* normed) {
  const T* weight = static_cast<const T*>(operands.at[1]);
  for (int64_t r = 0; r < params.rows; ++r) {
    const T* x = static_cast<const T*>(operands.at[0]) + r * params.x_row;
    float squares = 0;
    for (int64_t i = threadIdx.x; i < params.depth; i += kThreads) {
      squares += to_float(x[i]) * to_float(x[i]);
    }
    squares = block_reduce(squares, Sum(), 0.0f);
    const float scale = rsqrtf(squares / static_cast<float>(params.depth) + params.eps);
    for (int64_t i = threadIdx.x; i < params.depth; i += kThreads) {
      const float y = rounded<T>(to_float(x[i]) * scale);
      normed[r * params.depth + i] = from_float<T>(weight == nullptr ? y : y * to_float(weight[i]));
    }
  }
  __syncthreads();
}

/// `split` warps to each column of the results, that is to each row of a weight, which is read
/// once, 16 bytes a lane and kAhead of those at a time; the rows of x come from the caches.
/// @param each weights to a column: two where they are gated
/// @param normed null, or shared memory for the rows of x
template <typename T, int each>
__device__ void few_rows(const Operands& operands, const FewRowsParams& params, T* normed) {
  using P = Pack<T>;
  constexpr int kAhead = 4;
  __shared__ float partial[kWarps][each * kMostFewRows];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int share = warp % params.split;
  int64_t column = static_cast<int64_t>(blockIdx.x) * (kWarps / params.split) + warp / params.split;
  int which = 0;
  while (each == 1 && which + 1 < params.count && column >= params.weights[which].columns) {
    column -= params.weights[which++].columns;
  }
  const bool inside = column < params.weights[which].columns;
  const T* weights[each];
  // Where a view begins within 16 bytes, nothing can be read in packs.
  bool packed = normed != nullptr || is_aligned(operands.at[0]);
  OSTINATO_UNROLL
  for (int w = 0; w < each; ++w) {
    const T* base = static_cast<const T*>(operands.at[3 + 3 * (which + w)]);
    packed = packed && is_aligned(base);
    weights[w] = base + column * params.weights[which + w].row;
  }
  const int64_t depth = inside ? params.depth : 0;
  const int64_t step = static_cast<int64_t>(params.split) * kWarp * P::kCount;
  int64_t k = (share * kWarp + lane) * P::kCount;
  P ahead[each][kAhead];
  const auto fetch = [&] {
    OSTINATO_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      if (k + i * step >= depth) break;
      OSTINATO_UNROLL
      for (int w = 0; w < each; ++w) {
        ahead[w][i] = *reinterpret_cast<const P*>(weights[w] + k + i * step);
      }
    }
  };
  let_consumers_begin();
  // What no kernel writes is on its way while the kernels before this one end.
  if (packed && params.early != 0) fetch();
  wait_for_producers();
  if (packed && params.early == 0) fetch();
  const T* x = static_cast<const T*>(operands.at[0]);
  int64_t x_row = params.x_row;
  if (normed != nullptr) {
    normalise(operands, params, normed);
    x = normed;
    x_row = params.depth;
  }
  const int rows = static_cast<int>(params.rows);
  float sums[each][kMostFewRows] = {};
  for (int64_t i = share * kWarp + lane; !packed && i < depth; i += params.split * kWarp) {
    OSTINATO_UNROLL
    for (int r = 0; r < kMostFewRows; ++r) {
      if (r >= rows) break;
      OSTINATO_UNROLL
      for (int w = 0; w < each; ++w) {
        sums[w][r] += to_float(weights[w][i]) * to_float(x[r * x_row + i]);
      }
    }
  }
  while (packed && k < depth) {
    OSTINATO_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      if (k + i * step >= depth) break;
      OSTINATO_UNROLL
      for (int r = 0; r < kMostFewRows; ++r) {
        if (r >= rows) break;
        const P row = *reinterpret_cast<const P*>(x + r * x_row + k + i * step);
        OSTINATO_UNROLL
        for (int j = 0; j < P::kCount; ++j) {
          OSTINATO_UNROLL
          for (int w = 0; w < each; ++w) {
            sums[w][r] += to_float(ahead[w][i].values[j]) * to_float(row.values[j]);
          }
        }
      }
    }
    k += kAhead * step;
    fetch();
  }
  OSTINATO_UNROLL
  for (int w = 0; w < each; ++w) {
    OSTINATO_UNROLL
    for (int r = 0; r < kMostFewRows; ++r) {
      if (r >= rows) break;
      const float sum = warp_reduce(sums[w][r], Sum());
      if (lane == 0) partial[warp][w * kMostFewRows + r] = sum;
    }
  }
  __syncthreads();
  if (!inside || share != 0 || lane >= rows) return;
  float totals[each] = {};
  OSTINATO_UNROLL
  for (int w = 0; w < each; ++w) {
    for (int i = 0; i < params.split; ++i) {
      totals[w] += partial[warp + i][w * kMostFewRows + lane];
    }
    totals[w] = sum_and_bias(operands, params, which + w, lane, column, totals[w]);
  }
  float value = activated(totals[0], params.activation);
  if constexpr (each == 2) value *= totals[1];
  if (operands.at[2] != nullptr) {
    value += params.beta * load<float>(operands.at[2],
                                       lane * params.added_row + column * params.added_column,
                                       params.added);
  }
  store(operands.at[5 + 3 * which], lane * params.weights[which].columns + column, params.y, value);
}

}  // namespace

#define OSTINATO_FEW_ROWS(name, T)                                         \
  OSTINATO_EARLY_KERNEL(few_rows_##name, kThreads, FewRowsParams) {        \
    few_rows<T, 1>(operands, params, nullptr);                             \
  }                                                                        \
  OSTINATO_EARLY_KERNEL(gated_rows_##name, kThreads, FewRowsParams) {      \
    few_rows<T, 2>(operands, params, nullptr);                             \
  }                                                                        \
  OSTINATO_EARLY_KERNEL(norm_few_rows_##name, kThreads, FewRowsParams) {   \
    __shared__ Pack<T> normed[kMostNormedBytes / sizeof(Pack<T>)];         \
    few_rows<T, 1>(operands, params, normed->values);                      \
  }                                                                        \
  OSTINATO_EARLY_KERNEL(norm_gated_rows_##name, kThreads, FewRowsParams) { \
    __shared__ Pack<T> normed[kMostNormedBytes / sizeof(Pack<T>)];         \
    few_rows<T, 2>(operands, params, normed->values);                      \
  }

OSTINATO_FEW_ROWS(float32, float)
OSTINATO_FEW_ROWS(bfloat16, bf16)
OSTINATO_FEW_ROWS(float16, f16)

}  // namespace ostinato::cuda
