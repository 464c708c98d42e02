#pragma once

#include <string>
#include <vector>

#include "ostinato/device/device.h"

namespace ostinato::runtime {

/// The passes to leave out for a device: those of `off`, and those that make calls that it has no
/// kernels of.
std::vector<std::string> passes_off_for(const device::Device& device, std::vector<std::string> off);

}  // namespace ostinato::runtime
