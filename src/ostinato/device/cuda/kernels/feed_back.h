#pragma once

#include <cstdint>

namespace ostinato::cuda {

/// Operands, all int64 with one element: a token; what takes it on the device; a position, which
/// grows; what takes the token in memory of the host.
struct FeedBackParams {
  int64_t step;  ///< that the position grows by
};

}  // namespace ostinato::cuda
