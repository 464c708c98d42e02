#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/import/config.h"
#include "ostinato/import/hf/family.h"
#include "ostinato/import/inputs.h"
#include "ostinato/import/weights.h"
#include "ostinato/ir/graph.h"
#include "ostinato/model.h"

namespace ostinato::importer {

using ostinato::name_of;
using ostinato::WeightSource;

struct ModelOptions {
  /// Of the weights and of what is computed with them; where it is not given, the config's, else
  /// the checkpoint's, else float32.
  std::optional<DType> dtype = {};
  WeightSource weights = WeightSource::pretrained;
  uint64_t seed = 0;  ///< of random weights
  Progress progress = {};
  /// What is known of the weights' files, so that not every start reads them whole; may be null.
  std::shared_ptr<KnownFiles> known_files = nullptr;
};

/// A HuggingFace model folder, read: config.json, generation_config.json and the weights.
class Model {
 public:
  /// Throws `not_found` for a missing file or tensor, `corrupt` for a damaged one,
  /// `invalid_argument` for contradictions, and `unsupported`, naming what there is, for a family,
  /// class or setting that has no builder here.
  static Model load(const std::filesystem::path& folder, const ModelOptions& options = {});

  /// The same without a folder: random weights for a configuration.
  /// @param source stands for the file's path in errors
  static Model from_config(Json config, const std::string& source, const ModelOptions& options);

  /// The same for weights that lie elsewhere, as those of a live PyTorch model: graphs come with
  /// constants that have no data.
  /// @param tensors the names of all tensors there, in any form that checkpoints have
  static Model from_names(Json config, const std::string& source, DType dtype,
                          const std::vector<std::string>& tensors);

  const std::filesystem::path& folder() const { return folder_; }  ///< empty without one
  std::string_view family() const { return family_->model_type; }
  const std::string& architecture() const { return architecture_; }
  const Json& config() const { return *config_; }
  DType dtype() const { return dtype_; }
  /// What the weights are: `random` also for a folder whose files say so, as those of `new_model`.
  WeightSource weight_source() const { return weight_source_; }
  uint64_t seed() const { return options_.seed; }

  int64_t parameter_count() const;  ///< elements; tied weights count once
  const Weights& weights() const { return weights_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  /// Which tensors the parameters are; empty for random weights.
  const WeightMatch& match() const { return match_; }

  /// Names of what the logits mean; empty where the model is no classifier.
  std::vector<std::string> labels() const { return model_->labels(); }

  /// Of the graph that `forward` returns, in its order.
  std::vector<InputSpec> inputs() const { return model_->inputs(); }

  /// The longest sequence that the model takes, in tokens; 0 where it takes none.
  int64_t context_length() const;

  /// The class's whole `forward` as the plain chain of operators that transformers runs. Symbols
  /// `b` (batch) and `s` (tokens); outputs are named as in transformers: `logits`,
  /// `last_hidden_state`, `pooler_output`.
  ir::Graph forward() const;

  /// Whether `decoder` may be called.
  bool generates() const { return model_->generates(); }

  /// Some tokens of one text, their keys and values kept in state buffers, and the token after
  /// them. Serves a prompt (s tokens) and each step (one token) alike. Without a capacity nothing
  /// is kept, and the s tokens are the whole text: there are neither `position` nor states.
  ///
  /// - input `input_ids` int64 (1, s)
  /// - input `position` int64 (): how many tokens are in the cache already, so that token i stands
  ///   at position + i; position + s must not exceed the capacity
  /// - input `last` int64 (1): which of the s tokens is the last real one. Those after it are
  ///   padding: what they write to the cache is overwritten by the tokens that really come at
  ///   their positions, before any token may attend to it
  /// - states `past_key.N`, `past_value.N` (1, kv heads, capacity, head size)
  /// - output `logits` (1, 1, vocabulary) after token `last`, and `next_token` int64 (1, 1), their
  ///   argmax
  ///
  /// Throws `invalid_argument` when the model does not generate, the capacity exceeds
  /// `context_length`, or generation_config.json asks for what greedy decoding here does not do.
  ir::Graph decoder(std::optional<int64_t> capacity) const;

  /// Throws `unsupported` when generation_config.json asks for what greedy decoding here does not
  /// do.
  void require_greedy() const;

  const GenerationConfig& generation() const { return generation_; }

 private:
  Model() = default;

  /// Returns the folder's weights, opened, unless they are random or `tensors` names them.
  std::optional<Checkpoint> read_config(const std::string& source,
                                        const std::vector<std::string>* tensors = nullptr);
  void attach(ir::Graph& graph) const;

  std::filesystem::path folder_;
  ModelOptions options_;
  WeightSource weight_source_ = WeightSource::random;
  std::shared_ptr<const Json> config_;
  const Family* family_ = nullptr;
  std::string architecture_;
  DType dtype_ = DType::float32;
  std::shared_ptr<const Architecture> model_;
  GenerationConfig generation_;
  std::vector<Parameter> parameters_;
  WeightMatch match_;
  Weights weights_;  ///< empty where they lie elsewhere
};

}  // namespace ostinato::importer
