#pragma once

#include "ostinato/ir/graph.h"

namespace ostinato::ops {

/// Throws unless `value` (B, H, S, D) fits into the rows of `cache` (B, H, C, D) from `position` ()
/// on; the dtypes of the two are the same.
void check_cache_update(const ir::Node& node, ir::Value* cache, ir::Value* value,
                        const ir::Value* position);

}  // namespace ostinato::ops
