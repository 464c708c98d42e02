#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <utility>

#include "device/cuda/fake_blas.h"
#include "device/cuda/fake_driver.h"
#include "ostinato/base/error.h"
#include "ostinato/bench/metrics.h"
#include "ostinato/device/cuda/cuda_device.h"
#include "ostinato/device/cuda/kernel.h"
#include "ostinato/device/cuda/select.h"
#include "ostinato/import/new_model.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/runtime/source.h"
#include "support/expect_error.h"
#include "support/random_graph.h"
#include "support/temporary_folder.h"

namespace ostinato::cuda {
namespace {

using runtime::Context;
using runtime::Executable;
using runtime::Mode;
using runtime::Program;

/// On a machine with one GPU, whose calls are counted from the test's beginning.
class CudaDevice : public testing::Test {
 protected:
  CudaDevice() {
    use_fake_driver();
    setenv("OSTINATO_PERSISTENT", "off", 1);  // persistent_test.cpp has the other way to decode
  }
  ~CudaDevice() override {
    use_fake_driver();
    unsetenv("OSTINATO_PERSISTENT");
  }

  static device::Device& gpu() { return device::get("cuda:0"); }

  static std::unique_ptr<Context> open(const ir::Graph& graph, Mode mode = Mode::graph,
                                       const runtime::ContextOptions& options = {}) {
    return std::make_unique<Context>(
        std::make_shared<const Program>(graph.specialise({}), gpu(),
                                        runtime::ProgramOptions{mode, 1, {}}),
        options);
  }
  static std::unique_ptr<Context> open(std::string_view text, Mode mode = Mode::graph,
                                       const runtime::ContextOptions& options = {}) {
    return open(ir::parse(text, ops::table()), mode, options);
  }
};

constexpr std::string_view kGraph = R"(ostinato.graph 1 "g"
input %0 "x" : float32(b, 8)
%1 : float32(b, 8) = aten.exp(%0)
%2 : float32(b, 8) = aten._softmax(%1) {dim=-1, half_to_float=false}
%3 : float32(b, 8) = aten.add.Tensor(%2, %0)
output "y" %3
)";

Tensor ramp(int64_t rows) {
  Tensor x = Tensor::empty(DType::float32, {rows, 8});
  for (int64_t i = 0; i < x.numel(); ++i) x.as<float>()[i] = 0.1f * static_cast<float>(i % 9);
  return x;
}

TEST(Choice, TakesTheMostMemoryAmongTheIdlest) {
  constexpr size_t kGiB = size_t{1} << 30;
  EXPECT_EQ(choose({{10 * kGiB, 80 * kGiB, 0}}), 0);
  EXPECT_EQ(choose({{10 * kGiB, 80 * kGiB, 3}, {70 * kGiB, 80 * kGiB, 5}}), 1);
  EXPECT_EQ(choose({{10 * kGiB, 80 * kGiB, 3}, {70 * kGiB, 80 * kGiB, 90}}), 0);
  expect_error([] { choose({}); }, ErrorCode::not_found, "found none");
}

TEST(Choice, ReadsNames) {
  EXPECT_FALSE(ordinal_of("cuda").has_value());
  EXPECT_EQ(ordinal_of("cuda:3"), 3);
  for (const char* wrong : {"cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    expect_error([&] { ordinal_of(wrong); }, ErrorCode::invalid_argument, wrong);
  }
}

TEST_F(CudaDevice, IsListedAndFound) {
  EXPECT_EQ(device::get("cuda").name(), "cuda:0");
  EXPECT_EQ(device::all().back()->name(), "cuda:0");
  EXPECT_EQ(gpu().properties().isa, "sm_90");
  expect_error([] { device::get("cuda:7"); }, ErrorCode::not_found, "below cuda:1, got cuda:7");
}

TEST_F(CudaDevice, SaysThatMemoryIsShort) {
  expect_error([] { gpu().allocate(size_t{1} << 40); }, ErrorCode::out_of_memory, "smaller batch");
}

TEST_F(CudaDevice, CountsItsMemory) {
  const auto first = gpu().allocate(1);  // waits for what was given back before
  const size_t before = pool_use(gpu()).used;
  {
    const auto memory = gpu().allocate(1 << 20);
    EXPECT_EQ(pool_use(gpu()).used, before + (1 << 20));
  }
  EXPECT_GE(pool_use(gpu()).peak, before + (1 << 20));
}

TEST_F(CudaDevice, ReplaysOneGraphWithoutPatchingIt) {
  const auto context = open(kGraph);
  const Tensor x = ramp(3);
  const auto first = context->run({{x}});
  const size_t patches = fake_counts().patches;
  EXPECT_EQ(fake_counts().kernel_launches, 0u);
  EXPECT_EQ(fake_counts().graph_launches, 1u);
  const auto second = context->run({{ramp(3)}});  // staged: the device's pointers stay
  EXPECT_EQ(fake_counts().graph_launches, 2u);
  EXPECT_EQ(fake_counts().patches, patches);
  EXPECT_EQ(fake_counts().instantiations, 1u);
  EXPECT_EQ(std::memcmp(first[0].data(), second[0].data(), first[0].bytes()), 0);
}

TEST_F(CudaDevice, UpdatesAnEvictedGraphInsteadOfMakingOne) {
  const auto context = open(kGraph, Mode::graph, {.capture_limit = 1});
  for (const int64_t rows : {1, 2, 3, 4, 5}) {
    const auto y = context->run({{ramp(rows)}});
    EXPECT_NEAR(y[0].as<float>()[0], 0.084f, 0.01f);
  }
  // The first eviction comes after the second capture, which so found nothing to update.
  EXPECT_EQ(fake_counts().instantiations, 2u);
  EXPECT_EQ(fake_counts().updates, 3u);
}

TEST_F(CudaDevice, LaunchesStepByStepInEagerMode) {
  const auto context = open(kGraph, Mode::eager);
  const auto graph = open(kGraph);
  const Tensor x = ramp(3);
  const auto eager = context->run({{x}}), captured = graph->run({{x}});
  EXPECT_EQ(fake_counts().kernel_launches, 3u);
  EXPECT_EQ(std::memcmp(eager[0].data(), captured[0].data(), eager[0].bytes()), 0);
}

/// By programs of one cache, as processes one after the other are.
TEST_F(CudaDevice, TimesTheAlgorithmsOfAProductOnce) {
  const ir::Graph graph = ir::parse(R"(ostinato.graph 1 "mm"
input %0 "x" : float32(8, 16)
input %1 "w" : float32(16, 24)
%2 : float32(8, 24) = aten.mm(%0, %1)
output "y" %2
)",
                                    ops::table());
  const TemporaryFolder folder;
  fake_blas().candidates = 3;
  fake_blas().fastest = 2;
  constexpr size_t kTimed = 3 * 9;
  for (const bool again : {false, true}) {
    runtime::ProgramOptions options{Mode::eager, 1, {}};
    options.packed_cache = std::make_shared<device::PackedCache>(
        folder / "packed", size_t{1} << 30, [](const std::string& said) { ADD_FAILURE() << said; });
    const auto program = std::make_shared<const Program>(graph.specialise({}), gpu(), options);
    fake_blas().products = 0;
    for (const size_t before : {again ? 0 : kTimed, size_t{0}}) {
      Context(program).run(random_inputs(graph, {}, 1));
      EXPECT_EQ(std::exchange(fake_blas().products, 0), before + 1);
      EXPECT_EQ(fake_blas().last, 2u);
    }
  }
}

TEST_F(CudaDevice, NamesTheOperatorOfABadIndexAndGoesOn) {
  const auto context = open(R"(ostinato.graph 1 "rows"
constant %0 : float32(2, 1) = [5.0, 6.0]
input %1 "ids" : int64(1)
%2 : float32(1, 1) = aten.embedding(%0, %1)
output "y" %2
)");
  Tensor ids = Tensor::empty(DType::int64, {1});
  for (const int64_t bad : {2, -1}) {
    *ids.as<int64_t>() = bad;
    expect_error([&] { context->run({{ids}}); }, ErrorCode::invalid_argument, "run/aten.embedding");
  }
  *ids.as<int64_t>() = 1;
  EXPECT_EQ(*context->run({{ids}})[0].as<float>(), 6);
}

// Fused operators without one are planned by their definitions.
TEST_F(CudaDevice, HasAKernelOfEveryOperator) {
  std::vector<std::string_view> without;
  for (const ir::OpRow* row : ops::table().rows()) {
    if (!gpu().has(*row)) without.push_back(row->name);
  }
  EXPECT_THAT(without, testing::ElementsAre("fused_reduction", "geglu"));
}

TEST_F(CudaDevice, NamesCallsThatItHasNoKernelFor) {
  const auto context = open(
      "ostinato.graph 1 \"four dims\"\n"
      "input %0 \"x\" : float32(1, 1, 2, 2, 2, 2)\n"
      "input %1 \"w\" : float32(1, 1, 1, 1, 1, 1)\n"
      "%2 : float32(1, 1, 2, 2, 2, 2) = aten.convolution(%0, %1, None) {stride=[1], padding=[0], "
      "dilation=[1], transposed=false, output_padding=[0], groups=1}\n"
      "output \"y\" %2\n");
  expect_error([&] { context->prepare({}); }, ErrorCode::unsupported,
               "device 'cuda:0' has no kernel");
}

bool are_near(const std::vector<Tensor>& got, const std::vector<Tensor>& expected) {
  for (size_t i = 0; i < got.size(); ++i) {
    const std::vector<double> a = bench::to_doubles(got[i]), b = bench::to_doubles(expected[i]);
    for (size_t k = 0; k < a.size(); ++k) {
      if (a[k] == b[k] || (std::isnan(a[k]) && std::isnan(b[k]))) continue;
      if (!(std::fabs(a[k] - b[k]) <= 0.02 * (1 + std::fabs(b[k])))) return false;
    }
  }
  return true;
}

/// Random graphs of the operators that it has kernels of.
TEST_F(CudaDevice, RandomGraphsComputeWhatTheCpuDoes) {
  const auto known = operators();
  RandomGraphOptions options;
  options.use = [&](const ir::OpRow& row) {
    return row.traits.view || std::find(known.begin(), known.end(), row.name) != known.end();
  };
  size_t compared = 0, different = 0;
  for (uint32_t seed = 0; seed < 120; ++seed) {
    const ir::Graph graph = random_graph(ops::table(), seed, options);
    const auto inputs = random_inputs(graph, random_bindings().front(), seed);
    std::vector<Tensor> expected, eager, captured;
    try {
      expected =
          Context(std::make_shared<const Program>(graph.specialise({}), device::get("cpu"),
                                                  runtime::ProgramOptions{Mode::reference, 1, {}}))
              .run(inputs);
      eager = open(graph, Mode::eager)->run(inputs);
      captured = open(graph, Mode::graph)->run(inputs);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::internal) throw;
      continue;  // no kernel for these dtypes, or an index out of range
    }
    ++compared;
    different += are_near(eager, expected) && are_near(captured, expected) ? 0 : 1;
  }
  EXPECT_GT(compared, 50u);
  // Comparisons and roundings of what differs in its last bit differ wholly, in a few graphs.
  EXPECT_LE(different, compared / 20);
}

class CudaModels : public CudaDevice, public testing::WithParamInterface<const char*> {
 protected:
  CudaModels() {
    importer::Preset preset = importer::preset(GetParam(), true);
    if (preset.config.contains("vocab_size")) preset.config["vocab_size"] = 256;  // for its time
    importer::new_model(preset, GetParam(), folder_ / "m", {.seed = 3});
  }
  runtime::Source source(std::optional<DType> dtype = {}) const {
    return runtime::Source::open(folder_ / "m", {dtype});
  }

 private:
  TemporaryFolder folder_;
};

TEST_P(CudaModels, ComputeWhatTheReferenceDoes) {
  const ir::Bindings bindings = {{"b", 2}, {"s", 5}};
  const ir::Graph golden = source(DType::float32).forward();
  const auto inputs = random_inputs(golden, bindings, 1);
  const auto expected =
      Context(std::make_shared<const Program>(golden.specialise({}), device::get("cpu"),
                                              runtime::ProgramOptions{Mode::reference, 1, {}}))
          .run(inputs);
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    const ir::Graph graph = source(dtype).forward();
    std::vector<Tensor> narrow;
    for (size_t i = 0; i < inputs.size(); ++i) {
      narrow.push_back(inputs[i].to(graph.inputs()[i]->dtype()));
    }
    for (const Mode mode : {Mode::eager, Mode::graph}) {
      const auto got = open(graph, mode)->run(narrow);
      ASSERT_EQ(got.size(), expected.size());
      const double least = dtype == DType::float32 ? 0.99999 : 0.995;
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_GT(bench::compare({{"y", expected[i]}}, {{"y", got[i]}}).overall.cosine, least)
            << name_of(dtype) << " " << name_of(mode);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Families, CudaModels, testing::Values("vit-base-patch16-224", "qwen3-0.6b", "all-minilm-l6-v2"),
    [](const auto& info) {
      return std::string(info.index == 0 ? "vit" : info.index == 1 ? "qwen3" : "bert");
    });

/// Products round a norm as the norm alone does.
TEST_F(CudaDevice, NormsInProductsAreNormsBeforeThem) {
  for (const char* dtype : {"float32", "bfloat16", "float16"}) {
    std::string text = R"(ostinato.graph 1 "norm"
input %0 "x" : T(b, 48)
input %1 "g" : T(48)
input %2 "a" : T(24, 48)
input %3 "c" : T(16, 48)
%4 : T(b, 48) = rms_norm(%0, %1) {eps=1e-06}
%5 : T(b, 24), %6 : T(b, 16) = linears(%4, [%2, None, %3, None])
%7 : T(b, 48) = rms_norm(%0, None) {eps=1e-06}
%8 : T(b, 24) = gated_linear(%7, %2, %2, None, None) {activation="silu"}
output "y" %5
output "z" %6
output "g" %8
)";
    for (size_t at; (at = text.find(" T(")) != std::string::npos;) text.replace(at + 1, 1, dtype);
    const ir::Graph graph = ir::parse(text, ops::table());
    for (const int64_t rows : {1, 3, 6}) {
      const auto inputs = random_inputs(graph, {{"b", rows}}, 7);
      std::vector<std::vector<Tensor>> got;
      for (const std::vector<std::string>& off :
           {std::vector<std::string>(), {"fuse_norm_linear"}}) {
        got.push_back(
            Context(std::make_shared<const Program>(graph.specialise({}), gpu(),
                                                    runtime::ProgramOptions{Mode::graph, 1, off}))
                .run(inputs));
      }
      EXPECT_TRUE(are_near(got[0], got[1])) << dtype << " " << rows;
    }
  }
}

/// What the steps of a plan compute, sorted.
std::vector<std::string_view> calls_of(const Program& program, const ir::Bindings& bindings) {
  const plan::Plan plan = program.plan(bindings, 1);
  std::vector<std::string_view> names;
  for (const plan::Step& step : plan.steps) names.push_back(step.node->op->name);
  std::sort(names.begin(), names.end());
  return names;
}

/// No fused call is taken apart again. Norms go into products on the GPU only.
TEST_P(CudaModels, RunTheCallsThatTheCpuRuns) {
  const ir::Graph graph = source(DType::bfloat16).forward();
  const runtime::ProgramOptions options{Mode::graph, 1, {"fuse_norm_linear"}};
  for (const int64_t rows : {1, 5}) {
    const ir::Bindings bindings = {{"b", 1}, {"s", rows}};
    EXPECT_EQ(calls_of(Program(graph.specialise({}), gpu(), options), bindings),
              calls_of(Program(graph.specialise({}), device::get("cpu"), options), bindings));
  }
}

using CudaGeneration = CudaModels;

TEST_P(CudaGeneration, WritesTheTokensThatTheCpuWrites) {
  runtime::GenerateOptions options;
  options.max_new_tokens = 6;
  options.ignore_end = true;
  for (const bool kv_cache : {true, false}) {
    options.kv_cache = kv_cache;
    std::vector<std::vector<int64_t>> tokens;
    for (device::Device* device : {&device::get("cpu"), &gpu()}) {
      runtime::Generator generate(*source(DType::float32).model(), *device,
                                  runtime::ProgramOptions{Mode::graph, 1, {}}, {});
      tokens.push_back(generate(std::vector<int64_t>{1, 2, 3}, options, {}).tokens);
    }
    EXPECT_EQ(tokens[1], tokens[0]);
  }
}

/// The nodes of the graph that a decode step launches.
FakeCounts::Graph decode_step(const std::filesystem::path& folder, DType dtype) {
  runtime::Generator generate(*runtime::Source::open(folder, {dtype}).model(),
                              device::get("cuda:0"), runtime::ProgramOptions{Mode::graph, 1, {}},
                              {});
  runtime::GenerateOptions options;
  options.max_new_tokens = 3;
  options.ignore_end = true;
  generate(std::vector<int64_t>{1, 2, 3}, options, {});
  return fake_counts().last_graph;
}

TEST_F(CudaDevice, DecodesALayerInSixLaunchesThatOverlap) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    FakeCounts::Graph graphs[2];
    for (const int layers : {2, 3}) {
      const TemporaryFolder folder;
      importer::Preset preset = importer::preset("qwen3-0.6b", true);
      preset.config["vocab_size"] = 256;
      preset.config["num_hidden_layers"] = layers;
      importer::new_model(preset, "qwen3-0.6b", folder / "m", {.seed = 3});
      graphs[layers - 2] = decode_step(folder / "m", dtype);
      EXPECT_EQ(graphs[layers - 2].calls, 0u);
      EXPECT_EQ(graphs[layers - 2].early, graphs[layers - 2].kernels - 1);
    }
    EXPECT_EQ(graphs[1].kernels - graphs[0].kernels, 6u);
  }
}

// Each branch is a chain that hangs off what comes before; their nodes run in another order here
// than they were added in, where the edges let them.
TEST_F(CudaDevice, RunsBranchesBesideEachOther) {
  std::string text = R"(ostinato.graph 1 "branches"
input %0 "x" : float32(1, 8)
%1 : float32(1, 8) = aten._softmax(%0) {dim=-1, half_to_float=false}
)";
  int next = 2;
  for (const char* call : {"aten._softmax(%{}) {{dim=-1, half_to_float=false}}",
                           "layer_norm(%{}, None, None) {{eps=1e-06}}"}) {
    for (int i = 0; i < 6; ++i, ++next) {
      const std::string made = fmt::format(fmt::runtime(call), i == 0 ? 1 : next - 1);
      text += fmt::format("%{} : float32(1, 8) = {}\n", next, made);
    }
  }
  text += R"(%14 : float32(1, 8) = aten.add.Tensor(%7, %13)
output "y" %14
)";
  const ir::Graph graph = ir::parse(text, ops::table());
  std::vector<std::vector<Tensor>> got;
  for (const bool branches : {false, true}) {
    runtime::ProgramOptions options{Mode::graph, 1, {}};
    options.branches = branches;
    Context context(std::make_shared<const Program>(graph.specialise({}), gpu(), options));
    got.push_back(context.run({{ramp(1)}}));
    const FakeCounts::Graph& launched = fake_counts().last_graph;
    EXPECT_EQ(launched.kernels, 14u);
    EXPECT_EQ(launched.joins, branches ? 1u : 0u);
    // Neither what begins a branch nor what joins them is there early.
    EXPECT_EQ(launched.early, branches ? 10u : 13u);
  }
  EXPECT_EQ(std::memcmp(got[0][0].data(), got[1][0].data(), got[0][0].bytes()), 0);
}

/// Programmatic dependent launch is not for GPUs before compute capability 9.0.
TEST_F(CudaDevice, WaitsForEachKernelOnOlderGpus) {
  use_fake_driver({.capability = 80});
  open(kGraph)->run({{ramp(3)}});
  EXPECT_EQ(fake_counts().last_graph.kernels, 3u);
  EXPECT_EQ(fake_counts().last_graph.early, 0u);
}

INSTANTIATE_TEST_SUITE_P(Families, CudaGeneration, testing::Values("qwen3-0.6b"),
                         [](const auto&) { return "qwen3"; });

}  // namespace
}  // namespace ostinato::cuda
