#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// Running sums or products along a dim: a block to each line. Operands: x, y.
struct ScanParams {
  Walk lines;  ///< x, y: all other dims
  int64_t length, x_stride, y_stride;
  Type x, y;
};

}  // namespace ostinato::cuda
