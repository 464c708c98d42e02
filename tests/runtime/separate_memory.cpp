#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "ostinato/base/error.h"
#include "ostinato/import/new_model.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/runtime/source.h"
#include "support/expect_error.h"
#include "support/random_graph.h"
#include "support/same.h"
#include "support/separate_device.h"
#include "support/temporary_folder.h"

/// What the runtime does for devices with memory of their own, on one whose memory the host cannot
/// touch and whose work waits until it is waited for: it must give what the CPU gives, in every
/// bit.
namespace ostinato::runtime {
namespace {

std::unique_ptr<Context> open(const ir::Graph& graph, device::Device& device,
                              const ProgramOptions& options, const ContextOptions& limits = {}) {
  return std::make_unique<Context>(
      std::make_shared<const Program>(graph.specialise({}), device, options), limits);
}

/// Nothing if the graph cannot be run: no kernel for its dtypes, or an index out of range.
std::vector<Tensor> run(const ir::Graph& graph, device::Device& device,
                        const std::vector<Tensor>& inputs, const ProgramOptions& options) {
  try {
    return open(graph, device, options)->run(inputs);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    return {};
  }
}

TEST(SeparateMemory, RandomGraphsComputeTheSame) {
  size_t compared = 0;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    const ir::Graph graph = random_graph(ops::table(), seed);
    const auto inputs = random_inputs(graph, random_bindings().front(), seed);
    for (const Mode mode : {Mode::reference, Mode::eager, Mode::graph}) {
      const ProgramOptions options{mode, 1, {}};
      const auto expected = run(graph, device::get("cpu"), inputs, options);
      const auto got = run(graph, separate_device(), inputs, options);
      ASSERT_EQ(got.size(), expected.size()) << "seed " << seed << "\n" << print(graph);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(same(got[i], expected[i])) << "seed " << seed << " output " << i << "\n"
                                               << print(graph);
      }
      compared += got.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(compared, 150u);
  EXPECT_EQ(separate_bytes(), 0u);
}

/// A caller's memory on the device, weights among it: nothing is staged.
TEST(SeparateMemory, TakesWhatLiesOnTheDevice) {
  device::Device& device = separate_device();
  const std::shared_ptr<device::Stream> stream = device.make_stream(1);
  ir::Graph graph = ir::parse(R"(ostinato.graph 1 "resident"
constant %0 "w" : float32(200)
input %1 "x" : float32(200)
%2 : float32(200) = aten.exp(%0)
%3 : float32(200) = aten.add.Tensor(%2, %1)
output "y" %3
)",
                              ops::table());
  const std::vector<float> ones(200, 1);
  const std::shared_ptr<void> weight = device.allocate(800), x = device.allocate(800);
  const std::shared_ptr<void> y = device.allocate(800);
  for (void* target : {weight.get(), x.get()}) {
    device.copy_to_device(target, ones.data(), 800, *stream);
  }
  graph.constants()[0]->on_device = weight;
  ProgramOptions options{Mode::graph, 1, {}};
  options.stream = stream;
  Context context(std::make_shared<const Program>(std::move(graph), device, options),
                  {.stream = stream, .on_device = true});
  Executable& executable = context.prepare({});
  EXPECT_EQ(executable.plan().steps.size(), 1u);  // the other was folded, from what was read
  void *inputs[] = {x.get()}, *outputs[] = {y.get()};
  executable({inputs, outputs});
  std::vector<float> got(200);
  device.copy_to_host(got.data(), y.get(), 800, *stream);
  device.synchronise(*stream);
  EXPECT_NEAR(got[199], 3.7183f, 1e-4f);
  expect_error([&] { device.borrow_stream(nullptr); }, ErrorCode::unsupported, "separate");
}

constexpr std::string_view kDonated = R"(ostinato.graph 1 "donated"
input %0 "x" : float32(b, 2)
input %1 "y" : float32(b, 2)
%2 : float32(b, 2) = aten.add.Tensor(%0, %1)
%3 : float32(b, 2) = aten.mul.Tensor(%2, %1)
output "product" %3
output "sum" %2
)";

TEST(SeparateMemory, BringsDonatedInputsBack) {
  ProgramOptions options{Mode::graph, 1, {}};
  options.donations.push_back({.output = 1, .input = 0});  // the sum, which the product reads
  const auto context = open(ir::parse(kDonated, ops::table()), separate_device(), options);
  Executable& executable = context->prepare({{"b", 1}});
  ASSERT_TRUE(executable.plan().in_input[1]);
  float x[] = {1, 2}, y[] = {10, 20}, product[] = {0, 0};
  void *inputs[] = {x, y}, *outputs[] = {product, nullptr};
  for (int call = 1; call < 3; ++call) {
    executable({inputs, outputs});
    EXPECT_EQ(x[0], 1 + 10.0f * float(call));
    EXPECT_EQ(x[1], 2 + 20.0f * float(call));
    EXPECT_EQ(y[1], 20);
    EXPECT_EQ(product[1], x[1] * 20);
  }
}

TEST(SeparateMemory, ShapesShareStagingThatGrows) {
  const auto context =
      open(ir::parse(kDonated, ops::table()), separate_device(), {Mode::graph, 1, {}});
  for (const int64_t rows : {1, 2000, 1, 3, 2000, 1}) {
    Tensor x = Tensor::empty(DType::float32, {rows, 2});
    for (int64_t i = 0; i < x.numel(); ++i) x.as<float>()[i] = static_cast<float>(i);
    const auto outputs = context->run({{x, x}});
    const auto last = static_cast<float>(x.numel() - 1);
    EXPECT_EQ(outputs[1].as<float>()[x.numel() - 1], 2 * last);
    EXPECT_EQ(outputs[0].as<float>()[x.numel() - 1], 2 * last * last);
  }
}

TEST(SeparateMemory, ReportsFaultsAndGoesOn) {
  const auto context = open(ir::parse(R"(ostinato.graph 1 "rows"
constant %0 : float32(2, 1) = [5.0, 6.0]
input %1 "ids" : int64(1)
%2 : float32(1, 1) = aten.embedding(%0, %1)
output "y" %2
)",
                                      ops::table()),
                            separate_device(), {Mode::graph, 1, {}});
  Tensor ids = Tensor::empty(DType::int64, {1});
  *ids.as<int64_t>() = 2;
  expect_error([&] { context->run({{ids}}); }, ErrorCode::invalid_argument, "run/aten.embedding");
  *ids.as<int64_t>() = 1;
  EXPECT_EQ(*context->run({{ids}})[0].as<float>(), 6);
}

TEST(SeparateMemory, ContextsShareTheCopiesOfConstants) {
  Tensor weight = Tensor::empty(DType::float32, {1024});
  std::fill_n(weight.as<float>(), 1024, 3.0f);
  ir::Graph graph = ir::parse(R"(ostinato.graph 1 "scaled"
constant %0 "w" : float32(1024)
input %1 "x" : float32(b, 1024)
%2 : float32(b, 1024) = aten.mul.Tensor(%1, %0)
output "y" %2
)",
                              ops::table());
  graph.constants()[0]->data = weight;
  const auto program = std::make_shared<const Program>(std::move(graph), separate_device(),
                                                       ProgramOptions{Mode::graph, 1, {}});
  const size_t before = separate_bytes();
  Context first(program);
  first.prepare({{"b", 1}});
  const size_t with_one = separate_bytes() - before;
  Context second(program);
  second.prepare({{"b", 1}});
  const size_t with_both = separate_bytes() - before;
  EXPECT_EQ(with_both - with_one + weight.bytes(), with_one);
}

/// Small models of each family, written once.
class SeparateModels : public testing::TestWithParam<const char*> {
 protected:
  SeparateModels() {
    importer::Preset preset = importer::preset(GetParam(), true);
    if (preset.config.contains("tie_word_embeddings")) {
      preset.config["tie_word_embeddings"] = false;  // else it repeats one token
    }
    importer::new_model(preset, GetParam(), folder_ / "m", {.seed = 3});
  }

  Source source() const { return Source::open(folder_ / "m", {}); }

 private:
  TemporaryFolder folder_;
};

TEST_P(SeparateModels, ComputeTheSame) {
  const ir::Graph graph = source().forward();
  const ir::Bindings bindings = {{"b", 2}, {"s", 5}};
  const auto inputs = random_inputs(graph, bindings, 1);
  for (const Mode mode : {Mode::reference, Mode::eager, Mode::graph}) {
    const ProgramOptions options{mode, 1, {}};
    const auto expected = open(graph, device::get("cpu"), options)->run(inputs);
    const auto got = open(graph, separate_device(), options)->run(inputs);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same(got[i], expected[i])) << name_of(mode);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SeparateModels,
                         testing::Values("vit-base-patch16-224", "qwen3-0.6b"),
                         [](const auto& info) { return info.index == 0 ? "vit" : "qwen3"; });

using SeparateGeneration = SeparateModels;

TEST_P(SeparateGeneration, WritesTheSameTokens) {
  const std::vector<int64_t> prompt = {1, 2, 3};
  for (const bool kv_cache : {true, false}) {
    GenerateOptions options;
    options.kv_cache = kv_cache;
    options.max_new_tokens = 6;
    options.ignore_end = true;
    std::vector<std::vector<int64_t>> tokens;
    for (device::Device* device : {&device::get("cpu"), &separate_device()}) {
      Generator generate(*source().model(), *device, {Mode::graph, 1, {}}, {});
      tokens.push_back(generate(prompt, options, {}).tokens);
      // A second sequence must not see the states of the first.
      tokens.push_back(generate(prompt, options, {}).tokens);
    }
    EXPECT_EQ(tokens[0].size(), 6u);
    for (const auto& others : tokens) EXPECT_EQ(others, tokens[0]);
  }
}

/// Steps run ahead of the host; those past a stop change nothing of what comes later.
TEST_P(SeparateGeneration, DropsTheStepsPastAStop) {
  const std::vector<int64_t> prompt = {1, 2, 3};
  Generator generate(*source().model(), separate_device(), {Mode::graph, 1, {}}, {});
  GenerateOptions options;
  options.max_new_tokens = 9;
  options.ignore_end = true;
  const auto all = generate(prompt, options, {}).tokens;
  const auto begin = all.begin();
  EXPECT_GT(std::set<int64_t>(begin, all.end()).size(), 5u);
  for (const bool logits : {false, true}) {
    options.logits = logits;
    for (int count = 1; count <= 9; ++count) {
      std::vector<int64_t> seen;
      const Generation got = generate(prompt, options, [&](int64_t token, const Tensor& of) {
        EXPECT_EQ(of.defined(), logits);
        seen.push_back(token);
        return static_cast<int>(seen.size()) < count;
      });
      EXPECT_TRUE(got.stopped);
      EXPECT_EQ(got.tokens, std::vector<int64_t>(begin, begin + count));
      EXPECT_EQ(seen, got.tokens);
    }
    const auto throws = [](int64_t, const Tensor&) -> bool { throw std::runtime_error("enough"); };
    EXPECT_THROW(generate(prompt, options, throws), std::runtime_error);
  }
  GenerateOptions stopping = options;
  stopping.stop_tokens = {all[4]};
  const Generation stopped = generate(prompt, stopping, {});
  const auto end = std::find(begin, all.end(), all[4]) + 1;
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.tokens, std::vector<int64_t>(begin, end));
  EXPECT_EQ(generate(prompt, options, {}).tokens, all);
}

TEST_P(SeparateGeneration, ReportsFaultsOfQueuedSteps) {
  const std::vector<int64_t> prompt = {1, 2, 3};
  const auto context = open(source().model()->decoder(16), separate_device(), {Mode::graph, 1, {}});
  const auto all = generate_cached(*context, prompt, 16, {14, {}}, {}).tokens;
  // Told that there is more room than there is.
  expect_error(
      [&] {
        generate_cached(*context, prompt, 100, {20, {}}, {});
      },
      ErrorCode::invalid_argument, "run/");
  EXPECT_EQ(generate_cached(*context, prompt, 16, {14, {}}, {}).tokens, all);
}

INSTANTIATE_TEST_SUITE_P(Families, SeparateGeneration, testing::Values("qwen3-0.6b"),
                         [](const auto&) { return "qwen3"; });

}  // namespace
}  // namespace ostinato::runtime
