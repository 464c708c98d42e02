#include "ostinato/passes/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"

namespace ostinato::passes {
namespace {

constexpr std::string_view kGraph = R"(ostinato.graph 1 "test"
input %0 "x" : float32(2, 4)
input %1 "w" : float32(3, 4)
input %2 "r" : float32(2, 3)
%3 : float32(2, 3) = aten.linear(%0, %1, None) @ "model.up"
%4 : float32(2, 3) = aten.relu(%3) @ "model.act"
%5 : float32(2, 3) = aten.add.Tensor(%4, %2) {alpha=1} @ "model.sum"
%6 : float32(2, 3) = aten._softmax(%5) {dim=-1, half_to_float=false}
output "y" %6
)";

std::vector<std::string_view> operators(const std::vector<const ir::Node*>& calls) {
  std::vector<std::string_view> names;
  for (const ir::Node* call : calls) names.push_back(call->op->name);
  return names;
}

class HistoryTest : public testing::Test {
 protected:
  void optimise(std::string_view text) {
    graph_ = ir::parse(text, ops::table());
    history_.watch(graph_);
    passes::optimise(graph_, {.after_each = [this](const PassReport& pass, const ir::Graph& graph) {
                       history_.record(pass, graph);
                     }});
  }
  const ir::Node& call(std::string_view op) const {
    for (const auto& node : graph_.nodes()) {
      if (node->op->name == op) return *node;
    }
    throw std::out_of_range(std::string(op));
  }
  const Origin* origin(const ir::Node& node) const { return history_.origin(node.results[0]->id); }

  ir::Graph graph_;
  History history_;
};

TEST_F(HistoryTest, KnowsWhatAFusedCallWasMadeOf) {
  optimise(kGraph);
  const ir::Node& fused = call("linear");
  const Origin* made = origin(fused);
  ASSERT_NE(made, nullptr);
  EXPECT_EQ(made->pass, "fuse_linear");
  EXPECT_FALSE(made->calls.empty());
  // Whatever the passes did in between, the first graph's calls are at the bottom of it.
  std::vector<std::string_view> first;
  std::vector<const ir::Node*> left = made->calls;
  while (!left.empty()) {
    const ir::Node* next = left.back();
    left.pop_back();
    if (const Origin* earlier = origin(*next)) {
      left.insert(left.end(), earlier->calls.begin(), earlier->calls.end());
    } else {
      first.push_back(next->op->name);
    }
  }
  EXPECT_THAT(first, testing::UnorderedElementsAre("aten.linear", "aten.relu", "aten.add.Tensor"));
}

TEST_F(HistoryTest, LeavesOutWhatIsStillNeeded) {
  std::string text(kGraph);
  text += "output \"sum\" %3\n";
  optimise(text);
  for (const auto& node : graph_.nodes()) {
    if (const Origin* made = origin(*node)) {
      EXPECT_THAT(operators(made->calls), testing::Not(testing::Contains("aten.linear")));
    }
  }
}

TEST_F(HistoryTest, KnowsNothingOfCallsThatWereAlwaysThere) {
  optimise(kGraph);
  EXPECT_EQ(origin(call("aten._softmax")), nullptr);
}

}  // namespace
}  // namespace ostinato::passes
