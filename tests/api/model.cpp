#include "ostinato/model.h"

#include <thread>

#include "ostinato/import/new_model.h"
#include "ostinato/session.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato {
namespace {

/// Small models of each family, written once.
class Models : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    for (const char* name : {"vit-base-patch16-224", "qwen3-0.6b"}) {
      importer::new_model(importer::preset(name, true), name, *folder_ / name, {.seed = 3});
    }
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::filesystem::path vit() { return *folder_ / "vit-base-patch16-224"; }
  static std::filesystem::path qwen() { return *folder_ / "qwen3-0.6b"; }

  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> Models::folder_;

Tensor ramp(const std::vector<Size>& sizes) {
  std::vector<int64_t> shape;
  for (const Size& size : sizes) shape.push_back(size.is_symbolic() ? 2 : size.value());
  Tensor tensor = Tensor::empty(DType::float32, shape);
  float value = -1;
  for (float& element : tensor.values<float>()) element = value = value > 1 ? -1 : value + 0.01f;
  return tensor;
}

TEST_F(Models, TellWhatTheyAre) {
  const Model model = Model::open(vit());
  EXPECT_EQ(model.path(), vit());
  EXPECT_EQ(model.family(), "vit");
  EXPECT_EQ(model.dtype(), DType::float32);
  EXPECT_EQ(model.weights(), WeightSource::random);  // the folder says so
  EXPECT_FALSE(model.generates());
  EXPECT_EQ(model.context_length(), 0);
  const Graph graph = model.forward();
  EXPECT_EQ(graph.inputs().at(0).name, "pixel_values");
  EXPECT_EQ(graph.inputs().at(0).shape.at(0), Size("b"));
  EXPECT_EQ(graph.outputs().at(0).name, "logits");
  EXPECT_EQ(graph.outputs().at(0).shape.at(1), Size(model.labels().size()));
  int64_t elements = 0;
  for (const TensorSpec& weight : graph.constants()) {
    int64_t count = 1;
    for (const Size& size : weight.shape) count *= size.value();
    elements += count;
  }
  EXPECT_EQ(model.parameter_count(), elements);
  expect_error([&] { model.decoder(16); }, ErrorCode::invalid_argument, "continues texts");
  expect_error([&] { Generator{model}; }, ErrorCode::unsupported, "does not generate");
}

TEST_F(Models, ComputeTheSameInEveryMode) {
  const Graph graph = Model::open(vit()).forward();
  const Tensor pixels = ramp(graph.inputs().at(0).shape);
  Session reference(Program::compile(graph, {.mode = Mode::reference}));
  const Tensor expected = reference.run({pixels}).at(0);
  for (Mode mode : {Mode::eager, Mode::graph}) {
    Session session(Program::compile(graph, {.mode = mode}));
    const Tensor got = session.run({pixels}).at(0);
    ASSERT_EQ(got.shape(), expected.shape());
    for (size_t i = 0; i < got.values<float>().size(); ++i) {
      EXPECT_NEAR(got.values<float>()[i], expected.values<float>()[i], 1e-4) << name_of(mode);
    }
  }
}

TEST_F(Models, HaveTheWeightsAskedFor) {
  const auto first_logit = [](const ModelOptions& options) {
    const Graph graph = Model::open(vit(), options).forward();
    const Tensor pixels = ramp(graph.inputs().at(0).shape).to(graph.inputs().at(0).dtype);
    Session session(Program::compile(graph));
    return session.run({pixels}).at(0).to(DType::float32).values<float>()[0];
  };
  const auto random = [](uint64_t seed) {
    return ModelOptions{.weights = WeightSource::random, .seed = seed};
  };
  const float pretrained = first_logit({});
  EXPECT_EQ(first_logit(random(3)), pretrained);  // the seed that the folder was made with
  EXPECT_NE(first_logit(random(4)), pretrained);
  EXPECT_EQ(Model::open(vit(), {.dtype = DType::bfloat16}).dtype(), DType::bfloat16);
  EXPECT_NEAR(first_logit({.dtype = DType::bfloat16}), pretrained, 0.05);
}

TEST_F(Models, OpenFromGraphText) {
  const Model folder = Model::open(vit());
  folder.forward().save(*folder_ / "vit.graph");
  const Model model = Model::open(*folder_ / "vit.graph");
  EXPECT_EQ(model.family(), "graph");
  EXPECT_EQ(model.dtype(), DType::float32);
  EXPECT_EQ(model.weights(), WeightSource::pretrained);
  EXPECT_GE(model.parameter_count(), folder.parameter_count());  // small constants count as well
  EXPECT_EQ(model.forward().text(), folder.forward().text());
  EXPECT_TRUE(model.labels().empty());
  EXPECT_FALSE(model.generates());
  EXPECT_TRUE(model.end_tokens().empty());
  expect_error([&] { model.decoder(16); }, ErrorCode::invalid_argument, "does not generate");
  expect_error([&] { Generator{model}; }, ErrorCode::unsupported, "does not generate");
  const auto open = [](const ModelOptions& options) {
    Model::open(*folder_ / "vit.graph", options);
  };
  EXPECT_NO_THROW(open({.dtype = DType::float32}));
  expect_error([&] { open({.dtype = DType::float16}); }, ErrorCode::unsupported,
               "graph text of float32");
  expect_error([&] { open({.weights = WeightSource::random}); }, ErrorCode::unsupported,
               "no random weights");
}

TEST_F(Models, NameWhatIsNotThere) {
  expect_error([] { Model::open(*folder_ / "nothing"); }, ErrorCode::not_found, "nothing");
  expect_error([] { Model::open(folder_->path()); }, ErrorCode::not_found, "config.json");
  Model model = Model::open(vit());
  const Model moved = std::move(model);
  expect_error([&] { model.family(); },  // NOLINT(bugprone-use-after-move)
               ErrorCode::invalid_argument, "expected a model, got one that was moved from");
}

std::vector<int64_t> collect(Generator& generator, const std::vector<int64_t>& prompt,
                             const GenerateOptions& options) {
  std::vector<int64_t> seen;
  const Generation result = generator.generate(prompt, options, [&](int64_t token, const Tensor&) {
    seen.push_back(token);
    return true;
  });
  EXPECT_EQ(result.tokens, seen);
  EXPECT_EQ(result.token_ms.size() + 1, result.tokens.size());
  return seen;
}

TEST_F(Models, ContinueWithAndWithoutACache) {
  const Model model = Model::open(qwen());
  EXPECT_TRUE(model.generates());
  EXPECT_GT(model.context_length(), 0);
  const std::vector<int64_t> prompt = {1, 2, 3, 5, 8};
  Generator graph(model, {.threads = 1});
  const GenerateOptions options = {.max_new_tokens = 12, .ignore_end = true};
  const std::vector<int64_t> tokens = collect(graph, prompt, options);
  EXPECT_EQ(tokens.size(), 12u);
  EXPECT_EQ(collect(graph, prompt, options), tokens);
  EXPECT_EQ(graph.counters().captures, 2u);  // the prompt's bucket, and one token
  Generator reference(model, {.mode = Mode::reference, .threads = 1});
  const GenerateOptions growing = {.max_new_tokens = 12, .ignore_end = true, .kv_cache = false};
  EXPECT_EQ(collect(reference, prompt, growing), tokens);
  // A longer one makes the cache grow, and changes nothing of what came before.
  const std::vector<int64_t> more =
      collect(graph, prompt, {.max_new_tokens = 90, .ignore_end = true});
  EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), more.begin()));
  EXPECT_EQ(graph.counters().captures, 4u);
}

TEST_F(Models, StopWhereTheyAreTold) {
  Generator generator(Model::open(qwen()), {.threads = 1});
  const std::vector<int64_t> prompt = {1, 2, 3};
  const auto tokens = collect(generator, prompt, {.max_new_tokens = 6, .ignore_end = true});
  const Generation at_token = generator.generate(
      prompt, {.max_new_tokens = 6, .stop_tokens = {tokens[2]}, .ignore_end = true});
  EXPECT_TRUE(at_token.stopped);
  EXPECT_EQ(at_token.tokens.back(), tokens[2]);
  EXPECT_LE(at_token.tokens.size(), 3u);
  const Generation by_caller =
      generator.generate(prompt, {.max_new_tokens = 6, .ignore_end = true},
                         [](int64_t, const Tensor& logits) { return logits.numel() == 0; });
  EXPECT_TRUE(by_caller.stopped);
  EXPECT_EQ(by_caller.tokens.size(), 1u);
  const Generation without_logits = generator.generate(
      prompt, {.max_new_tokens = 6, .ignore_end = true, .logits = false},
      [](int64_t token, const Tensor& logits) { return token < 0 || !logits.defined(); });
  EXPECT_EQ(without_logits.tokens, tokens);
}

TEST_F(Models, RefuseBadPrompts) {
  const Model model = Model::open(qwen());
  Generator generator(model, {.threads = 1});
  const auto bad = [&](const std::vector<int64_t>& prompt, int64_t count, const char* part) {
    expect_error([&] { generator.generate(prompt, {.max_new_tokens = count}); },
                 ErrorCode::invalid_argument, part);
  };
  bad({}, 1, "an empty one");
  bad({1}, 0, "at least one new token");
  bad({-1}, 1, "token ids from 0");
  bad({int64_t{1} << 40}, 1, "token ids from 0");
  bad({1}, model.context_length() + 1, "tokens before the last");
  bad({1}, std::numeric_limits<int64_t>::max(), "tokens before the last");
  Generator moved = std::move(generator);
  bad({1}, 1, "expected a generator, got one that was moved from");
}

TEST_F(Models, ServeOneThreadAtATime) {
  Generator generator(Model::open(qwen()), {.threads = 1});
  const std::vector<int64_t> prompt = {1, 2, 3};
  const auto again = [&](int64_t, const Tensor&) {
    std::thread([&] {
      expect_error([&] { generator.generate(prompt); }, ErrorCode::invalid_argument,
                   "Give each thread a generator of its own");
    }).join();
    return false;
  };
  EXPECT_EQ(generator.generate(prompt, {}, again).tokens.size(), 1u);
  EXPECT_EQ(generator.generate(prompt, {.max_new_tokens = 1}).tokens.size(), 1u);
}

}  // namespace
}  // namespace ostinato
