#include "ostinato/bench/lane.h"

#include <gtest/gtest.h>

#include "ostinato/bench/side_by_side.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::bench {
namespace {

/// Lanes of one small graph.
class LaneOfAGraph : public testing::Test {
 protected:
  std::string text_ = R"(ostinato.graph 1 "small"
input %0 "x" : float32(b, 8)
%1 : float32(b, 8) = aten.relu(%0)
%2 : float32(b, 8) = aten.relu(%0)
%3 : float32(b, 8) = aten.add.Tensor(%1, %2)
%4 : float32(b, 8) = aten.tril(%3)
output "y" %4
)";

  Lane lane(std::string_view name) {
    LaneSpec spec;
    spec.kind = lane_kind(name);
    spec.model = folder_.file("small.graph", text_);
    spec.device = "cpu";
    return Lane(spec);
  }

  static NamedTensors inputs(int64_t batch) {
    Tensor x = Tensor::empty(DType::float32, {batch, 8});
    for (int64_t i = 0; i < x.numel(); ++i) x.as<float>()[i] = static_cast<float>(i % 5) - 2;
    return {{"x", x}};
  }

  TemporaryFolder folder_;
};

double sum_of(const Json& phases) {
  double sum = 0;
  for (const auto& [name, milliseconds] : phases.items()) sum += milliseconds.get<double>();
  return sum;
}

TEST_F(LaneOfAGraph, EveryKindComputesTheSame) {
  Lane golden = lane(kGolden);
  golden.first_call(inputs(3));
  for (const LaneKind& kind : lane_kinds()) {
    Lane other = lane(kind.name);
    const Json figures = other.first_call(inputs(3));
    EXPECT_EQ(compare(golden.outputs(), other.outputs()).overall.max_abs_diff, 0) << kind.name;
    EXPECT_EQ(figures["mode"], name_of(kind.mode)) << kind.name;
    EXPECT_EQ(figures["threads"], 1);
    EXPECT_EQ(figures["dtype"], "float32");
    EXPECT_EQ(figures["weights"], "pretrained");
    EXPECT_EQ(figures.contains("planned_arena_bytes"), kind.mode == runtime::Mode::graph);
  }
}

TEST_F(LaneOfAGraph, OnlyOptimisedLanesRunThePasses) {
  // The passes compute what depends on constants alone, and with it the node that falls back.
  text_ = R"(ostinato.graph 1 "folds"
input %0 "x" : float32(b, 2)
constant %1 : float32(2, 2) = [1.0, 2.0, 3.0, 4.0]
%2 : float32(2, 2) = aten.tril(%1)
%3 : float32(b, 2) = aten.mm(%0, %2)
output "y" %3
)";
  Tensor x = Tensor::empty(DType::float32, {1, 2});
  std::fill_n(x.as<float>(), 2, 1.0f);
  for (const LaneKind& kind : lane_kinds()) {
    if (kind.name == kGolden) continue;
    EXPECT_EQ(lane(kind.name).first_call({{"x", x}})["fallbacks"].empty(), kind.optimised)
        << kind.name;
  }
}

TEST_F(LaneOfAGraph, CountsNoPhaseTwice) {
  for (const LaneKind& kind : lane_kinds()) {
    Lane one = lane(kind.name);
    const Json first = one.first_call(inputs(2));
    EXPECT_GT(first["phases_ms"]["import"], 0) << kind.name;
    EXPECT_LE(sum_of(first["phases_ms"]), first["first_call_ms"].get<double>()) << kind.name;
    const Json other_batch = one.first_call(inputs(3));
    EXPECT_EQ(other_batch["phases_ms"]["import"], 0) << kind.name;
    EXPECT_EQ(other_batch["phases_ms"]["passes"], 0) << kind.name;
    EXPECT_GT(other_batch["phases_ms"]["plan"], 0) << kind.name;
    const Json again = one.first_call(inputs(2));
    for (const char* phase : {"import", "passes", "plan", "pack", "capture"}) {
      EXPECT_EQ(again["phases_ms"][phase], 0) << kind.name << " " << phase;
    }
    EXPECT_GT(again["phases_ms"]["run"], 0) << kind.name;
  }
}

TEST_F(LaneOfAGraph, ListsNodesThatFallBack) {
  for (const LaneKind& kind : lane_kinds()) {
    const Json fallbacks = lane(kind.name).first_call(inputs(2))["fallbacks"];
    ASSERT_EQ(fallbacks.size(), kind.name == kGolden ? 0u : 1u) << kind.name;
    if (fallbacks.empty()) continue;
    EXPECT_EQ(fallbacks[0]["node"], "%4 = aten.tril");
  }
}

TEST(LaneKind, ListsThemForAnUnknownName) {
  expect_error([] { lane_kind("fast"); }, ErrorCode::invalid_argument, "graph-unfused");
}

TEST(RequireAsAsked, NamesWhatDiffers) {
  const Json asked = {{"dtype", "bfloat16"}, {"threads", 2}};
  Json done = {{"dtype", "bfloat16"}, {"threads", 2}, {"first_call_ms", 3.5}};
  EXPECT_NO_THROW(require_as_asked("graph", asked, done));
  done["threads"] = 1;
  expect_error([&] { require_as_asked("graph", asked, done); }, ErrorCode::internal,
               "the lane graph to run with the threads 2, got 1");
}

}  // namespace
}  // namespace ostinato::bench
