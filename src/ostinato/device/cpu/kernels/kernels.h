#pragma once

#include "ostinato/device/cpu/kernel.h"

/// The fast kernels. Each takes inputs of any strides that its factory accepts and writes
/// contiguous outputs; arithmetic is in fp32, storage in the tensor's dtype.
namespace ostinato::cpu {

// One function a file of this room, each adding that file's kernels.
void add_softmax(KernelTable& table);

}  // namespace ostinato::cpu
