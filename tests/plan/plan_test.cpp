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

/// A permutation of heads and tokens.
Value* turned(Builder& build, Value* x) {
  return build("aten.permute", {x}, {{"dims", ir::Shape{0, 2, 1, 3}}});
}

/// attention(exp(x), key, value) of 2 heads, its heads joined, and what is done with it; whether it
/// was written over its queries.
struct AttentionCase {
  bool heads_first = false;  ///< the queries in memory, not tokens
  bool own_keys = true;      ///< not the queries
  bool read_again = false;   ///< the queries
  bool wide_values = false;  ///< than the queries
  bool joined = true;        ///< its heads, as a projection takes them
  bool overwritten = true;   ///< expected
  size_t steps = 3;          ///< expected: exp, attention, softmax
};

// What a query attends is written where only it was read; keys are read by all of them.
TEST(Plan, WritesAttentionOverItsQueriesAsItsReaderWantsIt) {
  const AttentionCase cases[] = {
      {},
      {.heads_first = true, .overwritten = false},  // then the reader would need a copy
      {.heads_first = true, .joined = false},
      {.joined = false, .overwritten = false},
      {.own_keys = false, .overwritten = false},
      {.read_again = true, .overwritten = false, .steps = 4},
      {.wide_values = true, .overwritten = false},
  };
  for (const AttentionCase& test : cases) {
    SCOPED_TRACE(&test - cases);
    Graph graph;
    Builder build(graph, ops::table());
    const ir::Shape heads{1, 2, 5, 8}, tokens{1, 5, 2, 8};
    Value* x = graph.add_input("x", {DType::float32, test.heads_first ? heads : tokens});
    Value* exp = build("aten.exp", {x});
    Value* query = test.heads_first ? exp : turned(build, exp);
    Value* key = test.own_keys ? graph.add_input("key", {DType::float32, heads}) : query;
    Value* value = graph.add_input("value", {DType::float32, {1, 2, 5, test.wide_values ? 9 : 8}});
    Value* attended = build("attention", {query, key, value, nullptr, nullptr});
    if (test.joined) {
      const ir::Dim width = test.wide_values ? 18 : 16;
      attended = build("aten.view", {turned(build, attended)}, {{"size", ir::Shape{1, 5, width}}});
    }
    graph.add_output("y", build("aten._softmax", {attended}, {{"dim", -1}}));
    if (test.read_again) graph.add_output("z", build("aten._softmax", {exp}, {{"dim", 0}}));
    device::PackedWeights packed;
    Options options;
    options.in_place = true;
    const Plan plan = make_plan(std::move(graph), device::get("null"), packed, options);
    check_plan(plan);
    ASSERT_EQ(plan.steps.size(), test.steps);
    const Step& step = plan.steps[1];
    EXPECT_EQ(step.outputs[0].index == step.inputs[0].index, test.overwritten);
  }
}

TEST(Plan, WritesRotaryEmbeddingsOverQueriesAndKeys) {
  for (const bool shared : {false, true}) {
    Graph graph;
    Builder build(graph, ops::table());
    const ir::ValueType type{DType::float32, {1, 5, 2, 8}};
    Value* query = turned(build, build("aten.exp", {graph.add_input("q", type)}));
    Value* key = shared ? query : turned(build, build("aten.sin", {graph.add_input("k", type)}));
    Value* cos = graph.add_input("cos", {DType::float32, {5, 8}});
    const ir::Node* pair = build.call("rotary_pair", {query, key, cos, cos, nullptr, nullptr});
    Value* attended = build("attention", {pair->results[0], pair->results[1], pair->results[1],
                                          nullptr, nullptr, nullptr});
    graph.add_output("y", build("aten._softmax", {turned(build, attended)}, {{"dim", -1}}));
    device::PackedWeights packed;
    Options options;
    options.in_place = true;
    const Plan plan = make_plan(std::move(graph), device::get("null"), packed, options);
    check_plan(plan);
    const Step& step = plan.steps[plan.steps.size() - 3];
    ASSERT_EQ(step.node->op->name, "rotary_pair");
    for (const size_t i : {0, 1}) {
      EXPECT_EQ(step.outputs[i].index == step.inputs[i].index, !shared);
    }
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

TEST(CheckPlan, FindsAttentionWrittenOverItsKeys) {
  Graph graph;
  Builder build(graph, ops::table());
  const ir::ValueType type{DType::float32, {1, 2, 5, 8}};
  Value* query = build("aten.exp", {graph.add_input("x", type)});
  Value* key = build("aten.sin", {query});
  Value* attended = build("attention", {query, key, key, nullptr, nullptr, nullptr});
  graph.add_output("y", build("aten._softmax", {attended}, {{"dim", -1}}));
  Plan plan = plan_of(std::move(graph));
  check_plan(plan);
  Step &attention = plan.steps[2], &softmax = plan.steps[3];
  attention.outputs[0] = softmax.inputs[0] = attention.inputs[0];
  check_plan(plan);
  attention.outputs[0] = softmax.inputs[0] = attention.inputs[1];
  EXPECT_THROW(check_plan(plan), Error);
}

}  // namespace
}  // namespace ostinato::plan
