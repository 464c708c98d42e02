#pragma once

#include "ostinato/device/cuda/kernels/product.h"

namespace ostinato::cuda {

inline constexpr int kMostFewRows = 4;
inline constexpr int kMostWeights = 4;
inline constexpr int kMostNormedBytes = 16 << 10;  // of rows that a block normalises for itself

/// A weight whose rows, each side by side, are the columns of its result.
struct FewRowsWeight {
  int64_t columns, row;           ///< how many, and the stride from one to the next
  int64_t bias_row, bias_column;  ///< zero where it is one for all
  Type bias;
};

/// For each weight y = activation(alpha·x·weightᵀ + bias) + beta·added; of two gated ones
/// y = activation(x·weight₀ᵀ + bias₀)·(x·weight₁ᵀ + bias₁). With a norm, x is
/// x / sqrt(mean(x²) + eps)·norm weight. Operands: x, norm weight or none, added or none; then the
/// weight, its bias or none, and y, of each weight.
struct FewRowsParams {
  FewRowsWeight weights[kMostWeights];
  int64_t rows, depth, x_row;
  int64_t added_row, added_column;
  float alpha, beta, eps;
  Activation activation;
  int32_t count;  ///< of weights
  int32_t split;  ///< warps that share the depth of one column: a power of two
  int32_t early;  ///< weights are constants, and can be read before other kernels are done
  Type added, y;
};

}  // namespace ostinato::cuda
