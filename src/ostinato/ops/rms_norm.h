#pragma once

#include "ostinato/ir/builder.h"

namespace ostinato::ops {

/// x / sqrt(mean(x²) + eps) in fp32, rounded to x's dtype, then times the weight if there is one;
/// in plain operators.
ir::Value* rms_norm(ir::Builder& builder, ir::Value* x, ir::Value* weight, double eps);

}  // namespace ostinato::ops
