#pragma once

#include <memory>
#include <optional>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/device/cpu/kernels/loops.h"

namespace ostinato::cpu {

/// What all operators of attention come down to. Strides are in bytes, of the dims (B, H, S, D).
struct AttentionSpec {
  DType dtype = DType::float32;
  int64_t batch = 1, heads = 1, kv_heads = 1, queries = 0, keys = 0, depth = 0, value_depth = 0;
  Strides query, key, value, result;
  std::optional<size_t> mask, position, sinks;  ///< which operands
  DType mask_dtype = DType::boolean, position_dtype = DType::int64;
  Strides mask_strides;  ///< broadcast to (B, H, Sq, Skv)
  DType sinks_dtype = DType::float32;
  int64_t sinks_stride = 0;
  float scale = 1;
  std::optional<float> softcap;
  bool causal = false;
  int64_t offset = 0;
  std::optional<int64_t> window;
};

/// Never null.
std::unique_ptr<Kernel> make_streaming_attention(const device::Request& request,
                                                 AttentionSpec spec);

}  // namespace ostinato::cpu
