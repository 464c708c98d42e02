#pragma once

#include <cstdint>
#include <vector>

#include "ostinato/ir/graph.h"
#include "ostinato/tensor.h"

namespace ostinato {

/// The sizes of a decoder of the Llama chain: RMSNorm, attention with grouped heads and rotary
/// embeddings, gated MLP. Qwen2 has biases for queries, keys and values, Qwen3 norms over heads.
struct DecoderSpec {
  int64_t vocabulary = 96, hidden = 64, wide = 128, layers = 2, heads = 4, kv_heads = 2, dim = 16;
  int64_t capacity = 40;
  DType dtype = DType::bfloat16;
  bool biases = false, norms = false, tied = true;
  int64_t window = 0;   ///< 0: none
  bool weights = true;  ///< false: constants without data, for a planner
};

/// The usual sizes but for what is changed.
DecoderSpec spec_of(void (*change)(DecoderSpec&));

/// One step with caches, as an importer makes it: `input_ids`, `position` and `last` in, `logits`
/// and `next_token` out; all of whole operators, none fused. Weights are random.
ir::Graph make_decoder(const DecoderSpec& spec, uint32_t seed);

/// What the graph takes, in its order.
std::vector<Tensor> decoder_inputs(int64_t token, int64_t position, int64_t last);

/// The largest difference, of the largest magnitude that is expected; infinite for what is not a
/// number.
double distance(const Tensor& got, const Tensor& expected);

/// How far above a token's logit the largest one is, of the largest magnitude; zero for the token
/// that greedy decoding takes.
double lead_over(const Tensor& logits, int64_t token);

}  // namespace ostinato
