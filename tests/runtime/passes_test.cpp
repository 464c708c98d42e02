#include <gtest/gtest.h>

#include <cmath>

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
#include "support/same.h"
#include "support/seeds.h"
#include "support/tolerance.h"

namespace ostinato::runtime {
namespace {

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
  const uint32_t count = seed_count(400);
  for (uint32_t seed = 0; seed < count; ++seed) {
    const bool symbolic = seed % 2 == 1;
    const ir::Graph graph = random_graph(ops::table(), seed, {.nodes = 30, .symbolic = symbolic});
    ir::Graph optimised = graph.specialise({});
    passes::optimise(optimised, {.context = constant_evaluator()});
    for (const ir::Bindings& bindings : random_bindings()) {
      const auto inputs = random_inputs(graph, bindings, seed);
      const auto expected = run(graph, inputs);
      if (expected.empty()) continue;
      ir::Graph bound = optimised.specialise(bindings);
      passes::optimise_bound(bound, {.context = constant_evaluator()});
      const auto got = run(bound, inputs);
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
  EXPECT_GT(compared, count / 2);
  EXPECT_LT(nodes_after, nodes_before);
}

/// The graph text of a chain; what it becomes; which tolerance that has.
struct Chain {
  const char* statements;
  const char* fused;
  const char* kind;
};

void expect_close(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  ASSERT_EQ(got.shape(), want.shape());
  dispatch(want.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_floating_v<T>) {
      for (int64_t i = 0; i < want.numel(); ++i) {
        const float a = to_float(got.as<T>()[i]), b = to_float(want.as<T>()[i]);
        ASSERT_LE(std::abs(a - b), tolerance.atol + tolerance.rtol * std::abs(b)) << i;
      }
    }
  });
}

/// Compares a chain of calls with what the pipeline makes of it.
void expect_fused(const Chain& chain) {
  SCOPED_TRACE(chain.statements);
  const ir::Graph graph =
      ir::parse("ostinato.graph 1 \"chain\"\n" + std::string(chain.statements), ops::table());
  ir::Graph optimised = graph.specialise({});
  passes::optimise(optimised, {.context = constant_evaluator()});
  EXPECT_NE(print(optimised).find(chain.fused), std::string::npos) << print(optimised);
  EXPECT_EQ(print(optimised).find("softmax"), std::string::npos) << print(optimised);
  const auto inputs = random_inputs(graph, {}, 7);
  const auto expected = run(graph, inputs), got = run(optimised, inputs);
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    expect_close(got[i], expected[i], tolerance_of(chain.kind, expected[i].dtype()));
  }
}

TEST(Passes, FuseAttentionWrittenByHand) {
  const Chain chains[] = {
      {"input %0 \"q\" : float32(2, 4, 5, 8)\n"
       "input %1 \"k\" : float32(2, 2, 7, 8)\n"
       "input %2 \"v\" : float32(2, 2, 7, 6)\n"
       "input %3 \"bias\" : float32(2, 1, 5, 7)\n"
       "%10 : float32(2, 2, 1, 7, 8) = aten.unsqueeze(%1) {dim=2}\n"
       "%11 : float32(2, 2, 2, 7, 8) = aten.expand(%10) {size=[2, 2, 2, 7, 8]}\n"
       "%12 : float32(2, 4, 7, 8) = aten.reshape(%11) {shape=[2, 4, 7, 8]}\n"
       "%13 : float32(2, 2, 1, 7, 6) = aten.unsqueeze(%2) {dim=2}\n"
       "%14 : float32(2, 2, 2, 7, 6) = aten.expand(%13) {size=[2, 2, 2, 7, 6]}\n"
       "%15 : float32(2, 4, 7, 6) = aten.reshape(%14) {shape=[2, 4, 7, 6]}\n"
       "%16 : float32(2, 4, 8, 7) = aten.transpose.int(%12) {dim0=2, dim1=3}\n"
       "%17 : float32(2, 4, 5, 7) = aten.matmul(%0, %16)\n"
       "%18 : float32(2, 4, 5, 7) = aten.mul.Scalar(%17) {other=0.3}\n"
       "%19 : float32(2, 4, 5, 7) = aten.add.Tensor(%18, %3)\n"
       "%20 : float32(2, 4, 5, 7) = aten._softmax(%19) {dim=-1}\n"
       "%21 : float32(2, 4, 5, 6) = aten.matmul(%20, %15)\n"
       "output \"y\" %21\n",
       "= attention(%0, %1, %2, %3, None, None) {scale=0.3}", "matmul"},
      // Batch and heads joined, keys scaled and turned; a row where all is filled keeps its mean.
      {"input %0 \"q\" : float32(2, 5, 12)\n"
       "input %1 \"k\" : float32(2, 5, 12)\n"
       "input %2 \"v\" : float32(2, 5, 12)\n"
       "constant %4 : bool(5, 5) = [true, true, true, true, true, false, true, true, true, true, "
       "false, false, true, true, true, false, false, false, true, true, false, false, false, "
       "false, true]\n"
       "%10 : float32(2, 5, 3, 4) = aten.view(%0) {size=[2, 5, 3, 4]}\n"
       "%11 : float32(2, 3, 5, 4) = aten.permute(%10) {dims=[0, 2, 1, 3]}\n"
       "%12 : float32(6, 5, 4) = aten.reshape(%11) {shape=[6, 5, 4]}\n"
       "%13 : float32(2, 5, 12) = aten.div.Scalar(%1) {other=2.0}\n"
       "%14 : float32(2, 5, 3, 4) = aten.view(%13) {size=[2, 5, 3, 4]}\n"
       "%15 : float32(2, 3, 4, 5) = aten.permute(%14) {dims=[0, 2, 3, 1]}\n"
       "%16 : float32(6, 4, 5) = aten.reshape(%15) {shape=[6, 4, 5]}\n"
       "%17 : float32(2, 5, 3, 4) = aten.view(%2) {size=[2, 5, 3, 4]}\n"
       "%18 : float32(2, 3, 5, 4) = aten.permute(%17) {dims=[0, 2, 1, 3]}\n"
       "%19 : float32(6, 5, 4) = aten.reshape(%18) {shape=[6, 5, 4]}\n"
       "%20 : float32(6, 5, 5) = aten.bmm(%12, %16)\n"
       "%21 : float32(2, 3, 5, 5) = aten.view(%20) {size=[2, 3, 5, 5]}\n"
       "%22 : float32(2, 3, 5, 5) = aten.masked_fill.Scalar(%21, %4) {value=-3e38}\n"
       "%23 : float32(2, 3, 5, 5) = aten._softmax(%22) {dim=-1}\n"
       "%24 : float32(6, 5, 5) = aten.view(%23) {size=[6, 5, 5]}\n"
       "%25 : float32(6, 5, 4) = aten.bmm(%24, %19)\n"
       "output \"y\" %25\n",
       "= attention(", "matmul"},
      {"input %0 \"q\" : bfloat16(2, 3, 5, 8)\n"
       "input %1 \"k\" : bfloat16(2, 1, 5, 8)\n"
       "input %2 \"v\" : bfloat16(2, 1, 5, 8)\n"
       "%9 : float32(2, 3, 5, 8) = aten._to_copy(%0) {dtype=float32}\n"
       "%10 : float32(2, 1, 5, 8) = aten._to_copy(%1) {dtype=float32}\n"
       "%11 : float32(2, 1, 8, 5) = aten.transpose.int(%10) {dim0=2, dim1=3}\n"
       "%12 : float32(2, 3, 5, 5) = aten.matmul(%9, %11)\n"
       "%13 : float32(2, 3, 5, 5) = aten._softmax(%12) {dim=3}\n"
       "%14 : bfloat16(2, 3, 5, 5) = aten._to_copy(%13) {dtype=bfloat16}\n"
       "%15 : bfloat16(2, 3, 5, 8) = aten.matmul(%14, %2)\n"
       "output \"y\" %15\n",
       "= attention(%0, %1, %2, None, None, None) {scale=1.0}", "matmul"},
  };
  for (const Chain& chain : chains) expect_fused(chain);
}

TEST(Passes, FuseLayerNormWrittenByHand) {
  const Chain chains[] = {
      {"input %0 \"x\" : float32(3, 8)\n"
       "constant %1 : float32(8) = [1.0, 2.0, -1.0, 0.5, 0.25, 3.0, -2.0, 1.5]\n"
       "constant %2 : float32(8) = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]\n"
       "%10 : float32(3, 1) = aten.mean.dim(%0) {dim=[-1], keepdim=true}\n"
       "%11 : float32(3, 8) = aten.sub.Tensor(%0, %10)\n"
       "%12 : float32(3, 8) = aten.pow.Tensor_Scalar(%11) {exponent=2}\n"
       "%13 : float32(3, 1) = aten.mean.dim(%12) {dim=[-1], keepdim=true}\n"
       "%14 : float32(3, 1) = aten.add.Scalar(%13) {other=1e-05}\n"
       "%15 : float32(3, 1) = aten.sqrt(%14)\n"
       "%16 : float32(3, 8) = aten.div.Tensor(%11, %15)\n"
       "%17 : float32(3, 8) = aten.mul.Tensor(%16, %1)\n"
       "%18 : float32(3, 8) = aten.add.Tensor(%17, %2)\n"
       "output \"y\" %18\n",
       "= layer_norm(%0, %1, %2) {eps=1e-05}", "reduction"},
      {"input %0 \"x\" : float32(3, 8)\n"
       "%10 : float32(3, 1), %11 : float32(3, 1) = aten.var_mean.correction(%0) {dim=[-1], "
       "correction=0, keepdim=true}\n"
       "%12 : float32(3, 8) = aten.sub.Tensor(%0, %11)\n"
       "%13 : float32(3, 1) = aten.add.Scalar(%10) {other=0.1}\n"
       "%14 : float32(3, 1) = aten.rsqrt(%13)\n"
       "%15 : float32(3, 8) = aten.mul.Tensor(%12, %14)\n"
       "output \"y\" %15\n",
       "= layer_norm(%0, None, None) {eps=0.1}", "reduction"},
  };
  for (const Chain& chain : chains) expect_fused(chain);
}

TEST(Passes, FuseGeluWrittenByHand) {
  const Chain chains[] = {
      {"input %0 \"x\" : float32(3, 8)\n"
       "%10 : float32(3, 8) = aten.div.Scalar(%0) {other=1.4142135623730951}\n"
       "%11 : float32(3, 8) = aten.erf(%10)\n"
       "%12 : float32(3, 8) = aten.add.Scalar(%11) {other=1.0}\n"
       "%13 : float32(3, 8) = aten.mul.Scalar(%0) {other=0.5}\n"
       "%14 : float32(3, 8) = aten.mul.Tensor(%13, %12)\n"
       "output \"y\" %14\n",
       "= aten.gelu(%0)", "elementwise"},
      {"input %0 \"x\" : float32(3, 8)\n"
       "%10 : float32(3, 8) = aten.pow.Tensor_Scalar(%0) {exponent=3.0}\n"
       "%11 : float32(3, 8) = aten.mul.Scalar(%10) {other=0.044715}\n"
       "%12 : float32(3, 8) = aten.add.Tensor(%0, %11)\n"
       "%13 : float32(3, 8) = aten.mul.Scalar(%12) {other=0.7978845608028654}\n"
       "%14 : float32(3, 8) = aten.tanh(%13)\n"
       "%15 : float32(3, 8) = aten.add.Scalar(%14) {other=1.0}\n"
       "%16 : float32(3, 8) = aten.mul.Scalar(%0) {other=0.5}\n"
       "%17 : float32(3, 8) = aten.mul.Tensor(%16, %15)\n"
       "output \"y\" %17\n",
       "= aten.gelu(%0) {approximate=\"tanh\"}", "elementwise"},
  };
  for (const Chain& chain : chains) expect_fused(chain);
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

// Merged products and what stands between them and attention round where the calls they are made
// of do.
TEST(Passes, MergeCallsWithoutChangingABit) {
  Json config = importer::preset("qwen3-0.6b", true).config;
  config["num_hidden_layers"] = 2;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    const auto qwen = importer::Model::from_config(
        config, "qwen3", {.dtype = dtype, .weights = importer::WeightSource::random});
    const auto graph_lane = [&](std::vector<std::string> off) {
      const auto program = std::make_shared<const Program>(
          qwen.decoder(16), device::get("cpu"), ProgramOptions{Mode::graph, 2, std::move(off)});
      Context context(program);
      std::vector<Tensor> all;
      for (int64_t position : {0, 4}) {
        const auto inputs = random_inputs(program->graph(), {{"s", 4}}, 1);
        std::vector<Tensor> given;
        for (size_t i = 0; i < inputs.size(); ++i) {
          const bool is_position = program->graph().inputs()[i]->rank() == 0;
          given.push_back(inputs[i]);
          if (is_position) *given.back().as<int64_t>() = position;
        }
        for (Tensor& output : context.run(given)) all.push_back(std::move(output));
      }
      return all;
    };
    const auto merged = graph_lane({}), apart = graph_lane({"merge_linears", "fuse_rotary_pair"});
    ASSERT_EQ(merged.size(), apart.size());
    for (size_t i = 0; i < merged.size(); ++i) EXPECT_TRUE(same(merged[i], apart[i])) << i;
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
