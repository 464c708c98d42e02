#pragma once

#include "ostinato/device/cuda/kernels/prelude.cuh"
#include "ostinato/ops/activation.h"

namespace ostinato::cuda {

using ops::Activation;

__device__ inline float activated(float x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 || x != x ? x : 0.0f;
    case Activation::gelu: return x * 0.5f * (1 + erff(x * 0.70710678118654752f));
    case Activation::gelu_tanh:
      return 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case Activation::quick_gelu: return x / (1 + expf(-float{ops::kQuickGelu} * x));
    case Activation::silu: return x / (1 + expf(-x));
  }
  return x;
}

}  // namespace ostinato::cuda
