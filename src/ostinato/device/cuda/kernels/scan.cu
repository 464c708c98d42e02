#include "ostinato/device/cuda/kernels/scan.cuh"
#include "ostinato/device/cuda/kernels/scan.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Running sums and products: of floats in double, as the CPU has them, of integers wrapping
/// around.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

struct Product {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a * b;
  }
};

/// @tparam T what elements are read as, float or int64_t
template <typename T, typename Running, typename Op>
__device__ void scan(const Operands& operands, const ScanParams& params, Op op, Running none) {
  int64_t offsets[2];
  walk_to<2>(params.lines, blockIdx.x, offsets);
  Running carried = none;
  for (int64_t first = 0; first < params.length; first += blockDim.x) {
    const int64_t i = first + threadIdx.x;
    Running value = none, total;
    if (i < params.length) {
      T element = load<T>(operands.at[0], offsets[0] + i * params.x_stride, params.x);
      if constexpr (sizeof(T) == sizeof(float)) element = rounded(element, params.y);
      value = static_cast<Running>(element);
    }
    value = op(carried, block_scan(value, op, none, &total));
    if (i < params.length) {
      store(operands.at[1], offsets[1] + i * params.y_stride, params.y, static_cast<T>(value));
    }
    carried = op(carried, total);
  }
}

}  // namespace

OSTINATO_KERNEL(cumsum_real, kThreads, ScanParams) { scan<float>(operands, params, Sum(), 0.0); }
OSTINATO_KERNEL(cumsum_integer, kThreads, ScanParams) {
  scan<int64_t>(operands, params, Sum(), uint64_t{0});
}
OSTINATO_KERNEL(cumprod_real, kThreads, ScanParams) {
  scan<float>(operands, params, Product(), 1.0);
}
OSTINATO_KERNEL(cumprod_integer, kThreads, ScanParams) {
  scan<int64_t>(operands, params, Product(), uint64_t{1});
}

}  // namespace ostinato::cuda
