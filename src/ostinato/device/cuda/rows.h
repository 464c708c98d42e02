#pragma once

#include "ostinato/device/cuda/kernel.h"

namespace ostinato::cuda {

/// The RMSNorm of rows of x whose elements lie side by side.
struct NormedRows {
  Use x;
  Use weight{Use::Of::none, 0, 0};  ///< of x's dtype
  float eps = 0;
};

/// A launch of it alone.
/// @param x its rows: (rows, length)
/// @param to where the normed rows go, one after the other
Launch rms_norm_rows(Functions& functions, const NormedRows& norm, const device::TensorDesc& x,
                     Use to);

}  // namespace ostinato::cuda
