// Qwen3 (Qwen team, "Qwen3 Technical Report"), as transformers/models/qwen3 has it.
#include "ostinato/import/hf/family.h"
#include "ostinato/import/hf/rope.h"

namespace ostinato::importer {

namespace {

using ir::Dim;
using ir::Shape;
using ir::Value;

struct Qwen3Config {
  int64_t vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, head_dim, context;
  std::string hidden_act;
  double rms_norm_eps, initializer_range;
  bool attention_bias, tied, language_model;
  std::optional<int64_t> padding_id;
  std::vector<std::optional<int64_t>> windows;  ///< of each layer: none for full attention
  Rope rope;
};

/// How far back each layer attends: `layer_types`, or all layers from `max_window_layers` on.
std::vector<std::optional<int64_t>> read_windows(Fields& config, int64_t layers) {
  const bool used = config.flag("use_sliding_window", false);
  // Null switches the window off; where it is not written down it is the default.
  const std::optional<int64_t> written = config.optional_size("sliding_window");
  const bool is_null = config.contains("sliding_window") && !written;
  const std::optional<int64_t> window =
      used && !is_null ? std::optional(written.value_or(4096)) : std::nullopt;
  const int64_t full_layers = config.integer("max_window_layers", 28, 0, int64_t{1} << 24);
  const std::vector<std::string> types = config.texts("layer_types");
  std::vector<std::optional<int64_t>> windows;
  if (types.empty()) {
    for (int64_t i = 0; i < layers; ++i) {
      windows.push_back(i >= full_layers ? window : std::nullopt);
    }
    return windows;
  }
  if (types.size() != static_cast<size_t>(layers)) {
    config.reject("layer_types", "Correct one of the two.",
                  "expected {} entries as num_hidden_layers says, got {}", layers, types.size());
  }
  for (const std::string& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      config.refuse("layer_types", "Use full_attention or sliding_attention.",
                    "the engine does not know the type {}", quote(type));
    }
    if (type == "sliding_attention" && !window) {
      config.reject("layer_types",
                    "Set use_sliding_window and sliding_window, or the type to full.",
                    "sliding_attention needs a window, which the config switches off");
    }
    windows.push_back(type == "sliding_attention" ? window : std::nullopt);
  }
  return windows;
}

Qwen3Config read_qwen3(const Request& request) {
  Fields& config = request.config;
  Qwen3Config qwen;
  qwen.vocab_size = config.size("vocab_size", 151936);
  qwen.hidden_size = config.size("hidden_size", 4096);
  qwen.intermediate_size = config.size("intermediate_size", 22016);
  qwen.layers = read_layers(config, 32);
  qwen.heads = config.size("num_attention_heads", 32);
  // Not written down it is 32; written as null, as many as the heads.
  const bool is_written = config.contains("num_key_value_heads");
  qwen.kv_heads =
      config.optional_size("num_key_value_heads").value_or(is_written ? qwen.heads : 32);
  if (qwen.heads % qwen.kv_heads != 0) {
    config.reject("num_key_value_heads", "Correct one of the two.",
                  "expected a divisor of num_attention_heads {}, got {}", qwen.heads,
                  qwen.kv_heads);
  }
  qwen.head_dim = config.size("head_dim", 128);
  if (qwen.head_dim % 2 != 0) {
    config.reject("head_dim", "Rotary embeddings turn pairs.", "expected an even number, got {}",
                  qwen.head_dim);
  }
  qwen.context = config.size("max_position_embeddings", 32768);
  qwen.hidden_act = read_activation(config, "hidden_act", "silu");
  qwen.rms_norm_eps = config.real("rms_norm_eps", 1e-6);
  qwen.initializer_range = read_initializer_range(config);
  qwen.attention_bias = config.flag("attention_bias", false);
  qwen.tied = config.flag("tie_word_embeddings", false);
  qwen.language_model = request.architecture == "Qwen3ForCausalLM";
  qwen.padding_id = read_padding_id(config, qwen.vocab_size, std::nullopt);
  qwen.windows = read_windows(config, qwen.layers);
  qwen.rope = read_rope(config, qwen.head_dim, qwen.context);
  config.ignore(
      {"attention_dropout", "bos_token_id", "eos_token_id", "id2label", "label2id", "num_labels"});
  return qwen;
}

/// Where the keys and values of the tokens before come from; empty in `forward`.
struct Cache {
  int64_t capacity;
  Value* position;  ///< int64 (): tokens in it already
};

class Qwen3 final : public Architecture {
 public:
  explicit Qwen3(Qwen3Config config) : config_(std::move(config)) {}

  void forward(Net& net) const override;
  std::vector<InputSpec> inputs() const override;
  std::vector<std::pair<std::string, std::string>> tied() const override;
  bool generates() const override { return config_.language_model; }
  void decoder(Net& net, std::optional<int64_t> capacity) const override;

 private:
  /// All layers, without the last norm.
  Value* body(const Module& model, Value* input_ids, const Cache* cache) const;
  Value* layer(const Module& layer, int64_t index, Value* x, const CosSin& table,
               const Cache* cache) const;
  Value* attend(const Module& attention, int64_t index, Value* x, const CosSin& table,
                const Cache* cache) const;
  Value* mix(const Module& attention, int64_t index, Value* query, Value* key, Value* value,
             const Cache* cache) const;
  Value* feed_forward(const Module& mlp, Value* x) const;
  Value* head(const Module& root, Value* x) const;

  Value* norm(const Module& module, Value* x, int64_t size) const {
    return rms_norm(module, x, size, config_.rms_norm_eps);
  }
  Value* project(const Module& module, Value* x, int64_t in, int64_t out, bool bias) const {
    return linear(module, x, {in, out, bias, config_.initializer_range});
  }
  Module base(const Module& root) const { return root[config_.language_model ? "model" : ""]; }
  EmbeddingSpec words() const {
    return {config_.vocab_size, config_.hidden_size, config_.initializer_range, config_.padding_id};
  }

  Qwen3Config config_;
};

// transformers takes an attention_mask too; here a batch is of sequences of one length, for which
// it is all ones.
std::vector<InputSpec> Qwen3::inputs() const {
  return {{.name = "input_ids",
           .kind = InputKind::token_ids,
           .dtype = DType::int64,
           .shape = {Dim::symbol("b"), Dim::symbol("s")},
           .values = config_.vocab_size,
           .longest = config_.context}};
}

std::vector<std::pair<std::string, std::string>> Qwen3::tied() const {
  if (!config_.language_model || !config_.tied) return {};
  return {{"lm_head.weight", "model.embed_tokens.weight"}};
}

Value* Qwen3::mix(const Module& attention, int64_t index, Value* query, Value* key, Value* value,
                  const Cache* cache) const {
  const std::optional<int64_t> window = config_.windows[static_cast<size_t>(index)];
  if (cache == nullptr && !window) {
    return scaled_dot_product_attention(attention, query, key, value, nullptr, true);
  }
  Value* position = nullptr;
  if (cache != nullptr) {
    position = cache->position;
    const auto update = [&](std::string_view name, Value* fresh) {
      Shape shape = fresh->shape();
      shape[2] = cache->capacity;
      Value* state = attention.net().graph().add_state(fmt::format("{}.{}", name, index),
                                                       {fresh->dtype(), std::move(shape)});
      return attention("cache_update", {state, fresh, position});
    };
    key = update("past_key", key);
    value = update("past_value", value);
  }
  std::vector<ir::NamedAttribute> attributes = {{"causal", true}};
  if (window) attributes.emplace_back("window", *window);
  return attention("attention", {query, key, value, nullptr, position}, attributes);
}

Value* Qwen3::attend(const Module& attention, int64_t index, Value* x, const CosSin& table,
                     const Cache* cache) const {
  const int64_t size = config_.head_dim;
  // The norm is over each head, so it stands between the split and the turn.
  const auto heads = [&](std::string_view name, std::string_view norm_name, int64_t count) {
    const Module module = attention[name];
    Value* flat = project(module, x, config_.hidden_size, count * size, config_.attention_bias);
    const Shape& shape = flat->shape();
    Value* split = module("aten.view", {flat}, {{"size", Shape{shape[0], shape[1], count, size}}});
    if (!norm_name.empty()) split = norm(attention[norm_name], split, size);
    return module("aten.permute", {split}, {{"dims", Shape{0, 2, 1, 3}}});
  };
  Value* query = heads("q_proj", "q_norm", config_.heads);
  Value* key = heads("k_proj", "k_norm", config_.kv_heads);
  Value* value = heads("v_proj", "", config_.kv_heads);
  query = apply_rotary(attention, query, table);
  key = apply_rotary(attention, key, table);
  Value* mixed = mix(attention, index, query, key, value, cache);
  return project(attention["o_proj"], merge_heads(attention, mixed), config_.heads * size,
                 config_.hidden_size, config_.attention_bias);
}

Value* Qwen3::feed_forward(const Module& mlp, Value* x) const {
  const int64_t hidden = config_.hidden_size, wide = config_.intermediate_size;
  Value* gate = project(mlp["gate_proj"], x, hidden, wide, false);
  gate = activation(mlp, config_.hidden_act, gate);
  Value* up = project(mlp["up_proj"], x, hidden, wide, false);
  return project(mlp["down_proj"], mlp("aten.mul.Tensor", {gate, up}), wide, hidden, false);
}

Value* Qwen3::layer(const Module& layer, int64_t index, Value* x, const CosSin& table,
                    const Cache* cache) const {
  const int64_t hidden = config_.hidden_size;
  Value* normed = norm(layer["input_layernorm"], x, hidden);
  Value* attended = attend(layer["self_attn"], index, normed, table, cache);
  x = layer("aten.add.Tensor", {x, attended});
  normed = norm(layer["post_attention_layernorm"], x, hidden);
  return layer("aten.add.Tensor", {x, feed_forward(layer["mlp"], normed)});
}

Value* Qwen3::body(const Module& model, Value* input_ids, const Cache* cache) const {
  Value* x = embedding(model["embed_tokens"], input_ids, words());
  Value* positions = arange(model, input_ids->shape()[1]);
  if (cache != nullptr) {
    positions = model("aten.add.Tensor", {positions, cache->position});
  }
  const CosSin table = rotary_embedding(model["rotary_emb"], config_.rope, positions, x->dtype());
  for (int64_t i = 0; i < config_.layers; ++i) {
    x = layer(model["layers"][i], i, x, table, cache);
  }
  return x;
}

Value* Qwen3::head(const Module& root, Value* x) const {
  const Module lm_head = root["lm_head"];
  Value* weight = config_.tied
                      ? embedding_weight(base(root)["embed_tokens"], words())
                      : lm_head.parameter("weight", {config_.vocab_size, config_.hidden_size},
                                          Init::normal(config_.initializer_range));
  return lm_head("aten.linear", {x, weight, nullptr});
}

void Qwen3::forward(Net& net) const {
  const InputSpec input = inputs().front();
  Value* input_ids = net.graph().add_input(input.name, {input.dtype, input.shape});
  const Module root(net);
  const Module model = base(root);
  Value* x = norm(model["norm"], body(model, input_ids, nullptr), config_.hidden_size);
  if (config_.language_model) {
    net.graph().add_output("logits", head(root, x));
  } else {
    net.graph().add_output("last_hidden_state", x);
  }
}

void Qwen3::decoder(Net& net, std::optional<int64_t> capacity) const {
  if (!config_.language_model) return Architecture::decoder(net, capacity);
  ir::Graph& graph = net.graph();
  const InputSpec input = inputs().front();
  Value* input_ids = graph.add_input(input.name, {input.dtype, {1, Dim::symbol("s")}});
  std::optional<Cache> cache;
  if (capacity) cache = {*capacity, graph.add_input("position", {DType::int64, {}})};
  Value* last = graph.add_input("last", {DType::int64, {1}});
  const Module root(net);
  const Module model = base(root);
  Value* x = body(model, input_ids, cache ? &*cache : nullptr);
  // Only one token's logits are wanted, and the vocabulary is most of the work of a short text.
  x = model("aten.index_select", {x, last}, {{"dim", 1}});
  Value* logits = head(root, norm(model["norm"], x, config_.hidden_size));
  graph.add_output("logits", logits);
  graph.add_output("next_token", root("aten.argmax", {logits}, {{"dim", -1}}));
}

}  // namespace

const Family& qwen3_family() {
  static const Family family = {
      .model_type = "qwen3",
      .base_class = "Qwen3Model",
      .base_prefix = "model",
      .classes = {"Qwen3ForCausalLM", "Qwen3Model"},
      .renames = {},
      .harmless = {"rotary_emb.inv_freq"},
      .read = [](const Request& request) -> std::unique_ptr<Architecture> {
        return std::make_unique<Qwen3>(read_qwen3(request));
      },
  };
  return family;
}

}  // namespace ostinato::importer
