#include "ostinato/import/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "ostinato/import/new_model.h"
#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

using Named = std::vector<std::pair<std::string, Tensor>>;

/// A tiny configuration of the family, with changes merged into it; null removes a field.
Json tiny(const std::string& family, const Json& changes = Json::object()) {
  Json config = preset(family, true).config;
  if (config.contains("vocab_size")) config["vocab_size"] = 50;
  config.erase("torch_dtype");
  for (const char* id : {"bos_token_id", "eos_token_id"}) config.erase(id);
  config.merge_patch(changes);
  return config;
}

Model random_model(const Json& config, uint64_t seed = 0) {
  return Model::from_config(config, "config.json", {.weights = WeightSource::random, .seed = seed});
}

/// A model folder whose weights a test may bend before it writes them.
class ModelFolder : public testing::Test {
 protected:
  void make(const Json& config) {
    const Model model = random_model(config);
    tensors_ = Named(model.weights().begin(), model.weights().end());
    write_config(config);
  }
  void write_config(const Json& config) { folder_.file("config.json", config.dump()); }
  void write() { write_safetensors(folder_ / "model.safetensors", tensors_); }

  Tensor* find(const std::string& name) {
    for (auto& [known, tensor] : tensors_) {
      if (known == name) return &tensor;
    }
    return nullptr;
  }
  void rename(const std::string& from, const std::string& to) {
    for (auto& entry : tensors_) {
      if (const size_t at = entry.first.find(from); at != std::string::npos) {
        entry.first.replace(at, from.size(), to);
      }
    }
  }
  Model load(ModelOptions options = {}) { return Model::load(folder_.path(), options); }
  void expect(ErrorCode code, const std::string& part) {
    write();
    expect_error([&] { load(); }, code, part);
  }

  TemporaryFolder folder_;
  Named tensors_;
};

std::set<std::string> outputs(const ir::Graph& graph) {
  std::set<std::string> names;
  for (const ir::Output& output : graph.outputs()) names.insert(output.name);
  return names;
}

int count(const ir::Graph& graph, std::string_view op) {
  int found = 0;
  for (const auto& node : graph.nodes()) found += node->op->name == op;
  return found;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

TEST(Model, FullSizePresetsHaveTheParametersOfTheOriginals) {
  // Shapes alone: the weights of the largest are 1.2 GB. Counts are transformers'.
  const std::pair<std::string_view, int64_t> expected[] = {
      {"vit-base-patch16-224", 86567656}, {"vit-base-patch16-224-in21k", 86389248},
      {"bert-base", 109482240},           {"all-minilm-l6-v2", 22713216},
      {"qwen3-0.6b", 596049920},
  };
  for (const auto& [name, count] : expected) {
    const Json config = preset(name, false).config;
    Fields fields(config, "config.json");
    const Family& family = family_of(config["model_type"].get<std::string>(), "config.json");
    const auto architecture = config["architectures"][0].get<std::string>();
    const auto model = family.read({architecture, fields, [](std::string_view) { return true; }});
    ir::Graph graph;
    Net net(graph, DType::float32);
    model->forward(net);
    int64_t total = 0;
    for (const Parameter& parameter : net.parameters()) total += checked_numel(parameter);
    EXPECT_EQ(total, count) << name;
  }
}

TEST(Model, NodesCarryTheirModulesPath) {
  const ir::Graph graph = random_model(tiny("qwen3-0.6b")).forward();
  std::set<std::string> sources;
  for (const auto& node : graph.nodes()) sources.insert(node->source);
  EXPECT_TRUE(sources.contains("model.layers.1.self_attn.q_norm"));
  EXPECT_TRUE(sources.contains("model.layers.0.mlp.gate_proj"));
  EXPECT_TRUE(sources.contains("lm_head"));
}

TEST(Model, ConstantsAreTheWeights) {
  const Model model = random_model(tiny("vit-base-patch16-224"));
  const ir::Graph graph = model.forward();
  EXPECT_EQ(graph.constants().size(), model.weights().size());
  for (const ir::Value* constant : graph.constants()) {
    EXPECT_EQ(constant->data.data(), model.weights().at(constant->name).data()) << constant->name;
  }
}

TEST(Model, ForwardsHaveTheOutputsOfTheClass) {
  using Names = std::set<std::string>;
  const auto of = [](const std::string& preset, const char* architecture) {
    return outputs(
        random_model(tiny(preset, {{"architectures", Json::array({architecture})}})).forward());
  };
  EXPECT_EQ(of("bert-base", "BertModel"), (Names{"last_hidden_state", "pooler_output"}));
  EXPECT_EQ(of("bert-base", "BertForMaskedLM"), (Names{"logits"}));
  EXPECT_EQ(of("bert-base", "BertForSequenceClassification"), (Names{"logits"}));
  EXPECT_EQ(of("bert-base", "BertForTokenClassification"), (Names{"logits"}));
  EXPECT_EQ(of("bert-base", "BertForQuestionAnswering"), (Names{"start_logits", "end_logits"}));
  EXPECT_EQ(of("qwen3-0.6b", "Qwen3Model"), (Names{"last_hidden_state"}));
  EXPECT_EQ(of("qwen3-0.6b", "Qwen3ForCausalLM"), (Names{"logits"}));
  EXPECT_EQ(of("vit-base-patch16-224", "ViTForImageClassification"), (Names{"logits"}));
}

TEST(Model, WithoutAClassItIsTheBaseModel) {
  const Model model = random_model(tiny("bert-base", {{"architectures", nullptr}}));
  EXPECT_EQ(model.architecture(), "BertModel");
}

TEST(Model, InputsSayWhatFillsThem) {
  const Model model = random_model(tiny("bert-base"));
  const std::vector<InputSpec> inputs = model.inputs();
  ASSERT_EQ(inputs.size(), 3u);
  EXPECT_EQ(model.context_length(), 512);
  const ir::Bindings bindings = {{"b", 3}, {"s", 40}};
  const Tensor ids = default_input(inputs[0], bindings, 1);
  EXPECT_EQ(ids.shape(), (std::vector<int64_t>{3, 40}));
  std::set<int64_t> different;
  for (int64_t i = 0; i < ids.numel(); ++i) {
    EXPECT_GE(ids.as<int64_t>()[i], 0);
    EXPECT_LT(ids.as<int64_t>()[i], 50);
    different.insert(ids.as<int64_t>()[i]);
  }
  EXPECT_GT(different.size(), 30u);
  EXPECT_TRUE(same(ids, default_input(inputs[0], bindings, 1)));
  EXPECT_FALSE(same(ids, default_input(inputs[0], bindings, 2)));
  EXPECT_EQ(default_input(inputs[1], bindings, 1).as<int64_t>()[119], 1);
  EXPECT_EQ(default_input(inputs[2], bindings, 1).as<int64_t>()[119], 0);
}

TEST(Decoder, KeepsKeysAndValuesInStates) {
  const Model model = random_model(tiny("qwen3-0.6b"));
  ASSERT_TRUE(model.generates());
  const ir::Graph graph = model.decoder(24);
  ASSERT_EQ(graph.states().size(), 4u);
  EXPECT_EQ(graph.states()[0]->name, "past_key.0");
  EXPECT_EQ(graph.states()[3]->name, "past_value.1");
  EXPECT_EQ(ir::to_string(graph.states()[0]->shape()), "(1, 2, 24, 16)");
  EXPECT_EQ(count(graph, "cache_update"), 4);
  EXPECT_EQ(outputs(graph), (std::set<std::string>{"logits", "next_token"}));
  EXPECT_EQ(ir::to_string(graph.outputs()[0].value->shape()), "(1, 1, 50)");
  EXPECT_EQ(ir::to_string(graph.outputs()[1].value->shape()), "(1, 1)");
}

TEST(Decoder, WithoutACacheTakesTheWholeText) {
  const ir::Graph graph = random_model(tiny("qwen3-0.6b")).decoder(std::nullopt);
  EXPECT_TRUE(graph.states().empty());
  EXPECT_EQ(graph.inputs().size(), 2u);
  EXPECT_EQ(ir::to_string(graph.outputs()[0].value->shape()), "(1, 1, 50)");
}

TEST(Decoder, RefusesWhatCannotBe) {
  const Model qwen = random_model(tiny("qwen3-0.6b", {{"max_position_embeddings", 30}}));
  expect_error([&] { qwen.decoder(31); }, ErrorCode::invalid_argument, "30");
  expect_error([&] { qwen.decoder(0); }, ErrorCode::invalid_argument, "30");
  const Model vit = random_model(tiny("vit-base-patch16-224"));
  EXPECT_FALSE(vit.generates());
  expect_error([&] { vit.decoder(8); }, ErrorCode::invalid_argument, "continues texts");
  const Model base =
      random_model(tiny("qwen3-0.6b", {{"architectures", Json::array({"Qwen3Model"})}}));
  EXPECT_FALSE(base.generates());
  expect_error([&] { base.decoder(8); }, ErrorCode::invalid_argument, "continues texts");
}

TEST(Qwen3, SlidingLayersHaveAWindow) {
  const Json config =
      tiny("qwen3-0.6b",
           {{"use_sliding_window", true}, {"sliding_window", 8}, {"max_window_layers", 1}});
  const ir::Graph graph = random_model(config).forward();
  EXPECT_EQ(count(graph, "aten.scaled_dot_product_attention"), 1);
  EXPECT_EQ(count(graph, "attention"), 1);
  for (const auto& node : graph.nodes()) {
    if (node->op->name == "attention") {
      EXPECT_EQ(node->integer("window"), 8);
    }
  }
}

TEST(Model, RefusesConfigs) {
  struct Case {
    const char* preset;
    Json changes;
    ErrorCode code;
    const char* part;
  };
  const auto invalid = ErrorCode::invalid_argument;
  const auto unsupported = ErrorCode::unsupported;
  const Case cases[] = {
      {"bert-base", {{"model_type", "gpt_neo"}}, unsupported, "gpt_neo"},
      {"bert-base", {{"model_type", nullptr}}, invalid, "model_type"},
      {"bert-base", {{"architectures", {"BertForPreTraining"}}}, unsupported, "PreTraining"},
      {"bert-base",
       {{"architectures", {"BertForQuestionAnswering"}}, {"num_labels", 3}},
       invalid,
       "num_labels"},
      {"bert-base", {{"num_attention_heads", 3}}, invalid, "num_attention_heads"},
      {"bert-base", {{"hidden_act", "xielu"}}, unsupported, "xielu"},
      {"bert-base", {{"is_decoder", true}}, unsupported, "is_decoder"},
      {"bert-base", {{"add_cross_attention", true}}, unsupported, "add_cross_attention"},
      {"bert-base", {{"position_embedding_type", "relative_key"}}, unsupported, "relative_key"},
      {"bert-base", {{"embedding_size", 128}}, unsupported, "\"embedding_size\""},
      {"bert-base", {{"pruned_heads", {{"0", {1}}}}}, unsupported, "pruned_heads"},
      {"bert-base", {{"quantization_config", {{"bits", 4}}}}, unsupported, "quantization_config"},
      {"bert-base", {{"hidden_size", -64}}, invalid, "hidden_size"},
      {"bert-base", {{"hidden_size", 1e30}}, invalid, "hidden_size"},
      {"bert-base", {{"num_hidden_layers", 1000000}}, invalid, "num_hidden_layers"},
      {"vit-base-patch16-224", {{"patch_size", 65}}, invalid, "patch_size"},
      {"vit-base-patch16-224", {{"image_size", {64, 64, 3}}}, invalid, "image_size"},
      {"vit-base-patch16-224", {{"pooler_act", "nothing"}}, unsupported, "pooler_act"},
      {"vit-base-patch16-224",
       {{"architectures", {"ViTForMaskedImageModeling"}}},
       unsupported,
       "ViTForMaskedImageModeling"},
      {"qwen3-0.6b", {{"num_key_value_heads", 3}}, invalid, "num_key_value_heads"},
      {"qwen3-0.6b", {{"head_dim", 15}}, invalid, "head_dim"},
      {"qwen3-0.6b", {{"layer_types", {"full_attention"}}}, invalid, "layer_types"},
      {"qwen3-0.6b",
       {{"layer_types", {"full_attention", "sliding_attention"}}},
       invalid,
       "layer_types"},
      {"qwen3-0.6b",
       {{"layer_types", {"full_attention", "linear_attention"}}},
       unsupported,
       "linear_attention"},
      {"qwen3-0.6b",
       {{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}},
       unsupported,
       "dynamic"},
      {"qwen3-0.6b", {{"rope_scaling", {{"rope_type", "linear"}}}}, invalid, "factor"},
      {"qwen3-0.6b",
       {{"rope_scaling", {{"rope_type", "default"}, {"factor", 2.0}}}},
       unsupported,
       "rope_scaling.factor"},
      {"qwen3-0.6b", {{"rope_theta", 0}}, invalid, "rope_theta"},
      {"qwen3-0.6b", {{"partial_rotary_factor", 0.5}}, unsupported, "partial_rotary_factor"},
      {"qwen3-0.6b", {{"logit_softcapping", 30.0}}, unsupported, "\"logit_softcapping\""},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.changes.dump());
    expect_error([&] { random_model(tiny(test.preset, test.changes)); }, test.code, test.part);
  }
}

TEST(Model, RefusesAWeightBeyondAnyMemory) {
  const Json config =
      tiny("vit-base-patch16-224",
           {{"hidden_size", 1 << 24}, {"num_channels", 1 << 24}, {"num_hidden_layers", 1}});
  expect_error([&] { random_model(config); }, ErrorCode::invalid_argument, "2^40");
}

TEST_F(ModelFolder, LoadsInPlace) {
  make(tiny("bert-base"));
  write();
  const Model model = load();
  EXPECT_EQ(model.family(), "bert");
  EXPECT_EQ(model.dtype(), DType::float32);
  EXPECT_EQ(model.weights().size(), tensors_.size());
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  for (const auto& [name, tensor] : tensors_) {
    EXPECT_TRUE(same(model.weights().at(name), tensor)) << name;
  }
}

TEST_F(ModelFolder, ConvertsToTheDtypeAskedFor) {
  make(tiny("bert-base"));
  write();
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    const Model model = load({.dtype = dtype});
    EXPECT_EQ(model.dtype(), dtype);
    for (const auto& [name, tensor] : tensors_) {
      EXPECT_TRUE(same(model.weights().at(name), tensor.to(dtype))) << name;
    }
  }
}

TEST_F(ModelFolder, TakesTheDtypeOfTheConfigBeforeThatOfTheWeights) {
  make(tiny("bert-base", {{"torch_dtype", "bfloat16"}}));
  EXPECT_EQ(tensors_.front().second.dtype(), DType::bfloat16);
  write();
  write_config(tiny("bert-base"));
  EXPECT_EQ(load().dtype(), DType::bfloat16);
  write_config(tiny("bert-base", {{"dtype", "float16"}}));
  EXPECT_EQ(load().dtype(), DType::float16);
}

TEST_F(ModelFolder, ReadsTheBaseModelOutOfOneWithAHead) {
  make(tiny("bert-base", {{"architectures", {"BertForSequenceClassification"}}}));
  write();
  write_config(tiny("bert-base"));
  const Model model = load();
  EXPECT_TRUE(same(model.weights().at("pooler.dense.weight"), *find("bert.pooler.dense.weight")));
  EXPECT_EQ(outputs(model.forward()),
            (std::set<std::string>{"last_hidden_state", "pooler_output"}));
}

TEST_F(ModelFolder, AHeadOnTheBaseModelsWeightsIsMissing) {
  make(tiny("bert-base"));
  write_config(tiny("bert-base", {{"architectures", {"BertForSequenceClassification"}}}));
  expect(ErrorCode::not_found, "\"classifier.weight\", \"classifier.bias\"");
}

TEST_F(ModelFolder, UndoesTheNamesOfOldAndNewVersions) {
  make(tiny("bert-base"));
  rename("LayerNorm.weight", "LayerNorm.gamma");
  rename("LayerNorm.bias", "LayerNorm.beta");
  write();
  load();

  make(tiny("vit-base-patch16-224"));
  rename("encoder.layer.", "layers.");
  rename("attention.attention.query", "attention.q_proj");
  rename("attention.attention.key", "attention.k_proj");
  rename("attention.attention.value", "attention.v_proj");
  rename("attention.output.dense", "attention.o_proj");
  rename("intermediate.dense", "mlp.fc1");
  rename(".output.dense", ".mlp.fc2");
  write();
  EXPECT_TRUE(same(load().weights().at("vit.encoder.layer.1.output.dense.weight"),
                   *find("vit.layers.1.mlp.fc2.weight")));
}

TEST_F(ModelFolder, LeavesOutAPoolerThatTheWeightsLack) {
  make(tiny("vit-base-patch16-224-in21k"));
  std::erase_if(tensors_, [](const auto& entry) { return entry.first.starts_with("pooler."); });
  write();
  EXPECT_EQ(outputs(load().forward()), (std::set<std::string>{"last_hidden_state"}));
}

TEST_F(ModelFolder, ToleratesBuffersOfOldVersions) {
  make(tiny("bert-base"));
  tensors_.emplace_back("embeddings.position_ids", Tensor::empty(DType::int64, {1, 512}));
  write();
  load();
}

TEST_F(ModelFolder, TiedWeightsMayBeThereTwice) {
  make(tiny("qwen3-0.6b"));
  const Tensor words = *find("model.embed_tokens.weight");
  tensors_.emplace_back("lm_head.weight", words);
  write();
  EXPECT_TRUE(same(load().weights().at("model.embed_tokens.weight"), words));

  // The embedding may be saved under the head's name alone.
  std::erase_if(tensors_, [](const auto& e) { return e.first == "model.embed_tokens.weight"; });
  write();
  EXPECT_TRUE(same(load().weights().at("model.embed_tokens.weight"), words));

  Tensor other = Tensor::empty(words.dtype(), words.shape());
  std::fill_n(other.as<float>(), other.numel(), 1.0f);
  tensors_.emplace_back("model.embed_tokens.weight", other);
  expect(ErrorCode::invalid_argument, "tied, yet differ");
}

TEST_F(ModelFolder, RefusesMissingTensors) {
  make(tiny("bert-base"));
  std::erase_if(tensors_, [](const auto& e) { return e.first == "pooler.dense.bias"; });
  expect(ErrorCode::not_found, "\"pooler.dense.bias\"");
}

TEST_F(ModelFolder, RefusesExtraTensors) {
  make(tiny("bert-base"));
  tensors_.emplace_back("encoder.layer.2.output.dense.bias", Tensor::empty(DType::float32, {64}));
  expect(ErrorCode::invalid_argument, "\"encoder.layer.2.output.dense.bias\"");
}

TEST_F(ModelFolder, RefusesAWrongShape) {
  make(tiny("bert-base"));
  write_config(tiny("bert-base", {{"vocab_size", 51}}));
  expect(ErrorCode::invalid_argument,
         "tensor \"embeddings.word_embeddings.weight\": expected shape (51, 64), got (50, 64)");
}

TEST_F(ModelFolder, RefusesIntegerWeights) {
  make(tiny("bert-base"));
  *find("pooler.dense.bias") = Tensor::empty(DType::int32, {64});
  expect(ErrorCode::unsupported, "pooler.dense.bias");
}

TEST_F(ModelFolder, RefusesTheSameWeightTwice) {
  make(tiny("bert-base"));
  tensors_.emplace_back("embeddings.LayerNorm.gamma", Tensor::empty(DType::float32, {64}));
  expect(ErrorCode::corrupt, "embeddings.LayerNorm.gamma");
}

TEST_F(ModelFolder, RefusesWhatIsNotFinite) {
  make(tiny("bert-base"));
  find("encoder.layer.1.output.dense.weight")->as<float>()[77] =
      std::numeric_limits<float>::quiet_NaN();
  expect(ErrorCode::corrupt, "tensor \"encoder.layer.1.output.dense.weight\" at index 77");
}

TEST_F(ModelFolder, RefusesWhatTheDtypeCannotHold) {
  make(tiny("bert-base"));
  find("pooler.dense.bias")->as<float>()[5] = 1e6f;
  write();
  expect_error([&] { load({.dtype = DType::float16}); }, ErrorCode::invalid_argument,
               "\"pooler.dense.bias\": the value at element 5");
  load({.dtype = DType::bfloat16});
}

TEST_F(ModelFolder, RefusesAFolderThatIsNone) {
  expect_error([&] { load(); }, ErrorCode::not_found, "config.json");
  expect_error([&] { Model::load(folder_ / "absent", {}); }, ErrorCode::not_found, "config.json");
  write_config(tiny("bert-base"));
  expect_error([&] { load(); }, ErrorCode::not_found, "model.safetensors");
  const Model model = load({.weights = WeightSource::random, .seed = 3});
  EXPECT_EQ(model.weight_source(), WeightSource::random);
}

TEST_F(ModelFolder, RefusesToGenerateOtherThanGreedily) {
  make(tiny("qwen3-0.6b"));
  folder_.file("generation_config.json", R"({"repetition_penalty": 1.1})");
  write();
  const Model model = load();
  expect_error([&] { model.decoder(8); }, ErrorCode::unsupported, "repetition_penalty 1.1");
}

TEST(NewModel, MakesAFolderThatLoads) {
  const TemporaryFolder folder;
  for (const std::string_view name : preset_names()) {
    const auto path = folder / name;
    const NewModel made = new_model(preset(name, true), std::string(name), path, {.seed = 5});
    const Model model = Model::load(path);
    EXPECT_EQ(model.architecture(), made.architecture);
    EXPECT_EQ(model.dtype(), made.dtype);
    EXPECT_EQ(model.parameter_count(), made.parameters);
    EXPECT_EQ(std::filesystem::exists(path / "preprocessor_config.json"), model.family() == "vit");
    EXPECT_EQ(model.generation().eos.size(), model.generates() ? 2u : 0u);
    const Model again = Model::load(path, {.weights = WeightSource::random, .seed = 5});
    for (const auto& [weight, tensor] : model.weights()) {
      EXPECT_TRUE(same(tensor, again.weights().at(weight))) << weight;
    }
  }
}

TEST(NewModel, CopiesATokenizer) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "tokenizer");
  folder.file("tokenizer/tokenizer.json", "{}");
  const Preset tiny_bert = preset("bert-base", true);
  new_model(tiny_bert, "bert", folder / "model", {.tokenizer = folder / "tokenizer"});
  EXPECT_TRUE(std::filesystem::exists(folder / "model" / "tokenizer.json"));
  expect_error(
      [&] { new_model(tiny_bert, "bert", folder / "other", {.tokenizer = folder.path()}); },
      ErrorCode::not_found, "tokenizer.json");
  EXPECT_FALSE(std::filesystem::exists(folder / "other"));
}

TEST(NewModel, RefusesToOverwrite) {
  const TemporaryFolder folder;
  folder.file("note.txt", "mine");
  expect_error([&] { new_model(preset("bert-base", true), "bert", folder.path(), {}); },
               ErrorCode::invalid_argument, "without files");
  expect_error([&] { new_model(preset("bert-base", true), "bert", folder / "note.txt", {}); },
               ErrorCode::invalid_argument, "without files");
}

TEST(Preset, SuggestsTheNearestName) {
  expect_error([] { preset("qwen3-0.6", false); }, ErrorCode::not_found, "'qwen3-0.6b'");
  expect_error([] { preset("llama", false); }, ErrorCode::not_found, "bert-base");
}

}  // namespace
}  // namespace ostinato::importer
