#pragma once

#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::ops {

/// How `self[indices]` of `aten.index.Tensor` and `aten.index_put` is laid out: one index tensor or
/// None for each of the leading dims of self, broadcast with each other.
struct Indexing {
  std::vector<size_t> dims;  ///< of self, those that have an index tensor
  ir::Shape index_shape;     ///< the index tensors' common shape
  size_t position = 0;       ///< where that shape stands among the dims that have none
  ir::Shape shape;           ///< of the result
};

/// The indexing that a node's list operand makes of its operand `self`; throws `invalid_argument`.
Indexing indexing_of(const ir::Node& node);

}  // namespace ostinato::ops
