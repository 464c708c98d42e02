#pragma once

#include "ostinato/ir/op.h"

namespace ostinato::ops {

/// Every operator of the engine. Made at the first call, immutable after it.
///
/// A row leaves out the arguments of its ATen schema that change no value: `layout`, `device`,
/// `pin_memory`, `memory_format`, `non_blocking`.
const ir::OpTable& table();

// One function a file of this room, each adding that file's rows.
void add_attention(ir::OpTable& table);
void add_binary(ir::OpTable& table);
void add_cache_update(ir::OpTable& table);
void add_cast(ir::OpTable& table);
void add_compare(ir::OpTable& table);
void add_concat(ir::OpTable& table);
void add_convolution(ir::OpTable& table);
void add_create(ir::OpTable& table);
void add_fused_elementwise(ir::OpTable& table);
void add_index(ir::OpTable& table);
void add_layer_norm(ir::OpTable& table);
void add_linear(ir::OpTable& table);
void add_matmul(ir::OpTable& table);
void add_normalization(ir::OpTable& table);
void add_pool(ir::OpTable& table);
void add_reduce(ir::OpTable& table);
void add_rms_norm(ir::OpTable& table);
void add_rotary(ir::OpTable& table);
void add_rotary_pair(ir::OpTable& table);
void add_scan(ir::OpTable& table);
void add_slice(ir::OpTable& table);
void add_softmax(ir::OpTable& table);
void add_sort(ir::OpTable& table);
void add_swiglu(ir::OpTable& table);
void add_unary(ir::OpTable& table);
void add_upsample(ir::OpTable& table);
void add_view(ir::OpTable& table);

}  // namespace ostinato::ops
