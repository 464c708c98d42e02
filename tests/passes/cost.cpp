#include "ostinato/passes/cost.h"

#include <gtest/gtest.h>

#include <utility>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"

namespace ostinato::passes {
namespace {

using ir::Builder;
using ir::Graph;
using ir::Shape;
using ir::Value;

constexpr Ceilings kMachine = {1e9, 1e9};

class CostOf : public testing::Test {
 protected:
  Value* input(Shape shape, DType dtype = DType::float32) {
    return graph_.add_input("x" + std::to_string(graph_.inputs().size()),
                            {dtype, std::move(shape)});
  }
  Cost cost() const { return cost_of(graph_, kMachine); }

  Graph graph_;
  Builder build_{graph_, ops::table()};
};

TEST_F(CostOf, AProductOfMatrices) {
  build_("aten.mm", {input({3, 5}), input({5, 7})});
  EXPECT_EQ(cost().flops, 2 * 3 * 5 * 7);
  EXPECT_EQ(cost().bytes, 4 * (15 + 35 + 21));
  EXPECT_DOUBLE_EQ(cost().seconds, 4 * (15 + 35 + 21) / 1e9);  // more bytes than FLOPs
}

TEST_F(CostOf, FusingSavesBytesAndNoFlops) {
  Value *x = input({8, 16}), *w = input({4, 16}), *b = input({4}), *r = input({8, 4});
  Graph fused;
  Builder build(fused, ops::table());
  std::vector<Value*> operands;
  for (const Value* value : {x, w, b, r})
    operands.push_back(fused.add_input(value->name, value->type));
  build("linear", operands, {{"activation", std::string("relu")}});
  build_("aten.add.Tensor", {build_("aten.relu", {build_("aten.linear", {x, w, b})}), r});
  EXPECT_EQ(cost_of(fused, kMachine).flops, cost().flops);
  EXPECT_LT(cost_of(fused, kMachine).bytes, cost().bytes);
  EXPECT_EQ(cost_of(fused, kMachine).kernels, 1u);
  EXPECT_EQ(cost().kernels, 3u);
}

TEST_F(CostOf, ViewsAreFreeUntilTheyCopy) {
  Value* turned = build_("aten.t", {input({4, 8})});
  EXPECT_EQ(cost().nodes, 1u);
  EXPECT_EQ(cost().kernels, 0u);
  EXPECT_EQ(cost().bytes, 0);
  build_("aten.view", {turned}, {{"size", Shape{32}}});
  EXPECT_EQ(cost().kernels, 1u);
  EXPECT_EQ(cost().bytes, 2 * 4 * 32);
}

TEST_F(CostOf, ExpandedOperandsAreReadOnce) {
  Value* wide = build_("aten.expand", {input({1, 8})}, {{"size", Shape{100, 8}}});
  build_("aten.relu", {wide});
  EXPECT_EQ(cost().bytes, 4 * (8 + 800));
}

TEST_F(CostOf, OfATableOnlyWhatIsFound) {
  build_("aten.embedding", {input({1000, 8}), input({3}, DType::int64)});
  EXPECT_EQ(cost().bytes, 4 * (24 + 24) + 8 * 3);
}

TEST_F(CostOf, AConvolution) {
  build_("aten.convolution", {input({1, 3, 8, 8}), input({5, 3, 2, 2}), nullptr},
         {{"stride", Shape{2, 2}},
          {"padding", Shape{0, 0}},
          {"dilation", Shape{1, 1}},
          {"transposed", false},
          {"output_padding", Shape{0, 0}},
          {"groups", 1}});
  EXPECT_EQ(cost().flops, 2 * (5 * 4 * 4) * (3 * 2 * 2));
}

TEST_F(CostOf, Attention) {
  Value *q = input({1, 2, 3, 8}), *k = input({1, 2, 5, 8}), *v = input({1, 2, 5, 8});
  build_("attention", {q, k, v, nullptr, nullptr});
  EXPECT_EQ(cost().flops, 2 * 2 * (2 * 3 * 5 * 8));
}

TEST_F(CostOf, UpdatesOfAStateTouchNoMoreThanTheyWrite) {
  Value* cache = graph_.add_state("cache", {DType::float32, {1, 1, 64, 8}});
  build_("cache_update", {cache, input({1, 1, 4, 8}), input({}, DType::int64)});
  EXPECT_EQ(cost().bytes, 2 * 4 * 32 + 8);
  EXPECT_EQ(cost().flops, 32);
}

}  // namespace
}  // namespace ostinato::passes
