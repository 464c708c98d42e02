#include "ostinato/device/cuda/kernels/product.cuh"

/// Matrix products in fp32 arithmetic of any strides and dtypes, and what comes after a library's.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64;   // rows and columns of the result to a block
constexpr int kDepth = 16;  // of the operands' tiles at a time
constexpr int kEach = 4;    // rows and columns to a thread

/// One matrix of an operand, by any strides.
struct Matrix {
  const void* data;
  int64_t first, row, column;  ///< strides
  Type type;
};

/// Multiplies a tile of rows and columns; calls `take(row, column, sum)` for this thread's results.
template <typename F>
__device__ __forceinline__ void multiply(const Matrix& a, const Matrix& b, int64_t first_row,
                                         int64_t last_row, int64_t columns, int64_t depth,
                                         F&& take) {
  __shared__ float a_tile[kDepth][kTile + 1];
  __shared__ float b_tile[kDepth][kTile + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  float sums[kEach][kEach] = {};
  // Neighbouring threads read what lies side by side, whichever dim that is.
  const bool a_by_depth = a.column == 1, b_by_depth = b.row == 1;
  for (int64_t begin = 0; begin < depth; begin += kDepth) {
    for (int i = thread; i < kTile * kDepth; i += kThreads) {
      const int k = a_by_depth ? i % kDepth : i / kTile, r = a_by_depth ? i / kDepth : i % kTile;
      const bool inside = first_row + r < last_row && begin + k < depth;
      const int64_t at = a.first + (first_row + r) * a.row + (begin + k) * a.column;
      a_tile[k][r] = inside ? load<float>(a.data, at, a.type) : 0.0f;
    }
    for (int i = thread; i < kTile * kDepth; i += kThreads) {
      const int k = b_by_depth ? i % kDepth : i / kTile, c = b_by_depth ? i / kDepth : i % kTile;
      const bool inside = first_column + c < columns && begin + k < depth;
      const int64_t at = b.first + (begin + k) * b.row + (first_column + c) * b.column;
      b_tile[k][c] = inside ? load<float>(b.data, at, b.type) : 0.0f;
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
      if (r < last_row && c < columns) take(r, c, sums[i][j]);
    }
  }
}

}  // namespace

OSTINATO_KERNEL(product, kThreads, ProductParams) {
  int64_t offsets[3];
  walk_to<3>(params.batch, blockIdx.z, offsets);
  const Matrix a{operands.at[0], offsets[0], params.a_row, params.a_depth, params.a};
  const Matrix b{operands.at[1], offsets[1], params.b_depth, params.b_column, params.b};
  multiply(a, b, static_cast<int64_t>(blockIdx.y) * kTile, params.rows, params.columns,
           params.depth, [&](int64_t row, int64_t column, float sum) {
             finish(operands, params, blockIdx.z, offsets[2], row, column, sum);
           });
}

OSTINATO_KERNEL(grouped_product, kThreads, GroupedParams) {
  const int64_t group = blockIdx.z;  // the last of them are the rows of none
  const auto end_of = [&](int64_t g) {
    return load<int64_t>(operands.at[2], g * params.ends_stride, params.ends);
  };
  const int64_t begin = group == 0 ? 0 : end_of(group - 1);
  const int64_t end = group == params.groups ? params.rows : end_of(group);
  if (begin < 0 || end < begin || end > params.rows) {
    *operands.fault = operands.node;
    return;
  }
  const int64_t first_row = begin + static_cast<int64_t>(blockIdx.y) * kTile;
  if (first_row >= end) return;
  const Matrix a{operands.at[0], 0, params.a_row, params.a_depth, params.a};
  const Matrix b{operands.at[1], group * params.b_group, params.b_depth, params.b_column, params.b};
  multiply(a, b, first_row, end, params.columns, group == params.groups ? 0 : params.depth,
           [&](int64_t row, int64_t column, float sum) {
             store(operands.at[3], row * params.columns + column, params.a, sum);
           });
}

OSTINATO_KERNEL(triangular, kThreads, TriangularParams) {
  for (int64_t i = first_of_thread(); i < params.matrices * params.columns;
       i += threads_of_grid()) {
    const int64_t column = i % params.columns;
    int64_t offsets[3];
    walk_to<3>(params.batch, i / params.columns, offsets);
    float* const solved = static_cast<float*>(operands.at[2]) + i * params.size;
    for (int64_t step = 0; step < params.size; ++step) {
      const int64_t row = params.upper != 0 ? params.size - 1 - step : step;
      const auto a = [&](int64_t k) {
        return static_cast<double>(load<float>(
            operands.at[0], offsets[0] + row * params.a_row + k * params.a_column, params.type));
      };
      double sum = load<float>(
          operands.at[1], offsets[1] + row * params.b_row + column * params.b_column, params.type);
      const int64_t first = params.upper != 0 ? row + 1 : 0;
      const int64_t last = params.upper != 0 ? params.size : row;
      for (int64_t k = first; k < last; ++k) sum -= a(k) * static_cast<double>(solved[k]);
      if (params.unit == 0) sum /= a(row);
      solved[row] = static_cast<float>(sum);
      store(operands.at[3], offsets[2] + row * params.x_row + column * params.x_column, params.type,
            solved[row]);
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
