#include "ostinato/plan/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "ostinato/ir/aliases.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/plan/plan.h"
#include "support/random_graph.h"

namespace ostinato::plan {
namespace {

using ir::Node;
using ir::Value;

std::vector<const Node*> as_written(const ir::Graph& graph) {
  std::vector<const Node*> order;
  for (const auto& node : graph.nodes()) order.push_back(node.get());
  return order;
}

/// The most memory that results take at one call of the order.
size_t peak_of(const ir::Graph& graph, const std::vector<const Node*>& order) {
  const auto aliases = ir::find_aliases(graph);
  std::map<const Value*, Buffer> buffers;
  for (size_t i = 0; i < order.size(); ++i) {
    for (const Value* result : order[i]->results) {
      if (aliases.at(result).base == result) buffers[result] = {bytes_of(*result), i, i};
    }
    for (const Value* operand : order[i]->operands) {
      if (operand == nullptr) continue;
      const auto found = buffers.find(aliases.at(operand).base);
      if (found != buffers.end()) found->second.last = i;
    }
  }
  for (const ir::Output& output : graph.outputs()) buffers.erase(aliases.at(output.value).base);
  std::vector<Buffer> all;
  for (const auto& entry : buffers) all.push_back(entry.second);
  return lower_bound(all);
}

ir::Graph parsed(const std::string& statements) {
  return ir::parse("ostinato.graph 1 \"g\"\n" + statements, ops::table());
}

// As DINOv3 turns its queries and keys: each sum ends the life of two results.
TEST(Order, LetsGoOfMemoryAsSoonAsItCan) {
  const ir::Graph graph = parsed(
      "input %0 \"x\" : float32(64, 64)\n"
      "%1 : float32(64, 64) = aten.exp(%0)\n%2 : float32(64, 64) = aten.neg(%0)\n"
      "%3 : float32(64, 64) = aten.cos(%1)\n%4 : float32(64, 64) = aten.cos(%2)\n"
      "%5 : float32(64, 64) = aten.mul.Tensor(%1, %3)\n"
      "%6 : float32(64, 64) = aten.mul.Tensor(%2, %4)\n"
      "%7 : float32(64, 64) = aten.mm(%5, %6)\noutput \"y\" %7\n");
  std::string order;
  for (const Node* node : order_for_memory(graph)) order += std::to_string(node->results[0]->id);
  EXPECT_EQ(order, "1235467");
  EXPECT_EQ(peak_of(graph, order_for_memory(graph)), 4 * 64 * 64 * 4u);
  EXPECT_EQ(peak_of(graph, as_written(graph)), 5 * 64 * 64 * 4u);
}

TEST(Order, MovesNothingThatReadsOrWritesStates) {
  const ir::Graph graph = parsed(
      "input %0 \"x\" : float32(1, 1, 1, 64)\ninput %1 \"position\" : int64()\n"
      "state %2 \"cache\" : float32(1, 1, 64, 64)\n"
      "%3 : float32(1, 1, 1, 64) = aten.exp(%0)\n%4 : float32(1, 1, 1, 64) = aten.cos(%0)\n"
      "%5 : float32(1, 1, 64, 64) = cache_update(%2, %3, %1)\n"
      "%6 : float32(1, 1, 1, 64) = aten.neg(%4)\n%7 : float32(1, 1) = "
      "aten.sum.dim_IntList(%5) {dim=[2, 3]}\n"
      "output \"y\" %6\noutput \"z\" %7\n");
  const auto order = order_for_memory(graph);
  const auto place = [&](int id) {
    return std::find_if(order.begin(), order.end(),
                        [id](const Node* node) { return node->results[0]->id == id; });
  };
  EXPECT_LT(place(5), place(7));
}

TEST(Order, OfRandomGraphsIsSoundAndNeedsNoMore) {
  size_t better = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    ir::Graph graph = random_graph(ops::table(), seed, {.nodes = 40});
    const auto order = order_for_memory(graph);
    ASSERT_EQ(order.size(), graph.nodes().size());
    std::set<const Node*> done;
    for (const Node* node : order) {
      for (const Value* operand : node->operands) {
        const bool made =
            operand == nullptr || operand->producer == nullptr || done.count(operand->producer) > 0;
        ASSERT_TRUE(made) << "seed " << seed << print(graph);
      }
      done.insert(node);
    }
    const size_t before = peak_of(graph, as_written(graph)), after = peak_of(graph, order);
    ASSERT_LE(after, before) << "seed " << seed << print(graph);
    better += after < before;
    device::PackedWeights packed;
    Options options;
    options.in_place = options.cat_in_place = options.reorder = true;
    const Plan plan = make_plan(std::move(graph), device::get("null"), packed, options);
    ASSERT_NO_THROW(check_plan(plan)) << "seed " << seed;
  }
  EXPECT_GT(better, 3u);
}

}  // namespace
}  // namespace ostinato::plan
