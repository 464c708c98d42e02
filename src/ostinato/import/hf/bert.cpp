// BERT (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
// Understanding"), as transformers/models/bert has it.
#include "ostinato/import/hf/family.h"

namespace ostinato::importer {

namespace {

using ir::Dim;
using ir::Shape;
using ir::Value;

/// What stands on top of the base model.
enum class Head { none, masked_lm, sequence_classification, token_classification, question };

struct BertConfig {
  int64_t vocab_size, hidden_size, layers, heads, intermediate_size, positions, token_types;
  std::optional<int64_t> padding_id;
  std::string hidden_act;
  double layer_norm_eps, initializer_range;
  bool pooler, tied;
  Head head;
  std::vector<std::string> labels;  ///< of a classifier
};

Head head_of(std::string_view architecture) {
  if (architecture == "BertForMaskedLM") return Head::masked_lm;
  if (architecture == "BertForSequenceClassification") return Head::sequence_classification;
  if (architecture == "BertForTokenClassification") return Head::token_classification;
  if (architecture == "BertForQuestionAnswering") return Head::question;
  return Head::none;
}

BertConfig read_bert(const Request& request) {
  Fields& config = request.config;
  BertConfig bert;
  bert.vocab_size = config.size("vocab_size", 30522);
  bert.hidden_size = config.size("hidden_size", 768);
  bert.layers = read_layers(config, 12);
  bert.heads = config.size("num_attention_heads", 12);
  if (bert.hidden_size % bert.heads != 0) {
    config.reject("num_attention_heads", "Correct one of the two.",
                  "expected a divisor of hidden_size {}, got {}", bert.hidden_size, bert.heads);
  }
  bert.intermediate_size = config.size("intermediate_size", 3072);
  bert.positions = config.size("max_position_embeddings", 512);
  bert.token_types = config.size("type_vocab_size", 2);
  bert.hidden_act = read_activation(config, "hidden_act", "gelu");
  bert.layer_norm_eps = config.real("layer_norm_eps", 1e-12);
  bert.initializer_range = read_initializer_range(config);
  bert.padding_id = read_padding_id(config, bert.vocab_size, 0);
  bert.head = head_of(request.architecture);
  std::vector<std::string> labels = read_labels(config);
  if (bert.head == Head::sequence_classification || bert.head == Head::token_classification) {
    bert.labels = labels;
  }
  if (bert.head == Head::question && labels.size() != 2) {
    config.reject("num_labels", "Set it to 2.",
                  "expected 2, the start and the end of an answer, got {}", labels.size());
  }
  const bool add_pooler = config.flag("add_pooling_layer", true);
  bert.pooler = bert.head == Head::sequence_classification ||
                (bert.head == Head::none && add_pooler && request.has_module("pooler"));
  bert.tied = config.flag("tie_word_embeddings", true);
  // transformers 5 computes absolute positions whatever this field says; older versions did not.
  config.require("position_embedding_type", "absolute",
                 "Import a model with relative positions through torch.compile instead.");
  config.ignore(
      {"hidden_dropout_prob", "attention_probs_dropout_prob", "bos_token_id", "eos_token_id"});
  // Of the pooler of models that are older than transformers; BertPooler has none of them.
  config.ignore({"directionality", "pooler_fc_size", "pooler_num_attention_heads",
                 "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"});
  return bert;
}

class Bert final : public Architecture {
 public:
  explicit Bert(BertConfig config) : config_(std::move(config)) {}

  void forward(Net& net) const override;
  std::vector<InputSpec> inputs() const override;
  std::vector<std::string> labels() const override { return config_.labels; }
  std::vector<std::pair<std::string, std::string>> tied() const override;

 private:
  Value* embed(const Module& embeddings, Value* input_ids, Value* token_type_ids) const;
  Value* attend(const Module& attention, Value* x, Value* mask) const;
  Value* layer(const Module& layer, Value* x, Value* mask) const;
  Value* pool(const Module& pooler, Value* x) const;
  void masked_lm(const Module& bert, const Module& predictions, Value* x) const;
  void question(const Module& root, Value* x) const;

  Value* dense(const Module& module, Value* x, int64_t in, int64_t out) const {
    return linear(module, x, {in, out, true, config_.initializer_range});
  }
  Value* norm(const Module& module, Value* x) const {
    return layer_norm(module, x, config_.hidden_size, config_.layer_norm_eps);
  }
  EmbeddingSpec words() const {
    return {config_.vocab_size, config_.hidden_size, config_.initializer_range, config_.padding_id};
  }

  BertConfig config_;
};

std::vector<InputSpec> Bert::inputs() const {
  const Shape shape = {Dim::symbol("b"), Dim::symbol("s")};
  const auto input = [&](std::string_view name, InputKind kind, int64_t values) {
    return InputSpec{.name = std::string(name),
                     .kind = kind,
                     .dtype = DType::int64,
                     .shape = shape,
                     .values = values,
                     .longest = config_.positions};
  };
  return {input("input_ids", InputKind::token_ids, config_.vocab_size),
          input("attention_mask", InputKind::attention_mask, 2),
          input("token_type_ids", InputKind::token_types, config_.token_types)};
}

std::vector<std::pair<std::string, std::string>> Bert::tied() const {
  if (config_.head != Head::masked_lm) return {};
  // The decoder's bias is the head's own under a second name, whatever the words are tied to.
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"cls.predictions.decoder.bias", "cls.predictions.bias"}};
  if (config_.tied) {
    pairs.emplace_back("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight");
  }
  return pairs;
}

Value* Bert::embed(const Module& embeddings, Value* input_ids, Value* token_type_ids) const {
  const auto table = [&](std::string_view name, Value* ids, int64_t count) {
    return embedding(embeddings[name], ids,
                     {count, config_.hidden_size, config_.initializer_range});
  };
  Value* x = embedding(embeddings["word_embeddings"], input_ids, words());
  Value* types = table("token_type_embeddings", token_type_ids, config_.token_types);
  x = embeddings("aten.add.Tensor", {x, types});
  Value* positions = arange(embeddings, input_ids->shape()[1]);
  positions = embeddings("aten.unsqueeze", {positions}, {{"dim", 0}});
  x = embeddings("aten.add.Tensor",
                 {x, table("position_embeddings", positions, config_.positions)});
  return norm(embeddings["LayerNorm"], x);
}

Value* Bert::attend(const Module& attention, Value* x, Value* mask) const {
  const int64_t hidden = config_.hidden_size;
  const Module self = attention["self"];
  const auto project = [&](std::string_view name) {
    return split_heads(self[name], dense(self[name], x, hidden, hidden), config_.heads,
                       hidden / config_.heads);
  };
  Value* query = project("query");
  Value* key = project("key");
  Value* value = project("value");
  Value* mixed = scaled_dot_product_attention(self, query, key, value, mask, false);
  const Module output = attention["output"];
  Value* projected = dense(output["dense"], merge_heads(self, mixed), hidden, hidden);
  return norm(output["LayerNorm"], output("aten.add.Tensor", {projected, x}));
}

Value* Bert::layer(const Module& layer, Value* x, Value* mask) const {
  x = attend(layer["attention"], x, mask);
  const Module intermediate = layer["intermediate"];
  Value* wide = dense(intermediate["dense"], x, config_.hidden_size, config_.intermediate_size);
  wide = activation(intermediate, config_.hidden_act, wide);
  const Module output = layer["output"];
  Value* narrow = dense(output["dense"], wide, config_.intermediate_size, config_.hidden_size);
  return norm(output["LayerNorm"], output("aten.add.Tensor", {narrow, x}));
}

Value* Bert::pool(const Module& pooler, Value* x) const {
  Value* first = pooler("aten.select.int", {x}, {{"dim", 1}, {"index", 0}});
  return activation(pooler, "tanh",
                    dense(pooler["dense"], first, config_.hidden_size, config_.hidden_size));
}

void Bert::masked_lm(const Module& bert, const Module& predictions, Value* x) const {
  const Module transform = predictions["transform"];
  x = dense(transform["dense"], x, config_.hidden_size, config_.hidden_size);
  x = norm(transform["LayerNorm"], activation(transform, config_.hidden_act, x));
  const EmbeddingSpec spec = words();
  Value* weight = config_.tied ? embedding_weight(bert["embeddings"]["word_embeddings"], spec)
                               : predictions["decoder"].parameter("weight", {spec.count, spec.size},
                                                                  Init::normal(spec.deviation));
  Value* bias = predictions.parameter("bias", {config_.vocab_size}, Init::zeros());
  bert.net().graph().add_output("logits", predictions("aten.linear", {x, weight, bias}));
}

void Bert::question(const Module& root, Value* x) const {
  Value* both = dense(root["qa_outputs"], x, config_.hidden_size, 2);
  for (const auto& [name, index] : {std::pair{"start_logits", 0}, std::pair{"end_logits", 1}}) {
    Value* logits = root("aten.select.int", {both}, {{"dim", 2}, {"index", index}});
    root.net().graph().add_output(name, logits);
  }
}

void Bert::forward(Net& net) const {
  ir::Graph& graph = net.graph();
  std::vector<Value*> given;
  for (const InputSpec& input : inputs()) {
    given.push_back(graph.add_input(input.name, {input.dtype, input.shape}));
  }
  const Module root(net);
  const Module bert = root[config_.head == Head::none ? "" : "bert"];
  Value* x = embed(bert["embeddings"], given[0], given[2]);
  const Shape& shape = given[0]->shape();
  Value* mask = cast(bert, given[1], DType::boolean);
  mask = bert("aten.unsqueeze", {mask}, {{"dim", 1}});
  mask = bert("aten.unsqueeze", {mask}, {{"dim", 2}});
  mask = bert("aten.expand", {mask}, {{"size", Shape{shape[0], 1, shape[1], shape[1]}}});
  for (int64_t i = 0; i < config_.layers; ++i) x = layer(bert["encoder"]["layer"][i], x, mask);
  const auto label_count = static_cast<int64_t>(config_.labels.size());
  const auto classify = [&](Value* features) {
    graph.add_output("logits",
                     dense(root["classifier"], features, config_.hidden_size, label_count));
  };
  switch (config_.head) {
    case Head::none:
      graph.add_output("last_hidden_state", x);
      if (config_.pooler) graph.add_output("pooler_output", pool(bert["pooler"], x));
      break;
    case Head::masked_lm: masked_lm(bert, root["cls"]["predictions"], x); break;
    case Head::sequence_classification: classify(pool(bert["pooler"], x)); break;
    case Head::token_classification: classify(x); break;
    case Head::question: question(root, x); break;
  }
}

}  // namespace

const Family& bert_family() {
  static const Family family = {
      .model_type = "bert",
      .base_class = "BertModel",
      .base_prefix = "bert",
      .classes = {"BertModel", "BertForMaskedLM", "BertForSequenceClassification",
                  "BertForTokenClassification", "BertForQuestionAnswering"},
      .renames = {},
      // Buffers that old versions saved, and what classes for pre-training have beside ours.
      .harmless = {"embeddings.position_ids", "embeddings.token_type_ids",
                   "cls.seq_relationship.weight", "cls.seq_relationship.bias",
                   "bert.pooler.dense.weight", "bert.pooler.dense.bias"},
      .read = [](const Request& request) -> std::unique_ptr<Architecture> {
        return std::make_unique<Bert>(read_bert(request));
      },
  };
  return family;
}

}  // namespace ostinato::importer
