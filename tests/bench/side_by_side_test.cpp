#include "ostinato/bench/side_by_side.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ostinato/bench/lane.h"
#include "support/expect_error.h"

namespace ostinato::bench {
namespace {

using testing::ElementsAre;

/// A lane that says and gives what it is told to, and takes no time.
class FakeLane final : public MeasuredLane {
 public:
  FakeLane(std::string_view name, float value, std::vector<std::string>& calls)
      : name_(name), value_(value), calls_(calls) {}

  std::string_view name() const override { return name_; }
  Json first_call(const NamedTensors&) override {
    Json figures = said;
    figures["phases_ms"]["run"] = run_ms;
    return figures;
  }
  NamedTensors outputs() override {
    Tensor tensor = Tensor::empty(DType::float32, {2});
    tensor.as<float>()[0] = 1;
    tensor.as<float>()[1] = value_;
    return {{"y", tensor}};
  }
  void warm_up(int64_t iterations) override { warmups += iterations; }
  Json time(int64_t iterations, double budget_ms) override {
    calls_.push_back(name_);
    std::vector<double> samples;
    for (int64_t i = 0; i < iterations && (i == 0 || budget_ms > 0); ++i) {
      samples.push_back(run_ms);
      budget_ms -= run_ms;
    }
    return {{"samples_ms", samples}};
  }
  Json memory() override { return {{"peak_rss_bytes", 2}, {"peak_anonymous_bytes", 1}}; }

  Json said = {{"device", "cpu"},
               {"dtype", "float32"},
               {"mode", "graph"},
               {"threads", 1},
               {"weights", "given"},
               {"fallbacks", Json::array()},
               {"phases_ms", Json::object()}};
  double run_ms = 1;
  int64_t warmups = 0;

 private:
  std::string name_;
  float value_;
  std::vector<std::string>& calls_;
};

class LanesSideBySide : public testing::Test {
 protected:
  FakeLane& add(std::string_view name, float value) {
    return *lanes_.emplace_back(std::make_unique<FakeLane>(name, value, calls_));
  }

  Json report(Schedule schedule = {3, 10, false}) {
    std::vector<SideBySide::Entry> entries;
    for (const auto& lane : lanes_) entries.push_back({lane.get(), {{"mode", "graph"}}});
    SideBySide together(std::move(entries), schedule, [](const std::string&) {});
    together.run_batch({2, Json::array(), {}});
    return together.report({{"requested", {{"seed", 7}}}});
  }

  std::vector<std::string> calls_;
  std::vector<std::unique_ptr<FakeLane>> lanes_;
};

TEST_F(LanesSideBySide, TakeTurns) {
  add(kEager, 1);
  add(kGraph, 1).run_ms = 0.5;
  const Json found = report({3, 2, false});
  EXPECT_THAT(calls_, ElementsAre("eager", "graph", "eager", "graph"));
  EXPECT_EQ(found["verdict"], "PASS");
  EXPECT_EQ(found["actual"]["mode"], Json({"eager", "graph"}));
  EXPECT_EQ(found["actual"]["seed"], 7);
  const Json& batch = found["batches"][0];
  EXPECT_EQ(batch["speedup"]["graph_vs_eager"], 2);
  EXPECT_EQ(batch["speedup"]["graph_vs_golden"], "none: the lane golden did not run");
  EXPECT_FALSE(batch["speedup"].contains("graph_vs_torch"));
  EXPECT_EQ(batch["lanes"]["graph"]["throughput_per_s"], 4000);
}

TEST_F(LanesSideBySide, GoldenStopsAfterFiveSeconds) {
  FakeLane& golden = add(kGolden, 1);
  FakeLane& graph = add(kGraph, 1);
  golden.run_ms = 2000;
  const Json lanes = report({3, 50, false})["batches"][0]["lanes"];
  EXPECT_EQ(lanes["graph"]["samples_ms"].size(), 50u);
  EXPECT_LE(lanes["golden"]["samples_ms"].size(), 3u);
  EXPECT_EQ(golden.warmups, 0);
  EXPECT_EQ(graph.warmups, 3);
}

TEST_F(LanesSideBySide, PyTorchsLanesAreNotJudged) {
  add(kGolden, 1);
  add(kTorch, -1);
  add(kInductor, -1);
  Json found = report();
  EXPECT_TRUE(found["verdict"].is_null());
  EXPECT_EQ(found["batches"][0]["accuracy"]["torch_vs_golden"]["verdict"], "FAIL");
  add(kGraph, 1);
  found = report();
  EXPECT_EQ(found["verdict"], "PASS");
  EXPECT_EQ(found["batches"][0]["accuracy"]["graph_vs_torch"]["verdict"], "FAIL");
  EXPECT_EQ(found["batches"][0]["speedup"]["graph_vs_inductor"], 1);
}

TEST_F(LanesSideBySide, GraphThatLeavesEagerIsADefect) {
  add(kGolden, 1);
  add(kEager, 1);
  add(kGraph, -1);
  const Json found = report();
  EXPECT_EQ(found["verdict"], "FAIL");
  EXPECT_THAT(found["notes"][0].get<std::string>(), testing::HasSubstr("a defect of graph mode"));
}

TEST_F(LanesSideBySide, StrictFailsAFallback) {
  add(kEager, 1);
  add(kGraph, 1).said["fallbacks"] = {{{"node", "%1 = aten.tril"}}};
  EXPECT_EQ(report()["verdict"], "PASS");
  const Json found = report({3, 10, true});
  EXPECT_EQ(found["verdict"], "FAIL");
  EXPECT_THAT(found["notes"][0].get<std::string>(), testing::HasSubstr("%1 = aten.tril first"));
}

TEST_F(LanesSideBySide, RefusesWhatWasNotAskedFor) {
  add(kGraph, 1).said["mode"] = "torch";
  expect_error([&] { report(); }, ErrorCode::internal, "mode");
  expect_error([&] { report({3, 0, false}); }, ErrorCode::invalid_argument, "iterations");
}

}  // namespace
}  // namespace ostinato::bench
