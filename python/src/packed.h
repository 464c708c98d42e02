#pragma once

#include <memory>

#include "ostinato/device/packed_cache.h"

/// Packed weights that later processes find: one cache for all runners of a folder.
namespace ostinato::python {

/// The cache below the default root, which the environment may move; null where there is none. What
/// is wrong with it becomes an event. Under the GIL.
std::shared_ptr<device::PackedCache> packed_cache();

/// Waits until all is written. Under the GIL, which it lets go of meanwhile.
void finish_packed();

}  // namespace ostinato::python
