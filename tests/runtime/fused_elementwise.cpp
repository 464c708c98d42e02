#include "ostinato/ops/fused_elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/expect_error.h"
#include "support/random_graph.h"
#include "support/same.h"

namespace ostinato::runtime {
namespace {

/// Runs a graph with the pass or without it. Nothing if it fails in a way that it may.
std::vector<Tensor> run(const ir::Graph& graph, const std::vector<Tensor>& inputs, bool fuse,
                        int threads, size_t* fused_calls = nullptr) {
  ProgramOptions options{Mode::graph, threads, {}};
  if (!fuse) options.passes_off = {"fuse_elementwise"};
  const auto program =
      std::make_shared<const Program>(graph.specialise({}), device::get("cpu"), options);
  if (fused_calls != nullptr) {
    for (const auto& node : program->graph().nodes()) {
      *fused_calls += node->op->name.starts_with("fused_");
    }
  }
  try {
    return Context(program).run(inputs);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    return {};
  }
}

TEST(FusedElementwise, ChangesNoBitOfRandomGraphs) {
  const auto use = [](const ir::OpRow& row) {
    return (row.traits.elementwise && row.expand == nullptr) || row.name == "aten.amax" ||
           row.name == "aten.mean.dim" || row.name == "aten.sum.dim_IntList" ||
           row.name == "aten.expand" || row.name == "aten.permute";
  };
  size_t fused = 0, compared = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const ir::Graph graph = random_graph(
        ops::table(), seed, {.nodes = 20, .symbolic = seed % 3 == 0, .elements = 512, .use = use});
    const ir::Bindings& bindings = random_bindings()[0];
    const auto inputs = random_inputs(graph, bindings, seed);
    const auto expected = run(graph, inputs, false, 1);
    const auto got = run(graph, inputs, true, 2, &fused);
    ASSERT_EQ(got.size(), expected.size()) << print(graph);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(same(got[i], expected[i])) << "seed " << seed << " output " << i << "\n"
                                             << print(graph);
      ++compared;
    }
  }
  EXPECT_GT(fused, 100u);
  EXPECT_GT(compared, 300u);
}

/// Graph text over operands of that size and dtype; all but the last are given.
void expect_same_bits(const std::string& statements) {
  const ir::Graph graph = ir::parse("ostinato.graph 1 \"g\"\n" + statements, ops::table());
  const auto inputs = random_inputs(graph, {}, 5);
  const auto expected = run(graph, inputs, false, 1);
  ASSERT_FALSE(expected.empty()) << statements;
  for (const int threads : {1, 3}) {
    size_t fused = 0;
    const auto got = run(graph, inputs, true, threads, &fused);
    EXPECT_EQ(fused, 1u) << statements;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same(got[i], expected[i])) << statements;
  }
}

TEST(FusedElementwise, ChangesNoBitWhateverTheOperandsLookLike) {
  for (const std::string dtype : {"float32", "bfloat16", "float16"}) {
    // Rows shorter than a tile, longer ones, and one of all.
    for (const auto& [rows, columns] : {std::pair(1100, 3), {70, 501}, {3, 2050}, {40, 1}}) {
      const std::string r = std::to_string(rows), c = std::to_string(columns);
      const std::string type = " : " + dtype + "(" + r + ", " + c + ")";
      // Each row's scalar, a bias, a scalar, a turned operand, and every other element.
      expect_same_bits(
          "input %0 \"x\"" + type + "\ninput %1 \"row\" : " + dtype + "(" + r +
          ", 1)\ninput %2 \"bias\" : " + dtype + "(" + c +
          ")\ninput %3 \"one\" : " + "float32()\ninput %4 \"turned\" : " + dtype + "(" + c + ", " +
          r + ")\ninput %5 \"wide\" : " + dtype + "(" + r + ", " + std::to_string(2 * columns) +
          ")\n%10" + type + " = aten.sub.Tensor(%0, %1)\n%11" + type +
          " = aten.add.Tensor(%10, %2) {alpha=0.5}\n%12" + type +
          " = aten.mul.Tensor(%11, %3)\n%13" + type + " = aten.t(%4)\n%14 : bool(" + r + ", " + c +
          ") = aten.gt.Tensor(%13, %12)\n%15" + type +
          " = aten.slice.Tensor(%5) {dim=1, start=0, end=" + std::to_string(2 * columns) +
          ", step=2}\n%16 : float32(" + r + ", " + c +
          ") = aten._to_copy(%15) {dtype=float32}\n%17 : float32(" + r + ", " + c +
          ") = aten.where.self(%14, %16, %12)\n%18 : float32(" + r + ", " + c +
          ") = aten.tanh(%17)\noutput \"y\" %18\n");
    }
  }
}

TEST(FusedElementwise, ChangesNoBitOfReductions) {
  for (const std::string dtype : {"float32", "bfloat16", "int32"}) {
    for (const auto& [rows, columns] : {std::pair(300, 7), {64, 100}, {17, 1024}, {16, 5000}}) {
      const std::string r = std::to_string(rows), c = std::to_string(columns);
      const std::string type = " : " + dtype + "(" + r + ", " + c + ")";
      const std::string x = "input %0 \"x\"" + type + "\ninput %1 \"y\"" + type + "\n%10" + type +
                            " = aten.mul.Tensor(%0, %1)\n%11" + type +
                            " = aten.sub.Tensor(%10, %0)\n";
      const std::string sum = dtype == "int32" ? "int64" : dtype;
      expect_same_bits(x + "%12 : " + sum + "(" + r +
                       ") = aten.sum.dim_IntList(%11) {dim=[1]}\noutput \"z\" %12\n");
      expect_same_bits(x + "%12 : " + dtype + "(" + r +
                       ", 1) = aten.amax(%11) {dim=[1], keepdim=true}\noutput \"z\" %12\n");
      expect_same_bits(x + "%12 : float32(" + r +
                       ") = aten.mean.dim(%11) {dim=[1], dtype=float32}\noutput \"z\" %12\n");
    }
  }
}

// Nothing adds up to nothing, of operands that are broadcast too.
TEST(FusedElementwise, ReducesNothing) {
  expect_same_bits(
      "input %0 \"x\" : float32(3, 2, 0)\ninput %1 \"y\" : float32(3, 1, 1)\n"
      "%10 : float32(3, 2, 0) = aten.mul.Tensor(%0, %1)\n"
      "%11 : float32(3, 2) = aten.sum.dim_IntList(%10) {dim=[2]}\noutput \"z\" %11\n");
}

// What no kernel computes as one is computed by its definition.
TEST(FusedElementwise, RunsByItsDefinitionWhereItMust) {
  const ir::Graph graph = ir::parse(
      "ostinato.graph 1 \"g\"\n"
      "input %0 \"x\" : float32(3)\ninput %1 \"y\" : float32(2, 3)\n"
      "%2 : float32(2, 3) = fused_elementwise([%0, %1]) {program=\"%2 = aten.exp(%0); %3 = "
      "aten.mul.Tensor(%2, %1)\"}\n"
      "output \"z\" %2\n",
      ops::table());
  const auto inputs = random_inputs(graph, {}, 5);
  const auto program = std::make_shared<const Program>(graph.specialise({}), device::get("cpu"),
                                                       ProgramOptions{Mode::graph, 1, {}});
  const Tensor got = Context(program).run(inputs)[0];
  for (int64_t i = 0; i < 6; ++i) {
    const float x = inputs[0].as<float>()[i % 3], y = inputs[1].as<float>()[i];
    EXPECT_NEAR(got.as<float>()[i], std::exp(x) * y, 1e-5f);
  }
}

TEST(FusedElementwise, NamesTheCallThatDividesByZero) {
  const ir::Graph graph = ir::parse(
      "ostinato.graph 1 \"g\"\ninput %0 \"x\" : int64(4)\ninput %1 \"y\" : int64(4)\n"
      "%10 : int64(4) = aten.remainder.Tensor(%0, %1) @ \"model.wheel\"\n"
      "%11 : int64(4) = aten.neg(%10) @ \"model.wheel\"\n"
      "output \"z\" %11\n",
      ops::table());
  std::vector<Tensor> inputs;
  for (int i = 0; i < 2; ++i) {
    inputs.push_back(Tensor::empty(DType::int64, {4}));
    std::fill_n(inputs.back().as<int64_t>(), 4, 0);
  }
  const auto program = std::make_shared<const Program>(graph.specialise({}), device::get("cpu"),
                                                       ProgramOptions{Mode::graph, 1, {}});
  Context context(program);
  expect_error([&] { context.run(inputs); }, ErrorCode::invalid_argument, "model.wheel");
}

TEST(FusedElementwise, RefusesProgramsThatAreNone) {
  for (const char* program :
       {"", "%1 = aten.exp(%0)", "%2 = aten.exp(%7)", "%2 = aten.exp(%0); %3 = aten.mm(%2, %2)",
        "%2 = aten.sum(%0)", "%2 = aten.mul.Scalar(%0) {other=s0}", "%2 = swiglu(%0, %1)",
        "%2 = fused_elementwise([%0]) {program=\\\"%1 = aten.exp(%0)\\\"}"}) {
    const std::string text =
        "ostinato.graph 1 \"g\"\ninput %0 \"x\" : float32(4)\ninput %1 \"y\" : float32(4)\n"
        "%2 : float32(4) = fused_elementwise([%0, %1]) {program=\"" +
        std::string(program) + "\"}\noutput \"z\" %2\n";
    expect_error([&] { ir::parse(text, ops::table()); }, ErrorCode::corrupt, "fused_elementwise");
  }
}

}  // namespace
}  // namespace ostinato::runtime
