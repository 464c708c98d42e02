#pragma once

#include "ostinato/device/cuda/elementwise.h"

namespace ostinato::cuda {

/// An elementwise call as the kernels know it.
struct Pointwise {
  std::string function;  ///< of elementwise.h, without what it computes with
  DType computed = DType::float32;
  std::vector<Source> sources;  ///< tensors point into the request
  ElementwiseParams extra{};    ///< the operator's own numbers
};

/// Nothing for other operators.
std::optional<Pointwise> pointwise_of(const device::Request& request);

}  // namespace ostinato::cuda
