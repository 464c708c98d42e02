#pragma once

#include <cstddef>

#include "ostinato/ir/graph.h"

namespace ostinato::plan {

/// The peak of the bytes that PyTorch's eager mode would hold at once for what lies between the
/// graph's inputs and outputs, whose sizes are all integers: every call allocates its results, and
/// each goes after the last call that reads it or a view of it. Views and states take nothing,
/// nothing is computed in place, and no kernel needs memory of its own, so that eager mode may need
/// more, but not less. Outputs are the caller's, as in a plan, and sizes are rounded up as there.
size_t eager_peak(const ir::Graph& graph);

}  // namespace ostinato::plan
