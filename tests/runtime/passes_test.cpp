#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/import/model.h"
#include "ostinato/import/new_model.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/passes/pipeline.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/evaluate.h"
#include "support/random_graph.h"

namespace ostinato::runtime {
namespace {

/// The same in every bit, or NaN both.
bool same(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  return dispatch(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < a.numel(); ++i) {
      const T *left = a.as<T>() + i, *right = b.as<T>() + i;
      if (std::memcmp(left, right, sizeof(T)) == 0) continue;
      if constexpr (is_floating_v<T>) {
        if (std::isnan(to_float(*left)) && std::isnan(to_float(*right))) continue;
      }
      return false;
    }
    return true;
  });
}

/// Three calls in a row, so that states carry over; nothing if a call fails.
std::vector<Tensor> run(const ir::Graph& graph, const std::vector<Tensor>& inputs) {
  const auto program = std::make_shared<const Program>(graph.specialise({}), device::get("cpu"),
                                                       ProgramOptions{Mode::reference, 1, {}});
  Context context(program);
  std::vector<Tensor> all;
  try {
    for (int call = 0; call < 3; ++call) {
      for (Tensor& output : context.run(inputs)) all.push_back(std::move(output));
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    return {};  // no kernel for these dtypes, or an index out of range
  }
  return all;
}

TEST(Passes, ChangeNoBitOfRandomGraphs) {
  size_t compared = 0, nodes_before = 0, nodes_after = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    const bool symbolic = seed % 2 == 1;
    const ir::Graph graph = random_graph(ops::table(), seed, {.nodes = 30, .symbolic = symbolic});
    ir::Graph optimised = graph.specialise({});
    passes::optimise(optimised, {.context = constant_evaluator()});
    for (const ir::Bindings& bindings : random_bindings()) {
      const auto inputs = random_inputs(graph, bindings, seed);
      const auto expected = run(graph, inputs);
      if (expected.empty()) continue;
      const auto got = run(optimised, inputs);
      ASSERT_EQ(got.size(), expected.size()) << print(graph) << print(optimised);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(same(got[i], expected[i])) << "seed " << seed << " output " << i << "\n"
                                               << print(graph) << print(optimised);
      }
      ++compared;
      if (!symbolic) break;
    }
    nodes_before += graph.nodes().size();
    nodes_after += optimised.nodes().size();
  }
  EXPECT_GT(compared, 200u);
  EXPECT_LT(nodes_after, nodes_before);
}

/// A small model of that name, of as many layers as the real one.
importer::Model model(std::string_view name, int layers) {
  Json config = importer::preset(name, true).config;
  config["num_hidden_layers"] = layers;
  return importer::Model::from_config(config, std::string(name),
                                      {.weights = importer::WeightSource::random});
}

TEST(Passes, ChangeNoBitOfModels) {
  for (const char* name : {"vit-base-patch16-224", "bert-base", "qwen3-0.6b"}) {
    const ir::Graph graph = model(name, 2).forward();
    ir::Graph optimised = graph.specialise({});
    passes::optimise(optimised, {.context = constant_evaluator()});
    EXPECT_LE(optimised.nodes().size(), graph.nodes().size()) << name;
    const auto inputs = random_inputs(graph, {{"b", 2}, {"s", 7}}, 1);
    const auto expected = run(graph, inputs), got = run(optimised, inputs);
    ASSERT_FALSE(expected.empty()) << name;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same(got[i], expected[i])) << name;
  }
}

TEST(Passes, AreQuickOnManyLayers) {
  for (const bool decoder : {false, true}) {
    const importer::Model qwen = model("qwen3-0.6b", 28);
    ir::Graph graph = decoder ? qwen.decoder(128) : qwen.forward();
    const size_t before = graph.nodes().size();
    ASSERT_GT(before, 28u * 20u);
    int64_t microseconds = 0;
    for (const auto& report : passes::optimise(graph, {.context = constant_evaluator()})) {
      microseconds += report.microseconds;
    }
    RecordProperty(
        decoder ? "decoder" : "forward",
        fmt::format("{} nodes to {} in {} us", before, graph.nodes().size(), microseconds));
    EXPECT_LT(microseconds, 1'000'000);  // some 20 ms; a busy machine and sanitizers take longer
  }
}

TEST(Passes, ComputeConstantsWithTheReferenceKernels) {
  ir::Graph graph = ir::parse(
      "ostinato.graph 1 \"g\"\n"
      "constant %0 : float32(2, 2) = [1.0, 2.0, 3.0, 4.0]\n"
      "%1 : float32(2, 2) = aten.t(%0)\n"
      "%2 : float32(2, 2) = aten.mul.Scalar(%1) {other=2}\n"
      "%3 : int64(3) = aten.arange.start_step() {start=1, end=7, step=2}\n"
      "output \"a\" %2\noutput \"b\" %3\n",
      ops::table());
  passes::optimise(graph, {.context = constant_evaluator()});
  EXPECT_EQ(print(graph),
            "ostinato.graph 1 \"g\"\n"
            "constant %4 : float32(2, 2) = [2.0, 6.0, 4.0, 8.0]\n"
            "constant %5 : int64(3) = [1, 3, 5]\n"
            "output \"a\" %4\noutput \"b\" %5\n");
}

}  // namespace
}  // namespace ostinato::runtime
