#pragma once

#include <string_view>
#include <vector>

#include "ostinato/device/device.h"

namespace ostinato::cuda {

/// The GPUs of this machine that can be used; empty without a driver. Opens none.
std::vector<device::Device*> cuda_devices();

/// `cuda:N`, or for `cuda` the GPU that `choose` takes. Throws `unsupported` for a missing driver
/// or a card that is too old, and `not_found` for one that is not there.
device::Device& cuda_device(std::string_view name);

/// Of the memory that `allocate` and `allocate_for` gave out.
struct PoolUse {
  size_t used = 0, peak = 0;
};
PoolUse pool_use(const device::Device& cuda);

}  // namespace ostinato::cuda
