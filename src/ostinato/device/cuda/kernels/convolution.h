#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

/// The patches of a picture that a kernel of a convolution sees, a row to each place of the result.
/// Operands: x (N, C, H, W) of any strides, the patches (N·OH·OW, C·KH·KW).
struct PatchesParams {
  int64_t x_strides[4];
  int64_t count;
  int32_t channels, height, width, kernel_height, kernel_width, out_height, out_width;
  int32_t stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
  Type type;
};

inline constexpr int kImageDims = 3;

/// A convolution element by element: a thread to each of the result's. Sizes of fewer dims begin
/// with ones. Operands: x (N, C, …), weight (O, C / groups, …) or transposed (C, O / groups, …),
/// bias or none, y, which lies side by side.
struct ConvolutionParams {
  int64_t count, channels;               ///< elements and channels of y
  int64_t group_inputs, group_channels;  ///< channels of x and of y to each group
  int64_t x_batch, x_channel, weight_first, weight_second, bias_stride;  ///< strides
  int64_t x_strides[kImageDims], weight_strides[kImageDims];
  int64_t x_sizes[kImageDims], kernel[kImageDims], y_sizes[kImageDims];
  int64_t stride[kImageDims], padding[kImageDims], dilation[kImageDims];
  int32_t transposed;
  Type x, weight, bias, y;
};

}  // namespace ostinato::cuda
