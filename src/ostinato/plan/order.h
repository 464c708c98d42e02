#pragma once

#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::plan {

/// The calls of a graph whose sizes are integers, in an order in which they can run. It is the
/// graph's, but that a call runs earlier where that lowers the most memory that is alive between
/// its new place and its old one: one that ends the life of more than it makes need not wait. The
/// peak is never higher than in the graph's order. Calls that write to states, read them, or draw
/// random numbers stay where they are.
std::vector<const ir::Node*> order_for_memory(const ir::Graph& graph);

}  // namespace ostinato::plan
