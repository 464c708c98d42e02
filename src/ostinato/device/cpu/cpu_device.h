#pragma once

#include "ostinato/device/device.h"

namespace ostinato::cpu {

device::Device& cpu_device();

}  // namespace ostinato::cpu
