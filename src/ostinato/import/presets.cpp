#include <functional>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/import/new_model.h"

namespace ostinato::importer {

namespace {

Json vit_base() {
  return {{"architectures", {"ViTForImageClassification"}},
          {"attention_probs_dropout_prob", 0.0},
          {"encoder_stride", 16},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.0},
          {"hidden_size", 768},
          {"image_size", 224},
          {"initializer_range", 0.02},
          {"intermediate_size", 3072},
          {"layer_norm_eps", 1e-12},
          {"model_type", "vit"},
          {"num_attention_heads", 12},
          {"num_channels", 3},
          {"num_hidden_layers", 12},
          {"num_labels", 1000},
          {"patch_size", 16},
          {"qkv_bias", true}};
}

Json vit_base_in21k() {
  Json config = vit_base();
  config["architectures"] = {"ViTModel"};
  config.erase("num_labels");
  return config;
}

Json bert_base() {
  return {{"architectures", {"BertModel"}},
          {"attention_probs_dropout_prob", 0.1},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.1},
          {"hidden_size", 768},
          {"initializer_range", 0.02},
          {"intermediate_size", 3072},
          {"layer_norm_eps", 1e-12},
          {"max_position_embeddings", 512},
          {"model_type", "bert"},
          {"num_attention_heads", 12},
          {"num_hidden_layers", 12},
          {"pad_token_id", 0},
          {"type_vocab_size", 2},
          {"vocab_size", 30522}};
}

Json all_minilm() {
  Json config = bert_base();
  config["hidden_size"] = 384;
  config["intermediate_size"] = 1536;
  config["num_hidden_layers"] = 6;
  return config;
}

Json qwen3_06b() {
  return {{"architectures", {"Qwen3ForCausalLM"}},
          {"attention_bias", false},
          {"attention_dropout", 0.0},
          {"bos_token_id", 151643},
          {"eos_token_id", 151645},
          {"head_dim", 128},
          {"hidden_act", "silu"},
          {"hidden_size", 1024},
          {"initializer_range", 0.02},
          {"intermediate_size", 3072},
          {"max_position_embeddings", 40960},
          {"max_window_layers", 28},
          {"model_type", "qwen3"},
          {"num_attention_heads", 16},
          {"num_hidden_layers", 28},
          {"num_key_value_heads", 8},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling", nullptr},
          {"rope_theta", 1000000},
          {"sliding_window", nullptr},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"},
          {"use_cache", true},
          {"use_sliding_window", false},
          {"vocab_size", 151936}};
}

Json qwen3_generation() {
  return {{"bos_token_id", 151643}, {"do_sample", true},  {"eos_token_id", {151645, 151643}},
          {"pad_token_id", 151643}, {"temperature", 0.6}, {"top_k", 20},
          {"top_p", 0.95}};
}

/// The vocabulary stays, so that the family's tokenizer still fits.
void shrink(Json& config) {
  config["hidden_size"] = 64;
  config["intermediate_size"] = 128;
  config["num_hidden_layers"] = 2;
  config["num_attention_heads"] = 4;
  if (config["model_type"] == "vit") {
    config["image_size"] = 64;
    config["patch_size"] = 16;
  }
  if (config["model_type"] == "qwen3") {
    config["head_dim"] = 16;
    config["num_key_value_heads"] = 2;
  }
}

using Make = Json (*)();

const std::map<std::string_view, Make>& configs() {
  static const std::map<std::string_view, Make> all = {
      {"all-minilm-l6-v2", all_minilm},
      {"bert-base", bert_base},
      {"qwen3-0.6b", qwen3_06b},
      {"vit-base-patch16-224", vit_base},
      {"vit-base-patch16-224-in21k", vit_base_in21k},
  };
  return all;
}

}  // namespace

std::vector<std::string_view> preset_names() {
  std::vector<std::string_view> names;
  for (const auto& entry : configs()) names.push_back(entry.first);
  return names;
}

Preset preset(std::string_view name, bool tiny) {
  const auto it = configs().find(name);
  if (it == configs().end()) {
    const std::string_view guess = nearest(name, preset_names());
    fail(ErrorCode::not_found, "import/new_model",
         guess.empty()
             ? fmt::format("Give a config.json or one of {}.", fmt::join(preset_names(), ", "))
             : fmt::format("Did you mean '{}'?", guess),
         "there is no file and no built-in configuration {}", quote(name));
  }
  Preset result{it->second(), nullptr};
  if (result.config["model_type"] == "qwen3") result.generation = qwen3_generation();
  if (tiny) shrink(result.config);
  return result;
}

}  // namespace ostinato::importer
