#pragma once

#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::ops {

/// For each dim of a reduction's operand whether it is reduced: those that the attribute `dim`
/// names, or all when there is no such attribute, it is None, or (for most operators) empty. Throws
/// `invalid_argument` for a dim out of range or named twice.
std::vector<bool> reduced_dims(const ir::Node& node);

}  // namespace ostinato::ops
