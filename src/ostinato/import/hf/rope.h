#pragma once

#include "ostinato/import/config.h"
#include "ostinato/import/hf/modules.h"

namespace ostinato::importer {

/// Rotary position embeddings (Su et al., "RoFormer") with their frequencies computed.
struct Rope {
  std::vector<float> inverse_frequencies;  ///< size/2 of them
  double attention_scaling = 1;            ///< what cosine and sine are multiplied by
};

/// From `rope_parameters`, or the older `rope_theta` and `rope_scaling`. The types default, linear,
/// llama3 and yarn are honoured, as transformers/modeling_rope_utils.py computes them; those whose
/// frequencies depend on the length of the text (dynamic, longrope) and others are refused.
/// @param size of a head, even
/// @param context max_position_embeddings
Rope read_rope(Fields& config, int64_t size, int64_t context);

struct CosSin {
  ir::Value *cos, *sin;
};

/// Cosines and sines (1, S, size) in that dtype, from positions int64 (S).
CosSin rotary_embedding(const Module& module, const Rope& rope, ir::Value* positions, DType dtype);

/// x·cos + rotate_half(x)·sin for x (B, heads, S, size).
ir::Value* apply_rotary(const Module& module, ir::Value* x, const CosSin& table);

}  // namespace ostinato::importer
