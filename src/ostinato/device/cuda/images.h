#pragma once

#include <span>
#include <string_view>

namespace ostinato::cuda {

/// The compiled kernels, one image for each file of kernels/, each with code for several
/// generations of GPUs. The build writes the function that returns them.
std::span<const std::string_view> kernel_images();

}  // namespace ostinato::cuda
