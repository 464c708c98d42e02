#pragma once

#include <span>
#include <vector>

#include "ostinato/device/device.h"

namespace ostinato::runtime {

/// The results of one node on dense operands (undefined for None), computed at once; what constants
/// are folded with. Nothing when a result's size is symbolic or the device has no kernel for it.
std::vector<Tensor> evaluate(device::Device& device, const ir::Node& node,
                             std::span<const Tensor> operands);

}  // namespace ostinato::runtime
