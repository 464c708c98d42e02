#pragma once

#include "ostinato/ir/builder.h"

namespace ostinato::ops {

/// Throws unless cosines and sines fit the last dims of x, of which they may leave some alone.
void check_rotary(const ir::Node& node, const ir::Value* x, const ir::Value* cos,
                  const ir::Value* sin);

/// x · cos + rotate_half(x) · sin in plain operators, the result as `dtype`.
ir::Value* rotary(ir::Builder& builder, ir::Value* x, ir::Value* cos, ir::Value* sin,
                  bool interleaved, DType dtype);

}  // namespace ostinato::ops
