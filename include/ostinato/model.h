#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/cache.h"
#include "ostinato/graph.h"

namespace ostinato {

namespace runtime {
class Source;
}

/// `pretrained`: the safetensors of the folder. `random`: as transformers' `_init_weights` makes
/// them, seeded; fine for comparing lanes and for timing, and without meaning otherwise.
enum class WeightSource { pretrained, random };

/// The name in reports and of `--weights`: `pretrained`, `random`.
OSTINATO_API std::string_view name_of(WeightSource source);

struct ModelOptions {
  /// Of the weights and of what is computed with them; where it is not given, the config's, else
  /// the checkpoint's, else float32.
  std::optional<DType> dtype = {};
  WeightSource weights = WeightSource::pretrained;
  uint64_t seed = 0;  ///< of random weights
  /// Spares later starts reading the weights' files whole; none by itself.
  WeightCache cache = {};
};

/// A model, opened: its configuration read, its weights mapped from their files. It is a handle:
/// copies are cheap and share it, and any threads may use it at once. Texts and pictures are not
/// its business: it takes token ids and pixels.
///
/// Every member throws `invalid_argument` on a model that was moved from.
class OSTINATO_API Model {
 public:
  /// Opens a HuggingFace model folder (docs/models.md says which), or a file of graph text with its
  /// constants in the safetensors file of the same name beside it.
  ///
  /// Throws `not_found` for a missing file or tensor, `corrupt` for a damaged one,
  /// `invalid_argument` for contradictions, and `unsupported`, naming what there is, for a family,
  /// a class or a setting that the engine does not have. Graph text keeps its own dtype and
  /// constants: asking for others is `unsupported`.
  static Model open(const std::filesystem::path& path, const ModelOptions& options = {});

  const std::filesystem::path& path() const;
  std::string family() const;       ///< the config's `model_type`; `graph` for graph text
  DType dtype() const;              ///< of the weights, and of what is computed with them
  int64_t parameter_count() const;  ///< elements of the weights; tied ones count once
  /// What the weights are: random as well in a folder that `ostinato new-model` made.
  WeightSource weights() const;
  std::vector<std::string> labels() const;  ///< what logits mean; empty for what is no classifier

  /// The model's `forward`, from its inputs to its outputs as transformers names them, with the
  /// symbols `b` (batch) and `s` (tokens).
  Graph forward() const;

  /// Whether it continues token sequences: `decoder` and `Generator` need that.
  bool generates() const;
  /// The longest sequence that it takes, in tokens; 0 where it takes none.
  int64_t context_length() const;
  /// The ids that end a text, of generation_config.json or else config.json.
  std::vector<int64_t> end_tokens() const;

  /// One step of a continuation, with keys and values in states. `Generator` drives it; it is here
  /// for those who want to drive it themselves.
  ///
  /// - input `input_ids` int64 (1, s): the prompt, or one token
  /// - input `position` int64 (): how many tokens are in the states already. Position + s must not
  ///   exceed the capacity
  /// - input `last` int64 (1): which of the s tokens is the last real one; those after it are
  ///   padding
  /// - output `logits` (1, 1, vocabulary) after token `last`
  /// - output `next_token` int64 (1, 1): their argmax
  ///
  /// @param capacity of the states, in tokens. Throws `invalid_argument` when it exceeds
  ///   `context_length` or the model does not generate, and `unsupported` when
  ///   generation_config.json asks for what greedy decoding here does not do.
  Graph decoder(int64_t capacity) const;

 private:
  friend struct Access;
  explicit Model(std::shared_ptr<const runtime::Source> source) : source_(std::move(source)) {}
  const runtime::Source& source() const;

  std::shared_ptr<const runtime::Source> source_;
};

}  // namespace ostinato
