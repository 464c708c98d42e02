// ViT (Dosovitskiy et al., "An Image is Worth 16x16 Words"), as transformers/models/vit has it.
#include "ostinato/import/hf/family.h"

namespace ostinato::importer {

namespace {

using ir::Dim;
using ir::Shape;
using ir::Value;

struct Size2 {
  int64_t height, width;
};

struct VitConfig {
  int64_t hidden_size, layers, heads, head_dim, intermediate_size, channels, pooler_size;
  Size2 image, patch;
  std::string hidden_act, pooler_act;
  double layer_norm_eps, initializer_range;
  bool qkv_bias, pooler;
  std::vector<std::string> labels;  ///< empty for ViTModel

  int64_t patches() const { return (image.height / patch.height) * (image.width / patch.width); }
};

/// A side, or a list of height and width.
Size2 read_size(Fields& config, std::string_view name, int64_t fallback) {
  constexpr int64_t kLargest = 1 << 14;
  if (!config.raw(name).is_array()) {
    const int64_t side = config.integer(name, fallback, 1, kLargest);
    return {side, side};
  }
  const std::vector<int64_t> sides = config.integers(name);
  if (sides.size() != 2 || sides[0] < 1 || sides[0] > kLargest || sides[1] < 1 ||
      sides[1] > kLargest) {
    config.reject(name, "Give one side, or a list of height and width.",
                  "expected two integers from 1 to {}, got {}", kLargest, fmt::join(sides, ", "));
  }
  return {sides[0], sides[1]};
}

VitConfig read_vit(const Request& request) {
  Fields& config = request.config;
  VitConfig vit;
  vit.hidden_size = config.size("hidden_size", 768);
  vit.layers = read_layers(config, 12);
  vit.heads = config.size("num_attention_heads", 12);
  const bool has_head_dim = config.has("head_dim");
  if (!has_head_dim && vit.hidden_size % vit.heads != 0) {
    config.reject("num_attention_heads", "Correct one of the two, or add head_dim.",
                  "expected a divisor of hidden_size {}, got {}", vit.hidden_size, vit.heads);
  }
  vit.head_dim = config.size("head_dim", vit.hidden_size / vit.heads);
  vit.intermediate_size = config.size("intermediate_size", 3072);
  vit.channels = config.size("num_channels", 3);
  vit.pooler_size = config.optional_size("pooler_output_size").value_or(vit.hidden_size);
  vit.image = read_size(config, "image_size", 224);
  vit.patch = read_size(config, "patch_size", 16);
  if (vit.patches() == 0) {
    config.reject("patch_size", "Use patches that fit into the picture.",
                  "expected at most {}×{} as image_size says, got {}×{}", vit.image.height,
                  vit.image.width, vit.patch.height, vit.patch.width);
  }
  vit.hidden_act = read_activation(config, "hidden_act", "gelu");
  vit.pooler_act = read_activation(config, "pooler_act", "tanh");
  vit.layer_norm_eps = config.real("layer_norm_eps", 1e-12);
  vit.initializer_range = read_initializer_range(config);
  vit.qkv_bias = config.flag("qkv_bias", true);
  const bool add_pooler = config.flag("add_pooling_layer", true);
  std::vector<std::string> labels = read_labels(config);
  if (request.architecture == "ViTForImageClassification") {
    vit.labels = std::move(labels);
    vit.pooler = false;
  } else {
    vit.pooler = add_pooler && request.has_module("pooler");
  }
  // Dropout is off in inference, and encoder_stride belongs to the decoder of
  // ViTForMaskedImageModeling.
  config.ignore({"hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride",
                 "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"});
  return vit;
}

class Vit final : public Architecture {
 public:
  explicit Vit(VitConfig config) : config_(std::move(config)) {}

  void forward(Net& net) const override;

  std::vector<InputSpec> inputs() const override {
    return {
        {.name = "pixel_values",
         .kind = InputKind::picture,
         .dtype = DType::float32,
         .shape = {Dim::symbol("b"), config_.channels, config_.image.height, config_.image.width}}};
  }

  std::vector<std::string> labels() const override { return config_.labels; }

 private:
  Value* embed(const Module& embeddings, Value* pixels) const;
  Value* attend(const Module& attention, Value* x) const;
  Value* layer(const Module& layer, Value* x) const;

  LinearSpec linear_spec(int64_t in, int64_t out, bool bias = true) const {
    return {in, out, bias, config_.initializer_range};
  }

  VitConfig config_;
};

Value* Vit::embed(const Module& embeddings, Value* pixels) const {
  const Module projection = embeddings["patch_embeddings"]["projection"];
  const auto [height, width] = config_.patch;
  Value* weight =
      projection.parameter("weight", {config_.hidden_size, config_.channels, height, width},
                           Init::normal(config_.initializer_range));
  Value* bias = projection.parameter("bias", {config_.hidden_size}, Init::zeros());
  Value* patches = projection("aten.convolution", {pixels, weight, bias},
                              {{"stride", Shape{height, width}},
                               {"padding", Shape{0, 0}},
                               {"dilation", Shape{1, 1}},
                               {"transposed", false},
                               {"output_padding", Shape{0, 0}},
                               {"groups", 1}});
  const Dim batch = pixels->shape()[0];
  Value* flat = embeddings("aten.view", {patches},
                           {{"size", Shape{batch, config_.hidden_size, config_.patches()}}});
  Value* tokens = embeddings("aten.permute", {flat}, {{"dims", Shape{0, 2, 1}}});
  const Init init = Init::truncated_normal(config_.initializer_range);
  Value* cls_token = embeddings.parameter("cls_token", {1, 1, config_.hidden_size}, init);
  Value* cls = embeddings("aten.expand", {cls_token}, {{"size", Shape{batch, -1, -1}}});
  Value* all = embeddings("aten.cat", {cls, tokens}, {{"dim", 1}});
  Value* positions = embeddings.parameter("position_embeddings",
                                          {1, config_.patches() + 1, config_.hidden_size}, init);
  return embeddings("aten.add.Tensor", {all, positions});
}

Value* Vit::attend(const Module& attention, Value* x) const {
  const int64_t all_heads = config_.heads * config_.head_dim;
  const auto project = [&](std::string_view name) {
    const Module module = attention["attention"][name];
    const LinearSpec spec = linear_spec(config_.hidden_size, all_heads, config_.qkv_bias);
    return split_heads(module, linear(module, x, spec), config_.heads, config_.head_dim);
  };
  Value* query = project("query");
  Value* key = project("key");
  Value* value = project("value");
  Value* mixed =
      scaled_dot_product_attention(attention["attention"], query, key, value, nullptr, false);
  return linear(attention["output"]["dense"], merge_heads(attention["attention"], mixed),
                linear_spec(all_heads, config_.hidden_size));
}

Value* Vit::layer(const Module& layer, Value* x) const {
  const auto norm = [&](std::string_view name, Value* input) {
    return layer_norm(layer[name], input, config_.hidden_size, config_.layer_norm_eps);
  };
  Value* attended = attend(layer["attention"], norm("layernorm_before", x));
  x = layer("aten.add.Tensor", {attended, x});
  const Module intermediate = layer["intermediate"];
  Value* wide = linear(intermediate["dense"], norm("layernorm_after", x),
                       linear_spec(config_.hidden_size, config_.intermediate_size));
  wide = activation(intermediate, config_.hidden_act, wide);
  Value* narrow = linear(layer["output"]["dense"], wide,
                         linear_spec(config_.intermediate_size, config_.hidden_size));
  return layer("aten.add.Tensor", {narrow, x});
}

void Vit::forward(Net& net) const {
  const InputSpec input = inputs().front();
  Value* pixels = net.graph().add_input(input.name, {input.dtype, input.shape});
  const bool classifies = !config_.labels.empty();
  const Module root(net);
  const Module vit = root[classifies ? "vit" : ""];
  Value* x = embed(vit["embeddings"], cast(vit, pixels, net.dtype()));
  for (int64_t i = 0; i < config_.layers; ++i) x = layer(vit["encoder"]["layer"][i], x);
  x = layer_norm(vit["layernorm"], x, config_.hidden_size, config_.layer_norm_eps);
  const auto first_token = [x](const Module& module) {
    return module("aten.select.int", {x}, {{"dim", 1}, {"index", 0}});
  };
  if (classifies) {
    const auto count = static_cast<int64_t>(config_.labels.size());
    Value* logits =
        linear(root["classifier"], first_token(root), linear_spec(config_.hidden_size, count));
    net.graph().add_output("logits", logits);
    return;
  }
  net.graph().add_output("last_hidden_state", x);
  if (!config_.pooler) return;
  const Module pooler = vit["pooler"];
  Value* pooled = linear(pooler["dense"], first_token(pooler),
                         linear_spec(config_.hidden_size, config_.pooler_size));
  net.graph().add_output("pooler_output", activation(pooler, config_.pooler_act, pooled));
}

}  // namespace

const Family& vit_family() {
  static const Family family = {
      .model_type = "vit",
      .base_class = "ViTModel",
      .base_prefix = "vit",
      .classes = {"ViTModel", "ViTForImageClassification"},
      // transformers 5 names its modules anew; on disk the old names are usual.
      .renames = {{".attention.q_proj.", ".attention.attention.query."},
                  {".attention.k_proj.", ".attention.attention.key."},
                  {".attention.v_proj.", ".attention.attention.value."},
                  {".attention.o_proj.", ".attention.output.dense."},
                  {".mlp.fc1.", ".intermediate.dense."},
                  {".mlp.fc2.", ".output.dense."},
                  {"layers.", "encoder.layer."}},
      .harmless = {"embeddings.mask_token"},
      .read = [](const Request& request) -> std::unique_ptr<Architecture> {
        return std::make_unique<Vit>(read_vit(request));
      },
  };
  return family;
}

}  // namespace ostinato::importer
