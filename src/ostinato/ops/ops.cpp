#include "ostinato/ops/ops.h"

namespace ostinato::ops {

const ir::OpTable& table() {
  static const ir::OpTable instance = [] {
    ir::OpTable rows;
    add_attention(rows);
    add_binary(rows);
    add_cache_update(rows);
    add_cast(rows);
    add_compare(rows);
    add_concat(rows);
    add_convolution(rows);
    add_create(rows);
    add_fused_elementwise(rows);
    add_index(rows);
    add_layer_norm(rows);
    add_linear(rows);
    add_matmul(rows);
    add_normalization(rows);
    add_pool(rows);
    add_reduce(rows);
    add_rms_norm(rows);
    add_rotary(rows);
    add_rotary_pair(rows);
    add_scan(rows);
    add_slice(rows);
    add_softmax(rows);
    add_sort(rows);
    add_swiglu(rows);
    add_unary(rows);
    add_upsample(rows);
    add_view(rows);
    return rows;
  }();
  return instance;
}

}  // namespace ostinato::ops
