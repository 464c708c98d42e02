#pragma once

#include "ostinato/ir/graph.h"

namespace ostinato::ops {

/// What `[start:end:step]` takes of a dim, as PyTorch reads it: negative positions count from the
/// end, both are clamped to the dim.
struct Slice {
  size_t dim;
  ir::Dim start, length;
  int64_t step;
};

/// The slice that the attributes `dim`, `start`, `end` and `step` of a node take of a shape; throws
/// `invalid_argument` for a step below one.
Slice slice_of(const ir::Node& node, const ir::Shape& shape);

/// A position in a dim of that size, counted from the end when negative; throws `invalid_argument`
/// when integers show it to be out of range.
ir::Dim wrap_position(const ir::Node& node, const ir::Dim& position, const ir::Dim& size);

}  // namespace ostinato::ops
