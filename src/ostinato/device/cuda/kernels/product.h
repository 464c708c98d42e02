#pragma once

#include "ostinato/device/cuda/kernels/rows.h"
#include "ostinato/ops/activation.h"

namespace ostinato::cuda {

using ops::Activation;

/// y = activation(alpha·a·b + bias) + beta·added, for each matrix of a batch.
/// Operands: a, b, bias or none, added or none, y.
struct ProductParams {
  Walk batch;  ///< a, b, added
  int64_t y_batch_stride;
  int64_t rows, columns, depth;
  int64_t a_row, a_depth, b_depth, b_column;  ///< strides, in elements
  int64_t y_row, y_column;
  int64_t bias_row, bias_column;  ///< zero where it is one for all
  int64_t added_row, added_column;
  float alpha, beta;
  Activation activation;
  Type a, b, bias, added, y;
};

/// y = activation(gate + gate bias)·(up + up bias), of float32 sums. Operands: gate, up, gate bias
/// or none, up bias or none, y.
struct GateParams {
  int64_t count, columns;
  int64_t gate_stride, up_stride;  ///< of the biases
  Activation activation;
  Type gate_bias, up_bias, y;
};

/// Runs of rows by a matrix each: y[r] = a[r] · b[g] for the rows of group g, zeros for those after
/// the last. Operands: a, b, where each group's rows end (int64 or int32), y, which lies side by
/// side.
struct GroupedParams {
  int64_t rows, columns, depth, groups;
  int64_t a_row, a_depth, b_group, b_depth, b_column, ends_stride;
  Type a, b, ends;
};

/// x of a·x = b, of which a's one triangle is read: a thread to each column of each matrix.
/// Operands: a, b, the columns in float32, x.
struct TriangularParams {
  Walk batch;  ///< a, b, x
  int64_t matrices, size, columns;
  int64_t a_row, a_column, b_row, b_column, x_row, x_column;
  int32_t upper, unit;
  Type type;
};

}  // namespace ostinato::cuda
