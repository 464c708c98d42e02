#include "ostinato/device/cuda/kernels/product.cuh"

/// Matrix products in fp32 arithmetic of any strides and dtypes, and what comes after a library's.
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

OSTINATO_KERNEL(gate, kThreads, GateParams) {
  const auto* gates = static_cast<const float*>(operands.at[0]);
  const auto* ups = static_cast<const float*>(operands.at[1]);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < params.count;
       i += step) {
    float gate = gates[i], up = ups[i];
    const int64_t column = i % params.columns;
    if (operands.at[2] != nullptr) {
      gate += load<float>(operands.at[2], column * params.gate_stride, params.gate_bias);
    }
    if (operands.at[3] != nullptr) {
      up += load<float>(operands.at[3], column * params.up_stride, params.up_bias);
    }
    store(operands.at[4], i, params.y, activated(gate, params.activation) * up);
  }
}

}  // namespace ostinato::cuda
