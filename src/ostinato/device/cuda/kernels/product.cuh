#pragma once

#include "ostinato/device/cuda/kernels/activation.cuh"
#include "ostinato/device/cuda/kernels/product.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

namespace ostinato::cuda {

/// What becomes of one sum.
__device__ inline void finish(const Operands& operands, const ProductParams& params, int64_t batch,
                              int64_t added_offset, int64_t row, int64_t column, float sum) {
  float value = params.alpha * sum;
  if (operands.at[2] != nullptr) {
    value += load<float>(operands.at[2], row * params.bias_row + column * params.bias_column,
                         params.bias);
  }
  value = activated(value, params.activation);
  if (operands.at[3] != nullptr) {
    value += params.beta *
             load<float>(operands.at[3],
                         added_offset + row * params.added_row + column * params.added_column,
                         params.added);
  }
  store(operands.at[4],
        batch * params.y_batch_stride + row * params.y_row + column * params.y_column, params.y,
        value);
}

}  // namespace ostinato::cuda
