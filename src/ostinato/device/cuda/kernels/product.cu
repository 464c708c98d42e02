#include "ostinato/device/cuda/kernels/product.cuh"

/// Matrix products in fp32 arithmetic: of any strides and dtypes, and of few rows, which are bound
/// by how fast the weights can be read.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64;   // rows and columns of the result to a block
constexpr int kDepth = 16;  // of the operands' tiles at a time
constexpr int kEach = 4;    // rows and columns to a thread

}  // namespace

OSTINATO_KERNEL(product, kThreads, ProductParams) {
  __shared__ float a_tile[kDepth][kTile + 1];
  __shared__ float b_tile[kDepth][kTile + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  int64_t offsets[3];
  walk_to<3>(params.batch, blockIdx.z, offsets);
  float sums[kEach][kEach] = {};
  // Neighbouring threads read what lies side by side, whichever dim that is.
  const bool a_by_depth = params.a_depth == 1, b_by_depth = params.b_depth == 1;
  for (int64_t depth = 0; depth < params.depth; depth += kDepth) {
    for (int i = thread; i < kTile * kDepth; i += kThreads) {
      const int k = a_by_depth ? i % kDepth : i / kTile, r = a_by_depth ? i / kDepth : i % kTile;
      const bool inside = first_row + r < params.rows && depth + k < params.depth;
      const int64_t at = offsets[0] + (first_row + r) * params.a_row + (depth + k) * params.a_depth;
      a_tile[k][r] = inside ? load<float>(operands.at[0], at, params.a) : 0.0f;
    }
    for (int i = thread; i < kTile * kDepth; i += kThreads) {
      const int k = b_by_depth ? i % kDepth : i / kTile, c = b_by_depth ? i / kDepth : i % kTile;
      const bool inside = first_column + c < params.columns && depth + k < params.depth;
      const int64_t at =
          offsets[1] + (depth + k) * params.b_depth + (first_column + c) * params.b_column;
      b_tile[k][c] = inside ? load<float>(operands.at[1], at, params.b) : 0.0f;
    }
    __syncthreads();
    const int row = thread / (kTile / kEach), column = thread % (kTile / kEach);
    OSTINATO_UNROLL
    for (int k = 0; k < kDepth; ++k) {
      float left[kEach], right[kEach];
      OSTINATO_UNROLL
      for (int i = 0; i < kEach; ++i) {
        left[i] = a_tile[k][row + i * (kTile / kEach)];
        right[i] = b_tile[k][column + i * (kTile / kEach)];
      }
      OSTINATO_UNROLL
      for (int i = 0; i < kEach; ++i) {
        OSTINATO_UNROLL
        for (int j = 0; j < kEach; ++j) sums[i][j] += left[i] * right[j];
      }
    }
    __syncthreads();
  }
  const int row = thread / (kTile / kEach), column = thread % (kTile / kEach);
  OSTINATO_UNROLL
  for (int i = 0; i < kEach; ++i) {
    OSTINATO_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t r = first_row + row + i * (kTile / kEach);
      const int64_t c = first_column + column + j * (kTile / kEach);
      if (r < params.rows && c < params.columns) {
        finish(operands, params, blockIdx.z, offsets[2], r, c, sums[i][j]);
      }
    }
  }
}

/// Of float32 sums that a library left, row-major: operand 0.
OSTINATO_KERNEL(product_finish, kThreads, ProductParams) {
  int64_t offsets[3];
  walk_to<3>(params.batch, blockIdx.y, offsets);
  const int64_t count = params.rows * params.columns;
  const float* sums = static_cast<const float*>(operands.at[0]) + blockIdx.y * count;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    finish(operands, params, blockIdx.y, offsets[2], i / params.columns, i % params.columns,
           sums[i]);
  }
}

namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr int kMostRows = 4;

/// 16 bytes of weights.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T values[kCount];
};

/// A warp to each column of the result, that is to each row of the weights, which it reads once, 16
/// bytes a lane and kAhead of those at a time; the rows of `a` come from the caches.
template <typename T>
__device__ void few_rows(const Operands& operands, const ProductParams& params) {
  using P = Pack<T>;
  constexpr int kAhead = 4;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (column >= params.columns) return;
  const T* weights = static_cast<const T*>(operands.at[1]) + column * params.b_column;
  const T* a = static_cast<const T*>(operands.at[0]);
  const int rows = static_cast<int>(params.rows);
  float sums[kMostRows] = {};
  const auto multiply = [&](const P& pack, int64_t k) {
    OSTINATO_UNROLL
    for (int r = 0; r < kMostRows; ++r) {
      if (r >= rows) break;
      const P row = *reinterpret_cast<const P*>(a + r * params.a_row + k);
      OSTINATO_UNROLL
      for (int i = 0; i < P::kCount; ++i) {
        sums[r] += to_float(pack.values[i]) * to_float(row.values[i]);
      }
    }
  };
  constexpr int kStep = kWarp * P::kCount;
  // Where a view begins within 16 bytes, nothing can be read in packs.
  const bool packed = is_aligned(a) && is_aligned(operands.at[1]);
  for (int64_t i = lane; !packed && i < params.depth; i += kWarp) {
    OSTINATO_UNROLL
    for (int r = 0; r < kMostRows; ++r) {
      if (r < rows) sums[r] += to_float(weights[i]) * to_float(a[r * params.a_row + i]);
    }
  }
  int64_t k = packed ? lane * P::kCount : params.depth;
  for (; k + (kAhead - 1) * kStep < params.depth; k += kAhead * kStep) {
    P packs[kAhead];
    OSTINATO_UNROLL
    for (int i = 0; i < kAhead; ++i)
      packs[i] = *reinterpret_cast<const P*>(weights + k + i * kStep);
    OSTINATO_UNROLL
    for (int i = 0; i < kAhead; ++i) multiply(packs[i], k + i * kStep);
  }
  for (; k < params.depth; k += kStep) multiply(*reinterpret_cast<const P*>(weights + k), k);
  for (int r = 0; r < rows; ++r) {
    // Indexed by what is known to the compiler, so that the sums stay in registers.
    float sum = 0;
    OSTINATO_UNROLL
    for (int i = 0; i < kMostRows; ++i) {
      if (i == r) sum = sums[i];
    }
    sum = warp_reduce(sum, Sum());
    if (lane == 0) finish(operands, params, 0, 0, r, column, sum);
  }
}

}  // namespace

OSTINATO_KERNEL(few_rows_float32, kThreads, ProductParams) { few_rows<float>(operands, params); }
OSTINATO_KERNEL(few_rows_bfloat16, kThreads, ProductParams) { few_rows<bf16>(operands, params); }
OSTINATO_KERNEL(few_rows_float16, kThreads, ProductParams) { few_rows<f16>(operands, params); }

}  // namespace ostinato::cuda
