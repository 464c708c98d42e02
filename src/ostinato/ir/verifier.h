#pragma once

#include "ostinato/ir/graph.h"

namespace ostinato::ir {

/// Throws `internal`, naming the node and the rule, unless the graph is sound:
/// - every value that is read is of this graph and defined above; the lists of uses agree;
/// - every call has the operands and attributes of its row, and the types that its rule infers;
/// - names are unique among the inputs, constants, states and outputs, each kind for itself;
/// - a constant's data, where attached, is of its type;
/// - what is overwritten is a state, or a state as another call left it, and nothing below reads
///   what it was before, directly or through views.
void verify(const Graph& graph);

}  // namespace ostinato::ir
