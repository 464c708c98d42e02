#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

inline constexpr int kMaxSources = 3;

/// One operand of an elementwise kernel.
struct ElementwiseSource {
  int64_t strides[kMaxDims];  ///< in elements; zero where it is broadcast
  double real;                ///< of a scalar, as the operator takes it
  int64_t integer;
  Type type;
  int32_t slot;   ///< in the operands; below zero for a scalar
  Type computed;  ///< what it is rounded to first, if `rounds`
  int32_t rounds;
};

/// `sources` → one result, whose slot comes after theirs.
struct ElementwiseParams {
  int64_t count;
  int64_t sizes[kMaxDims];
  int64_t result_strides[kMaxDims];
  ElementwiseSource sources[kMaxSources];
  double extra[3];  ///< the operator's own numbers, such as alpha
  int64_t extra_integers[3];
  int32_t dims;  ///< 1 with strides of one or zero: read four at a time
  int32_t result_slot;
  Type result;
};

}  // namespace ostinato::cuda
