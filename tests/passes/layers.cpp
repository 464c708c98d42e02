#include "ostinato/passes/layers.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"

namespace ostinato::passes {
namespace {

using ir::Builder;
using ir::Graph;
using ir::Shape;
using ir::Value;

class FindLayers : public testing::Test {
 protected:
  Value* weight(Shape shape = {8, 8}) {
    const std::string name = "w" + std::to_string(graph_.constants().size());
    return graph_.add_constant(name, {DType::float32, std::move(shape)});
  }
  Value* linear(Value* x, Value* w) { return build_("aten.linear", {x, w, nullptr}); }
  Value* add(Value* x, Value* y) { return build_("aten.add.Tensor", {x, y}); }

  Value* layer(Value* x) { return build_("aten.relu", {linear(x, weight())}); }

  /// How often, and how many calls each.
  using Found = std::vector<std::pair<size_t, size_t>>;
  Found found() const {
    Found result;
    for (const Layers& layers : find_layers(graph_)) {
      result.emplace_back(layers.count, layers.calls.size());
    }
    return result;
  }

  Graph graph_;
  Builder build_{graph_, ops::table()};
  Value* x_ = graph_.add_input("x", {DType::float32, {4, 8}});
};

TEST_F(FindLayers, WithWeightsOfTheirOwn) {
  Value* x = x_;
  for (int i = 0; i < 5; ++i) x = layer(x);
  build_("aten.tanh", {x});
  EXPECT_EQ(found(), (Found{{5, 2}}));
}

TEST_F(FindLayers, WithAResidualFromOutside) {
  Value* x = build_("aten.tanh", {linear(x_, weight())});
  for (int i = 0; i < 4; ++i) x = add(x, layer(x));
  EXPECT_EQ(found(), (Found{{4, 3}}));
}

TEST_F(FindLayers, BesideCallsThatReadNoWeights) {
  // Each layer has a mask of its own of equal values; the first layer stands beside a table.
  Value* x = build_("aten.tanh", {linear(x_, weight())});
  for (int i = 0; i < 3; ++i) {
    x = linear(x, weight());
    if (i == 0) build_("aten.neg", {x_});
    x = add(x, build_("aten.cos", {x_}));
  }
  EXPECT_EQ(found(), (Found{{3, 2}}));
}

TEST_F(FindLayers, OfTwoTowers) {
  Value* x = x_;
  for (int i = 0; i < 3; ++i) x = layer(x);
  Value* y = build_("aten.tanh", {linear(x_, weight())});
  for (int i = 0; i < 4; ++i)
    y = build_("aten.neg", {build_("aten.sigmoid", {linear(y, weight())})});
  add(x, y);
  EXPECT_EQ(found(), (Found{{3, 2}, {4, 3}}));
}

TEST_F(FindLayers, ButNoneThatShareTheirWeights) {
  Value *x = x_, *w = weight();
  for (int i = 0; i < 4; ++i) x = build_("aten.relu", {linear(x, w)});
  EXPECT_EQ(found(), Found{});
}

TEST_F(FindLayers, ButNoneOfOtherSizesOrAttributes) {
  Value* x = linear(x_, weight({16, 8}));
  x = linear(x, weight({8, 16}));
  x = build_("aten.mul.Scalar", {linear(x, weight())}, {{"other", 2.0}});
  build_("aten.mul.Scalar", {linear(x, weight())}, {{"other", 3.0}});
  EXPECT_EQ(found(), Found{});
}

TEST_F(FindLayers, ButNoneThatReadsFromAnotherPlace) {
  // The third reads what the first gave, not the second.
  Value* first = layer(x_);
  layer(first);
  layer(first);
  EXPECT_EQ(found(), (Found{{2, 2}}));
}

TEST_F(FindLayers, ButNoneInNothing) { EXPECT_EQ(found(), Found{}); }

}  // namespace
}  // namespace ostinato::passes
