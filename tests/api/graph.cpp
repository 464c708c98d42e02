#include "ostinato/graph.h"

#include <thread>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato {
namespace {

using testing::ElementsAre;

// x (batch, 4) → rms_norm(x, weight) · 2
Graph scaled_norm(std::string weight_name = "") {
  GraphBuilder build("scaled_norm");
  const Value x = build.input("x", DType::float32, {"batch", 4});
  const Value weight = build.constant(Tensor::of<float>({4}, {1, 2, 3, 4}), std::move(weight_name));
  const Value normed = build.call("rms_norm", {x, weight}, {{"eps", 1e-6}});
  build.output("y", build.call("aten.mul.Scalar", {normed}, {{"other", 2}}));
  return build.build();
}

TEST(GraphBuilder, MakesWhatTheTextSays) {
  EXPECT_EQ(scaled_norm().text(),
            "ostinato.graph 1 \"scaled_norm\"\n"
            "input %0 \"x\" : float32(batch, 4)\n"
            "constant %1 : float32(4) = [1.0, 2.0, 3.0, 4.0]\n"
            "%2 : float32(batch, 4) = rms_norm(%0, %1) {eps=1e-06}\n"
            "%3 : float32(batch, 4) = aten.mul.Scalar(%2) {other=2}\n"
            "output \"y\" %3\n");
}

TEST(GraphBuilder, TakesEveryKindOfAttribute) {
  GraphBuilder build;
  const Value x = build.input("x", DType::float32, {2, "s", 4});
  build.output("integers", build.call("aten.view", {x}, {{"size", {"2*s", 4}}}));
  build.output("one_integer", build.call("aten.sum.dim_IntList", {x}, {{"dim", {0}}}));
  build.output("bool", build.call("aten.mean.dim", {x}, {{"dim", {-1}}, {"keepdim", true}}));
  build.output("symbol", build.call("aten.slice.Tensor", {x}, {{"dim", 1}, {"end", Size("s")}}));
  build.output("string", build.call("aten.gelu", {x}, {{"approximate", "tanh"}}));
  build.output("real", build.call("aten.add.Scalar", {x}, {{"other", 0.5}}));
  build.output("dtype", build.call("aten._to_copy", {x}, {{"dtype", DType::bfloat16}}));
  build.output("none", build.call("aten._to_copy", {x}, {{"dtype", nullptr}}));
  const std::vector<Size> list = {2, "s", 2, 2};
  build.output("list", build.call("aten.view", {x}, {{"size", list}}));
  const Graph graph = build.build();
  std::vector<std::string> outputs;
  for (const TensorSpec& output : graph.outputs()) outputs.push_back(output.str());
  EXPECT_THAT(outputs, ElementsAre("integers: float32(2*s, 4)", "one_integer: float32(s, 4)",
                                   "bool: float32(2, s, 1)", "symbol: float32(2, s, 4)",
                                   "string: float32(2, s, 4)", "real: float32(2, s, 4)",
                                   "dtype: bfloat16(2, s, 4)", "none: float32(2, s, 4)",
                                   "list: float32(2, s, 2, 2)"));
}

TEST(GraphBuilder, TakesListsAndNoneAndGivesAllResults) {
  GraphBuilder build;
  const Value x = build.input("x", DType::float32, {3, 4});
  const std::vector<Value> parts =
      build.call_all("aten.split.Tensor", {x}, {{"split_size", 3}, {"dim", 1}});
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_THAT(parts[0].shape(), ElementsAre(3, 3));
  EXPECT_THAT(parts[1].shape(), ElementsAre(3, 1));
  const Value joined = build.call("aten.cat", {parts[1], parts[0]}, {{"dim", 1}});
  EXPECT_THAT(joined.shape(), ElementsAre(3, 4));
  EXPECT_EQ(joined.dtype(), DType::float32);
  build.output("y", build.call("rms_norm", {joined, Value()}, {{"eps", 1e-5}}));
  EXPECT_EQ(build.build().call_count(), 3u);
}

TEST(GraphBuilder, NamesWhatIsWrongAndGoesOn) {
  GraphBuilder build;
  const Value x = build.input("x", DType::float32, {2, 4});
  const auto bad = [&](auto&& action, ErrorCode code, const char* part) {
    expect_error(action, code, part);
  };
  bad([&] { build.call("aten.ad.Tensor", {x, x}); }, ErrorCode::not_found, "aten.add.Tensor");
  bad([&] { build.call("aten.add.Tensor", {x}); }, ErrorCode::invalid_argument, "2 operands");
  bad([&] { build.call("aten.add.Tensor", {x, Value()}); }, ErrorCode::invalid_argument, "None");
  bad([&] { build.call("aten._softmax", {x}); }, ErrorCode::invalid_argument, "'dim'");
  bad(
      [&] {
        build.call("aten._softmax", {x}, {{"dim", "0"}});
      },
      ErrorCode::invalid_argument, "integer");
  bad(
      [&] {
        build.call("aten._softmax", {x}, {{"dim", 0}, {"dims", 0}});
      },
      ErrorCode::invalid_argument, "'dims'");
  bad([&] { build.call("aten.mm", {x, x}); }, ErrorCode::invalid_argument, "aten.mm");
  bad([&] { build.input("x", DType::float32, {1}); }, ErrorCode::invalid_argument, "input 'x'");
  bad([&] { build.input("z", DType::float32, {-1}); }, ErrorCode::invalid_argument, "(-1)");
  bad([&] { build.input("z", DType::float32, {"2 +"}); }, ErrorCode::invalid_argument, "2 +");
  bad([&] { build.constant(Tensor(), "w"); }, ErrorCode::invalid_argument, "'w'");
  bad([&] { build.output("y", Value()); }, ErrorCode::invalid_argument, "None");
  GraphBuilder other;
  const Value foreign = other.input("x", DType::float32, {2, 4});
  bad([&] { build.call("aten.relu", {foreign}); }, ErrorCode::invalid_argument, "another's");
  build.output("y", build.call("aten.relu", {x}));
  bad([&] { build.output("y", x); }, ErrorCode::invalid_argument, "output 'y'");
  EXPECT_EQ(build.build().text(),
            "ostinato.graph 1 \"\"\ninput %0 \"x\" : float32(2, 4)\n"
            "%1 : float32(2, 4) = aten.relu(%0)\noutput \"y\" %1\n");
}

TEST(GraphBuilder, IsSpentOnceBuilt) {
  GraphBuilder build;
  const Value x = build.input("x", DType::float32, {1});
  GraphBuilder moved = std::move(build);
  expect_error([&] { build.call("aten.relu", {x}); },  // NOLINT(bugprone-use-after-move)
               ErrorCode::invalid_argument, "moved from");
  moved.output("y", x);
  moved.build();
  expect_error([&] { moved.build(); }, ErrorCode::invalid_argument, "has built its graph");
}

TEST(GraphBuilder, RefusesToReadAStateAsItWas) {
  GraphBuilder build;
  const Value cache = build.state("cache", DType::float32, {1, 1, 4, 2});
  const Value value = build.input("value", DType::float32, {1, 1, 1, 2});
  const Value position = build.input("position", DType::int64, {});
  build.call("cache_update", {cache, value, position});
  build.output("stale", build.call("aten.relu", {cache}));
  expect_error([&] { build.build(); }, ErrorCode::invalid_argument, "'cache' no longer holds");
}

TEST(Graph, TellsItsSignature) {
  const Graph graph = scaled_norm("weight");
  EXPECT_EQ(graph.name(), "scaled_norm");
  ASSERT_EQ(graph.inputs().size(), 1u);
  EXPECT_EQ(graph.inputs()[0].str(), "x: float32(batch, 4)");
  EXPECT_EQ(graph.inputs()[0].shape[0], Size("batch"));
  EXPECT_TRUE(graph.inputs()[0].shape[0].is_symbolic());
  EXPECT_EQ(graph.inputs()[0].shape[1].value(), 4);
  EXPECT_EQ(graph.outputs().at(0).str(), "y: float32(batch, 4)");
  EXPECT_EQ(graph.constants().at(0).str(), "weight: float32(4)");
  EXPECT_TRUE(graph.states().empty());
  EXPECT_THAT(graph.symbols(), ElementsAre("batch"));
  EXPECT_EQ(graph.call_count(), 2u);
  EXPECT_NO_THROW(graph.verify());
}

TEST(Graph, ReadsWhatItPrints) {
  const Graph graph = scaled_norm();
  EXPECT_EQ(Graph::parse(graph.text()).text(), graph.text());
}

TEST(Graph, TakesTheConstantsThatTheTextLacks) {
  const std::string text = scaled_norm("weight").text();
  EXPECT_EQ(Graph::parse(text).text(), text);
  const Tensor weight = Tensor::of<float>({4}, {1, 1, 1, 1});
  EXPECT_EQ(Graph::parse(text, {{"weight", weight}}).text(), text);
  expect_error(
      [&] {
        Graph::parse(text, {{"wieght", weight}});
      },
      ErrorCode::invalid_argument, "'wieght'");
  expect_error(
      [&] {
        Graph::parse(text, {{"weight", Tensor::of<float>({2}, {1, 1})}});
      },
      ErrorCode::corrupt, "float32(4)");
}

TEST(Graph, NamesTheLineOfABadText) {
  expect_error(
      [] {
        Graph::parse(
            "ostinato.graph 1 \"g\"\ninput %0 \"x\" : float32(2)\n"
            "%1 : float32(3) = aten.relu(%0)\noutput \"y\" %1\n");
      },
      ErrorCode::corrupt, "line 3");
}

TEST(Graph, SavesWhatItOpens) {
  const TemporaryFolder folder;
  const Graph graph = scaled_norm("weight");
  graph.save(folder / "norm.graph");
  EXPECT_EQ(Graph::open(folder / "norm.graph").text(), graph.text());
  expect_error([&] { graph.save(folder / "norm.safetensors"); }, ErrorCode::invalid_argument,
               "both the text and its constants");
  expect_error([&] { Graph::parse(graph.text()).save(folder / "bare.graph"); },
               ErrorCode::not_found, "'weight'");
  expect_error([&] { Graph::open(folder / "other.graph"); }, ErrorCode::not_found, "other.graph");
  expect_error([&] { Graph::open(folder.path()); }, ErrorCode::io, "expected a regular file");
  std::filesystem::remove(folder / "norm.safetensors");
  expect_error([&] { Graph::open(folder / "norm.graph"); }, ErrorCode::not_found,
               "norm.safetensors");
  scaled_norm().save(folder / "whole.graph");  // its constant is in the text
  EXPECT_FALSE(std::filesystem::exists(folder / "whole.safetensors"));
  EXPECT_NO_THROW(Graph::open(folder / "whole.graph"));
}

TEST(Graph, OnceMovedFromSaysSo) {
  Graph graph = scaled_norm();
  const Graph copy = graph;
  const Graph moved = std::move(graph);
  EXPECT_EQ(copy.text(), moved.text());
  expect_error([&] { graph.text(); },  // NOLINT(bugprone-use-after-move)
               ErrorCode::invalid_argument, "expected a graph, got one that was moved from");
}

TEST(Size, IsAnIntegerOrAnExpression) {
  EXPECT_EQ(Size(3).value(), 3);
  EXPECT_EQ(Size("2+1"), Size(3));
  EXPECT_EQ(Size("s+s+1").str(), "2*s+1");
  EXPECT_EQ(Size("b*s"), Size("s*b"));
  EXPECT_NE(Size("s"), Size(1));
  expect_error([] { Size("s").value(); }, ErrorCode::invalid_argument, "expected an integer");
  expect_error([] { Size("1s"); }, ErrorCode::invalid_argument, "1s");
}

}  // namespace
}  // namespace ostinato
