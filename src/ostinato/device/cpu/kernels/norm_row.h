#pragma once

#include <cstdint>

#include "ostinato/tensor.h"

/// Norms of single rows.
namespace ostinato::cpu {

/// One row to normalise; all that is null is left out.
struct NormRow {
  const void* x;
  const void* residual;  ///< added to x before
  const void* weight;
  const void* bias;
  void* y;
  void* sum;  ///< takes x + residual
  int64_t count;
  float eps;
  float mean, scale;  ///< results: what was taken off and what multiplied
};

using NormFunction = void (*)(NormRow& row);
enum class Norm { layer, rms };

/// @param x of the row, the residual and the results
/// @param weight of the weight and the bias: float32, or that of x; null for others
NormFunction norm_function(Norm norm, DType x, DType weight);

}  // namespace ostinato::cpu
