#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ostinato/runtime/context.h"

namespace ostinato::runtime {

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  std::vector<int64_t> stop_tokens;  ///< the first of these ends the text and belongs to it
};

struct Generation {
  std::vector<int64_t> tokens;   ///< the new ones
  bool stopped = false;          ///< by a stop token, or by the caller
  double first_token_ms = 0;     ///< from the prompt to the first new token
  std::vector<double> token_ms;  ///< of each later token
};

/// Called with each new token and the logits (V) that it was taken from, which are overwritten
/// afterwards; false ends the generation.
using OnToken = std::function<bool(int64_t token, const Tensor& logits)>;

/// Greedy decoding with the KV cache in the context's states: the prompt in one call, padded to a
/// bucket; then one call a token, always of the same capture, the position being a scalar input.
///
/// The program's graph takes `input_ids` (1, s), `position` () and `last` (1), and gives `logits`
/// (1, 1, V) and `next_token` (1, 1). Throws `invalid_argument` for an empty prompt, and for a
/// prompt that leaves less than `max_new_tokens` of the cache's `capacity`.
Generation generate_cached(Context& context, std::span<const int64_t> prompt, int64_t capacity,
                           const GenerateOptions& options, const OnToken& on_token);

/// Greedy decoding without a cache: the whole sequence again for every token, a capture for every
/// length. The program's graph takes `input_ids` (1, s) and gives `logits` (1, s, V).
Generation generate_growing(Context& context, std::span<const int64_t> prompt,
                            const GenerateOptions& options, const OnToken& on_token);

/// The padded length of a prompt: few different ones, and at most a quarter of padding beyond 64.
int64_t prefill_bucket(int64_t length);

}  // namespace ostinato::runtime
