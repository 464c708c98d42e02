#include "ostinato/device/cuda/kernels/feed_back.h"

#include "ostinato/device/cuda/kernels/prelude.cuh"

namespace ostinato::cuda {

OSTINATO_KERNEL(feed_back, 1, FeedBackParams) {
  const int64_t token = *static_cast<const int64_t*>(operands.at[0]);
  *static_cast<int64_t*>(operands.at[1]) = token;
  *static_cast<int64_t*>(operands.at[2]) += params.step;
  *static_cast<int64_t*>(operands.at[3]) = token;
}

}  // namespace ostinato::cuda
