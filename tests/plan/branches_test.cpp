#include "ostinato/plan/branches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"

namespace ostinato::plan {
namespace {

using Kind = Place::Kind;

struct Timed final : device::Kernel {
  Timed(double given_seconds, int given_workers) : seconds(given_seconds), count(given_workers) {}
  int workers() const override { return count; }
  double seconds;
  int count;
};

Place at(Kind kind, size_t index, size_t offset = 0, size_t bytes = 64) {
  return {kind, index, offset, nullptr, bytes};
}
Place buffer(size_t index) { return at(Kind::arena, index); }

Step step(std::vector<Place> inputs, std::vector<Place> outputs, double microseconds = 10,
          int workers = 1) {
  Step made;
  made.kernel = std::make_shared<Timed>(microseconds * 1e-6, workers);
  made.inputs = std::move(inputs);
  made.outputs = std::move(outputs);
  return made;
}

/// The section and side of each step, sections as the index after them.
using Marks = std::vector<std::pair<size_t, size_t>>;

Marks marks(std::vector<Step>& steps, int workers = 2) {
  const device::Concurrency machine{workers, 1, 1, 0, 2e-6};
  mark_branches(steps, machine,
                [](const Step& s) { return static_cast<const Timed&>(*s.kernel).seconds; });
  Marks result;
  for (const Step& s : steps) result.emplace_back(s.branch.section, s.branch.side);
  return result;
}

constexpr std::pair<size_t, size_t> kNone{0, 0};

/// From a buffer, by another of its own, to a third.
std::vector<Step> branch(size_t from, size_t to, double microseconds = 10, int workers = 1) {
  return {step({buffer(from)}, {buffer(to + 100)}, microseconds, workers),
          step({buffer(to + 100)}, {buffer(to)}, microseconds, workers)};
}

std::vector<Step> joined(const std::vector<std::vector<Step>>& parts) {
  std::vector<Step> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(Branches, LieBetweenForkAndJoin) {
  auto steps = joined({{step({at(Kind::input, 0)}, {buffer(0)})},
                       branch(0, 1),
                       branch(0, 2),
                       {step({buffer(1), buffer(2)}, {at(Kind::output, 0)})}});
  EXPECT_EQ(marks(steps), (Marks{kNone, {5, 1}, {5, 1}, {5, 0}, {5, 0}, kNone}));
}

TEST(Branches, MayBeInterleavedAndNeverMeet) {
  const auto a = branch(0, 1, 20), b = branch(9, 2);
  std::vector<Step> steps = {b[0], a[0], a[1], b[1]};
  EXPECT_EQ(marks(steps), (Marks{{4, 1}, {4, 0}, {4, 0}, {4, 1}}));
}

TEST(Branches, ArePackedOntoAsManySidesAsThereAreWorkers) {
  auto steps = joined({branch(0, 1, 10), branch(0, 2, 15), branch(0, 3, 9)});
  auto again = steps;
  EXPECT_EQ(marks(steps), (Marks{{6, 1}, {6, 1}, {6, 0}, {6, 0}, {6, 1}, {6, 1}}));
  EXPECT_EQ(marks(again, 3), (Marks{{6, 1}, {6, 1}, {6, 0}, {6, 0}, {6, 2}, {6, 2}}));
}

TEST(Branches, StayInOrderWhereLittleIsSaved) {
  auto steps = joined({branch(0, 1, 100), branch(0, 2, 1.9)});
  EXPECT_EQ(marks(steps), Marks(4, kNone));
  steps = joined({branch(0, 1, 100), branch(0, 2, 2.1)});
  auto alone = steps;
  EXPECT_NE(marks(steps), Marks(4, kNone));
  EXPECT_EQ(marks(alone, 1), Marks(4, kNone));
}

// Two of them at once would fight for workers.
TEST(Branches, HoldNoStepThatTakesMoreThanItsShare) {
  auto steps = joined({branch(0, 1, 50, 2), branch(0, 2, 50, 2), branch(0, 3, 50, 2)});
  auto four = steps;
  EXPECT_EQ(marks(steps, 2), Marks(6, kNone));
  EXPECT_EQ(marks(steps, 3), Marks(6, kNone));
  const Marks packed = marks(four, 4);
  for (const auto& [section, side] : packed) {
    EXPECT_EQ(section, 6u);
    EXPECT_LT(side, 2u);
  }
}

TEST(Branches, BeginAfterAWideStep) {
  auto steps = joined({{step({at(Kind::input, 0)}, {buffer(0)}, 10, 2)},
                       branch(0, 1),
                       branch(0, 2),
                       {step({at(Kind::input, 0)}, {buffer(3)}, 10, 2)}});
  EXPECT_EQ(marks(steps), (Marks{kNone, {5, 1}, {5, 1}, {5, 0}, {5, 0}, kNone}));
}

TEST(Branches, FollowOneAnother) {
  auto steps = joined({branch(0, 1),
                       branch(0, 2),
                       {step({buffer(1), buffer(2)}, {buffer(3)})},
                       branch(3, 4),
                       branch(3, 5)});
  EXPECT_EQ(marks(steps),
            (Marks{{4, 1}, {4, 1}, {4, 0}, {4, 0}, kNone, {9, 1}, {9, 1}, {9, 0}, {9, 0}}));
}

/// Whether two steps of these places, far longer than a section costs, run side by side.
bool beside(const Place& read, const Place& written) {
  std::vector<Step> steps = {step({read}, {buffer(1)}), step({buffer(2)}, {written})};
  const bool before = marks(steps)[0] != kNone;
  std::vector<Step> turned = {step({buffer(2)}, {written}), step({read}, {buffer(1)})};
  EXPECT_EQ(marks(turned)[0] != kNone, before);
  return before;
}

TEST(Branches, AreTornByNoHazard) {
  for (const Kind kind : {Kind::arena, Kind::state, Kind::input, Kind::output}) {
    EXPECT_FALSE(beside(at(kind, 7), at(kind, 7)));
    EXPECT_FALSE(beside(at(kind, 7, 0, 128), at(kind, 7, 64, 64)));
    EXPECT_TRUE(beside(at(kind, 7, 0, 64), at(kind, 7, 64, 64)));
    EXPECT_TRUE(beside(at(kind, 7), at(kind, 8)));
  }
  EXPECT_TRUE(beside(at(Kind::input, 0), at(Kind::output, 0)));
  std::vector<Step> steps = {step({}, {buffer(1)}), step({}, {buffer(1)})};
  EXPECT_EQ(marks(steps), Marks(2, kNone));  // both write
  steps = {step({at(Kind::constant, 1)}, {buffer(1)}), step({at(Kind::constant, 1)}, {buffer(2)})};
  EXPECT_NE(marks(steps), Marks(2, kNone));
  steps = {step({buffer(9)}, {buffer(1)}), step({buffer(9)}, {buffer(2)})};
  steps[0].scratch = steps[1].scratch = buffer(3);
  EXPECT_EQ(marks(steps), Marks(2, kNone));
}

// A buffer written over in place is a hazard to who reads it on another branch, also where it has
// been written again since.
TEST(Branches, SeeWritesBehindLaterOnes) {
  std::vector<Step> steps = {step({buffer(0)}, {buffer(1)}), step({buffer(1)}, {buffer(1)}),
                             step({buffer(1)}, {buffer(2)}), step({buffer(5)}, {buffer(1)})};
  EXPECT_EQ(marks(steps), Marks(4, kNone));
}

TEST(Branches, AskForNoTimesInChains) {
  std::vector<Step> steps;
  for (size_t i = 0; i < 2500; ++i) {
    steps.push_back(step({buffer(i), buffer(i / 3 * 3)}, {buffer(i + 1)}));
  }
  mark_branches(steps, {2, 1, 1, 0, 2e-6}, [](const Step&) -> double {
    ADD_FAILURE();
    return 0;
  });
}

TEST(Buffers, BelongToASideOrToWholeSections) {
  auto steps = joined({{step({at(Kind::input, 0)}, {buffer(0)})},
                       {step({buffer(0)}, {buffer(1)}), step({buffer(1)}, {buffer(2)}),
                        step({buffer(0)}, {buffer(3)}), step({buffer(3)}, {buffer(4)})},
                       {step({buffer(2), buffer(4)}, {buffer(5)})}});
  marks(steps);
  std::vector<Buffer> buffers = {{64, 0, 3}, {64, 1, 2}, {64, 2, 5},
                                 {64, 3, 4}, {64, 4, 5}, {64, 5, 5}};
  keep_sides_apart(steps, buffers);
  EXPECT_EQ(buffers[0].last, 4u);  // read on both sides
  EXPECT_EQ(buffers[0].branch, device::Branch{});
  EXPECT_EQ(buffers[1].branch, steps[1].branch);
  EXPECT_EQ(buffers[3].branch, steps[3].branch);
  EXPECT_EQ(buffers[5].branch, device::Branch{});
  // In order, three would do.
  EXPECT_EQ(lower_bound(buffers), 5 * 64u);
  EXPECT_EQ(assign_offsets(buffers), 5 * 64u);
}

/// Two chains of so many softmaxes each, and their sum, planned for two threads of the CPU.
Plan two_towers(int layers, bool branches = true) {
  ir::Graph graph;
  ir::Builder build(graph, ops::table());
  ir::Value* x = graph.add_input("x", {DType::float32, {4, 1000}});
  ir::Value* sides[] = {x, x};
  for (ir::Value*& side : sides) {
    for (int i = 0; i < layers; ++i) side = build("aten._softmax", {side}, {{"dim", -1}});
  }
  graph.add_output(
      "y",
      build("aten.mm", {build("aten.permute", {sides[0]}, {{"dims", ir::Shape{1, 0}}}), sides[1]}));
  device::PackedWeights packed;
  Options options;
  options.threads = 2;
  options.branches = branches;
  return make_plan(std::move(graph), device::get("cpu"), packed, options);
}

TEST(Plan, PutsBranchesSideBySideWhereThatPays) {
  const Plan plan = two_towers(8);
  check_plan(plan);
  EXPECT_EQ(plan.steps[0].branch.section, 16u);
  EXPECT_NE(plan.steps[0].branch.side, plan.steps[15].branch.side);
  EXPECT_EQ(plan.steps.back().branch.section, 0u);
  EXPECT_EQ(plan.arena_bytes, lower_bound(plan.buffers));
  EXPECT_GT(plan.arena_bytes, two_towers(8, false).arena_bytes);
  EXPECT_EQ(two_towers(1).steps[0].branch.section, 0u);
}

void expect_race(const Plan& plan) {
  EXPECT_THAT([&] { check_plan(plan); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("may run beside")));
}

// In their order all these are sound.
TEST(CheckPlan, FindsRacesBetweenSides) {
  Plan plan = two_towers(8);  // what is dead in order, but not side by side
  const auto written = [&](size_t i) { return plan.steps[i].outputs[0].index; };
  plan.buffers[written(10)].offset = plan.buffers[written(2)].offset;
  expect_race(plan);

  plan = two_towers(8);  // memory that is not in the arena
  plan.steps[2].outputs[0] = plan.steps[3].inputs[0] = at(Kind::state, 0, 0, 256);
  check_plan(plan);
  plan.steps[10].outputs[0] = plan.steps[11].inputs[0] = at(Kind::state, 0, 128, 256);
  expect_race(plan);

  plan = two_towers(8);  // reads what the other side makes
  plan.steps[12].inputs[0] = plan.steps[7].outputs[0];
  expect_race(plan);

  plan = two_towers(8);  // a step on the wrong side
  std::swap(plan.steps[4].branch, plan.steps[12].branch);
  expect_race(plan);

  plan = two_towers(8);
  plan.steps[15].branch = {};
  EXPECT_THAT([&] { check_plan(plan); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("is to end before step 16")));
}

}  // namespace
}  // namespace ostinato::plan
