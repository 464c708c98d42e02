#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ostinato/import/model.h"
#include "ostinato/runtime/context.h"

namespace ostinato::runtime {

using ostinato::GenerateOptions;
using ostinato::Generation;
using ostinato::OnToken;

/// When a continuation ends, if its callback does not end it.
struct GenerateLimits {
  int64_t max_new_tokens = 128;
  std::vector<int64_t> stop_tokens;  ///< the first of these ends the text and belongs to it
  bool logits = true;                ///< the callback gets them
};

/// Greedy decoding with the KV cache in the context's states: the prompt in one call, padded to a
/// bucket; then one call a token, always of the same capture, the position being a scalar input.
/// Where no callback wants logits, captured calls are queued ahead (runtime/token_queue.h).
///
/// The program's graph takes `input_ids` (1, s), `position` () and `last` (1), and gives `logits`
/// (1, 1, V) and `next_token` (1, 1). Throws `invalid_argument` for an empty prompt, and for a
/// prompt that leaves less than `max_new_tokens` of the cache's `capacity`.
Generation generate_cached(Context& context, std::span<const int64_t> prompt, int64_t capacity,
                           const GenerateLimits& limits, const OnToken& on_token);

/// Greedy decoding without a cache: the whole sequence again for every token, a capture for every
/// length. The program's graph takes `input_ids` (1, s) and `last` (1), and gives `logits` (1, 1,
/// V) and `next_token` (1, 1).
Generation generate_growing(Context& context, std::span<const int64_t> prompt,
                            const GenerateLimits& limits, const OnToken& on_token);

/// The padded length of a prompt: few different ones, and at most a quarter of padding beyond 64.
int64_t prefill_bucket(int64_t length);

/// Continues token sequences greedily with one model. Its programs, KV cache and captures are kept
/// from one sequence to the next; a longer one makes the cache grow. Belongs to one thread at a
/// time.
class Generator {
 public:
  /// Throws `unsupported` for a model that does not generate, and for one whose
  /// generation_config.json asks for what greedy decoding here does not do.
  Generator(importer::Model model, device::Device& device, ProgramOptions program_options,
            ContextOptions context_options);

  /// Throws `invalid_argument` for an empty prompt, an id outside the vocabulary, fewer than one
  /// new token, and for more tokens in all than the model's context has room for.
  void check(std::span<const int64_t> prompt, int64_t max_new_tokens) const;

  /// Checks and continues the prompt.
  /// @param on_token may be empty
  Generation operator()(std::span<const int64_t> prompt, const GenerateOptions& options,
                        const OnToken& on_token);

  Counters counters() const;

 private:
  std::unique_ptr<Context> open(ir::Graph graph) const;
  Context& cached(int64_t capacity);

  importer::Model model_;
  device::Device& device_;
  ProgramOptions program_options_;
  ContextOptions context_options_;
  std::unique_ptr<Context> cached_, growing_;
  int64_t capacity_ = 0;  // of `cached_`, in tokens
  Counters earlier_;      // of caches that were too small
};

}  // namespace ostinato::runtime
