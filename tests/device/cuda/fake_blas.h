#pragma once

#include <cstddef>
#include <cstdint>

namespace ostinato::cuda {

struct FakeBlas {
  int candidates = 1;    ///< that there are of every product
  uint64_t fastest = 0;  ///< which of them takes no extra time
  size_t products = 0;   ///< that were asked for
  uint64_t last = 0;     ///< the algorithm of the last one
};

/// From zero with each `use_fake_blas`.
FakeBlas& fake_blas();

/// A library in place of cuBLASLt that multiplies on the host, on the fake driver's streams, and
/// refuses what cuBLASLt refuses.
void use_fake_blas();

}  // namespace ostinato::cuda
