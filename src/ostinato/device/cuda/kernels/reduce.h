#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// One result to each block, of all elements that `reduced` walks. Operands: x, y; of extrema x,
/// values or none, places or none; of variances x, y, means or none.
struct ReduceParams {
  Walk kept, reduced;  ///< x
  int64_t count;       ///< of elements to a result
  double scale;        ///< that a sum is multiplied by
  double order;        ///< of a norm
  double correction;   ///< of a variance
  int32_t deviation;   ///< whether the variance's root is wanted
  Type x, y;
};

/// How many elements are in each of the equal parts of a range; a block to each. An empty range is
/// the values' own. Operands: x, y.
struct HistogramParams {
  Walk walk;  ///< x
  int64_t count, bins;
  float min, max;
  Type x, y;
};

}  // namespace ostinato::cuda
