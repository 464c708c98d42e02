#pragma once

#include "ostinato/device/device.h"

namespace ostinato {

/// A device with memory of its own, as a GPU has: it runs the CPU's kernels on memory that nobody
/// else can touch, since its addresses are not mapped for the host; refuses addresses of host
/// memory as operands; and does nothing of what is queued on a stream before `synchronise`. Memory
/// that was given back is overwritten. One thread at a time.
device::Device& separate_device();

/// Bytes of it that are allocated now.
size_t separate_bytes();

}  // namespace ostinato
