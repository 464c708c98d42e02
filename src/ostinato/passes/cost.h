#pragma once

#include <cstddef>
#include <unordered_map>

#include "ostinato/ir/aliases.h"

namespace ostinato::passes {

/// What a machine can do at most.
struct Ceilings {
  double flops_per_second = 0, bytes_per_second = 0;
};

/// What calls cost by their shapes alone, wherever they run.
struct Cost {
  size_t nodes = 0;
  size_t kernels = 0;  ///< nodes that are no views
  /// A multiplication and an addition count as two. A product of matrices, a convolution and an
  /// attention (masked pairs included) count what their definition does; every other call counts
  /// one for each element of its largest operand or result.
  double flops = 0;
  /// Every operand once, as much of it as its strides reach, and every result; of a table that is
  /// looked up, as much as is found there.
  double bytes = 0;
  /// The sum over the calls of the longer of FLOPs and bytes at the machine's ceilings.
  double seconds = 0;

  Cost& operator+=(const Cost& other);
};

/// The cost of one call of a graph whose sizes are all integers.
/// @param aliases of the graph, by `ir::find_aliases`
Cost cost_of(const ir::Node& node, const std::unordered_map<const ir::Value*, ir::Alias>& aliases,
             const Ceilings& ceilings);

/// The cost of a graph whose sizes are all integers.
Cost cost_of(const ir::Graph& graph, const Ceilings& ceilings);

}  // namespace ostinato::passes
