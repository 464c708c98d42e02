#pragma once

#include "ostinato/base/json.h"
#include "ostinato/device/device.h"
#include "ostinato/plan/plan.h"

namespace ostinato::bench {

/// The steps for which the device has no kernel of its own and runs the reference's: `node`,
/// `reason`, `remedy` of each.
Json fallbacks_of(const plan::Plan& plan, const device::Device& device);

}  // namespace ostinato::bench
