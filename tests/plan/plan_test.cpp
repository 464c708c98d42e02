#include "ostinato/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "support/expect_error.h"

namespace ostinato::plan {
namespace {

using ir::Builder;
using ir::Graph;
using ir::Value;

// y = softmax(x + x) ; z = softmax(y) ; w = z + y, all (4, 8)
Graph diamond() {
  Graph graph;
  Builder build(graph, ops::table());
  Value* x = graph.add_input("x", {DType::float32, {4, 8}});
  Value* sum = build("aten.add.Tensor", {x, x});
  Value* y = build("aten._softmax", {sum}, {{"dim", -1}});
  Value* z = build("aten._softmax", {y}, {{"dim", 0}});
  graph.add_output("w", build("aten.add.Tensor", {z, y}));
  return graph;
}

Plan plan_of(Graph graph) {
  device::PackedWeights packed;
  return make_plan(std::move(graph), device::get("null"), packed, {});
}

TEST(Plan, WritesTheOutputWhereTheCallerWantsIt) {
  const Plan plan = plan_of(diamond());
  ASSERT_EQ(plan.steps.size(), 4u);
  EXPECT_EQ(plan.steps[3].outputs[0].kind, Place::Kind::output);
  check_plan(plan);
}

TEST(Plan, CopiesAnOutputThatIsAnInput) {
  Graph graph;
  Value* x = graph.add_input("x", {DType::float32, {3}});
  graph.add_output("same", x);
  graph.add_output("again", x);
  const Plan plan = plan_of(std::move(graph));
  ASSERT_EQ(plan.steps.size(), 2u);
  EXPECT_EQ(plan.steps[0].node->op->name, "aten.clone");
  check_plan(plan);
}

TEST(Plan, GivesOneValueToTwoOutputs) {
  Graph graph = diamond();
  graph.add_output("copy", graph.outputs()[0].value);
  check_plan(plan_of(std::move(graph)));
}

// 2^59 integers are 2^62 bytes: what a plan adds to them may not wrap.
TEST(Plan, RefusesValuesBeyondAnyMemory) {
  for (const ir::Shape& shape : {ir::Shape{int64_t{1} << 59}, ir::Shape{int64_t{1} << 40}}) {
    Graph graph;
    Builder build(graph, ops::table());
    Value* x = graph.add_input("x", {DType::float32, {1}});
    Value* full = build("aten.full", {}, {{"size", shape}, {"fill_value", 1}});
    graph.add_output("y", build("aten.add.Tensor", {build("aten.sum", {full}), x}));
    expect_error([&] { plan_of(std::move(graph)); }, ErrorCode::out_of_memory, "1.0 TiB");
  }
}

// The checker must find every kind of unsound plan, or it proves nothing.
TEST(CheckPlan, FindsAnOverlapInTheArena) {
  Plan plan = plan_of(diamond());
  const size_t y = plan.steps[1].outputs[0].index, z = plan.steps[2].outputs[0].index;
  plan.buffers[z].offset = plan.buffers[y].offset;
  EXPECT_THROW(check_plan(plan), Error);
}

TEST(CheckPlan, FindsAPartialOverlap) {
  Plan plan = plan_of(diamond());
  const size_t y = plan.steps[1].outputs[0].index, z = plan.steps[2].outputs[0].index;
  plan.buffers[z].offset = plan.buffers[y].offset + 64;
  plan.arena_bytes += 4096;
  EXPECT_THROW(check_plan(plan), Error);
}

TEST(CheckPlan, FindsABufferThatLeavesTheArena) {
  Plan plan = plan_of(diamond());
  plan.arena_bytes -= 64;
  EXPECT_THROW(check_plan(plan), Error);
}

TEST(CheckPlan, FindsAReadBeforeTheWrite) {
  Plan plan = plan_of(diamond());
  std::swap(plan.steps[1], plan.steps[2]);
  EXPECT_THROW(check_plan(plan), Error);
}

TEST(CheckPlan, FindsAMissingOutput) {
  Plan plan = plan_of(diamond());
  plan.steps.pop_back();
  EXPECT_THAT([&] { check_plan(plan); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("output 0 is never written")));
}

TEST(CheckPlan, FindsAWriteToAnInput) {
  Plan plan = plan_of(diamond());
  plan.steps[1].outputs[0] = plan.steps[0].inputs[0];
  EXPECT_THROW(check_plan(plan), Error);
}

}  // namespace
}  // namespace ostinato::plan
