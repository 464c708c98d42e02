#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// Windows of pictures, a thread to each place of the result, which lies side by side. Of each two
/// numbers the first is along the height. Operands: x (…, H, W), y, and of a maximum where it is.
struct PoolParams {
  Walk planes;  ///< x: all dims but the last two
  int64_t count;
  int64_t x_sizes[2], x_strides[2], y_sizes[2];
  int64_t kernel[2], stride[2], padding[2], dilation[2];
  int64_t divisor;  ///< zero: none is given
  int32_t count_padding;
  Type type;
};

enum class Upsampling : int32_t { nearest, linear, cubic };

/// Pictures of another size. Operands: x (…, H, W), y, which lies side by side.
struct UpsampleParams {
  Walk planes;  ///< x: all dims but the last two
  int64_t count;
  int64_t x_sizes[2], x_strides[2], y_sizes[2];
  float step[2];  ///< of x's places to one of y's
  int32_t align_corners;
  Upsampling how;
  Type type;
};

}  // namespace ostinato::cuda
