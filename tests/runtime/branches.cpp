// Branches side by side against the same steps in their order, which must give the same bits.
#include <gtest/gtest.h>

#include <random>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/random_graph.h"
#include "support/same.h"

namespace ostinato::runtime {
namespace {

/// Some branches of random calls, which begin at two inputs and end in sums of two or in outputs.
/// Wide ones have calls that several workers take.
ir::Graph random_branches(std::mt19937& random, bool wide) {
  const int rows = 1 + static_cast<int>(random() % 24), width = wide ? 192 : 64;
  const std::string type = fmt::format("float32({}, {})", rows, width);
  std::string text = fmt::format(
      "ostinato.graph 1 \"branches\"\ninput %0 \"x\" : {0}\ninput %1 \"z\" : {0}\n"
      "input %2 \"w\" : float32({1}, {1})\n",
      type, width);
  const size_t count = 2 + random() % 2;
  std::vector<int> ends(count);
  int next = 3;
  for (int& end : ends) end = static_cast<int>(random() % 2);
  const auto call = [&](const std::string& what) {
    text += fmt::format("%{} : {} = {}\n", next, type, what);
    return next++;
  };
  const size_t calls = (wide ? 5 : 12) * count + random() % 30;
  for (size_t i = 0; i < calls; ++i) {
    int& end = ends[random() % count];
    switch (random() % 5) {
      case 0: end = call(fmt::format("layer_norm(%{}, None, None) {{eps=1e-06}}", end)); break;
      case 1:
        end = call(fmt::format("aten._softmax(%{}) {{dim=-1, half_to_float=false}}", end));
        break;
      case 2: end = call(fmt::format("aten.tanh(%{})", end)); break;
      default: end = call(fmt::format("aten.mm(%{}, %2)", end)); break;
    }
  }
  if (random() % 2 == 0) ends[0] = call(fmt::format("aten.add.Tensor(%{}, %{})", ends[0], ends[1]));
  for (size_t i = 0; i < count; ++i) text += fmt::format("output \"y{}\" %{}\n", i, ends[i]);
  return ir::parse(text, ops::table());
}

struct Lane {
  Lane(const ir::Graph& graph, int threads, bool branches)
      : context([&] {
          ProgramOptions options{Mode::graph, threads, {}};
          options.branches = branches;
          return std::make_shared<const Program>(graph.specialise({}), device::get("cpu"), options);
        }()) {}
  Context context;
};

bool has_section(const plan::Plan& plan) {
  return std::any_of(plan.steps.begin(), plan.steps.end(),
                     [](const plan::Step& step) { return step.branch.section != 0; });
}

bool has_wide_section(const plan::Plan& plan) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [](const plan::Step& step) {
    return step.branch.section != 0 && step.kernel->workers() > 1;
  });
}

TEST(SideBySide, ChangesNoBitOfRandomGraphs) {
  std::mt19937 random(5);
  int sections = 0, wide_sections = 0;
  constexpr int kRounds = 24;
  for (int round = 0; round < kRounds; ++round) {
    const bool wide = round % 12 == 0;  // few, since they want more threads than may be here
    const ir::Graph graph = random_branches(random, wide);
    const int threads = wide ? 4 : 2 + round % 2;
    Lane serial(graph, threads, false), planned(graph, threads, true);
    const plan::Plan& plan = planned.context.prepare({}).plan();
    plan::check_plan(plan);
    sections += has_section(plan);
    wide_sections += has_wide_section(plan);
    EXPECT_FALSE(has_section(serial.context.prepare({}).plan()));
    for (uint32_t call = 0; call < 3; ++call) {
      const auto inputs = random_inputs(graph, {}, call);
      const auto expected = serial.context.run(inputs), got = planned.context.run(inputs);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(same(got[i], expected[i])) << "round " << round << ", output " << i << "\n"
                                               << print(graph);
      }
    }
  }
  EXPECT_GT(sections, kRounds / 2);
  EXPECT_GT(wide_sections, 0);
}

// What a caller may not take more threads for takes none beside.
TEST(SideBySide, IsNotForCallsWithLimits) {
  std::mt19937 random(5);
  const ir::Graph graph = random_branches(random, false);
  ProgramOptions options{Mode::graph, 2, {}};
  ASSERT_TRUE(has_section(Program(graph.specialise({}), device::get("cpu"), options).plan({}, 2)));
  options.thread_limits = {{3, 1}};
  EXPECT_FALSE(has_section(Program(graph.specialise({}), device::get("cpu"), options).plan({}, 2)));
}

// The branch that nobody takes may fail as well as the other.
TEST(SideBySide, NamesTheOperatorOfABadIndex) {
  std::string text = R"(ostinato.graph 1 "tables"
input %0 "ids" : int64(1)
input %1 "table" : float32(2, 64)
input %2 "w" : float32(64, 64)
input %3 "x" : float32(1, 64)
%4 : float32(1, 64) = aten.embedding(%1, %0)
)";
  for (int i = 4; i < 20; ++i) {
    text += fmt::format("%{} : float32(1, 64) = aten.mm(%{}, %2)\n", i + 1, i);
  }
  for (int i = 20; i < 40; ++i) {
    text += fmt::format("%{} : float32(1, 64) = aten.mm(%{}, %2)\n", i + 1, i == 20 ? 3 : i);
  }
  text += "output \"y\" %20\noutput \"z\" %40\n";
  const ir::Graph graph = ir::parse(text, ops::table());
  Lane lane(graph, 2, true);
  ASSERT_TRUE(has_section(lane.context.prepare({}).plan()));
  std::vector<Tensor> inputs = random_inputs(graph, {}, 1);
  for (const int64_t bad : {2, -1, 0}) {
    *inputs[0].as<int64_t>() = bad;
    if (bad == 0) {
      lane.context.run(inputs);
    } else {
      EXPECT_THROW(lane.context.run(inputs), Error);
    }
  }
}

}  // namespace
}  // namespace ostinato::runtime
