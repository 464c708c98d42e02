#pragma once

#include <memory>

#include "ostinato/device/device.h"

namespace ostinato::python {

/// The calling thread's stream of that many workers on a device: one for all that the thread runs,
/// so that many compiled graphs do not have a crew of threads each. A thread that ends leaves its
/// streams to the next that asks.
std::shared_ptr<device::Stream> thread_stream(device::Device& device, int threads);

}  // namespace ostinato::python
