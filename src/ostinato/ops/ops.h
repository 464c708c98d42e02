#pragma once

#include "ostinato/ir/op.h"

namespace ostinato::ops {

/// Every operator of the engine. Made at the first call, immutable after it.
const ir::OpTable& table();

// One function a file of this room, each adding that file's rows.
void add_binary(ir::OpTable& table);
void add_softmax(ir::OpTable& table);

}  // namespace ostinato::ops
