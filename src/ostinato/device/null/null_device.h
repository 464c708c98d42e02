#pragma once

#include "ostinato/device/device.h"

namespace ostinato::device {

Device& null_device();

}  // namespace ostinato::device
