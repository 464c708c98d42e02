#pragma once

#include <memory>

#include "ostinato/device/device.h"

namespace ostinato::python {

/// Caps the threads of the calling thread's replays until `pop_thread_limit`; the tightest of the
/// caps holds.
void push_thread_limit(int threads);
/// Throws `invalid_argument` where none was pushed.
void pop_thread_limit();
/// `threads`, or the cap where that is lower.
int limited_threads(int threads);

/// The calling thread's stream of that many workers on a device: one for all that the thread runs,
/// so that many compiled graphs do not have a crew of threads each. A thread that ends leaves its
/// streams to the next that asks.
std::shared_ptr<device::Stream> thread_stream(device::Device& device, int threads);

/// The same for a stream of the driver's that PyTorch made, by its handle.
std::shared_ptr<device::Stream> borrowed_stream(device::Device& device, void* handle);

}  // namespace ostinato::python
