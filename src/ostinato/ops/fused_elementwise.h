#pragma once

#include <string_view>
#include <vector>

#include "ostinato/ir/graph.h"

/// `fused_elementwise` and `fused_reduction`: connected elementwise calls as one, the latter with a
/// reduction over the last dims at their end. Their program is the calls themselves.
namespace ostinato::ops {

/// What such a call computes: a graph with the call's operands as its inputs and its result as its
/// only output. Throws `invalid_argument` when the program is not of the operator.
ir::Graph program_of(const ir::Node& node);

/// Whether a program may hold a call: elementwise, of plain operators, none of its attributes
/// symbolic, none of its operands None.
bool is_fusible(const ir::Node& node);

/// Whether a program may end in the call: a sum, mean, maximum or minimum over the last dims.
bool is_fusible_reduction(const ir::Node& node);

}  // namespace ostinato::ops
