#pragma once

#include <memory>
#include <string>

#include "ostinato/runtime/arena.h"

namespace ostinato::python {

/// The arena of that pool for one stream; null for the pool without a name. It lives as long as
/// somebody holds it. Streams have arenas of their own, since they run at once. Under the GIL.
std::shared_ptr<runtime::Arena> pool_arena(const std::string& pool,
                                           const std::shared_ptr<device::Stream>& stream);

/// Bytes that the pool's arenas have now.
size_t pool_bytes(const std::string& pool);

}  // namespace ostinato::python
