#pragma once

#include "ostinato/ir/graph.h"

namespace ostinato::passes {

/// Replaces every fused operator by its definition in plain ones; true if there was any. The
/// reference lane runs what is left.
bool expand_fused(ir::Graph& graph);

}  // namespace ostinato::passes
