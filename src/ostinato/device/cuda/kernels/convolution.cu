#include "ostinato/device/cuda/kernels/convolution.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

/// Convolutions: patches for a product, and sums of their own where a product would have few rows.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

/// The last index of what is left of a position, which then is of the dims before.
__device__ inline int64_t next_index(int64_t& rest, int64_t size) {
  const int64_t index = rest % size;
  rest /= size;
  return index;
}

/// Where along a dim of x a tap of the kernel falls; below zero for nowhere.
__device__ inline int64_t place_of(const ConvolutionParams& params, int d, int64_t at,
                                   int64_t tap) {
  int64_t place = at * params.stride[d] - params.padding[d] + tap * params.dilation[d];
  if (params.transposed != 0) {
    const int64_t reached = at + params.padding[d] - tap * params.dilation[d];
    if (reached < 0 || reached % params.stride[d] != 0) return -1;
    place = reached / params.stride[d];
  }
  return place < params.x_sizes[d] ? place : -1;
}

}  // namespace

OSTINATO_KERNEL(patches, kThreads, PatchesParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    int64_t rest = i;
    const int64_t kx = next_index(rest, params.kernel_width);
    const int64_t ky = next_index(rest, params.kernel_height);
    const int64_t c = next_index(rest, params.channels);
    const int64_t ox = next_index(rest, params.out_width);
    const int64_t oy = next_index(rest, params.out_height);
    const int64_t x = ox * params.stride_x - params.padding_x + kx * params.dilation_x;
    const int64_t y = oy * params.stride_y - params.padding_y + ky * params.dilation_y;
    if (x < 0 || y < 0 || x >= params.width || y >= params.height) {
      store(operands.at[1], i, params.type, 0.0f);
      continue;
    }
    const int64_t from = rest * params.x_strides[0] + c * params.x_strides[1] +
                         y * params.x_strides[2] + x * params.x_strides[3];
    copy_element(operands.at[1], i, operands.at[0], from, params.type);
  }
}

OSTINATO_KERNEL(convolution, kThreads, ConvolutionParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    int64_t rest = i, at[kImageDims];
    OSTINATO_UNROLL
    for (int d = kImageDims - 1; d >= 0; --d) at[d] = next_index(rest, params.y_sizes[d]);
    const int64_t channel = next_index(rest, params.channels);
    const int64_t group = channel / params.group_channels;
    const int64_t row = channel % params.group_channels;
    const bool transposed = params.transposed != 0;
    const int64_t x_first = rest * params.x_batch + group * params.group_inputs * params.x_channel;
    const int64_t weight_first =
        transposed ? group * params.group_inputs * params.weight_first + row * params.weight_second
                   : channel * params.weight_first;
    const int64_t weight_step = transposed ? params.weight_first : params.weight_second;
    float sum = 0;
    for (int64_t a = 0; a < params.kernel[0]; ++a) {
      const int64_t depth = place_of(params, 0, at[0], a);
      if (depth < 0) continue;
      for (int64_t b = 0; b < params.kernel[1]; ++b) {
        const int64_t height = place_of(params, 1, at[1], b);
        if (height < 0) continue;
        for (int64_t c = 0; c < params.kernel[2]; ++c) {
          const int64_t width = place_of(params, 2, at[2], c);
          if (width < 0) continue;
          int64_t x = x_first + depth * params.x_strides[0] + height * params.x_strides[1] +
                      width * params.x_strides[2];
          int64_t weight = weight_first + a * params.weight_strides[0] +
                           b * params.weight_strides[1] + c * params.weight_strides[2];
          for (int64_t k = 0; k < params.group_inputs; ++k) {
            sum += load<float>(operands.at[0], x, params.x) *
                   load<float>(operands.at[1], weight, params.weight);
            x += params.x_channel;
            weight += weight_step;
          }
        }
      }
    }
    if (operands.at[2] != nullptr) {
      sum += load<float>(operands.at[2], channel * params.bias_stride, params.bias);
    }
    store(operands.at[3], i, params.y, sum);
  }
}

}  // namespace ostinato::cuda
