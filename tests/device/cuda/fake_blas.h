#pragma once

namespace ostinato::cuda {

/// A library in place of cuBLASLt that multiplies on the host, on the fake driver's streams, and
/// refuses what cuBLASLt refuses.
void use_fake_blas();

}  // namespace ostinato::cuda
