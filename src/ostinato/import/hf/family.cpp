#include "ostinato/import/hf/family.h"

namespace ostinato::importer {

void Architecture::decoder(Net&, std::optional<int64_t>) const {
  fail(ErrorCode::invalid_argument, "import/model", "Use a causal language model.",
       "expected a model that continues texts, got one that does not");
}

const std::vector<const Family*>& families() {
  static const std::vector<const Family*> all = {&bert_family(), &qwen3_family(), &vit_family()};
  return all;
}

const Family& family_of(std::string_view model_type, std::string_view source) {
  std::vector<std::string_view> known;
  for (const Family* family : families()) {
    if (family->model_type == model_type) return *family;
    known.push_back(family->model_type);
  }
  fail(ErrorCode::unsupported, "import/model",
       fmt::format("The families that load from a folder are {}; any other model comes in through "
                   "torch.compile(model, backend=\"ostinato\").",
                   fmt::join(known, ", ")),
       "{}: there is no builder for the model_type {}", source, quote(model_type));
}

void ignore_common_fields(Fields& config) {
  // Where the file comes from.
  config.ignore({"_name_or_path", "name_or_path", "_commit_hash", "transformers_version",
                 "transformers.js_config", "model_type", "architectures"});
  // What `forward` returns beside the tensors asked for, and how transformers runs it.
  config.ignore({"output_attentions", "output_hidden_states", "return_dict", "use_cache",
                 "torchscript", "_attn_implementation", "_attn_implementation_autoset",
                 "attn_implementation", "tie_last_hidden_states", "use_return_dict",
                 "chunk_size_feed_forward", "tokenizer_class", "prefix"});
  // Training.
  config.ignore({"gradient_checkpointing", "use_bfloat16", "problem_type", "finetuning_task",
                 "task_specific_params", "label_smoothing", "classifier_dropout"});
  // Generation settings that old versions kept here; generation_config.json is what counts.
  config.ignore({"max_length",
                 "min_length",
                 "do_sample",
                 "early_stopping",
                 "num_beams",
                 "num_beam_groups",
                 "diversity_penalty",
                 "temperature",
                 "top_k",
                 "top_p",
                 "typical_p",
                 "repetition_penalty",
                 "length_penalty",
                 "no_repeat_ngram_size",
                 "encoder_no_repeat_ngram_size",
                 "bad_words_ids",
                 "num_return_sequences",
                 "output_scores",
                 "return_dict_in_generate",
                 "forced_bos_token_id",
                 "forced_eos_token_id",
                 "remove_invalid_values",
                 "exponential_decay_length_penalty",
                 "suppress_tokens",
                 "begin_suppress_tokens",
                 "decoder_start_token_id",
                 "sep_token_id"});
  constexpr std::string_view kOtherClass =
      "Import a model with this setting through torch.compile instead.";
  config.require("is_encoder_decoder", false, kOtherClass);
  config.require("is_decoder", false, kOtherClass);
  config.require("add_cross_attention", false, kOtherClass);
  config.require("cross_attention_hidden_size", nullptr, kOtherClass);
  config.require("tie_encoder_decoder", false, kOtherClass);
  config.require("per_layer_config", nullptr, kOtherClass);
  const Json& pruned = config.raw("pruned_heads");
  if (!pruned.is_null() && !pruned.empty()) {
    config.refuse("pruned_heads", kOtherClass, "the engine does not prune heads");
  }
  const Json& quantised = config.raw("quantization_config");
  if (!quantised.is_null()) {
    config.refuse("quantization_config", "Use the model's weights before quantisation.",
                  "the engine does not read quantised weights");
  }
}

std::string read_activation(Fields& config, std::string_view name, std::string_view fallback) {
  std::string value = config.text(name, std::string(fallback));
  if (!has_activation(value)) {
    config.refuse(name, fmt::format("Use one of {}.", fmt::join(activation_names(), ", ")),
                  "the engine does not know the activation {}", quote(value));
  }
  return value;
}

double read_initializer_range(Fields& config) {
  constexpr double kDefault = 0.02;
  const double range = config.real("initializer_range", kDefault);
  if (range < 0 || range > 1) {
    config.reject("initializer_range", "Use a value such as 0.02.",
                  "expected a number from 0 to 1, got {}", range);
  }
  return range == 0 ? kDefault : range;  // as transformers' _init_weights does
}

std::optional<int64_t> read_padding_id(Fields& config, int64_t vocab_size,
                                       std::optional<int64_t> fallback) {
  const std::vector<int64_t> ids = config.integers("pad_token_id");
  const std::optional<int64_t> id = !ids.empty()                      ? std::optional(ids[0])
                                    : config.contains("pad_token_id") ? std::nullopt
                                                                      : fallback;
  return id && *id >= 0 && *id < vocab_size ? id : std::nullopt;
}

int64_t read_layers(Fields& config, int64_t fallback) {
  constexpr int64_t kMost = 4096;
  return config.integer("num_hidden_layers", fallback, 1, kMost);
}

}  // namespace ostinato::importer
