#include "ostinato/passes/pipeline.h"

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"
#include "support/expect_error.h"
#include "support/random_graph.h"

namespace ostinato::passes {
namespace {

ir::Graph sample() {
  return ir::parse(
      "ostinato.graph 1 \"sample\"\n"
      "input %0 \"x\" : float32(2, 3)\n"
      "%1 : float32(2, 3) = aten.clone(%0)\n"
      "%2 : float32(3, 2) = aten.t(%1)\n"
      "%3 : float32(2, 3) = aten.t(%2)\n"
      "%4 : float32(2, 3) = aten.neg(%3)\n"
      "%5 : float32(2, 3) = aten.neg(%0)\n"
      "output \"a\" %4\noutput \"b\" %5\n",
      ops::table());
}

TEST(Pipeline, RunsUntilNothingChanges) {
  ir::Graph graph = sample();
  std::vector<PassReport> seen;
  const auto reports = optimise(
      graph,
      {.after_each = [&](const PassReport& report, const ir::Graph&) { seen.push_back(report); }});
  EXPECT_EQ(print(graph),
            "ostinato.graph 1 \"sample\"\n"
            "input %0 \"x\" : float32(2, 3)\n"
            "%4 : float32(2, 3) = aten.neg(%0)\n"
            "output \"a\" %4\noutput \"b\" %4\n");
  ASSERT_EQ(seen.size(), reports.size());
  EXPECT_EQ(reports.front().nodes_before, 5u);
  EXPECT_EQ(reports.back().nodes_after, 1u);
  for (size_t i = 0; i + 1 < reports.size(); ++i) {
    EXPECT_EQ(reports[i].nodes_after, reports[i + 1].nodes_before);
    EXPECT_GE(reports[i].microseconds, 0);
  }
  // It stopped because every pass in turn had found nothing.
  const size_t count = pipeline().size();
  ASSERT_GT(reports.size(), count);
  for (size_t i = reports.size() - count; i < reports.size(); ++i) {
    EXPECT_FALSE(reports[i].changed);
  }
  EXPECT_TRUE(reports[reports.size() - count - 1].changed);
}

TEST(Pipeline, LeavesOutWhatIsSwitchedOff) {
  ir::Graph graph = sample();
  std::vector<std::string> all;
  for (const Pass& pass : pipeline()) {
    all.emplace_back(pass.name);
    EXPECT_FALSE(pass.summary.empty());
  }
  EXPECT_TRUE(optimise(graph, {.off = all}).empty());
  EXPECT_EQ(print(graph), print(sample()));
  for (const PassReport& report : optimise(graph, {.off = {"eliminate_common"}})) {
    EXPECT_NE(report.name, "eliminate_common");
  }
  EXPECT_EQ(graph.nodes().size(), 2u);
  expect_error([&] { optimise(graph, {.off = {"fold_vews"}}); }, ErrorCode::invalid_argument,
               "there is no pass 'fold_vews'");
}

TEST(Pipeline, LeavesRandomGraphsSound) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    ir::Graph graph = random_graph(ops::table(), seed, {.nodes = 40, .symbolic = seed % 2 == 1});
    const std::string before = print(graph);
    const auto reports =
        optimise(graph, {.after_each = [&](const PassReport& report, const ir::Graph& left) {
                   ASSERT_NO_THROW(ir::verify(left)) << report.name << before;
                 }});
    EXPECT_LT(reports.back().round, kMaxRounds) << before;
    ASSERT_EQ(print(ir::parse(print(graph), ops::table())), print(graph));
    if (seed % 2 == 0) continue;
    for (const ir::Bindings& bindings : random_bindings()) {
      ASSERT_NO_THROW(ir::verify(graph.specialise(bindings))) << before << print(graph);
    }
  }
}

}  // namespace
}  // namespace ostinato::passes
