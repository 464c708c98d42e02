#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

/// Dims that are walked in row-major order, with strides for up to three tensors.
struct Walk {
  int64_t sizes[kMaxDims];
  int64_t strides[3][kMaxDims];
  int32_t dims;
};

/// A row of `length` elements side by side to each block: the first of them where `walk` says.
/// Operands: x, residual or none, weight or none, bias or none, y, and the sum of an RMSNorm, or
/// the mean, rstd and sum of a LayerNorm, each or none.
struct NormParams {
  Walk walk;  ///< x, residual
  int64_t length;
  float inverse_length, eps;
  Type x, residual, weight, bias, y, moments;
};

/// Elements along one dim, `stride` apart. Operands: x, y.
struct SoftmaxParams {
  Walk walk;  ///< x, y: all other dims
  int64_t length, x_stride, y_stride;
  int32_t logarithm;
  Type x, y;
};

/// A block to each group of channels, whose `length` elements lie side by side. Operands: x, weight
/// or none, bias or none, y, mean, rstd.
struct GroupNormParams {
  int64_t length, plane, channels;
  float eps;
  Type x, weight, bias;
};

/// Operands: x (N, C, …), weight or none, bias or none, mean, variance, y, which lies side by side.
struct BatchNormParams {
  Walk walk;  ///< x
  int64_t count, plane, channels;
  float eps;
  Type types[5];  ///< of the operands but y, which is of x's
};

}  // namespace ostinato::cuda
